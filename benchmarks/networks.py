"""Which networks can be explained and trained as they are: one small member of every family.

    python benchmarks/networks.py [--filter resnet,vit] [--rounds 3] [--write docs/networks.md]

For every network of network_list.py: which operations its relevance passes through and by which
rules, whether relevance is conserved, and what a training step with one selective map costs beside
a standard step.
"""

from __future__ import annotations

import argparse
import copy
import gc
import re
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.network_list import NETWORKS, Network, build, images
from isnet_lrp import UnsupportedOperation, relevance
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss
from isnet_lrp.ops.activation import Activation, ReLU
from isnet_lrp.ops.norm import BatchNorm, GroupedNorm
from isnet_lrp.ops.product import PRODUCTS
from isnet_lrp.ops.structure import HOMOGENEOUS, SELECTIONS
from isnet_lrp.record.graph import Local, Op
from isnet_lrp.record.recorder import Recorder, Rules

# Parameters that are added to activations, by their names.
ADDED = re.compile(r"(^|[._])(\w*bias|beta|tau|\w*pos|\w*token(_\d+)?)$|(^|\.)pos_emb")
RULES = ("act", "norm", "attn", "half", "winner", "grad")


@dataclass(frozen=True)
class Passed:
    """What relevance passes through on its way, counted.

    Attributes:
        relu: ReLUs.
        smooth: Other activations.
        norm: Norms of all kinds.
        attention: Sums over places or channels with weights made from the image.
        gate: Factors made from the image (gates, attention over channels, norms by hand): constants
            of the pass, whose branches are on no relevance's way.
        rules: Rules beyond those of linear layers, ReLU, BatchNorm and pooling.
    """

    relu: int
    smooth: int
    norm: int
    attention: int
    gate: int
    rules: tuple[str, ...]


def count_passed(net: nn.Module, x: Tensor) -> Passed:
    """Counts the operations between the logits and the image that get relevance."""
    image = x.clone().requires_grad_()
    with Recorder(Rules(0.01), image) as recorder:
        logits = net(image)
    reached, counts = {recorder.find_node(logits)}, Counter[str]()
    read = {node for op in recorder.graph.ops for node in op.ins}
    for op in reversed(recorder.graph.ops):
        if reached.intersection(op.outs):
            reached.update(op.ins)
            counts.update(_kinds(op))
        elif read.isdisjoint(op.outs):  # the end of a branch
            counts["gate"] += 1
    rules = tuple(rule for rule in (*RULES, "gate") if counts[rule])
    norms = counts["batch norm"] + counts["norm"]
    return Passed(counts["relu"], counts["act"], norms, counts["attn"], counts["gate"], rules)


def _kinds(op: Op) -> list[str]:
    shares = ["half"] if isinstance(op, Local) and op.part < 1 else []
    if op.name in ("attention", *PRODUCTS - {"mul", "multiply"}):
        return ["attn", *shares]
    for kind, fits in (
        ("relu", isinstance(op, ReLU)),
        ("act", isinstance(op, Activation)),
        ("batch norm", isinstance(op, BatchNorm)),
        ("norm", isinstance(op, GroupedNorm) or op.name in ("normalize", "local_response_norm")),
        ("winner", op.name in SELECTIONS),
        ("grad", op.name in HOMOGENEOUS),
    ):
        if fits:
            return [kind]
    return shares


def without_biases(net: nn.Module, x: Tensor) -> nn.Module:
    """A copy, float64, in which nothing is added to activations; BatchNorm's variances follow x."""
    net = copy.deepcopy(net).double()
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if ADDED.search(name):
                parameter.zero_()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        net.train()
        net(x.double())
        for norm in norms:
            norm.running_mean.zero_()
    return net.eval()


def conservation_error(net: nn.Module, x: Tensor) -> float:
    """Largest |sum of a map - its logit|, relative to the largest logit; no biases, epsilon 0."""
    found = relevance(without_biases(net, x), x.double(), "all", epsilon=0.0)
    error = (found.maps.sum((2, 3, 4)) - found.logits).abs().max()
    return float(error / found.logits.abs().max())


