"""Small run folders with finished ingest and masks stages, made without reading any input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_csv
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.images.kept import save_image
from isnet_cli.images.manifest import rows_to_dicts
from isnet_cli.images.mask_files import save_mask
from isnet_cli.images.types import ROW_FIELDS, Row

QC_FIELDS = (
    "key", "origin", "area", "balance", "components", "borders", "margin", "verdict", "reason",
)  # fmt: skip
SETS = {"train": 12, "val": 6, "test": 6}


class Stopper:
    """Asks for a stop at the n-th question."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def small_config(**sections: dict[str, Any]) -> Config:
    """A configuration for seconds: small network, 32 px, two epochs; sections are merged."""
    loss = {"heatmap_weight": 0.5, "layers": "none", "relevance_range": "estimate"}
    base: dict[str, dict[str, Any]] = {
        "model": {"arch": "small", "input": [32, 32]},
        "train": {
            "before": [], "epochs": 2, "batch_size": 4, "optimizer": {"name": "adamw", "lr": 1e-3},
            "settings": {
                "isnet": {**loss, "variant": "flex"}, "grad_input": loss,
                "softmax_grad_input": loss,
            },
        },
        "evaluate": {"intervals": {"draws": 1000, "bootstrap": 200}},
        "machine": {"device": "cpu", "workers": 0},
    }  # fmt: skip
    for name, section in sections.items():
        if isinstance(section, dict):
            base[name] = {**base.get(name, {}), **section}
        else:
            base[name] = section
    return Config.model_validate(base)


def lungs(size: int = 48) -> np.ndarray:
    """Two ellipses, bool [size, size]."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    left = ((x + 0.2) / 0.13) ** 2 + (y / 0.3) ** 2 < 1
    right = ((x - 0.2) / 0.13) ** 2 + (y / 0.3) ** 2 < 1
    return left | right


def image(index: int, sick: bool, size: int = 48) -> np.ndarray:
    """A noisy image with dark lungs; a bright spot inside one lung when `sick`."""
    rng = np.random.default_rng(index)
    pixels = 0.6 - 0.4 * lungs(size) + rng.normal(0, 0.03, (size, size))
    if sick:
        y, x = np.mgrid[:size, :size] / size - 0.5
        cx, cy = rng.choice([-0.2, 0.2]), rng.uniform(-0.15, 0.15)
        pixels += 0.4 * np.exp(-(((x - cx) / 0.06) ** 2 + ((y - cy) / 0.06) ** 2))
    return np.clip(pixels, 0, 1).astype(np.float32)


def make_run(
    path: Path,
    *,
    sets: dict[str, int] | None = None,
    multilabel: bool = False,
    verdicts: dict[str, str] | None = None,
) -> RunFolder:
    """A run whose ingest and masks stages are finished; classes `normal` and `sick` alternate."""
    folder, rows, qc = RunFolder(path), [], []
    ingest, masks = folder.stage_dir("ingest"), folder.stage_dir("masks")
    index = 0
    for name, count in (sets or SETS).items():
        for i in range(count):
            sick, key = i % 2 == 1, f"{name}/{i:03d}"
            size = 48 + 4 * (index % 3)
            for root in (ingest / "images", masks):
                (root / name).mkdir(parents=True, exist_ok=True)
            save_image(ingest / "images" / f"{key}.png", image(index, sick, size))
            save_mask(masks / f"{key}.png", lungs(size))
            label = f"sick={int(sick)};old={'?' if i % 3 == 0 else i % 2}"
            rows.append(
                Row(
                    key=key, image_file=f"images/{key}.png", height=size, width=size, bits=16,
                    format="png", source="A", patient=f"{index:012x}", set=name,
                    label=label if multilabel else ("sick" if sick else "normal"),
                )
            )  # fmt: skip
            verdict = (verdicts or {}).get(key, "ok")
            qc.append(
                {
                    "key": key, "origin": "file", "area": 0.2, "balance": 1.0, "components": 2,
                    "borders": 0, "margin": "", "verdict": verdict, "reason": "",
                }
            )  # fmt: skip
            index += 1
    write_csv(ingest / "manifest.csv", ROW_FIELDS, rows_to_dicts(rows))
    write_csv(ingest / "skipped.csv", ("key", "path", "reason"), [])
    write_csv(masks / "qc.csv", QC_FIELDS, qc)
    folder.begin("ingest", "i")
    folder.finish("ingest", "i", [ingest / "manifest.csv"], {"found": index, "skipped": 0})
    folder.begin("masks", "m")
    folder.finish("masks", "m", [masks / "qc.csv"], {"skipped": 0})
    return folder
