"""Builds the wheel without the lung U-Net whose weights may not be used commercially.

Usage:
    python packaging/open_wheel.py [FOLDER]      # dist, unless given; needs hatchling, no network

`lung-unet-open` is the only network in it and takes the place of `lung-unet`.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from pathlib import Path

from hatchling.build import build_sdist, build_wheel

ROOT = Path(__file__).parent.parent
LEFT_OUT = "models/isnet_models/cards/lung-unet"
LICENCE = " AND CC-BY-NC-SA-4.0"  # of these weights alone


def main() -> None:
    """Prints the wheel's path."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").absolute()
    output.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(Path(name, build_sdist(name))) as archive:
            archive.extractall(name, filter="data")
        (tree,) = (path for path in Path(name).iterdir() if path.is_dir())
        for ending in (".json", ".safetensors"):
            tree.joinpath(LEFT_OUT + ending).unlink()
        project = tree / "pyproject.toml"
        text = project.read_text(encoding="utf-8")
        if text.count(LICENCE) != 1:
            sys.exit(f"pyproject.toml: expected{LICENCE} once, in project.license")
        project.write_text(text.replace(LICENCE, ""), encoding="utf-8")
        os.chdir(tree)
        print(output / build_wheel(str(output)))
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
