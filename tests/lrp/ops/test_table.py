"""Operations lose their spelling, and every name has one kind of rule or is refused by name."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from isnet_lrp.ops import activation, product, structure
from isnet_lrp.record.table import name_of


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (F.relu, ("relu", False)), (torch.relu_, ("relu", True)),
        (torch.Tensor.relu, ("relu", False)),
        (torch.Tensor.add_, ("add", True)), (torch.Tensor.__iadd__, ("add", True)),
        (torch.Tensor.T.__get__, ("T", False)), (F.max_pool2d, ("max_pool2d", False)),
        (torch.Tensor.__getitem__, ("getitem", False)),
    ],
)  # fmt: skip
def test_names(func: object, expected: tuple[str, bool]) -> None:
    assert name_of(func) == expected  # type: ignore[arg-type]


def test_kinds_are_disjoint() -> None:
    kinds = (
        activation.RELU, activation.ACTIVATIONS, activation.OFFSET, product.CONSTANTS,
        structure.RESHAPES, structure.LINEAR,
    )  # fmt: skip
    for a, b in combinations(kinds, 2):
        assert not a & b, a & b
