"""Classification loss by hand; what every method does by itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from isnet_models.methods.base import Batch, Context, Losses, Method, NetSpec, classification_loss
from isnet_models.methods.standard import Standard
from tests.models.methods.factory import batch


def test_missing_labels_cost_nothing() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    labels = torch.tensor([[1.0, math.nan], [math.nan, 0.0]])
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(3))) / 2
    assert classification_loss(logits, labels).item() == pytest.approx(by_hand, rel=1e-6)
    assert classification_loss(logits, torch.full((2, 2), math.nan)).item() == 0


def test_class_weights_by_hand() -> None:
    logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    logits[1] = torch.tensor([0.0, 1.0])
    ce = [math.log(2), math.log(1 + math.exp(-1))]
    loss = classification_loss(logits, labels, torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((ce[0] + 3 * ce[1]) / 4)
    weighted = Standard(context=Context(class_weights=torch.tensor([1.0, 3.0])))
    assert weighted.classification(logits, labels) == loss


class _Twice(Method):
    """An addition: the inner loss, doubled."""

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        found = self.inner.losses(net, batch, epoch)  # type: ignore[union-attr]
        return Losses(2 * found.total, found.logits, found.parts)


def test_an_addition_stands_around_its_method() -> None:
    net = Method.build(NetSpec("small", 3)).eval()
    inner = Standard()
    outer = _Twice(None, Context(), _Twice(None, Context(), inner))
    assert outer.base is inner
    assert inner.base is inner
    data = batch()
    assert outer.losses(net, data, 0).total == 4 * inner.losses(net, data, 0).total
    with pytest.raises(NotImplementedError):
        Method().losses(net, data, 0)


def test_logits_keep_the_images_type() -> None:
    net, data = Method.build(NetSpec("small", 3)).eval(), batch()
    wide, narrow = (Method(context=Context(autocast=on)) for on in (False, True))
    assert wide.logits(net, data.images).equal(net(data.images))
    rough = narrow.logits(net, data.images)
    assert rough.dtype == torch.float32
    assert not rough.equal(net(data.images))
    assert torch.allclose(rough, net(data.images), atol=0.05)
