"""The attack on a region: what a linear classifier's closed form says, and nothing outside."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from isnet_models.attack import AttackSettings, attack_region

BOUNDS = AttackSettings(bounds=(0.05, 0.1, 0.2, 0.4), steps=10)


class Linear(nn.Module):
    """logits = (w·x + b, 0)."""

    def __init__(self, weight: Tensor, bias: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), bias
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        y = (x * self.weight).sum((1, 2, 3)) + self.bias
        return torch.stack([y, torch.zeros_like(y)], 1)


@pytest.mark.parametrize(
    ("margin", "expected"),  # a change of bound b moves w·x by 6·b in the region
    [(0.29, 0.05), (0.31, 0.1), (1.19, 0.2), (2.3, 0.4), (2.5, math.inf)],
)
def test_a_linear_classifier_flips_at_the_bound_of_its_weights(
    margin: float, expected: float
) -> None:
    weight = torch.zeros(1, 4, 4)
    weight[0, 0], weight[0, 1:, 0] = torch.tensor([1.0, -1, 1, -1]), torch.tensor([2.0, -2, 2])
    region = torch.zeros(1, 1, 4, 4)
    region[..., 0, :] = 1
    region[..., 1, 0] = 1  # sum of |w| inside: 4 + 2
    images = torch.full((1, 1, 4, 4), 0.5)
    bias = margin - float((images * weight).sum())
    net = Linear(weight, bias).eval()
    assert attack_region(net, images, region, settings=BOUNDS).tolist() == [pytest.approx(expected)]
    for x in net.seen:
        assert torch.equal(x * (1 - region), images * (1 - region))
        assert float((x - images).abs().max()) <= 0.4 + 1e-6
    assert net.weight.grad is None


def test_pixels_stay_grey_levels_and_channels_alike() -> None:
    net = Linear(torch.ones(3, 2, 2), -0.1)
    images = torch.tensor([[0.01, 0.02], [0.0, 0.99]]).expand(1, 3, 2, 2)
    attack_region(net, images, torch.ones(1, 1, 2, 2), settings=BOUNDS)
    for x in net.seen:
        assert float(x.min()) >= 0
        assert float(x.max()) <= 1
        assert torch.equal(x[:, 0], x[:, 2])


def test_images_do_not_depend_on_their_neighbours() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    images, region = torch.rand(5, 1, 8, 8), (torch.rand(5, 1, 8, 8) > 0.5).float()
    together = attack_region(net, images, region, settings=BOUNDS)
    alone = [
        attack_region(net, images[i : i + 1], region[i : i + 1], settings=BOUNDS) for i in range(5)
    ]
    assert torch.equal(together, torch.cat(alone))
    assert len(set(together.tolist())) > 1


def test_the_label_nearest_to_its_threshold_is_attacked() -> None:
    net = Linear(torch.ones(1, 2, 2), -1.7)  # first label at 0.3, second at 0 + 5 below its own
    thresholds = torch.tensor([0.0, 5.0])
    images = torch.full((1, 1, 2, 2), 0.5)
    found = attack_region(net, images, torch.ones(1, 1, 2, 2), thresholds, BOUNDS)
    assert found.tolist() == [pytest.approx(0.1)]


def test_an_empty_region_flips_nothing() -> None:
    net = Linear(torch.ones(1, 2, 2), -1.99)
    found = attack_region(net, torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, 1, 2, 2))
    assert found.tolist() == [math.inf]


@pytest.mark.parametrize(
    "wrong", [{"bounds": ()}, {"bounds": (0.2, 0.1)}, {"bounds": (0.0,)}, {"steps": 0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        AttackSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one class"):
        attack_region(nn.Flatten(), torch.rand(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
