"""Finished masks against others: the table, the summary, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from isnet_cli.core.files import read_csv, write_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.masks import stage as masks
from isnet_cli.masks.agreement import score_masks
from tests.masks.factory import SIZES, given_masks, ingested, lungs, settings, write_mask


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Perfect masks of three images, none of ``b/four``; two sources; ``a/two`` in mm."""
    given = given_masks(tmp_path / "given")
    given["b/four"].write_bytes(b"no picture")
    run = ingested(tmp_path / "run", given)
    manifest = run.stage_dir("ingest") / "manifest.csv"
    rows = read_csv(manifest)
    for row in rows:
        row["source"] = {"a/one": "north", "a/two": "north", "three": "south"}.get(row["key"], "")
        row["spacing"] = "0.5;0.25" if row["key"] == "a/two" else ""
    write_csv(manifest, list(rows[0]), rows)
    run.finish("ingest", "x", [manifest], {})
    run_stage(masks, settings(model="none"), run, RunContext())
    return run


def test_each_image_has_a_line_and_the_worst_come_first(folder: RunFolder, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    for key, size in SIZES.items():
        moved = np.roll(lungs(size), 8 if key == "a/two" else 0, axis=1)
        write_mask(truth / f"{key}.png", moved)
    summary = score_masks(folder, truth, RunContext())
    lines = read_csv(folder.stage_dir("masks") / "truth.csv")
    assert [line["key"] for line in lines] == ["b/four", "a/two", "a/one", "three"]
    assert (lines[0]["verdict"], lines[0]["dice"]) == ("missing", "")
    assert lines[0]["reason"].startswith("mask_unreadable")
    assert (lines[1]["unit"], lines[2]["unit"]) == ("mm", "px")
    assert 0.5 < float(lines[1]["distance95"]) <= 8 * 0.25  # moved by 8 px of 0.25 mm
    assert (lines[2]["dice"], lines[2]["distance95"]) == ("1.0000", "0.0000")
    assert (summary["compared"], summary["without_mask"]) == (3, 1)
    assert summary["sources"]["south"]["dice"]["mean"] == 1.0
    assert summary["sources"]["north"]["dice"]["images"] == 2
    assert summary["all"]["dice"]["min"] == pytest.approx(float(lines[1]["dice"]), abs=5e-5)
    assert summary["all"]["distance95_mm"]["images"] == 1
    assert summary["all"]["distance95_px"] == {
        "images": 2, "mean": 0.0, "sd": 0.0, "p95": 0.0, "max": 0.0,
    }  # fmt: skip
    assert summary["verdicts"]["ok"]["dice"]["images"] == 3
    assert [entry["key"] for entry in summary["worst"]][:2] == ["b/four", "a/two"]
    written = json.loads((folder.stage_dir("masks") / "truth.json").read_text())
    assert written == summary


def test_true_masks_that_cannot_be_used_have_a_reason(folder: RunFolder, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    write_mask(truth / "a/one.png", lungs((150, 130)))
    write_mask(truth / "a/two.png", np.zeros(SIZES["a/two"], bool))
    write_mask(truth / "three.png", lungs(SIZES["three"]))
    summary = score_masks(folder, truth, RunContext())
    lines = {li["key"]: li for li in read_csv(folder.stage_dir("masks") / "truth.csv")}
    assert lines["a/one"]["reason"] == (
        "mask_size: the true mask has 130 x 150 pixels, expected the image's 260 x 300"
    )
    assert lines["a/two"]["reason"] == "mask_values: the true mask holds no lung"
    assert "b/four" not in lines  # no truth, no line
    assert (summary["images"], summary["compared"], summary["unusable_truth"]) == (4, 1, 2)


def test_a_folder_of_foreign_masks_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    write_mask(tmp_path / "truth/other.png", lungs((30, 30)))
    with pytest.raises(IsnetError, match="none of its masks is named like one of 4 images"):
        score_masks(folder, tmp_path / "truth", RunContext())
    assert not (folder.stage_dir("masks") / "truth.csv").exists()
