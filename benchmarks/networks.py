"""Which networks can be explained and trained: one small member of every family, as a table.

    python benchmarks/networks.py [--filter resnet,vit] [--rounds 3] [--write docs/networks.md]

For every network of network_list.py: which operations its relevance passes through and by which
rules, whether relevance is conserved, and what a training step with one selective map costs beside
a standard step.
"""

from __future__ import annotations

import argparse
import gc
import re
import statistics
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.network_list import NETWORKS, Network, build, images
from isnet_models.heatmap_loss import HeatmapLossSettings, heatmap_loss
from isnet_models.lrp import operations as names
from isnet_models.lrp import relevance
from isnet_models.lrp.affine import BatchNorm
from isnet_models.lrp.graph import Local, Op
from isnet_models.lrp.nonlinear import Activation, GroupedNorm, Rectifier
from isnet_models.lrp.tape import Rules, Tape

# Parameters that are added to activations, by their names.
ADDED = re.compile(r"bias|beta|pos|token|\btau\b")


@dataclass(frozen=True)
class Sites:
    """What relevance passes through on its way, counted.

    Attributes:
        relu: ReLUs.
        smooth: Other activations.
        norm: Norms of all kinds.
        attention: Sums over places with weights made from the image.
        gate: Gates: activations that no relevance passes through.
        rules: Rules beyond those of linear layers, ReLU, BatchNorm and max pooling.
    """

    relu: int
    smooth: int
    norm: int
    attention: int
    gate: int
    rules: tuple[str, ...]


def sites(net: nn.Module, x: Tensor) -> Sites:
    """Counts the operations between the logits and the image that get relevance."""
    image = x.clone().requires_grad_()
    with Tape(Rules(0.01), image) as tape:
        logits = net(image)
    end = tape.slot(logits)
    assert end is not None
    reached, found, gates = {end}, list[Op](), 0
    for op in reversed(tape.graph.ops):
        if reached.intersection(op.outs):
            found.append(op)
            kept = getattr(op, "inputs", op.ins)
            reached.update(op.ins[: len(kept)])
        elif isinstance(op, Activation) and op.offset:
            gates += 1
    counts = Counter(kind for op in found for kind in _kinds(op))
    rules = [rule for rule in RULES if counts[rule]]
    if gates:
        rules.append("gate")
    return Sites(
        counts["relu"], counts["act"], counts["batch norm"] + counts["norm"], counts["attn"],
        gates, tuple(rules),
    )  # fmt: skip


RULES = ("act", "norm", "attn", "half", "winner", "grad")


def _kinds(op: Op) -> list[str]:
    shares = ["half"] if isinstance(op, Local) and op.share < 1 else []
    if op.name in ("attention", *names.PRODUCTS - {"mul", "multiply"}):
        return ["attn", *shares]
    for kind, fits in (
        ("relu", isinstance(op, Rectifier)),
        ("act", isinstance(op, Activation)),
        ("batch norm", isinstance(op, BatchNorm)),
        ("norm", isinstance(op, GroupedNorm) or op.name in ("normalize", "local_response_norm")),
        ("winner", op.name in names.SELECTIONS),
        ("grad", op.name in names.HOMOGENEOUS),
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
            norm.running_mean.zero_()  # type: ignore[union-attr]
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
        logits: Tensor = net(x)
        return F.cross_entropy(logits, labels)

    def with_map() -> Tensor:
        found = relevance(net, x, "selective", create_graph=True)
        heat = heatmap_loss(found.maps, masks, settings).total
        return F.cross_entropy(found.logits, labels) + heat

    def seconds(step: object) -> float:
        began = time.perf_counter()
        step().backward()  # type: ignore[operator]
        net.zero_grad()
        return time.perf_counter() - began

    net.train()
    ratios = []
    for round_ in range(rounds + 1):
        plain, mapped = seconds(standard), seconds(with_map)
        if round_:  # the first round warms up
            ratios.append(mapped / plain)
    return statistics.median(ratios)


def line(network: Network, rounds: int) -> str:
    """One row of the table."""
    net = build(network)
    x = images(network, 4)
    found = sites(net, x[:1])
    lost = conservation_error(net, x)
    ratio = cost_ratio(net, x[:2], rounds)
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    counts = (found.relu, found.smooth, found.norm, found.attention, found.gate)
    return " | ".join([
        f"| {network.name}", network.package, f"{millions:.1f}", str(network.size),
        *(str(n) if n else "" for n in counts), ", ".join(found.rules) or "exact",
        f"{lost:.0e}", f"{ratio:.1f} |",
    ])  # fmt: skip


PAGE = """# Networks that were tried

Made by `python benchmarks/networks.py --write docs/networks.md` (torch {torch}, torchvision {torchvision},
timm {timm}; one thread, float32, random weights). Every network runs untouched: no wrapper, no change.
`tests/test_networks.py` checks the maps of all of them against a second implementation.

* **M**: millions of parameters, depth or size cut as in benchmarks/network_list.py. **px**: size of the images.
* **ReLU, smooth, norm, attn**: operations on the way of relevance (norms written by hand are not counted). **gate**: gates, which are not.
* **rules** beyond linear layers, ReLU, BatchNorm and pooling, as in [relevance.md](relevance.md). *exact*: none, so that epsilon 0 is
  gradient x input to rounding. act: proportional rule of activations. norm: statistics held constant. attn: attention
  weights held constant. half: products share relevance. gate: held constant. winner: maxima outside pooling. grad: the
  operation's own gradient, with a warning.
* **lost**: largest difference between the sum of a map and its logit, relative to the largest logit, in float64 with epsilon 0 and without
  biases (everything that is added to activations set to 0), as rules of all kinds should conserve. Where it is not rounding: see below.
* **cost**: time of a training step with one selective map, in standard steps (median of {rounds} rounds side by side, batch 2; the sizes are
  small, so the ratio is indicative).

| network | package | M | px | ReLU | smooth | norm | attn | gate | rules | lost | cost |
|---|---|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|
{rows}

Not conserved to rounding, and why: `csatv2` subtracts constants of its own from the image's frequencies;
`efficientvit_b0` computes its attention in float32 whatever the precision; `iformer_t` passes values through a sigmoid, whose
value at 0 is a bias.

Not explained: networks with recurrent layers (`sequencer2d_s`: `lstm: no relevance rule`), compiled or scripted ones.
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
        page = PAGE.format(rows="\n".join(rows), rounds=options.rounds, **versions)
        options.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
