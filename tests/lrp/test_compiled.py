"""Compiled relevance: the plain maps, weight gradients and BatchNorm statistics, or an error."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from isnet_lrp import Choice, Relevance, RelevanceError, UnsupportedOperation, relevance
from isnet_lrp import compiled as module
from isnet_lrp.compiled import CompiledRelevance, Options, compiled_relevance

# The compiler itself warns about its own use of torch.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class Small(nn.Module):
    """Every kind of layer of DenseNet, ResNet and VGG, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 6, 7, 2, 3, bias=False)
        self.norm0 = nn.BatchNorm2d(6)
        self.norm1 = nn.BatchNorm2d(6)
        self.conv1 = nn.Conv2d(6, 4, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(10)
        self.conv2 = nn.Conv2d(10, 10, 3, padding=1, bias=False)
        self.fc1 = nn.Linear(10 * 4, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm0(self.conv0(x)), inplace=True)
        x = F.max_pool2d(x, 3, 2, 1)
        x = torch.cat([x, self.conv1(F.relu(self.norm1(x)))], 1)
        x = F.relu(x + self.conv2(F.relu(self.norm2(x))))
        x = F.adaptive_avg_pool2d(F.avg_pool2d(x, 2), (2, 2))
        x = F.dropout(F.relu(self.fc1(x.flatten(1))), 0.2, self.training)
        logits: Tensor = self.fc2(x)
        return logits


def make() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Small(), torch.rand(4, 3, 32, 32)


def gradients(
    net: nn.Module, explain: Callable[[], Relevance]
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    net.zero_grad()
    torch.manual_seed(1)  # dropout
    result = explain()
    w = torch.linspace(-1, 1, result.maps.numel()).view(result.maps.shape)
    loss = (w * result.maps).sum() / result.maps.detach().abs().sum()
    (loss + F.cross_entropy(result.logits, torch.tensor([0, 1, 2, 0]))).backward()
    return result.maps, result.logits, {n: p.grad for n, p in net.named_parameters()}  # type: ignore[misc]


def close(a: Tensor, b: Tensor, scale: float) -> None:
    assert float((a - b).abs().max()) <= 1e-4 * scale


@pytest.mark.parametrize("zb", [pytest.param(None, marks=pytest.mark.slow), (0.0, 1.0)])
def test_gradients_are_those_of_the_plain_engine(zb: tuple[float, float] | None) -> None:
    net, x = make()
    twin = copy.deepcopy(net)
    quick = compiled_relevance(net, x, "selective", zb=zb, backend="aot_eager")
    maps, logits, by = gradients(net, lambda: quick(x))
    plain = gradients(twin, lambda: relevance(twin, x, "selective", zb=zb, create_graph=True))
    close(maps, plain[0], float(plain[0].abs().max()))
    close(logits, plain[1], float(plain[1].abs().max()))
    largest = max(float(g.abs().max()) for g in plain[2].values())
    for name, g in plain[2].items():
        close(by[name], g, largest)
    for (name, mine), theirs in zip(net.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, msg=name)  # one step's statistics, not three
    assert float(net.get_buffer("norm0.num_batches_tracked")) == 1


@pytest.mark.slow
def test_new_weights_are_seen_and_modes_kept_apart() -> None:
    net, x = make()
    net.eval()
    quick = compiled_relevance(net, x, "all", backend="aot_eager")
    before = quick(x).maps
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.1)
    after = quick(x).maps
    torch.testing.assert_close(after, relevance(net, x, "all").maps, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(before, after)
    with torch.no_grad():
        assert not quick(x).maps.requires_grad
    net.train()
    torch.manual_seed(3)
    mine = quick(x).maps
    assert int(net.get_buffer("norm0.num_batches_tracked")) == 1
    torch.manual_seed(3)
    plain = relevance(net, x, "all").maps
    torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_chance_and_classes_come_from_outside() -> None:
    net, x = make()
    net.eval()
    options = Options("stochastic", probability=0.3)
    quick = CompiledRelevance(net, options, torch.Generator().manual_seed(5), "aot_eager")
    source = torch.Generator().manual_seed(5)
    for _ in range(3):
        plain = relevance(
            net, x, "stochastic", choice=Choice(probability=0.3, generator=source)
        ).maps
        torch.testing.assert_close(quick(x).maps, plain, rtol=1e-3, atol=1e-6)
    contrast = CompiledRelevance(net, Options("selective"), backend="aot_eager")
    for classes in (torch.tensor([0, 1, 2, 0]), torch.tensor([2, 2, 1, 1])):
        plain = relevance(net, x, "selective", choice=Choice(classes)).maps
        torch.testing.assert_close(contrast(x, classes).maps, plain, rtol=1e-3, atol=1e-6)


def test_a_compiler_that_gets_the_gradient_wrong_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, x = make()

    def forgetful(step: Any, **options: Any) -> Any:
        def run(state: list[Tensor], x: Tensor, given: dict[str, Tensor]) -> Any:
            maps, logits = step(state, x, given)
            return maps.detach() + 0 * logits.sum(), logits  # the second derivative is lost

        return run

    monkeypatch.setattr(torch, "compile", forgetful)
    with pytest.raises(RelevanceError, match="gradients of maps have a cosine of 0"):
        compiled_relevance(net, x, "selective")


def test_a_trace_that_forgets_constants_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = make()

    def forgetful(step: Any, *args: Any) -> Any:
        def plain(state: Any, x: Tensor, given: Any) -> Any:
            return step(state, x, given)

        return make_fx(plain, tracing_mode="fake")(*args)

    monkeypatch.setattr(module, "trace", forgetful)
    with pytest.raises(RelevanceError, match=r"gradients of maps \S+ differ by"):
        compiled_relevance(net, x, "selective", zb=(0.0, 1.0), backend="eager")


def test_bad_arguments_are_refused() -> None:
    net, x = make()
    with pytest.raises(RelevanceError, match="target 'best': expected one of"):
        compiled_relevance(net, x, "best")  # type: ignore[arg-type]
    with pytest.raises(RelevanceError, match="expected floating point"):
        compiled_relevance(net, x[0])
    with pytest.raises(UnsupportedOperation, match="compiled or scripted"):
        CompiledRelevance(torch.compile(net), Options())  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_agrees() -> None:
    net, x = make()
    twin = copy.deepcopy(net)
    quick = compiled_relevance(net, x, "selective", zb=(0.0, 1.0))
    maps, _, by = gradients(net, lambda: quick(x))
    plain = gradients(
        twin, lambda: relevance(twin, x, "selective", zb=(0.0, 1.0), create_graph=True)
    )
    close(maps, plain[0], float(plain[0].abs().max()))
    largest = max(float(g.abs().max()) for g in plain[2].values())
    for name, g in plain[2].items():
        close(by[name], g, largest)
