"""The attack on the background in `evaluate`: figures are those of the images, stops continue."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.evaluate import attack, scoring
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.inference.predictor import open_predictor
from isnet_models.attack import attack_region
from tests.evaluate.factory import StopAfter, make_trained
from tests.support.runs import small_config

ON = {"relevance": False, "background": False, "attack": True, "batch_size": 2}


@pytest.fixture(autouse=True)
def _plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "svg_text", lambda figure: "<svg/>")


def test_figures_are_those_of_each_image(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", verdicts={"test/001": "suspect"})
    config = small_config(evaluate=ON)
    run_stage(evaluate, config, folder, RunContext())
    place = folder.path / "evaluate" / "test" / "standard"
    metrics = json.loads((place / "metrics.json").read_text())
    found, lines = metrics["attack"], read_csv(place / attack.TABLE)
    assert "test/standard/attack.csv" in metrics["files"]
    assert len(lines) == found["n"] == found["usable"]
    assert "test/001" not in [line["key"] for line in lines]
    predictor = open_predictor(config, None, folder)
    chosen = {row.key: row for row in attack.choose_attacked(predictor, "test", _rows(predictor))}
    for line in lines:
        images, lungs = predictor.batch(predictor.load([chosen[line["key"]]]), [0], "standard")
        inside = torch.from_numpy(lungs).float()[:, None]
        for name, region in (("background", 1 - inside), ("lungs", inside)):
            (bound,) = attack_region(predictor.model.net, images, region).tolist()
            assert float(line[name] or "inf") == (
                pytest.approx(bound, rel=1e-4) if math.isfinite(bound) else bound
            )
    for name in attack.REGIONS:
        bounds = np.array([float(line[name] or "inf") for line in lines])
        assert found[name]["rate"] == np.isfinite(bounds).mean()
        assert found[name]["flipped"] == [
            float((bounds <= b * (1 + 1e-5)).mean()) for b in found["bounds"]
        ]
        assert found[name]["low"] - 1e-5 <= found[name]["rate"] <= found[name]["high"] + 1e-5


def _rows(predictor: object) -> list:
    from isnet_cli.images.manifest import read_manifest

    rows = read_manifest(predictor.folder.stage_dir("ingest") / "manifest.csv")  # type: ignore[attr-defined]
    return [row for row in rows if row.set == "test"]


def test_a_stopped_attack_continues_to_the_same_figures(tmp_path: Path) -> None:
    config = small_config(evaluate=ON)
    whole, parts = (make_trained(tmp_path / name) for name in ("whole", "parts"))
    run_stage(evaluate, config, whole, RunContext())
    for n in (7, 3):
        assert run_stage(evaluate, config, parts, StopAfter(n).context()).status == "incomplete"
    assert run_stage(evaluate, config, parts, RunContext()).status == "done"
    place = Path("evaluate", "test", "standard", "metrics.json")
    one, two = (json.loads((folder.path / place).read_text()) for folder in (whole, parts))
    assert one["attack"] == two["attack"]


def test_it_is_off_unless_asked_for_and_says_why_there_is_nothing(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    off = small_config(evaluate={**ON, "attack": False})
    run_stage(evaluate, off, folder, RunContext())
    path = folder.path / "evaluate" / "test" / "standard" / "metrics.json"
    assert json.loads(path.read_text())["attack"] == {"n": 0, "why": attack.OFF}
    assert not path.with_name(attack.TABLE).exists()
