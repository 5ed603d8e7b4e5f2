"""A call leaves nothing behind: state, hooks, modes, random numbers, memory; threads stay apart."""

from __future__ import annotations

import copy
import gc
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import Choice, RelevanceError, relevance
from tests.lrp.nets import build, images

FAMILIES = ("flex", "block", "z+", "dual")


class Faulty(nn.Module):
    """Raises in the middle of a network."""

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("a fault of the network's own")


def hooks_of(net: nn.Module) -> list[int]:
    return [
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
        for m in net.modules()
    ]


def call(net: nn.Module, x: Tensor, spoil: str, family: str) -> None:
    """One call that succeeds, or fails at its start, in the network, or behind it."""
    options: dict[str, Any] = {"family": family, "layers": ["layer1", "layer2"]}
    if spoil == "none":
        relevance(net, x, "every-logit-at-once", create_graph=True, **options)
    elif spoil == "target":
        with pytest.raises(RelevanceError, match="expected one of"):
            relevance(net, x, "nonsense", **options)  # type: ignore[arg-type]
    elif spoil == "class":
        with pytest.raises(RelevanceError, match="classes"):
            relevance(net, x, torch.tensor([0, 99]), **(options | {"family": "flex"}))
    else:
        net.layer2[1].conv2 = Faulty()
        with pytest.raises(RuntimeError, match="fault of the network"):
            relevance(net, x, "all", **options)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spoil", ["none", "target", "class", "network"])
def test_nothing_is_left_behind(spoil: str, family: str, training: bool) -> None:
    net, x = build("basic").train(training), images(2)
    net.conv1.requires_grad_(False)
    net.layer3.train(not training)
    frozen, image = copy.deepcopy(net), x.clone()
    state, hooks = torch.get_rng_state(), hooks_of(net)
    call(net, x, spoil, family)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(x, image)
    assert x.grad is None
    assert not x.requires_grad
    assert torch.is_grad_enabled()
    assert torch.relu(torch.tensor(-1.0)) == 0  # operations are no longer seen
    if spoil == "network":
        frozen.layer2[1].conv2 = Faulty()
        hooks = hooks_of(frozen)
    assert hooks_of(net) == hooks
    for (name, ours), theirs in zip(net.named_modules(), frozen.modules(), strict=True):
        assert ours.training == theirs.training, name
        assert set(vars(ours)) == set(vars(theirs)), name
    for (name, p), q in zip(net.named_parameters(), frozen.parameters(), strict=True):
        assert torch.equal(p, q), name
        assert p.grad is None
        assert p.requires_grad == q.requires_grad
    if not training:
        for (name, p), q in zip(net.layer1.named_buffers(), frozen.layer1.buffers(), strict=True):
            assert torch.equal(p, q), name
    assert torch.get_default_dtype() == torch.float32


def test_running_statistics_move_as_in_one_plain_forward_pass() -> None:
    net, plain, x = build("dense").train(), build("dense").train(), images(3)
    relevance(net, x, "all", layers="auto")
    plain(x)
    for (name, p), q in zip(net.named_buffers(), plain.buffers(), strict=True):
        assert torch.allclose(p.double(), q.double(), atol=1e-14), name


@pytest.mark.parametrize("enabled", [False, True])
def test_modes_around_the_call_stay(enabled: bool) -> None:
    net, x = build("vgg").float(), images(2).float()
    expected = relevance(net, x, "all").maps
    with torch.set_grad_enabled(enabled), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        relevance(net, x, "all")
        assert torch.is_grad_enabled() == enabled
        assert torch.is_autocast_enabled("cpu") == enabled
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    with torch.inference_mode():
        found = relevance(net, x, "all").maps
        made_inside = relevance(net, images(2).float(), "all").maps
        assert torch.is_inference_mode_enabled()
    assert torch.equal(found, expected)
    assert torch.equal(made_inside, expected)


def test_results_without_a_graph_are_detached() -> None:
    net, x = build("basic"), images(2)
    plain = relevance(net, x, "all", layers=["layer1"])
    graph = relevance(net, x, "all", layers=["layer1"], create_graph=True)
    for found, differentiable in ((plain, False), (graph, True)):
        tensors = (found.maps, found.logits, found.layers["layer1"])
        assert all(t.requires_grad == differentiable for t in tensors)
    assert torch.allclose(plain.maps, graph.maps.detach(), atol=1e-15)


