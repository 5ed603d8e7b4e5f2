"""Many maps in series are the maps made at once; the number at once follows the memory."""

from __future__ import annotations

import pytest
import torch

from isnet_lrp import Compute, relevance
from isnet_lrp.record.recorder import Recorder, Rules
from isnet_lrp.record.recording import PER_ACTIVATION, count_maps_that_fit
from isnet_models.backbones import build_backbone
from tests.models.methods.factory import batch


@pytest.mark.parametrize("family", ["flex", "block", pytest.param("z+", marks=pytest.mark.slow)])
def test_series_and_checkpoints_change_nothing_in_maps_and_gradients(family: str) -> None:
    found = []
    for memory, checkpoint in ((None, False), (0, False), (None, True), (0, True)):
        torch.manual_seed(0)
        net, data = build_backbone("small", 3).double().eval(), batch()
        result = relevance(
            net, data.images.double(), "all", family=family, layers="auto",
            compute=Compute(memory=memory, checkpoint=checkpoint), create_graph=True, zb=(0.0, 1.0),
        )  # fmt: skip
        (result.maps**2).sum().backward()
        found.append([result.maps, *result.layers.values(), *(p.grad for p in net.parameters())])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_checkpointing_keeps_fewer_tensors() -> None:
    kept = {}
    for checkpoint in (False, True):
        net, data = build_backbone("small", 3), batch()
        sizes: list[int] = []

        def note(t: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(t.numel())
            return t

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            compute = Compute(checkpoint=checkpoint)
            relevance(net, data.images, "all", compute=compute, create_graph=True)
        kept[checkpoint] = sum(sizes)
    assert kept[True] < 0.6 * kept[False]


def test_as_many_maps_as_fit_but_one_at_least() -> None:
    net, data = build_backbone("small", 3), batch()
    image = data.images.requires_grad_()
    recorder = Recorder(Rules(0.01), image)
    with recorder:
        net(image)
    relu_bytes = sum(op.value.numel() * 4 for op in recorder.graph.ops if op.name == "relu")
    one = PER_ACTIVATION * relu_bytes
    assert one > 0
    assert [count_maps_that_fit(recorder.graph, 10, m) for m in (0, one, 3 * one, 99 * one)] == [
        1,
        1,
        3,
        10,
    ]
