"""Relevance: the formula written a second time, invariances, gradients, nothing left behind."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_models.lrp import relevance


class Tiny(nn.Module):
    """conv - batch norm - relu - overlapping max pool - residual sum - pool - linear."""

    def __init__(self, spelling: str = "module") -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.fc, self.relu, self.spelling = nn.Linear(4, 3), nn.ReLU(), spelling
        self.inplace = nn.ReLU(inplace=True)
        for bn in (self.bn1, self.bn2):
            nn.init.uniform_(bn.weight, -1, 1.5)
            nn.init.normal_(bn.bias)
            bn.running_mean.normal_()
            bn.running_var.uniform_(0.5, 2)
        self.double()

    def act(self, x: Tensor) -> Tensor:
        return {
            "module": self.relu, "inplace": self.inplace, "functional": F.relu, "torch": torch.relu,
            "method": lambda t: t.relu(), "method_inplace": lambda t: t.relu_(),
            "functional_inplace": lambda t: F.relu(t, inplace=True),
        }[self.spelling](x)  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        a = F.max_pool2d(self.act(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.act(self.bn2(self.conv2(a)) + a).mean((2, 3)))


def slow_maps(net: Tiny, x: Tensor, epsilon: float) -> Tensor:
    """Maps of `Tiny` in eval mode from Jacobian matrices, straight from LRP-Flex's definition."""

    def jac(f, t: Tensor) -> Tensor:
        return torch.autograd.functional.jacobian(f, t).reshape(f(t).numel(), t.numel())

    maps = []
    for b in range(len(x)):
        image = x[b : b + 1]
        z1 = net.bn1(net.conv1(image))
        a1 = z1.clamp(min=0)
        stem = jac(lambda t: net.bn1(net.conv1(t)), image)
        body = lambda t: net.bn2(net.conv2(F.max_pool2d(t, 3, 2, 1))) + F.max_pool2d(t, 3, 2, 1)  # noqa: E731
        a2 = body(a1).clamp(min=0)
        head = jac(lambda t: net.fc(t.mean((2, 3))), a2)
        damp1, damp2 = ((a / (a + epsilon)).flatten() for a in (a1, a2))
        whole = ((head * damp2) @ jac(body, a1) * damp1) @ stem
        maps.append(image.flatten() * whole)
    return torch.stack(maps).view(len(x), 3, *x.shape[1:])


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 1, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


SPELLINGS = (
    "module", "inplace", "functional", "torch", "method", "method_inplace", "functional_inplace",
)  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("epsilon", [1e-2, 1.0])
def test_maps_equal_the_slow_formula(images: Tensor, spelling: str, epsilon: float) -> None:
    net = Tiny(spelling).eval()
    fast = relevance(net, images, "all", epsilon=epsilon)
    assert torch.allclose(fast.maps, slow_maps(net, images, epsilon), atol=1e-12, rtol=0)
    assert torch.allclose(fast.logits, net(images), atol=1e-12)


def test_epsilon_zero_is_gradient_times_input(images: Tensor) -> None:
    net = Tiny().eval()
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, 1].sum(), x)
    ours = relevance(net, images, torch.tensor([1, 1]), epsilon=0.0)
    assert torch.allclose(ours.maps[:, 0], images * gradient, atol=1e-14)


@pytest.mark.parametrize("zb", [None, (0.0, 1.0), (-0.3, 1.4)])
@pytest.mark.parametrize("target", ["all", "selective", "predicted"])
@pytest.mark.parametrize("training", [False, True])
def test_training_gradient_equals_finite_differences(
    images: Tensor, zb: tuple[float, float] | None, target: str, training: bool
) -> None:
    """With BatchNorm in training mode the statistics inside the map are constants by definition,

    so only weights behind the last BatchNorm can be compared with differences of the whole loss.
    """
    net = Tiny().train(training)
    names = (
        ["fc.weight"] if training else ["conv1.weight", "bn1.weight", "conv2.weight", "fc.weight"]
    )
    if zb is not None and "bn1.weight" in names:
        names.remove("bn1.weight")  # biases are constants in zB: not the plain derivative
        names.remove("conv1.weight")

    def loss(n: nn.Module, create_graph: bool = False) -> Tensor:
        maps = relevance(n, images, target, zb=zb, create_graph=create_graph).maps
        return (maps**2).sum() + maps.abs().amax()

    loss(net, create_graph=True).backward()
    generator = torch.Generator().manual_seed(1)
    for name in names:
        p = dict(net.named_parameters())[name]
        for flat in torch.randint(p.numel(), (4,), generator=generator).tolist():
            moved = [copy.deepcopy(net), copy.deepcopy(net)]
            for sign, other in zip((1, -1), moved, strict=True):
                dict(other.named_parameters())[name].data.view(-1)[flat] += sign * 1e-6
            difference = (loss(moved[0]) - loss(moved[1])).item() / 2e-6
            assert p.grad is not None
            assert p.grad.view(-1)[flat].item() == pytest.approx(difference, rel=2e-5, abs=2e-6)


