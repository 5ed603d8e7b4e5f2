"""The two faces of each operation: the ordinary gradient, and relevance."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from isnet_models.lrp.rules import Damp, Phase, RelevanceBatchNorm, RelevanceReLU


@pytest.mark.parametrize("epsilon", [0.1, 1e-3])
def test_damp_derivatives(epsilon: float) -> None:
    g = torch.randn(5, dtype=torch.float64, requires_grad=True)
    a = torch.rand(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *t: Damp.apply(*t, epsilon), (g, a))


def test_damp_by_hand() -> None:
    g, a = torch.tensor([2.0, 2.0, 2.0]), torch.tensor([0.0, 0.1, 9.9])
    assert torch.allclose(Damp.apply(g, a, 0.1), torch.tensor([0.0, 1.0, 1.98]))
    assert Damp.apply(g, a, 0.0).tolist() == [0.0, 2.0, 2.0]


@pytest.mark.parametrize("inplace", [False, True])
def test_relu_shows_the_face_of_its_phase(inplace: bool) -> None:
    phase = Phase(0.5)
    x = torch.tensor([-1.0, 0.5, 1.5], requires_grad=True)
    y = RelevanceReLU.apply(x * 1, phase, inplace)
    assert y.tolist() == [0.0, 0.5, 1.5]
    plain = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    phase.explaining = True
    damped = torch.autograd.grad(y.sum(), x)[0]
    assert plain.tolist() == [0.0, 1.0, 1.0]
    assert damped.tolist() == [0.0, 0.5, 0.75]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm_is_torchs_own_while_not_explaining(training: bool, affine: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    gamma, beta = (torch.randn(3, dtype=torch.float64) if affine else None for _ in range(2))
    results = []
    for ours in (True, False):
        mean, var = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
        leaves = [t.clone().requires_grad_() for t in (x, gamma, beta) if t is not None]
        w, b = (leaves[1], leaves[2]) if affine else (None, None)
        if ours:
            y = RelevanceBatchNorm.apply(
                leaves[0], w, b, mean, var, training, 0.1, 1e-5, Phase(0.01)
            )[0]
        else:
            y = F.batch_norm(leaves[0], mean, var, w, b, training, 0.1, 1e-5)
        results.append([y, mean, var, *torch.autograd.grad((y**3).sum(), leaves)])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_is_a_fixed_scale_while_explaining(training: bool) -> None:
    phase = Phase(0.01)
    x = torch.randn(4, 2, 3, 3, requires_grad=True)
    gamma, var = torch.tensor([2.0, -1.0]), torch.tensor([4.0, 0.25])
    out = RelevanceBatchNorm.apply(
        x, gamma, torch.zeros(2), torch.zeros(2), var.clone(), training, 0.1, 0.0, phase
    )[0]
    phase.explaining = True
    (signal,) = torch.autograd.grad(out.sum(), x)
    used = x.var((0, 2, 3), unbiased=False) if training else var
    expected = (gamma / used.sqrt()).view(1, 2, 1, 1).expand_as(x)
    assert torch.allclose(signal, expected, rtol=1e-5)
