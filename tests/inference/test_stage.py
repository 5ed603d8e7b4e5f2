"""Predictions without labels: the network's own answers, flags, and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isnet_cli.core.files import read_csv, write_json
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from isnet_cli.inference import stage as predict
from isnet_cli.inference.lines import NONE
from isnet_cli.inference.ood_score import fit_cloud, pack
from isnet_cli.inference.predictor import open_predictor
from isnet_models.features import decision_features
from tests.evaluate.factory import (
    StopAfter,
    edit_rows,
    finish_train,
    make_trained,
    save_random_model,
)
from tests.support.runs import make_run, small_config


def with_limits(folder: RunFolder, limit: float = 2.0, margin: float = 0.05, f: int = 192) -> None:
    """Gives the run's random model limits of its flags."""
    path = folder.path / "train/model.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    cloud = fit_cloud(np.random.default_rng(0).random((40, f)))
    card["uncertainty"] = {
        "ood": {"limit": limit, "share": 0.02, "n": 50, "cloud": pack(cloud)},
        "margin": {"limit": margin, "share": 0.1, "n": 50},
    }
    write_json(path, card)
    finish_train(folder)


def predicted(
    folder: RunFolder, context: RunContext | None = None
) -> tuple[Any, list[dict[str, str]]]:
    outcome = run_stage(predict, small_config(), folder, context or RunContext())
    return outcome, read_csv(folder.path / "predict/predictions.csv")


@pytest.mark.parametrize("multilabel", [False, True])
def test_each_image_has_the_networks_answer(tmp_path: Path, multilabel: bool) -> None:
    folder = make_trained(tmp_path / "a", sets={"train": 3, "test": 5}, multilabel=multilabel)
    with_limits(folder)
    outcome, lines = predicted(folder)
    predictor = open_predictor(small_config(), None, folder)
    card = json.loads((folder.path / "train/model.json").read_text(encoding="utf-8"))
    limits = predict.read_limits(card, "card")
    rows = read_manifest(folder.path / "ingest/manifest.csv")
    assert [line["key"] for line in lines] == [row.key for row in rows]
    for line, row in zip(lines, rows, strict=True):
        images, _ = predictor.batch(predictor.load([row]), [0], "standard")
        with torch.inference_mode():
            logits, features = decision_features(predictor.model.net, images)
        y = logits[0].double()
        p = (y.sigmoid() if multilabel else y.softmax(0)).tolist()
        found = [float(line[f"p_{name}"]) for name in predictor.classes]
        assert found == pytest.approx(p, rel=1e-4)
        limits_hit = [0.4, 0.6]
        expected = (
            [n for n, v, t in zip(predictor.classes, p, limits_hit, strict=True) if v >= t]
            if multilabel
            else [predictor.classes[int(np.argmax(p))]]
        )
        assert line["predicted"] == ";".join(expected)
        assert limits.cloud is not None
        distance = limits.cloud.distance(features.double().numpy())[0] / 2.0
        assert float(line["ood_score"]) == pytest.approx(distance, rel=1e-3)
        assert line["flag_ood"] == str(int(distance > 1))
    summary = outcome.summary
    assert (summary["images"], summary["skipped"], summary["expected_ood_share"]) == (8, 0, 0.02)
    for name, count in summary["predicted"].items():
        cell = "" if name == NONE else name
        assert count == sum(cell in line["predicted"].split(";") for line in lines)
    for flag, count in summary["flags"].items():
        assert count == sum(line[f"flag_{flag}"] == "1" for line in lines)
    assert summary["uncertain"] == sum(line["uncertain"] == "1" for line in lines)


def test_labels_of_the_images_play_no_part(tmp_path: Path) -> None:
    plain, other = (make_trained(tmp_path / name, sets={"test": 4}) for name in "ab")
    edit_rows(other, lambda row: {"label": "hand"})
    assert predicted(plain)[1] == predicted(other)[1]


