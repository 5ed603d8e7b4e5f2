"""A run folder with a finished ingest stage, drawn lungs and given masks, for the masks stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_csv
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.images.kept import save_image
from isnet_cli.images.manifest import rows_to_dicts
from isnet_cli.images.types import ROW_FIELDS, Row

Mask = NDArray[np.bool_]
SIZES = {"a/one": (300, 260), "a/two": (512, 640), "three": (220, 220), "b/four": (400, 300)}


def lungs(size: tuple[int, int]) -> Mask:
    """Two upright ellipses."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    y, x = (y + 0.5) / size[0] - 0.48, (x + 0.5) / size[1] - 0.5
    sides = [((x - shift) / 0.13) ** 2 + (y / 0.3) ** 2 <= 1 for shift in (-0.21, 0.21)]
    return np.asarray(sides[0] | sides[1])


def image(size: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """Grey noise with darker lungs."""
    noise = np.random.default_rng(seed).normal(0, 0.02, size)
    return np.clip(0.75 - 0.5 * lungs(size) + noise, 0, 1).astype(np.float32)


def ingested(path: Path, given: Mapping[str, str | Path] | None = None) -> RunFolder:
    """A run whose ingest stage is finished: the images of `SIZES`, one more that was skipped.

    Args:
        path: The run folder.
        given: Mask file of some keys.
    """
    folder = RunFolder(path)
    root = folder.stage_dir("ingest")
    rows = [Row("gone", status="skipped", reason="unreadable: not a picture")]
    for number, (key, (height, width)) in enumerate(SIZES.items()):
        target = root / "images" / f"{key}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        save_image(target, image((height, width), number))
        mask = str((given or {}).get(key, ""))
        rows.append(
            Row(key, image_file=f"images/{key}.png", height=height, width=width, mask_file=mask)
        )
    write_csv(root / "manifest.csv", ROW_FIELDS, rows_to_dicts(rows))
    folder.begin("ingest", "x")
    folder.finish("ingest", "x", [root / "manifest.csv"], {})
    return folder


def settings(workers: int = 2, **masks: Any) -> Config:
    """Two images per chunk, on the CPU."""
    return Config.model_validate(
        {"masks": {"batch_size": 2, **masks}, "machine": {"device": "cpu", "workers": workers}}
    )


def write_mask(path: Path, values: NDArray[Any]) -> Path:
    """A mask or other picture as a file, after its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = values.astype(np.uint8) * np.uint8(255) if values.dtype == bool else values
    Image.fromarray(levels).save(path)
    return path


def given_masks(root: Path) -> dict[str, Path]:
    """The true mask of each image as a file, by key."""
    return {key: write_mask(root / f"{key}.png", lungs(size)) for key, size in SIZES.items()}
