"""Methods by name: what they promise, and where they are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from isnet_cli.config.schema import Heatmap
from isnet_cli.errors import IsnetError
from isnet_cli.inference import explainers
from isnet_cli.inference.explainers import (
    METHODS,
    check_method,
    describe_method,
    explain,
    read_method,
)
from isnet_cli.inference.predictor import Predictor, open_predictor
from isnet_models.explanations.gradcam import grad_cam
from isnet_models.methods import registry
from tests.evaluate.factory import SIDE, make_trained
from tests.support.runs import small_config

OWN = {"standard": "lrp flex", "isnet": "lrp flex", "grad_input": "grad_input"}
TRANSFORMER = {"arch": "vit_b_16", "input": [224, 224]}


def predictor(
    path: Path, method: str = "lrp", card: dict[str, Any] | None = None, **heat: Any
) -> Predictor:
    folder = make_trained(path / "run", sets={"test": 1}, **(card or {}))
    return open_predictor(small_config(heatmap={"method": method, **heat}), None, folder)


def images(count: int = 2, side: int = SIDE) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def test_every_method_of_the_configuration_is_known() -> None:
    names = set(get_args(Heatmap.model_fields["method"].annotation))
    assert set(METHODS) == names - {"own"}
    assert {entry.explains for entry in registry.ENTRIES} <= set(METHODS)


@pytest.mark.parametrize("method", OWN)
def test_the_default_is_the_training_method_s_own(tmp_path: Path, method: str) -> None:
    found = predictor(tmp_path, "own", {"method": method})
    assert small_config().heatmap.method == "own"
    assert describe_method(found) == OWN[method]
    check_method(found)
    x = images()
    plain = predictor(tmp_path, OWN[method].split()[0], {"method": method})
    for target in ("predicted", "all"):
        _, maps, totals = explain(found, x, target)
        _, expected, sums = explain(plain, x, target)
        assert np.array_equal(maps, expected)
        assert np.array_equal(totals, sums)


@pytest.mark.parametrize(
    ("heat", "said"),
    [
        ({"target": "all"}, r"heatmap\.target: attention rollout is the same for every class"),
        ({"family": "z+"}, r"heatmap\.family: a family belongs to method lrp, found .*rollout"),
    ],
)
def test_settings_that_do_not_go_with_the_own_method(
    tmp_path: Path, heat: dict[str, Any], said: str
) -> None:
    """The model may be another run's, so this is told when its card is read."""
    found = predictor(tmp_path, "own", **heat)
    check_method(found)
    model = dataclasses.replace(found.model, card={**found.model.card, "method": "vit"})
    with pytest.raises(IsnetError, match=said) as caught:
        check_method(dataclasses.replace(found, model=model))
    assert caught.value.kind == "config"


@pytest.mark.parametrize("method", ["lrp", "gradcam", "grad_input", "integrated_gradients"])
def test_each_method_explains_every_target(tmp_path: Path, method: str) -> None:
    found = predictor(tmp_path, method)
    check_method(found)
    x = images()
    seen, every, totals = explain(found, x, "all")
    assert every.shape[:2] == totals.shape == (2, 2)
    assert every.shape[-2:] == (SIDE, SIDE)
    np.testing.assert_allclose(seen.logits, found.predict(x).logits, atol=1e-5)
    best = seen.logits.argmax(axis=1)
    for target in ("predicted", torch.from_numpy(best)):
        _, maps, total = explain(found, x, target)
        for n in range(2):
            np.testing.assert_allclose(maps[n, 0], every[n, best[n]], atol=1e-5)
            np.testing.assert_allclose(total[n, 0], totals[n, best[n]], atol=1e-5)
    assert np.isnan(totals).all() == (method == "gradcam")
    assert read_method(found).signed == (method != "gradcam")


def test_gradient_times_input_is_the_gradient_times_the_input(tmp_path: Path) -> None:
    found, x = predictor(tmp_path, "grad_input"), images().requires_grad_()
    (slope,) = torch.autograd.grad(found.model.net(x)[:, 1].sum(), x)
    _, maps, totals = explain(found, x.detach(), torch.tensor([1, 1]))
    expected = (slope * x).detach()
    scale = float(expected.abs().max())
    np.testing.assert_allclose(maps[:, 0], expected, atol=1e-4 * scale)
    np.testing.assert_allclose(totals[:, 0], found.model.net(x)[:, 1].detach(), atol=1e-5)


def test_names_for_the_index(tmp_path: Path) -> None:
    assert describe_method(predictor(tmp_path / "a")) == "lrp flex"
    assert describe_method(predictor(tmp_path / "b", family="z+")) == "lrp z+"
    assert describe_method(predictor(tmp_path / "c", "gradcam")) == "gradcam"


@pytest.mark.slow
def test_a_transformer_has_a_rollout_and_no_grad_cam(tmp_path: Path) -> None:
    found = predictor(tmp_path, "attention_rollout", TRANSFORMER)
    check_method(found)
    _, maps, totals = explain(found, images(1, 224), "predicted")
    assert maps.shape == (1, 1, 1, 224, 224)
    assert np.isnan(totals).all()
    config = found.config.model_copy(
        update={"heatmap": found.config.heatmap.model_copy(update={"method": "gradcam"})}
    )
    cam = Predictor(found.model, config, found.device, found.folder, found.qc)
    with pytest.raises(IsnetError, match=r"gradcam is not defined for vit_b_16.*tokens") as caught:
        check_method(cam)
    assert "attention_rollout" in caught.value.fix


def test_a_rollout_of_a_convolutional_network_is_refused(tmp_path: Path) -> None:
    found = predictor(tmp_path, "attention_rollout")
    with pytest.raises(IsnetError, match=r"not defined for small: .*no multi-head") as caught:
        check_method(found)
    assert caught.value.kind == "config"
    assert "--method gradcam" in caught.value.fix


def test_too_little_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError

    found = predictor(tmp_path, "gradcam")
    monkeypatch.setattr(explainers, "grad_cam", full)
    assert grad_cam is not full
    with pytest.raises(IsnetError, match="memory of the device"):
        explain(found, images(), "all")
