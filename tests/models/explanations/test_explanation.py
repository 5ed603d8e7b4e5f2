"""Which classes an explanation is about."""

from __future__ import annotations

import torch

from isnet_models.explanations.explanation import explained_classes

LOGITS = torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, -2.0]])


def test_classes_of_each_target() -> None:
    assert explained_classes(LOGITS, "predicted").tolist() == [[1], [0]]
    assert explained_classes(LOGITS, "all").tolist() == [[0, 1, 2], [0, 1, 2]]
    assert explained_classes(LOGITS, torch.tensor([2, 0])).tolist() == [[2], [0]]
