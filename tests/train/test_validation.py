"""Validation leaves the network as it was and says what it cannot compute."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.dataset.records import KeptRecords
from isnet_cli.train.validation import Validator, probabilities
from isnet_models.backbones import build_backbone
from isnet_models.methods.background.background_mix import BackgroundMix
from isnet_models.methods.segmentation.segment_then_classify import LungsOnly, SegmentThenClassify
from isnet_models.methods.standard import Standard
from tests.support.datasets import make_dataset


def test_validation_restores_the_mode_and_needs_masks_to_swap(tmp_path: Path) -> None:
    dataset, _ = make_dataset(tmp_path)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 2)).train()
    found = Validator(dataset, "standard", 4, torch.device("cpu"))(net, Standard(), 0)
    assert net.training
    assert set(found) == {"val_loss", "val_classification", "val_auc", "val_swapped_auc"}
    form = dataset.records.form
    kept = dataset.records.kept.copy()
    kept[0, 2 * 32 * 32 :] = 0
    dataset = dataclasses.replace(dataset, records=KeptRecords(form, kept))
    found = Validator(dataset, "standard", 4, torch.device("cpu"))(net, Standard(), 0)
    assert math.isnan(found["val_swapped_auc"])


def test_probabilities_sum_to_one() -> None:
    p = probabilities(torch.tensor([[0.0, math.log(3.0)]]), "multiclass")
    assert p[0].tolist() == pytest.approx([0.25, 0.75])
    assert probabilities(torch.zeros(1, 2), "multilabel")[0].tolist() == [0.5, 0.5]


def test_exclusive_classes_have_no_thresholds(tmp_path: Path) -> None:
    dataset, _ = make_dataset(tmp_path)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 2))
    assert Validator(dataset, "standard", 4, torch.device("cpu")).thresholds(net) == {}


def test_thresholds_of_several_labels_do_not_depend_on_batches_or_mode(tmp_path: Path) -> None:
    dataset, _ = make_dataset(tmp_path)
    labels = np.stack([dataset.labels == 1, dataset.labels == 0], axis=1).astype(np.float32)
    labels[0] = np.nan
    dataset = dataclasses.replace(dataset, labels=labels)
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(32 * 32, 2)
    ).train()
    found = [Validator(dataset, "standard", n, torch.device("cpu")).thresholds(net) for n in (2, 9)]
    assert net.training
    assert found[0]["thresholds"] == pytest.approx(found[1]["thresholds"])
    assert set(found[0]["threshold_rule"]["f1"]) == {"normal", "sick"}


class Upper(torch.nn.Module):
    """Says that what is bright in the upper half is lung; counts its images."""

    seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        found = images.clone()
        found[..., 128:, :] = 0
        return found


@pytest.mark.parametrize("added", [False, True])
def test_a_segmenter_sees_the_swapped_images_once(tmp_path: Path, added: bool) -> None:
    dataset, _ = make_dataset(tmp_path)
    torch.manual_seed(0)
    net = LungsOnly(Upper(), build_backbone("small", 2), "segment").eval()
    method = SegmentThenClassify()
    used = BackgroundMix(inner=method) if added else method
    validator = Validator(dataset, "standard", 4, torch.device("cpu"))
    first = validator(net, used, 0)
    assert net.segmenter.seen == len(dataset)
    again = validator(net, used, 1)
    assert net.segmenter.seen == len(dataset)
    assert again == first
    with torch.no_grad():
        for p in net.classifier.parameters():
            p.add_(0.1)
    changed = validator(net, used, 2)
    slow = Validator(dataset, "standard", 4, torch.device("cpu"))(net, Whole(), 2)
    assert changed["val_swapped_auc"] == slow["val_swapped_auc"]


class Whole(SegmentThenClassify):
    """Leaves the masks to the network each time."""

    def lungs(self, net: torch.nn.Module, images: torch.Tensor) -> None:
        return None
