"""The trained model at work: what it is, where it is found, and running out of memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.errors import IsnetError
from isnet_cli.inference.predictor import as_trained, dependencies, model_folder, open_predictor
from tests.evaluate.factory import make_trained, save_random_model
from tests.support.runs import make_run, small_config


def test_the_card_decides_what_the_model_is() -> None:
    config = small_config(data={"labels": {"classes": ["x", "y"]}})
    card = {
        "arch": "vgg11", "input": [64, 48], "channels": 3, "classes": ["b", "a"],
        "task": "multilabel",
    }  # fmt: skip
    found = as_trained(config, card)
    assert (found.model.arch, found.model.input, found.model.channels) == ("vgg11", (64, 48), 3)
    assert (found.data.labels.classes, found.data.labels.task) == (["b", "a"], "multilabel")
    assert found.train == config.train
    assert found.model.standardise == "none"
    assert as_trained(config, {**card, "standardise": "bands"}).model.standardise == "bands"


def test_probabilities_are_softmax_or_sigmoid_of_the_logits(tmp_path: Path) -> None:
    images = torch.rand(3, 1, 32, 32)
    several = open_predictor(
        small_config(), None, make_trained(tmp_path / "b", sets={"test": 1}, multilabel=True)
    )
    one = open_predictor(small_config(), None, make_trained(tmp_path / "a", sets={"test": 1}))
    for predictor in (one, several):
        seen = predictor.predict(images)
        y = seen.logits
        expected = (
            1 / (1 + np.exp(-y))
            if predictor is several
            else np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
        )
        np.testing.assert_allclose(seen.probabilities, expected, rtol=1e-12)
        explained, maps = predictor.explain(images, "all")
        np.testing.assert_allclose(explained.logits, y, atol=1e-5)
        assert maps.shape == (3, 2, 1, 32, 32)
    assert one.decisions(np.array([[0.5, 0.5]])) == [["normal"]]
    assert several.decisions(np.array([[0.45, 0.55]])) == [["sick"]]


def test_looking_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    predictor = open_predictor(small_config(), None, make_trained(tmp_path / "a"))
    before = {k: v.clone() for k, v in predictor.model.net.state_dict().items()}
    predictor.explain(torch.rand(2, 1, 32, 32), "predicted")
    after = predictor.model.net.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not predictor.model.net.training
    assert all(p.grad is None for p in predictor.model.net.parameters())


def test_too_little_memory_names_the_setting_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = open_predictor(small_config(), None, make_trained(tmp_path / "a"))

    def full(images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predictor.model.net, "forward", full)
    with pytest.raises(IsnetError, match="8 images at a time") as caught:
        predictor.predict(torch.zeros(8, 1, 32, 32))
    assert caught.value.kind == "machine"
    assert "evaluate.batch_size=4" in caught.value.fix


def test_model_is_found_in_a_run_and_in_its_train_folder(tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "a")
    other = make_run(tmp_path / "b")
    for chosen in (trained.path, trained.path / "train"):
        assert model_folder(str(chosen), other) == trained.path / "train"
    before = dependencies(small_config(), str(trained.path), other)
    save_random_model(trained.path / "train", epoch=9)
    after = dependencies(small_config(), str(trained.path), other)
    assert before[:-1] == after[:-1]
    weights_and_card = zip(before[-1], after[-1], strict=True)
    assert [a == b for a, b in weights_and_card] == [True, False]


def test_masks_must_be_finished(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "a")
    folder.begin("masks", "again")
    with pytest.raises(IsnetError, match="'masks' is not finished"):
        open_predictor(small_config(), None, folder)
