"""Maps of varied networks equal plain input x gradient of twins that hold constants by hand."""

from __future__ import annotations

import copy

import pytest
import torch

from isnet_lrp import relevance
from tests.lrp.networks.twins import TWINS, Twin, make


def images(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("epsilon", [0.01, 0.0])
@pytest.mark.parametrize("kind", TWINS, ids=lambda kind: kind.__name__)
def test_maps_equal_input_times_gradient_of_the_twin(kind: type[Twin], epsilon: float) -> None:
    net, x = make(kind), images()
    frozen = copy.deepcopy(net).requires_grad_(False)
    image = x.clone().requires_grad_()
    with torch.no_grad():
        plain = net(x)
    logits = frozen.twin(image, epsilon)
    torch.testing.assert_close(logits, plain, rtol=1e-12, atol=1e-12)
    result = relevance(net, x, "all", epsilon=epsilon)
    torch.testing.assert_close(result.logits, plain, rtol=1e-12, atol=1e-12)
    for k in range(3):
        (slope,) = torch.autograd.grad(logits[:, k].sum(), image, retain_graph=True)
        expected = x * slope
        assert expected.abs().max() > 1e-6
        assert (result.maps[:, k] - expected).abs().max() < 1e-10 * expected.abs().max()


@pytest.mark.parametrize("kind", TWINS, ids=lambda kind: kind.__name__)
def test_gradients_of_a_loss_of_maps_equal_finite_differences(kind: type[Twin]) -> None:
    net, x = make(kind), images()
    parameters = list(net.parameters())
    generator = torch.Generator().manual_seed(2)
    steps = [torch.randn(p.shape, generator=generator).double() for p in parameters]

    def loss(create_graph: bool) -> torch.Tensor:
        result = relevance(net, x, "selective", create_graph=create_graph)
        return 100 * result.maps.square().mean() + result.logits.square().mean()

    slopes = torch.autograd.grad(loss(True), parameters, allow_unused=True)
    found = sum(float((g * s).sum()) for g, s in zip(slopes, steps, strict=True) if g is not None)
    errors = []
    for h in (1e-6, 1e-7, 1e-8):  # a kink between the two points spoils one step, not all
        moved = []
        for sign in (1, -1):
            with torch.no_grad():
                for p, s in zip(parameters, steps, strict=True):
                    p.add_(s, alpha=sign * h)
                moved.append(float(loss(False)))
                for p, s in zip(parameters, steps, strict=True):
                    p.sub_(s, alpha=sign * h)
        errors.append(abs((moved[0] - moved[1]) / (2 * h) - found) / abs(found))
    assert min(errors) < 1e-6
