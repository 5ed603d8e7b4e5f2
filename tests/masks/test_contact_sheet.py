"""The contact sheet: the images most in need of a look come first."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.images.manifest import read_manifest
from isnet_cli.masks import stage as masks
from isnet_cli.masks.contact_sheet import (
    PAGES,
    TILES,
    contact_sheet_png,
    page_name,
    pages,
    rank_by_verdict,
    tile,
)
from isnet_cli.masks.quality import MaskQuality, missing
from isnet_cli.output.images import OUTLINE
from tests.masks.factory import SIZES, given_masks, ingested, settings


def line(key: str, **figures: object) -> dict[str, object]:
    return MaskQuality(**figures).cells(key, "file")  # type: ignore[arg-type]


def test_the_most_doubtful_come_first() -> None:
    lines = [
        line("sure", margin=0.95, balance=0.9),
        line("odd", margin=0.95, balance=0.3),
        line("doubtful", margin=0.75, balance=0.9),
        missing("mask_size: other").cells("gone", "file"),
        line("bad", margin=0.99, balance=0.99, verdict="suspect", reason="small: 1 %"),
        line("given", balance=0.95),
    ]
    order = [str(entry["key"]) for entry in sorted(lines, key=rank_by_verdict)]
    assert order == ["bad", "gone", "odd", "doubtful", "sure", "given"]


def test_images_without_a_mask_are_shown_without_an_outline(tmp_path: Path) -> None:
    given = given_masks(tmp_path / "given")
    given["three"].write_bytes(b"no picture")
    folder = ingested(tmp_path / "run", given)
    run_stage(masks, settings(), folder, RunContext())
    rows = {row.key: row for row in read_manifest(folder.stage_dir("ingest") / "manifest.csv")}
    shown = {}
    for key in SIZES:
        verdict = "missing" if key == "three" else "ok"
        quality = MaskQuality(verdict=verdict)  # type: ignore[arg-type]
        cells = quality.cells(key, "file")
        picture = contact_sheet_png([cells], [tile(cells, rows[key], folder)])
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
        shown[key] = int((np.abs(pixels - OUTLINE).max(axis=-1) < 40).sum())
    assert shown["three"] == 0
    assert all(shown[key] > 100 for key in SIZES if key != "three")


def test_pages_hold_all_masks_worst_first_up_to_an_end() -> None:
    lines = [line(f"{n:05}", margin=0.9, balance=0.9) for n in range(PAGES * TILES + 5)]
    lines.append(line("bad", verdict="suspect", reason="small: 1 %"))
    found = pages(lines)
    assert [len(page) for page in found] == [TILES] * PAGES
    assert [entry["key"] for entry in found[0][:2]] == ["bad", "00000"]
    assert [len(page) for page in pages(lines[: TILES + 3])] == [TILES, 3]
    assert [page_name(n) for n in (0, 1, 11)] == [
        "contact_sheet.png", "contact_sheet_02.png", "contact_sheet_12.png"
    ]  # fmt: skip


def test_pages_of_an_earlier_larger_result_go(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run", given_masks(tmp_path / "given"))
    old = folder.stage_dir("masks") / "contact_sheet_02.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    run_stage(masks, settings(), folder, RunContext())
    assert not old.exists()
    assert (folder.stage_dir("masks") / "contact_sheet.png").exists()
