"""Trying a package from where it was unpacked, with nothing of this repository in sight."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_unpacked(site: Path, code: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Runs lines of Python in the folder `place`; packages in `site` come first."""
    whole = f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-P", "-c", whole], cwd=place, env={"PATH": ""}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