def cost_ratio(net: nn.Module, x: Tensor, rounds: int) -> float:
    """Median time of a training step with one selective map, in standard steps beside it."""
    labels = torch.arange(len(x)) % 3
    masks = torch.zeros(len(x), 1, *x.shape[2:])
    masks[..., : x.shape[3] // 2] = 1
    settings = HeatmapLossSettings()

    def standard() -> Tensor:
        return F.cross_entropy(net(x), labels)

    def with_map() -> Tensor:
        found = relevance(net, x, "selective", create_graph=True)
        heat = heatmap_loss(found.maps, masks, settings).total
        return F.cross_entropy(found.logits, labels) + heat

    def seconds(loss: Callable[[], Tensor]) -> float:
        began = time.perf_counter()
        loss().backward()
        net.zero_grad()
        return time.perf_counter() - began

    net.train()
    ratios = []
    for round_ in range(rounds + 1):
        plain, mapped = seconds(standard), seconds(with_map)
        if round_:  # the first round warms up
            ratios.append(mapped / plain)
    return statistics.median(ratios)


def families(net: nn.Module, x: Tensor) -> str:
    """Families beside LRP-Flex that have a rule for every operation."""
    found = []
    for family in ("block", "z+"):
        try:
            relevance(net, x, family=family)  # type: ignore[arg-type]
        except UnsupportedOperation:
            continue
        found.append(family)
    return ", ".join(found)


def line(network: Network, rounds: int) -> str:
    """One row of the table."""
    net = build(network)
    x = images(network, 4)
    found, others = count_passed(net, x[:1]), families(net, x[:1])
    # anew: some networks keep tensors from their last call
    lost = conservation_error(build(network), x)
    net = build(network)
    ratio = cost_ratio(net, x[:2], rounds)
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    counts = (found.relu, found.smooth, found.norm, found.attention, found.gate)
    return " | ".join([
        f"| {network.name}", network.package, f"{millions:.1f}", str(network.size),
        *(str(n) if n else "" for n in counts), ", ".join(found.rules) or "exact", others,
        f"{lost:.0e}", f"{ratio:.1f} |",
    ])  # fmt: skip


PAGE = """# Networks

Networks that were explained and trained as they are: no wrapper, no change. Random weights, one small member per family. Made by

```sh
python benchmarks/networks.py --write docs/networks.md
```

with torch {torch}, torchvision {torchvision}, timm {timm}. `tests/lrp/networks/test_networks.py` compares the maps of all of them with a second
implementation in float64, and those of the *exact* ones with gradient x input.

* **M**: millions of parameters; depth and size of the images (**px**) are cut as in benchmarks/network_list.py.
* **ReLU, smooth, norm, attn**: operations on the way of relevance (norms written by hand are not counted). **gate**: factors made from
  the image (gates, attention over channels, norms by hand), on no relevance's way.
* **rules** beyond those of linear layers, ReLU, BatchNorm and pooling ([relevance.md](relevance.md)). *exact*: none, so epsilon 0 is gradient x input. *act*:
  proportional rule of activations. *norm*: standard deviations held constant. *attn*: attention weights held constant. *half*: factors of a
  product share its relevance. *winner*: maxima outside pooling. *grad*: the operation's own gradient, with a warning. *gate*: such factors held constant.
* **families** that run beside `flex`.
* **lost**: largest difference between the sum of a map and its logit, relative to the largest logit, in float64 with epsilon 0 where nothing is
  added to activations (biases, positions, tokens set to 0): every rule conserves relevance. Where it is not rounding, see below.
* **cost**: time of a training step with one selective map, in standard steps: median of {rounds} rounds side by side, batch 2, float32, one
  thread, a machine with other work; sizes are small, so it is an indication.

| network | package | M | px | ReLU | smooth | norm | attn | gate | rules | families | lost | cost |
|---|---|--:|--:|--:|--:|--:|--:|--:|---|---|--:|--:|
{rows}

{tried} networks. Not conserved to rounding: `csatv2` subtracts constants of its own from the image's frequencies; `iformer_t` passes values through
a sigmoid, whose value at 0 is a bias; `coat_tiny` multiplies by its class tokens, so they cannot be set to 0; `efficientvit_b0` computes its attention in float32 whatever the precision.

Not explained: compiled and scripted networks. [timm.md](timm.md) has all of timm's classifiers.
"""  # noqa: E501 - a page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="", help="parts of names, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="the page to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for network in NETWORKS:
        if any(part in str(network) for part in options.filter.split(",")):
            rows.append(line(network, options.rounds))
            print(rows[-1], flush=True)
            gc.collect()
    if options.write:
        versions = {name: version(name) for name in ("torch", "torchvision", "timm")}
        page = PAGE.format(rows="\n".join(rows), tried=len(rows), rounds=options.rounds, **versions)
        options.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
