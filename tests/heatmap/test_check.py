"""Sanity checks of maps: what they do to the network and the images, verdicts, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.records.map_check import MapCheck
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.heatmap import check, check_scores, files
from isnet_cli.heatmap import stage as heatmap
from isnet_cli.images.resize import Frame
from isnet_cli.inference.predictor import open_predictor
from isnet_models.explanations.randomise import list_groups
from tests.evaluate.factory import StopAfter, make_trained
from tests.support.runs import small_config

NPZ = {"formats": ["npz"], "check": True, "limit": 1}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PANEL_SIDE", (80, 1024))
    monkeypatch.setattr(check, "MOST", 4)


def record(folder: RunFolder) -> dict[str, Any]:
    content = json.loads((folder.path / "heatmap" / "check" / "check.json").read_text())
    MapCheck.model_validate(content)
    found: dict[str, Any] = content
    return found


def test_curves_end_at_the_image_and_at_the_blurred_image(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 3})
    run_stage(heatmap, small_config(heatmap=NPZ), folder, RunContext())
    predictor = open_predictor(small_config(), None, folder)
    lines = read_csv(folder.path / "heatmap" / "check" / "curves.csv")
    assert len(lines) == 3 * 2 * 3 * (check_scores.STEPS + 1)
    key = lines[0]["key"]
    (row,) = (r for r in _rows(folder) if r.key == key)
    images, _ = predictor.batch(predictor.load([row]), [0], "standard")
    frame = Frame((row.height, row.width), predictor.config.model.input)
    fill = torch.from_numpy(check._blur(images[0].numpy(), frame))[None]
    target = predictor.classes.index(lines[0]["class"])
    whole, blurred = (predictor.predict(x).probabilities[0, target] for x in (images, fill))
    ends = {"deletion": (whole, blurred), "insertion": (blurred, whole)}
    for shape, expected in ends.items():
        for order in check_scores.ORDERS:
            curve = [
                float(x["probability"]) for x in lines
                if (x["key"], x["curve"], x["order"]) == (key, shape, order)
            ]  # fmt: skip
            assert (curve[0], curve[-1]) == pytest.approx(expected, abs=1e-5)
    found = record(folder)["curves"]
    areas = []
    for image in dict.fromkeys(line["key"] for line in lines):
        p = [
            float(x["probability"]) for x in lines
            if (x["key"], x["curve"], x["order"]) == (image, "deletion", "map")
        ]  # fmt: skip
        areas.append(np.trapezoid(p, dx=1 / check_scores.STEPS))
    assert found["deletion"]["map"]["area"]["value"] == pytest.approx(np.mean(areas), abs=1e-5)
    gain = found["differences"]["deletion"]["random"]["value"]
    own, chance = (found["deletion"][o]["area"]["value"] for o in ("map", "random"))
    assert gain == pytest.approx(chance - own)


def _rows(folder: RunFolder) -> list[Any]:
    from isnet_cli.images.manifest import read_manifest

    return read_manifest(folder.stage_dir("ingest") / "manifest.csv")


@pytest.mark.parametrize("method", ["gradcam", "grad_input"])
def test_every_method_is_checked_and_stops_continue(tmp_path: Path, method: str) -> None:
    whole, parts = (make_trained(tmp_path / n, sets={"test": 3}) for n in ("whole", "parts"))
    config = small_config(heatmap={**NPZ, "method": method}, evaluate={"batch_size": 2})
    outcome = run_stage(heatmap, config, whole, RunContext())
    for n in (2, 4):
        assert run_stage(heatmap, config, parts, StopAfter(n).context()).status == "incomplete"
    assert run_stage(heatmap, config, parts, RunContext()).status == "done"
    for name in check.list_files():
        one, two = ((f.path / "heatmap" / name).read_bytes() for f in (whole, parts))
        assert one == two
    found = record(whole)
    assert found["method"] == method
    assert found["images"] == 3
    assert outcome.summary["shuffled_weights"] == f"maps {found['randomisation']['verdict']}"
    for group in found["randomisation"]["groups"]:
        assert group["independent"]["rank"]["value"] is None or (
            -1 <= group["independent"]["rank"]["value"] <= 1
        )
    first, independent = found["randomisation"]["groups"][0]["cascading"], found["randomisation"]
    assert first["rank"]["value"] != 1
    assert len(independent["groups"]) == len(
        list_groups(open_predictor(config, None, whole).model.net)
    )


def test_the_check_is_off_unless_asked_for_and_goes_when_it_is_no_more(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 2})
    off = small_config(heatmap={**NPZ, "check": False})
    on = small_config(heatmap=NPZ)
    assert heatmap.fingerprint(off, folder) != heatmap.fingerprint(on, folder)
    run_stage(heatmap, on, folder, RunContext())
    assert record(folder)["images"] == 2
    run_stage(heatmap, off, folder, RunContext(), replace=True)
    assert not (folder.path / "heatmap" / "check").exists()


def cell(
    value: float | None, low: float | None = None, high: float | None = None
) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("rank", "verdict"),
    [
        (cell(0.2, 0.1, 0.3), "change"), (cell(0.45, 0.3, 0.6), "unclear"),
        (cell(0.8, 0.7, 0.9), "stay"), (cell(None), "unclear"), (cell(0.2), "change"),
    ],
)  # fmt: skip
def test_verdict_on_shuffled_weights(rank: dict[str, Any], verdict: str) -> None:
    assert check_scores.judge_shuffled(rank) == verdict


@pytest.mark.parametrize(
    ("deletion", "insertion", "verdict"),
    [
        (cell(0.2, 0.1, 0.3), cell(0.2, 0.1, 0.3), "better"),
        (cell(0.2, 0.1, 0.3), cell(0.2, -0.1, 0.3), "unclear"),
        (cell(0.2, 0.1, 0.3), cell(-0.2, -0.3, -0.1), "worse"),
        (cell(None), cell(0.2, 0.1, 0.3), "unclear"),
        (cell(0.002, 0.001, 0.003), cell(0.2, 0.1, 0.3), "unclear"),
        (cell(-0.002, -0.003, -0.001), cell(0.2, 0.1, 0.3), "unclear"),
    ],
)
def test_verdict_on_curves(deletion: Any, insertion: Any, verdict: str) -> None:
    gains = {"deletion": {"random": deletion}, "insertion": {"random": insertion}}
    assert check_scores.judge_curves(gains) == verdict
