"""Writes folders of golden numbers from the slow transcriptions: other networks, same format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.golden.tools.folder import Array
from tests.golden.tools.made_nets import Made, randomise
from tests.golden.tools.slow_block import Rule, block_maps
from tests.golden.tools.slow_flex import flex_maps

MAPS = {"float64_max_rel": 1e-9, "float32_max_rel": 1e-2}
STEPS = {
    "float64_max_rel_of_largest_entry": 1e-8, "float32_max_rel_of_largest_entry": 2e-2,
    "totals_float64_rel": 1e-10, "totals_float32_rel": 1e-3,
}  # fmt: skip


@dataclass
class Writer:
    """Collects cases; `close` writes the manifest."""

    folder: Path
    lines: list[dict[str, Any]] = field(default_factory=list)

    def case(
        self, name: str, meta: Mapping[str, Any], arrays: Mapping[str, Array], tolerance: Any
    ) -> None:
        """Writes one case with its line of the manifest."""
        listed = {k: {"shape": list(v.shape), "dtype": str(v.dtype)} for k, v in arrays.items()}
        text = json.dumps({"name": name, **meta, **({"arrays": listed} if arrays else {})})
        (self.folder / f"{name}.json").write_text(text, encoding="utf-8")
        line = {"case": name, "metadata": f"{name}.json", "tolerance": tolerance}
        if arrays:
            path = self.folder / f"{name}.npz"
            np.savez(path, **arrays)  # type: ignore[arg-type]
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            line |= {"arrays_file": path.name, "sha256": digest, "do_not_require": []}
        self.lines.append(line)

    def close(self) -> None:
        """Writes the manifest."""
        text = json.dumps({"split": "made", "cases": self.lines})
        (self.folder / "manifest.json").write_text(text, encoding="utf-8")


@dataclass
class Network:
    """A made network with its input."""

    made: Made
    net: nn.Module
    x: Tensor
    labels: Tensor


def network(made: Made, seed: int) -> Network:
    """Random weights, an input in [0, 1], and labels."""
    g = torch.Generator().manual_seed(seed + 1000)
    net, x = randomise(made.make(), seed), torch.rand(made.shape, generator=g, dtype=torch.float64)
    with torch.no_grad():
        K = net(x).shape[1]
    return Network(made, net, x, torch.randint(0, K, (len(x),), generator=g))


Maps = Callable[[Network, Rule], tuple[Tensor, Tensor, dict[str, Tensor]]]


def dual(n: Network, rule: Rule) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """z+ map and epsilon map of all logits at once."""
    plus = block_maps(n.net, n.x, Rule(rule.epsilon, True, rule.zb), "sum")
    rest = block_maps(n.net, n.x, rule, "sum")
    return torch.cat([plus[0], rest[0]], 1), rest[1], {}


def asked(family: str, mode: str) -> Maps:
    """The slow maps of a family and mode, as golden names call them."""
    if mode == "dual":
        return dual

    def call(n: Network, rule: Rule) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        given = n.labels if mode.startswith("label") else None
        kind = {"label_logit": "label", "label_selective": "selective"}.get(mode, mode)
        maps = block_maps if family == "block" else flex_maps
        return maps(n.net, n.x, rule, kind, given)

    return call


MODES = {
    "block": ("multiple", "highest", "selective"),
    "flex": ("multiple", "selective", "label_logit", "label_selective"),
}


def map_arrays(n: Network, family: str, mode: str, tag: str = "e1e-2") -> dict[str, Array]:
    """Maps with and without zB, named as golden files name them."""
    found = {}
    for zb in (0, 1):
        maps = asked(family, mode)(n, Rule(float(tag[1:]), zb=bool(zb)))[0]
        tail = "/delta0.01" if family == "flex" and "selective" in mode else ""
        found[f"{family}/{mode}/{tag}/zb{zb}{tail}"] = maps.detach().numpy()
    return found


def stored(n: Network) -> dict[str, Array]:
    """Parameters, input, labels and logits."""
    state = {k: v for k, v in n.net.state_dict().items() if "num_batches" not in k}
    arrays = {f"param/{k}": v.detach().numpy().copy() for k, v in state.items()}
    with torch.no_grad():
        logits = n.net(n.x).numpy()
    return {**arrays, "x": n.x.numpy(), "labels": n.labels.numpy(), "logits": logits}


def loss(H: Tensor, M: Tensor, p: Mapping[str, Any]) -> Tensor:
    """w1·L1 + w2·L2 of each image [B], line by line from docs/lrp.md, section 4; M [B, 1, h, w]."""
    A, m, size = H.abs(), M[:, None], H.shape[3] * H.shape[4]
    mean = (A * m).sum((2, 3, 4)) / (m.sum((2, 3, 4)) * H.shape[2] + 1e-10)
    U = A / (mean + 1e-10)[:, :, None, None, None] * (1 - m)
    weights = p["d"] ** torch.arange(size, dtype=H.dtype)
    ranked = U.flatten(3).sort(-1, descending=True).values
    r = (ranked * weights).sum(-1) / weights.sum()
    L1 = -torch.log(1 - (r / (r + p["E"])).clamp(max=1 - 1e-7)).mean((1, 2))
    g = (A * m).sum((2, 3, 4))
    left = ((g / p["C1"]).clamp(max=1) - 1) ** 2
    right = ((g - p["C2"]).clamp(min=0) / p["C1"]) ** 2
    found: Tensor = p["w1"] * L1 + p["w2"] * (left + right).mean(1)
    return found


def frame(n: Network) -> Tensor:
    """A mask [B, 1, H, W] that is neither empty nor full."""
    mask = torch.zeros(len(n.x), 1, *n.x.shape[2:], dtype=torch.float64)
    mask[:, :, 5:-4, 3:-6] = 1
    return mask


def step_arrays(
    n: Network, mode: str, layers: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Constants and gradients of one training step; "flex" with hidden layers, or any family."""
    family, kind, tag, zb = mode.split("/")
    rule = Rule(float(tag[1:]), zb=zb == "zb1")
    if layers:
        maps, logits, deep = flex_maps(n.net, n.x, rule, kind, None, 0.01, layers)
    else:
        maps, logits, deep = (*asked(family, kind)(n, rule)[:2], {})
    every, mask = {"input": maps, **deep}, frame(n)
    hyper: dict[str, Any] = {"d": 0.9, "E": 1.0, "w1": 1.0, "w2": 3.0, "P": 0.7}
    each, ranges = [], {}
    for name, H in every.items():
        small = (F.adaptive_avg_pool2d(mask, (H.shape[3], H.shape[4])) != 0).to(H.dtype)
        C1 = 1.2 * float((H.detach().abs() * small[:, None]).sum((2, 3, 4)).mean())
        ranges[name] = (C1, 1.3 * C1)
        each.append(loss(H, small, {**hyper, "C1": C1, "C2": 1.3 * C1}).mean())
    if layers:
        hyper |= {
            "C1": {k: c[0] for k, c in ranges.items()},
            "C2": {k: c[1] for k, c in ranges.items()},
        }
        hyper |= {
            "dLoss": 0.8,
            "per_layer_loss": {k: v.item() for k, v in zip(every, each, strict=True)},
        }
    else:
        hyper |= {"C1": ranges["input"][0], "C2": ranges["input"][1]}
    ranked = torch.stack(each).sort(descending=True).values
    weights = 0.8 ** torch.arange(len(each), dtype=ranked.dtype)
    heat = (ranked * weights).sum() / weights.sum()
    ce = F.cross_entropy(logits, n.labels)
    total = 0.3 * ce + 0.7 * heat
    named = dict(n.net.named_parameters())
    found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    arrays = {
        f"grad/{mode}/{k}": g.numpy() for k, g in zip(named, found, strict=True) if g is not None
    }
    arrays |= {f"map/{mode}/{k}": H.detach().numpy() for k, H in every.items()}
    return {**hyper, "CE": ce.item(), "heat_loss": heat.item(), "total": total.item()}, arrays


def train_mode(n: Network) -> Network:
    """The same network with the statistics of the batch, dropout off."""
    n.net.train()
    for m in n.net.modules():
        if isinstance(m, nn.Dropout):
            m.eval()
    return n