def test_the_result_survives_changes_of_the_weights() -> None:
    """The maps are no views of anything that the next training step overwrites."""
    net, x = build("chain"), images(2)
    result = relevance(net, x, "all", zb=(0.0, 1.0), layers="auto")
    kept = [result.maps.clone(), result.logits.clone()]
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2)
        x.mul_(3)
    assert torch.equal(result.maps, kept[0])
    assert torch.equal(result.logits, kept[1])


def test_stochastic_target_draws_from_its_own_generator() -> None:
    net, x = build("vgg"), images(8)
    state = torch.get_rng_state()
    draws = [
        relevance(
            net, x, "stochastic", choice=Choice(generator=torch.Generator().manual_seed(s))
        ).maps
        for s in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(state, torch.get_rng_state())


def test_threads_with_their_own_settings_share_one_network() -> None:
    net, x = build("basic"), images(2)
    settings: list[dict[str, Any]] = [
        {"epsilon": 1e-3}, {"epsilon": 1.0}, {"family": "block"}, {"family": "z+"},
        {"epsilon": 0.1, "layers": ["layer1"], "zb": (0.0, 1.0)},
    ]  # fmt: skip
    expected = [relevance(net, x, "all", **s) for s in settings]
    faults: list[str] = []
    barrier = threading.Barrier(len(settings))

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(6):
            found = relevance(net, x, "all", **settings[number])
            if not torch.equal(found.maps, expected[number].maps):
                faults.append(f"maps of {settings[number]}")
            for name, layer in found.layers.items():
                if not torch.equal(layer, expected[number].layers[name]):
                    faults.append(f"layer of {settings[number]}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(settings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert hooks_of(net) == hooks_of(build("basic"))


@pytest.mark.parametrize("family", FAMILIES)
def test_calls_may_be_mixed_before_their_gradients_are_taken(family: str) -> None:
    """Two networks and stray forward passes between a map and its gradient change neither."""

    def gradient(net: nn.Module, between: bool) -> list[Tensor]:
        x = images(2)
        found = relevance(net, x, family=family, create_graph=True)
        if between:
            other = build("bottleneck", seed=1)
            relevance(other, x, family="flex", epsilon=0.5, create_graph=True).maps.sum().backward()
            relevance(net, images(3, seed=5), "all", epsilon=1.0)
            net(images(1, seed=6)).sum().backward()
            net.zero_grad()
        found.maps.square().sum().backward()
        return [found.maps.detach(), *(p.grad for p in net.parameters() if p.grad is not None)]

    for a, b in zip(gradient(build("basic"), False), gradient(build("basic"), True), strict=True):
        assert torch.equal(a, b)


def test_one_network_explains_while_another_runs_plainly() -> None:
    """A plain forward pass in another thread is not recorded, nor hooked."""
    net, x = build("basic"), images(2)
    plain, logits = net(x).detach(), []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            logits.append(net(x).detach())

    thread = threading.Thread(target=work)
    thread.start()
    expected = relevance(net, x, "all", layers=["layer1"])
    found = [relevance(net, x, "all", layers=["layer1"]) for _ in range(15)]
    stop.set()
    thread.join()
    assert all(torch.equal(f.maps, expected.maps) for f in found)
    assert all(torch.equal(f.layers["layer1"], expected.layers["layer1"]) for f in found)
    assert logits
    assert all(torch.equal(y, plain) for y in logits)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(o), Tensor) for o in gc.get_objects())  # isinstance wakes proxies


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="/proc has the memory in use")
@pytest.mark.parametrize("fails", [False, True])
def test_memory_is_flat_over_80_calls(fails: bool) -> None:
    """A kept record would be 1 MB a call here; the allocator's own noise stays far below."""
    size = (64, 64)
    net, x = build("chain", size=size).float(), images(3, size).float()
    broken = copy.deepcopy(net)
    broken[-1] = Faulty()

    def once(number: int) -> None:
        family = FAMILIES[number % 4]
        if fails:
            with pytest.raises(RuntimeError, match="fault"):
                relevance(broken, x, family=family)
            return
        result = relevance(net, x, family=family, layers="auto", create_graph=True)
        result.maps.square().sum().backward()

    for number in range(24):
        once(number)
    tensors, before = live_tensors(), resident()
    for number in range(80):
        once(number)
    assert live_tensors() <= tensors
    assert resident() - before < 32 * 2**20
