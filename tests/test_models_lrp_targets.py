"""What a map explains, by hand and by frequency."""

from __future__ import annotations

import pytest
import torch

from isnet_models.lrp.targets import quantities, stochastic_choice


def test_stochastic_choice_frequencies() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]]).repeat(20000, 1)
    chosen = stochastic_choice(logits, 0.5, torch.Generator().manual_seed(0))
    shares = torch.bincount(chosen, minlength=4) / len(chosen)
    assert torch.allclose(shares, torch.tensor([1 / 6, 1 / 2, 1 / 6, 1 / 6]), atol=0.015)
    assert stochastic_choice(torch.zeros(3, 1), 0.5, None).tolist() == [0, 0, 0]


def test_selective_quantity_by_hand() -> None:
    logits = torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64)
    p = logits.exp()[0, 1] / logits.exp().sum()
    (q,) = quantities(logits, "selective", delta=0.01)
    assert q.item() == pytest.approx((torch.log(p + 0.01) - torch.log(1 - p + 0.01)).item())
    with pytest.raises(ValueError, match="two or more"):
        quantities(torch.zeros(1, 1), "selective")