def test_masks_are_flagged_with_their_reason(tmp_path: Path) -> None:
    verdicts = {"test/000": "suspect", "test/001": "missing"}
    folder = make_trained(tmp_path / "a", sets={"test": 3}, verdicts=verdicts)
    outcome, lines = predicted(folder)
    assert [line["flag_mask"] for line in lines] == ["1", "1", "0"]
    assert lines[1]["reasons"].startswith("mask_missing: ")
    assert all(line["predicted"] for line in lines)
    assert outcome.summary["flags"] == {"mask": 2, "ood": None, "margin": None}


def test_a_model_without_limits_says_so(tmp_path: Path) -> None:
    heard: list[str] = []
    context = RunContext(warn=lambda category, text: heard.append(f"{category}: {text}"))
    _, lines = predicted(make_trained(tmp_path / "a", sets={"test": 2}), context)
    assert {line["flag_ood"] for line in lines} == {""}
    assert "ood_unknown" in lines[0]["reasons"]
    assert any("no flag for images that differ from the training images" in text for text in heard)


def test_an_interrupted_work_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "choose_chunk_size", lambda config: 2)
    whole, parts = (make_trained(tmp_path / name, sets={"test": 7}) for name in "ab")
    stopped = run_stage(predict, small_config(), parts, StopAfter(3).context())
    assert stopped.status == "incomplete"
    assert not (parts.path / "predict/predictions.csv").exists()
    seen: list[int] = []
    original = predict._Work._chunk
    monkeypatch.setattr(
        predict._Work, "_chunk", lambda s, rows: (seen.append(len(rows)), original(s, rows))[1]
    )
    assert predicted(parts)[1] == predicted(whole)[1]
    assert seen[:2] == [2, 1]  # two chunks were done before
    assert run_stage(predict, small_config(), parts, RunContext()).status == "current"


def nan_for_some(net: torch.nn.Module) -> None:
    """Overflows for bright images alone."""
    with torch.no_grad():
        net.fc.weight.fill_(3e38)  # type: ignore[union-attr]
        net.fc.weight[1].fill_(-3e38)  # type: ignore[union-attr]


def test_a_model_that_answers_nothing_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", sets={"test": 3})
    save_random_model(folder.path / "train", nan_for_some)
    finish_train(folder)
    with pytest.raises(IsnetError, match="answers none of 3 images with a number") as caught:
        predicted(folder)
    assert caught.value.kind == "weights"


def test_one_answer_that_is_no_number_is_one_skipped_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = predict.Predictor.predict

    def broken(self: Any, images: torch.Tensor) -> Any:
        seen = original(self, images)
        if len(images) > 1:
            seen.logits[1] = seen.probabilities[1] = np.nan
        return seen

    monkeypatch.setattr(predict.Predictor, "predict", broken)
    outcome, lines = predicted(make_trained(tmp_path / "a", sets={"test": 3}))
    assert (outcome.summary["skipped"], outcome.summary["images"]) == (1, 3)
    assert sum(outcome.summary["predicted"].values()) == 2
    assert (lines[1]["predicted"], lines[1]["p_sick"], lines[1]["uncertain"]) == ("", "", "1")
    assert "not_finite" in lines[1]["reasons"]
    assert all(lines[i]["predicted"] for i in (0, 2))


def test_read_limits_another_network_are_refused(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "a", sets={"test": 2})
    with_limits(folder, f=64)
    with pytest.raises(IsnetError, match="192 features, 'uncertainty' of 64") as caught:
        predicted(folder)
    assert caught.value.kind == "weights"


def test_an_input_that_the_network_does_not_take_is_refused(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "a", sets={"test": 2}, input=[2, 2])
    with pytest.raises(IsnetError, match=r"does not belong to the network \(2 x 2 px\)"):
        predicted(folder)


def test_the_models_input_size_is_taken_not_the_configurations(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "a", sets={"test": 2})
    config = small_config(model={"arch": "resnet18", "input": [64, 64]})
    run_stage(predict, config, folder, RunContext())
    other = make_trained(tmp_path / "b", sets={"test": 2})
    assert predicted(other)[1] == read_csv(folder.path / "predict/predictions.csv")


def test_another_model_makes_the_result_outdated(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "a", sets={"test": 2})
    before = predict.fingerprint(small_config(), folder)
    with_limits(folder)
    assert predict.fingerprint(small_config(), folder) != before
    assert run_stage(predict, small_config(), folder, RunContext()).status == "done"
