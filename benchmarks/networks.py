# ruff: noqa: E501 - the text of a page
"""Which networks the relevance engine explains as they are, how well and at what cost.

    python benchmarks/networks.py [--filter NAME ...] [--rounds 3] [--write docs/networks.md]

Random weights; see network_list.py. For each network: recorded sites, conservation, and the time of
a training step with one selective map relative to the standard step, interleaved in one run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from network_list import NETWORKS, Network, build, images

from isnet_models.lrp import relevance
from isnet_models.lrp.graph import Op
from isnet_models.lrp.nonlinear import Activation, GroupedNorm, Rectifier
from isnet_models.lrp.tape import Rules, Tape

COLUMNS = ("network", "package", "M parameters", "px", "ReLU", "smooth", "norm", "attention",
           "conservation error", "cost", "gradient")  # fmt: skip
PAGE = """# Networks

Networks that the relevance engine explained and trained as they are: no wrapper, no change. Random weights, one small member per
family. Made by

```sh
python benchmarks/networks.py --write docs/networks.md
```

* *ReLU*, *smooth*, *norm*, *attention*: operations of one forward pass with the rule of that name ([relevance.md](relevance.md)); smooth
  are all other activations and gates, norms those that are not BatchNorm, attention its fused calls (written out by hand, as in Swin, it is
  not counted). A network with ReLUs only is treated exactly.
* *conservation error*: largest difference between a map's sum and its logit, relative to the largest logit, float64, all
  biases and running means 0, epsilon 1e-9. Constants that are added and have another name (positions, class tokens, learned
  shifts) keep their part and show here, as do activations that are not 0 at 0.
* *cost*: time of a training step with one selective map (LRP-Flex, no zB rule) relative to the standard step, median of {rounds}
  interleaved rounds, batch 2, one thread, {machine}.
* *gradient*: every weight's gradient of a loss of the maps is finite.

| {head} |
|{rule}|
{rows}

{tried} networks, {failed} refused{refused}.
"""


def sites(net: nn.Module, x: Tensor) -> Counter[str]:
    """How many recorded operations follow which rule."""
    image = x.clone().requires_grad_()
    tape = Tape(Rules(0.01), image)
    with tape:
        net(image)
    return Counter(_rule(op) for op in tape.graph.ops)


def _rule(op: Op) -> str:
    for kind, name in ((Rectifier, "ReLU"), (Activation, "smooth"), (GroupedNorm, "norm")):
        if isinstance(op, kind):
            return name
    return "attention" if op.name == "attention" else "other"


def conservation(net: nn.Module, x: Tensor) -> float:
    """Largest |sum of a map - logit| / largest |logit|, without biases; changes `net`."""
    net = net.double().eval()
    for name, p in [*net.named_parameters(), *net.named_buffers()]:
        if name.endswith(("bias", "running_mean", "beta")):
            p.data.zero_()
    found = relevance(net, x.double(), "all", epsilon=1e-9)
    error = (found.maps.sum((2, 3, 4)) - found.logits).abs().max()
    return (error / found.logits.abs().max()).item()


def step(net: nn.Module, x: Tensor, labels: Tensor, *, explained: bool) -> float:
    """Seconds of one training step with running statistics."""
    net.train().eval()  # some networks keep tensors of the last call until then
    net.zero_grad()
    began = time.perf_counter()
    if explained:
        found = relevance(net, x, "selective", create_graph=True)
        loss = F.cross_entropy(found.logits, labels) + (found.maps**2).mean().sqrt()
    else:
        loss = F.cross_entropy(net(x), labels)
    loss.backward()
    return time.perf_counter() - began


def row(network: Network, rounds: int) -> list[str]:
    """One line of the table."""
    net, x, labels = build(network), images(network, 2), torch.tensor([0, 1])
    counts, error = sites(net, x), conservation(build(network), x)
    step(net, x, labels, explained=True)
    finite = all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in net.parameters())
    ratios = []
    for _ in range(rounds):
        plain = step(net, x, labels, explained=False)
        ratios.append(step(net, x, labels, explained=True) / plain)
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    numbers = [str(counts[kind]) for kind in ("ReLU", "smooth", "norm", "attention")]
    return [network.name, network.package, f"{millions:.1f}", str(network.size), *numbers,
            f"{error:.0e}", f"{statistics.median(ratios):.1f}", "finite" if finite else "**no**"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", nargs="*", default=[], help="parts of names")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="page to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows, refused = [], []
    for network in NETWORKS:
        if options.filter and not any(part in str(network) for part in options.filter):
            continue
        try:
            rows.append(row(network, options.rounds))
            print(" | ".join(rows[-1]), flush=True)
        except Exception as error:
            refused.append(f"{network}: {str(error).splitlines()[0][:150]}")
            print("refused", refused[-1], flush=True)
    if options.write:
        page = PAGE.format(
            rounds=options.rounds, machine=f"torch {torch.__version__}",
            head=" | ".join(COLUMNS), rule="---|" * (len(COLUMNS) - 1) + "---",
            rows="\n".join(f"| {' | '.join(r)} |" for r in rows), tried=len(rows),
            failed=len(refused), refused="".join(f"\n* {line}" for line in refused),
        )  # fmt: skip
        options.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
