"""A trained model on the meta device, whose values cannot be read: nothing waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from isnet_cli.images.manifest import read_manifest
from isnet_cli.inference.predictor import open_predictor
from isnet_models.explanations.gradcam import grad_cam
from isnet_models.explanations.path_gradients import integrated_gradients
from isnet_models.explanations.rollout import attention_rollout
from tests.evaluate.factory import make_trained
from tests.models.methods.factory import batch, prepare
from tests.support.runs import small_config
from tests.train.test_meta_device import NoBlockingCopy

META = torch.device("meta")


def test_answers_and_maps_stay_on_the_device(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 5})
    config = small_config(bias={"kind": "shapes"})
    found = open_predictor(config, None, folder)
    found.model.net.to(META)
    predictor = replace(found, device=META)
    rows = read_manifest(folder.path / "ingest" / "manifest.csv")
    dataset = predictor.load(rows)
    for version in ("standard", "biased"):
        images, lungs = predictor.batch_on_device(dataset, range(5), version)
        assert (images.device, lungs.device) == (META, META)
        assert predictor.answer(images).shape == (5, 2)
        for target in ("predicted", "all"):
            logits, maps = predictor.relate(images, target)
            assert (logits.device, maps.device) == (META, META)
            assert maps.shape == (5, 1 if target == "predicted" else 2, 1, 32, 32)


@pytest.mark.parametrize(
    ("method", "explain", "maps"),
    [
        ("standard", lambda net, x: grad_cam(net, x, "all"), 3),
        ("standard", lambda net, x: integrated_gradients(net, x, "all", steps=2), 3),
        ("vit", attention_rollout, 1),
    ],
    ids=["gradcam", "integrated_gradients", "attention_rollout"],
)
def test_explanations_stay_on_the_device(
    method: str, explain: Callable[..., Any], maps: int
) -> None:
    net, images = prepare(method).net.eval().to(META), batch().images.to(META)
    with NoBlockingCopy():
        found = explain(net, images)
    assert found.maps.shape == (6, maps, 1, 32, 32)
    assert {found.logits.device, found.maps.device} == {META}