def test_statistics_are_constants_in_training_mode(images: Tensor) -> None:
    """A map in training mode is the map of the same net with the batch statistics frozen."""
    net = Tiny().train()
    ours = relevance(net, images, "all").maps
    frozen = Tiny().eval().requires_grad_(False)
    z = frozen.conv1(images)
    frozen.bn1.running_mean, frozen.bn1.running_var = z.mean((0, 2, 3)), z.var((0, 2, 3), False)
    a = F.max_pool2d(F.relu(frozen.bn1(z)), 3, 2, 1)
    z = frozen.conv2(a)
    frozen.bn2.running_mean, frozen.bn2.running_var = z.mean((0, 2, 3)), z.var((0, 2, 3), False)
    assert torch.allclose(ours, relevance(frozen, images, "all").maps.detach(), atol=1e-10)


def test_ordinary_gradient_is_untouched(images: Tensor) -> None:
    """The classification gradient through a relevance forward equals the plain one."""
    net, plain = Tiny().train(), Tiny().train()
    labels = torch.tensor([0, 2])
    F.cross_entropy(relevance(net, images, "all", create_graph=True).logits, labels).backward()
    F.cross_entropy(plain(images), labels).backward()
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-12)
    assert torch.equal(net.bn1.running_mean, plain.bn1.running_mean)


def test_a_map_alone_equals_the_map_in_a_batch(images: Tensor) -> None:
    net = Tiny().eval()
    both = relevance(net, images, "all", zb=(0.0, 1.0)).maps
    alone = [relevance(net, images[i : i + 1], "all", zb=(0.0, 1.0)).maps for i in range(2)]
    assert torch.allclose(both, torch.cat(alone), atol=1e-13)


def test_relevance_is_conserved_as_epsilon_vanishes(images: Tensor) -> None:
    net = Tiny().eval()
    for m in net.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.zeros_(m.bias)
        if isinstance(m, nn.BatchNorm2d):
            nn.init.zeros_(m.bias)
            m.running_mean.zero_()
    result = relevance(net, images, "all", epsilon=1e-9)
    assert torch.allclose(result.maps.sum((2, 3, 4)), result.logits, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("spoil", ["none", "target", "net"])
def test_nothing_is_left_behind(images: Tensor, spoil: str) -> None:
    net = Tiny().eval()
    state, plain = copy.deepcopy(net.state_dict()), net(images)
    hooks = [len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules()]
    random = torch.get_rng_state()
    if spoil == "target":
        with pytest.raises(ValueError, match="expected one of"):
            relevance(net, images, "nonsense")
    elif spoil == "net":
        with pytest.raises(RuntimeError):
            relevance(net, images[:, :, :1, 0], "all")
    else:
        relevance(net, images, "all", create_graph=True)
    assert torch.equal(net(images), plain)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert hooks == [len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules()]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert torch.equal(random, torch.get_rng_state())
    assert not net.training
    assert torch.relu(torch.tensor(-1.0)) == 0  # interception is over


def test_two_threads_with_two_epsilons(images: Tensor) -> None:
    net, results = Tiny().eval(), {}
    expected = {e: relevance(net, images, "all", epsilon=e).maps for e in (1e-3, 1.0)}

    def work(epsilon: float) -> None:
        results[epsilon] = [relevance(net, images, "all", epsilon=epsilon).maps for _ in range(20)]

    threads = [threading.Thread(target=work, args=(e,)) for e in expected]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for e, maps in results.items():
        assert all(torch.equal(m, expected[e]) for m in maps)
