"""What must not change a map: the other images, the spelling of a network, its classification."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import relevance
from tests.lrp.nets import NETS, build, images

FAMILIES = ("flex", "block", "z+", "dual")


def target_of(family: str) -> str:
    return "every-logit-at-once" if family == "dual" else "all"


@pytest.mark.parametrize(
    ("name", "family", "zb"),
    [
        pytest.param(n, f, zb, marks=[] if zb or n == "basic" else [pytest.mark.slow])
        for n in NETS
        for f in FAMILIES
        for zb in (None, (0.0, 1.0))
    ],
)
def test_a_map_alone_is_the_map_in_a_batch(
    name: str, family: str, zb: tuple[float, float] | None
) -> None:
    net, x = build(name), images(3)
    together = relevance(net, x, target_of(family), family=family, zb=zb, layers="auto")
    for i in range(3):
        alone = relevance(net, x[i : i + 1], target_of(family), family=family, zb=zb, layers="auto")
        assert torch.allclose(alone.maps[0], together.maps[i], atol=1e-13)
        for layer, found in alone.layers.items():
            assert torch.allclose(found[0], together.layers[layer][i], atol=1e-13)


def change_when_another_image_is_asked(
    net: nn.Module, family: str, batch_norm: str
) -> tuple[float, float]:
    """Change of image 0's map when the others' classes change, and its largest relevance."""
    x = images(3, (57, 45), seed=4)
    maps = [
        relevance(copy.deepcopy(net), x, torch.tensor(classes), family=family,
                  batch_norm=batch_norm).maps[0]
        for classes in ([1, 0, 0], [1, 1, 2])
    ]  # fmt: skip
    return (maps[0] - maps[1]).abs().max().item(), maps[0].abs().max().item()


@pytest.mark.parametrize("family", ["flex", "block", "z+"])
@pytest.mark.parametrize("name", ["basic", "bottleneck", "dense", "vgg_bn"])
def test_no_relevance_lands_on_another_image_while_training(name: str, family: str) -> None:
    net = build(name, seed=2).train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    change, largest = change_when_another_image_is_asked(net, family, "constant")
    assert largest > 0
    assert change <= 1e-13 * largest


@pytest.mark.parametrize("name", ["basic", "dense"])
def test_it_does_with_the_full_statistics_in_flex(name: str) -> None:
    net = build(name, seed=2).train()
    change, largest = change_when_another_image_is_asked(net, "flex", "full")
    assert change > 0.01 * largest
    assert change_when_another_image_is_asked(net, "block", "full")[0] == 0
    assert change_when_another_image_is_asked(net.eval(), "flex", "full")[0] <= 1e-13 * largest


def test_the_full_statistics_at_epsilon_zero_are_the_plain_gradient() -> None:
    net, x = build("dense").train(), images(3)
    ours = relevance(net, x, "all", epsilon=0.0, batch_norm="full").maps
    image = x.clone().requires_grad_()
    logits = net(image)
    for k in range(3):
        (slope,) = torch.autograd.grad(logits[:, k].sum(), image, retain_graph=True)
        assert torch.allclose(ours[:, k], x * slope, atol=1e-11)
    assert not torch.allclose(ours, relevance(net, x, "all", epsilon=0.0).maps, atol=1e-4)


def test_maps_in_training_mode_are_those_of_the_frozen_batch_statistics() -> None:
    net, x = build("bottleneck").train(), images(3)
    frozen = copy.deepcopy(net).eval()
    inputs: dict[nn.Module, Tensor] = {}
    norms = {a: b for a, b in zip(net.modules(), frozen.modules(), strict=True)
             if isinstance(a, nn.BatchNorm2d)}  # fmt: skip
    hooks = [
        norm.register_forward_pre_hook(lambda m, a: inputs.__setitem__(m, a[0].detach().clone()))
        for norm in norms
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    for norm, twin in norms.items():
        twin.running_mean = inputs[norm].mean((0, 2, 3))
        twin.running_var = inputs[norm].var((0, 2, 3), unbiased=False)
    for family in FAMILIES:
        ours = relevance(net, x, target_of(family), family=family).maps
        theirs = relevance(frozen, x, target_of(family), family=family).maps
        assert torch.allclose(ours, theirs, atol=1e-10 * theirs.abs().max().item())


@pytest.mark.parametrize(
    ("name", "family", "training"),
    [
        pytest.param(n, f, t, marks=[] if t or n == "basic" else [pytest.mark.slow])
        for n in NETS
        for f in FAMILIES
        for t in (False, True)
    ],
)
def test_the_classification_gradient_is_untouched(name: str, family: str, training: bool) -> None:
    x, labels = images(3), torch.tensor([0, 2, 1])
    net, plain = build(name).train(training), build(name).train(training)
    state = torch.get_rng_state()
    logits = relevance(net, x, target_of(family), family=family, create_graph=True).logits
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    F.cross_entropy(logits, labels).backward()
    theirs = plain(x)
    assert torch.equal(after, torch.get_rng_state())
    F.cross_entropy(theirs, labels).backward()
    assert torch.allclose(logits, theirs, atol=1e-13)
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-12)
    for a, b in zip(net.buffers(), plain.buffers(), strict=True):
        assert torch.allclose(a, b, atol=1e-13)


class Spelled(nn.Module):
    """One network; its ReLU and its residual sum are spelled in many ways."""

    def __init__(self, relu: Callable[[Tensor], Tensor], add: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.fc = nn.Linear(4, 3)
            for norm in (self.bn1, self.bn2):
                nn.init.uniform_(norm.weight, -1, 1.5)
                nn.init.normal_(norm.bias)
        self.relu, self.add = relu, add
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        a = F.max_pool2d(self.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.relu(self.add(self.bn2(self.conv2(a)), a)).mean((2, 3)))


def _silent_relu(x: Tensor) -> Tensor:
    F.relu(x, inplace=True)
    return x


def _silent_sum(a: Tensor, b: Tensor) -> Tensor:
    a.add_(b)
    return a


def _iadd(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "shared module": nn.ReLU(), "in-place module": nn.ReLU(inplace=True), "F.relu": F.relu,
    "torch.relu": torch.relu, "torch.relu_": torch.relu_, "method": Tensor.relu,
    "in-place method": Tensor.relu_, "F.relu_": F.relu_,
    "F.relu in place": lambda x: F.relu(x, True), "result thrown away": _silent_relu,
    "new module each time": lambda x: nn.ReLU(inplace=False).forward(x),
}  # fmt: skip
SUMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+=": _iadd, "add_": Tensor.add_, "torch.add": torch.add, "method": Tensor.add,
    "result thrown away": _silent_sum, "reversed": lambda a, b: b + a,
    "sum of a list": lambda a, b: sum([a, b]),
    "stacked": lambda a, b: torch.stack([a, b]).sum(0),
}  # fmt: skip


def maps_of(net: nn.Module, family: str) -> Tensor:
    return relevance(net, images(2, (9, 8)), target_of(family), family=family, epsilon=0.1).maps


@pytest.mark.parametrize("family", [*FAMILIES[:3], pytest.param("dual", marks=pytest.mark.slow)])
@pytest.mark.parametrize("spelling", RELUS)
def test_every_spelling_of_relu(spelling: str, family: str) -> None:
    expected = maps_of(Spelled(torch.relu, lambda a, b: a + b), family)
    net = Spelled(RELUS[spelling], lambda a, b: a + b)
    assert torch.equal(maps_of(net, family), expected)
    assert not torch.allclose(expected, 0 * expected)


@pytest.mark.parametrize("spelling", SUMS)
def test_every_spelling_of_a_sum(spelling: str) -> None:
    """The stacked one is no residual sum to LRP Block, whose rule needs to see one."""
    for family in FAMILIES if spelling != "stacked" else ("flex",):
        expected = maps_of(Spelled(nn.ReLU(), lambda a, b: a + b), family)
        found = maps_of(Spelled(nn.ReLU(True), SUMS[spelling]), family)
        assert torch.allclose(found, expected, atol=1e-14)


def test_a_chain_of_in_place_operations_whose_results_are_thrown_away() -> None:
    def silent(x: Tensor) -> Tensor:
        x.mul_(2)
        x.add_(0.3)
        x.relu_()
        return x

    ours = maps_of(Spelled(silent, torch.add), "flex")
    theirs = maps_of(Spelled(lambda x: torch.relu(2 * x + 0.3), torch.add), "flex")
    assert torch.allclose(ours, theirs, atol=1e-14)


@pytest.mark.parametrize("family", [*FAMILIES[:3], pytest.param("dual", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETS)
def test_float32_errs_by_less_than_a_thousandth(name: str, family: str) -> None:
    """Maps, and the gradient of their squares, against float64."""
    exact, x = build(name), images(3)
    single = copy.deepcopy(exact).float()
    maps = []
    for net, image in ((exact, x), (single, x.float())):
        found = relevance(net, image, target_of(family), family=family, create_graph=True).maps
        (found / found.detach().abs().max()).square().sum().backward()
        maps.append(found.detach().double())
    assert (maps[1] - maps[0]).abs().max() < 1e-3 * maps[0].abs().max()
    ours = torch.cat([p.grad.double().flatten() for p in single.parameters() if p.grad is not None])
    theirs = torch.cat([p.grad.flatten() for p in exact.parameters() if p.grad is not None])
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()
