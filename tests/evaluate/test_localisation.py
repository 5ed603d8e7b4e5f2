"""Maps against annotated findings in `evaluate`: figures are those of the images, step by step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import localisation, localisation_scores, scoring
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.images.kept import load_image
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.resize import Frame
from isnet_cli.inference.model_files import load_model
from isnet_cli.inference.predictor import open_predictor
from isnet_cli.stats.bootstrap import percentile_interval
from isnet_lrp import relevance
from tests.evaluate.factory import SIDE, StopAfter, edit_rows, make_trained
from tests.support.runs import lungs, small_config

ON = {"background": False, "batch_size": 4}
BOXES = {  # key -> boxes (x, y, width, height) in pixels of the original image
    "test/001": [(6, 10, 12, 14)],
    "test/003": [(30, 20, 10, 18), (4, 4, 3, 3)],
    "test/005": [(10, 30, 16, 10)],
    "test/002": [(0, 0, 20, 20)],
}


@pytest.fixture(autouse=True)
def _plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "svg_text", lambda figure: "<svg/>")


def write_boxes(path: Path, label: str = "", *more: str) -> str:
    lines = ["image,x,y,width,height,class"]
    lines += [
        f"{key}.png,{','.join(map(str, b))},{label}" for key, own in BOXES.items() for b in own
    ]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return str(path)


def metrics(folder: RunFolder, place: str = "test/standard") -> dict[str, Any]:
    whole = json.loads((folder.path / "evaluate" / "metrics.json").read_text())
    name, version = place.split("/")
    found: dict[str, Any] = whole["sets"][name][version]["localisation"]
    return found


def table(folder: RunFolder, place: str = "test/standard") -> list[dict[str, str]]:
    return read_csv(folder.path / "evaluate" / place / localisation_scores.TABLE)


def point_slowly(
    R: np.ndarray, marked: np.ndarray, field: np.ndarray
) -> tuple[float, float, float, float]:
    """Hit, share, chance, area, pixel by pixel; at 32 px blur 1/3 px and slack 1 px."""
    positive = np.maximum(R, 0)
    sigma, best, place = 1 / 3, -1.0, (0, 0)
    kernel = np.array([math.exp(-(d**2) / (2 * sigma**2)) for d in (-1, 0, 1)])
    kernel /= kernel.sum()
    n = len(R)
    for y in range(n):
        for x in range(n):
            value = 0.0
            for a in (-1, 0, 1):
                for b in (-1, 0, 1):
                    yy, xx = y + a, x + b  # beyond the edge the pixels are mirrored
                    yy = -1 - yy if yy < 0 else 2 * n - 1 - yy if yy >= n else yy
                    xx = -1 - xx if xx < 0 else 2 * n - 1 - xx if xx >= n else xx
                    value += kernel[a + 1] * kernel[b + 1] * positive[yy, xx]
            if value > best + 1e-12:
                best, place = value, (y, x)
    near = np.zeros_like(marked)
    for y, x in np.argwhere(marked):
        for a, b in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
            if 0 <= y + a < n and 0 <= x + b < n:
                near[y + a, x + b] = True
    share = sum(positive[y, x] for y, x in np.argwhere(marked)) / positive.sum()
    inside = np.argwhere(field)
    return (
        float(near[place]), float(share),
        sum(bool(near[y, x]) for y, x in inside) / len(inside),
        sum(bool(marked[y, x]) for y, x in inside) / len(inside),
    )  # fmt: skip


def by_hand(folder: RunFolder) -> dict[str, tuple[float, float, float, float]]:
    """Figures of each annotated image from the model, one image at a time."""
    model = load_model(folder.path, torch.device("cpu"))
    found = {}
    for row in read_manifest(folder.path / "ingest" / "manifest.csv"):
        if row.key not in BOXES:
            continue
        frame = Frame((row.height, row.width), (SIDE, SIDE))
        image = frame.to_network(load_image(folder.path / "ingest" / row.image_file))
        x = torch.from_numpy(image)[None, None]
        maps = relevance(model.net, x, "all", epsilon=0.01, zb=(0.0, 1.0)).maps[0, :, 0].numpy()
        own = ["normal", "sick"].index(row.label)
        marked = np.zeros((SIDE, SIDE), bool)
        scale = SIDE / row.width  # the images are squares
        for left, top, width, height in BOXES[row.key]:
            for i in range(SIDE):
                for j in range(SIDE):
                    down = min(i + 1, (top + height) * scale) - max(i, top * scale)
                    across = min(j + 1, (left + width) * scale) - max(j, left * scale)
                    marked[i, j] |= max(down, 0) * max(across, 0) >= 0.5
        field = frame.mask_to_network(lungs(row.height))
        found[row.key] = point_slowly(maps[own] - maps[1 - own], marked, field)
    return found


def test_figures_are_those_of_each_image(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    boxes = write_boxes(tmp_path / "b.csv", "", "nobody,1,1,2,2,", "test/000,,,,,")
    outcome = run_stage(
        evaluate, small_config(evaluate={**ON, "annotations": boxes}), folder, RunContext()
    )
    expected, found = by_hand(folder), metrics(folder)
    lines = {line["key"]: line for line in table(folder)}
    assert list(lines) == sorted(BOXES)
    names = ("hit", "inside_share", "chance", "lungs_share")
    for key, values in expected.items():
        assert [float(lines[key][n]) for n in names] == pytest.approx(values, abs=1e-4), key
        assert lines[key]["class"] == ("normal" if key == "test/002" else "sick")
        assert lines[key]["findings"] == str(len(BOXES[key]))
    means = np.mean(list(expected.values()), axis=0)
    assert (found["n"], found["images"], found["findings"]) == (4, 4, 5)
    assert found["pointing"]["value"] == means[0]
    assert found["inside_share"]["value"] == pytest.approx(means[1], abs=1e-5)
    assert found["chance"] == pytest.approx(means[2], abs=1e-5)
    assert found["ratio"]["value"] == pytest.approx(means[1] / means[3], rel=1e-4)
    for name in ("pointing", "inside_share", "ratio"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert found["left_out"] == {"names no image of the run": 1}
    assert found["map"] == "lrp flex of the finding's class minus the other"
    sick = np.mean([v for key, v in expected.items() if key != "test/002"], axis=0)
    assert found["per_class"]["sick"]["pointing"]["value"] == pytest.approx(sick[0])
    assert found["per_class"]["normal"]["n"] == 1
    assert "one patient" in found["per_class"]["normal"]["ratio"]["why"]
    summary = outcome.summary["sets"]["test"]["standard"]
    assert summary["pointing"] == means[0]
    assert summary["pointing_range"] == [found["pointing"][end] for end in ("low", "high")]


def test_the_interval_of_a_quotient_is_a_bootstrap_by_patient() -> None:
    rng = np.random.default_rng(0)
    over, under = rng.random(9), rng.random(9)
    clusters = np.array([0, 0, 1, 2, 3, 3, 3, 4, 5])
    intervals = small_config().evaluate.intervals
    found = localisation_scores._quotient_cell(over, under, clusters, intervals, 5, "")
    draws, again = [], np.random.default_rng(5)
    for _ in range(intervals.bootstrap):
        chosen = again.integers(0, 6, 6)
        images = [i for c in chosen for i in range(9) if clusters[i] == c]
        draws.append(over[images].sum() / under[images].sum())
    low, high = percentile_interval(np.array(draws), 6)
    assert found["value"] == pytest.approx(over.sum() / under.sum())
    assert (found["low"], found["high"]) == pytest.approx((low, high))


def test_labels_of_annotations_choose_the_map(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", multilabel=True)
    boxes = write_boxes(tmp_path / "b.csv", "Sick", "test/001,1,1,9,9,mass", "test/001,1,1,9,9,old")
    config = small_config(
        evaluate={**ON, "annotations": boxes}, data={"labels": {"task": "multilabel"}}
    )
    run_stage(evaluate, config, folder, RunContext())
    found, lines = metrics(folder), table(folder)
    pairs = [(line["key"], line["class"]) for line in lines]
    assert ("test/001", "sick") in pairs
    assert ("test/001", "old") in pairs
    assert found["left_out"] == {localisation.UNKNOWN_CLASS: 1}
    assert found["images"] == found["n"] - 1 == 4
    assert found["map"] == "lrp flex of the finding's class"
    predictor = open_predictor(config, None, folder)
    images = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    own = localisation.explain_classes(predictor, images, torch.tensor([0, 1]))
    maps = predictor.explain(images, "all")[1]
    assert own == pytest.approx(maps[[0, 1], [0, 1]], abs=1e-5)


@pytest.mark.parametrize(("method", "signed"), [("lrp", True), ("gradcam", False)])
def test_the_map_of_a_class_is_against_the_others_where_the_method_has_signs(
    tmp_path: Path, method: str, signed: bool
) -> None:
    folder = make_trained(tmp_path / "run", classes=["a", "b", "c"], sets={"test": 1})
    predictor = open_predictor(small_config(heatmap={"method": method}), None, folder)
    images = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    found = localisation.explain_classes(predictor, images, torch.tensor([2, 0]))
    maps = localisation.explain(predictor, images, "all")[1]
    others = (maps[0, [0, 1]].mean(0), maps[1, [1, 2]].mean(0))
    for i, k in enumerate((2, 0)):
        expected = maps[i, k] - others[i] if signed else maps[i, k]
        assert found[i] == pytest.approx(expected, abs=1e-5)


def test_a_finding_without_a_class_of_its_own_or_its_image_is_left_out(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    edit_rows(folder, lambda row: {"label": ""} if row.key == "test/001" else {})
    config = small_config(evaluate={**ON, "annotations": write_boxes(tmp_path / "b.csv", "lump")})
    run_stage(evaluate, config, folder, RunContext())
    assert metrics(folder)["left_out"] == {localisation.NO_CLASS: 1}
    assert metrics(folder)["n"] == 3


def test_a_stopped_run_continues_to_the_same_figures(tmp_path: Path) -> None:
    config = small_config(
        evaluate={**ON, "annotations": write_boxes(tmp_path / "b.csv")}, bias={"kind": "shapes"}
    )
    whole, parts = (make_trained(tmp_path / name) for name in ("whole", "parts"))
    run_stage(evaluate, config, whole, RunContext())
    for n in (19, 3, 4):
        assert run_stage(evaluate, config, parts, StopAfter(n).context()).status == "incomplete"
    assert run_stage(evaluate, config, parts, RunContext()).status == "done"
    for version in ("biased", "standard", "deceiving"):
        assert metrics(whole, f"test/{version}") == metrics(parts, f"test/{version}")
        assert metrics(whole, f"test/{version}")["n"] == 4


def test_other_annotations_make_a_result_out_of_date_and_none_change_nothing(
    tmp_path: Path,
) -> None:
    folder = make_trained(tmp_path / "run")
    path = tmp_path / "b.csv"
    on = {"annotations": write_boxes(path)}
    before = evaluate.fingerprint(small_config(evaluate=on), folder)
    assert before != evaluate.fingerprint(
        small_config(evaluate=on, heatmap={"method": "gradcam"}), folder
    )
    write_boxes(path, "sick")
    assert evaluate.fingerprint(small_config(evaluate=on), folder) != before
    plain = evaluate.fingerprint(small_config(), folder)
    assert plain == evaluate.fingerprint(small_config(heatmap={"method": "gradcam"}), folder)


def test_what_cannot_be_measured_says_why(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 6, "b": 2})
    run_stage(evaluate, small_config(evaluate=ON), folder, RunContext())
    assert metrics(folder) == {"n": 0, "why": localisation.OFF, "left_out": {}}
    boxes = write_boxes(tmp_path / "b.csv")
    said: list[str] = []
    context = RunContext(warn=lambda kind, text: said.append(text))
    config = small_config(evaluate={**ON, "relevance": False, "annotations": boxes})
    run_stage(evaluate, config, folder, context)
    assert metrics(folder)["why"] == localisation.NO_MAPS
    assert any(localisation.NO_MAPS in text for text in said)
    config = small_config(evaluate={**ON, "annotations": {"test": boxes}})
    run_stage(evaluate, config, folder, RunContext())
    assert metrics(folder, "b/standard")["why"] == localisation.OFF
    with pytest.raises(IsnetError, match="'c' is not scored"):
        run_stage(
            evaluate, small_config(evaluate={"annotations": {"c": boxes}}), folder, RunContext()
        )
