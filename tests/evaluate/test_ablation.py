"""Without its segmenter a pipeline's classifier gets whole images, and the metrics say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.evaluate.ablation import with_segmenter
from isnet_cli.inference.predictor import open_predictor
from tests.evaluate.factory import make_trained
from tests.support.method_runs import network_config, trained
from tests.support.runs import small_config

METHOD = "segment_then_classify"


def test_evaluated_with_and_without(tmp_path: Path) -> None:
    folder, said, tables = trained(METHOD, tmp_path), [], []
    for asked in (True, False):
        config = network_config(METHOD, tmp_path, evaluate={"segmenter": asked})
        assert run_stage(evaluate, config, folder, RunContext(), replace=True).status == "done"
        place = folder.path / "evaluate"
        said.append(json.loads((place / "metrics.json").read_text())["model"]["segmenter"])
        tables.append(read_csv(place / "test" / "standard" / "predictions.csv"))
    assert said == ["segment", "whole"]
    assert [r["p_sick"] for r in tables[0]] != [r["p_sick"] for r in tables[1]]
    net = open_predictor(config, None, folder).model.net
    images = open_predictor(config, None, folder)
    rows = [r["key"] for r in tables[1]]
    assert rows
    x = torch.rand(2, 1, 32, 32)
    ablated = with_segmenter(images)
    with torch.no_grad():
        expected = net.classifier(x).double().softmax(1)
    torch.testing.assert_close(torch.from_numpy(ablated.predict(x).probabilities), expected)


def test_a_model_trained_for_whole_images_says_so(tmp_path: Path) -> None:
    config = network_config(METHOD, tmp_path, {"at_test": "whole"})
    folder = trained(METHOD, tmp_path, config)
    found = with_segmenter(open_predictor(config, None, folder))
    assert found.describe()["model"]["segmenter"] == "whole"


def test_earlier_evaluations_stay_up_to_date(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    kept = small_config(evaluate={"segmenter": True})
    assert evaluate.fingerprint(small_config(), folder) == evaluate.fingerprint(kept, folder)
    other = small_config(evaluate={"segmenter": False})
    assert evaluate.fingerprint(other, folder) != evaluate.fingerprint(kept, folder)


def test_a_model_without_segmenter_is_refused(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    found = open_predictor(small_config(), None, folder)
    assert with_segmenter(found) is found
    config = small_config(evaluate={"segmenter": False})
    with pytest.raises(IsnetError, match="model of method isnet has no segmenter") as caught:
        with_segmenter(open_predictor(config, None, folder))
    assert caught.value.kind == "config"
