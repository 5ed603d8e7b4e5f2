"""Which of timm's classifiers can be explained, by which rules, and what the others lack.

    python benchmarks/operations.py [--filter resnet,vit] [--all] [--seconds 3600]
                                    [--write docs/images/operations.csv]

Every network is built without weights on the meta device, where tensors have shapes and no values:
one forward pass and one map cost no arithmetic, whatever the network's size. By default the
shortest name of each of timm's modules; `--all` takes every name. A row says: exact (epsilon 0 is
gradient x input), the rules beyond (benchmarks/networks.py has their words), or why it is refused.
"""

from __future__ import annotations

import argparse
import csv
import gc
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.networks import count_passed
from isnet_lrp import RelevanceError, relevance

META = torch.device("meta")
SIZES = (64, 96, 224, 256)  # height and width that are tried, the smallest first


def list_names(every: bool) -> list[str]:
    """Names of timm's networks, or the shortest one of each module."""
    found = []
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        found += names if every else sorted(names, key=lambda name: (len(name), name))[:1]
    return found


def build(name: str) -> Iterator[tuple[nn.Module, Tensor]]:
    """A network and its image at the sizes that it may take, with and without the size given."""
    for size in SIZES:
        for options in ({"img_size": size}, {}):
            try:
                with META:
                    net = timm.create_model(name, num_classes=3, **options)
            except (TypeError, AssertionError, RuntimeError, ValueError, KeyError):
                continue
            channels = net.default_cfg.get("input_size", (3,))[0]
            yield net.eval(), torch.rand(1, channels, size, size, device=META)


def try_network(name: str) -> tuple[str, str]:
    """("exact", ""), ("rules", names), ("refused", why) or ("not built", why)."""
    why = "no size fits"
    for net, x in build(name):
        try:
            with META, torch.no_grad():  # what a network makes anew has no values either
                net(x)
        except Exception as error:  # other networks have errors of their own
            why = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:80]}"
            continue
        try:
            with META:
                relevance(net, x, "predicted")
                rules = count_passed(net, x).rules
        except RelevanceError as error:
            return "refused", str(error).split(";")[0]
        return ("rules", " ".join(rules)) if rules else ("exact", "")
    return "not built", why


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--filter", default="", help="parts of names, separated by commas")
    parser.add_argument("--all", action="store_true", help="every name, not one per module")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--write", type=Path, help="a table of all rows")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    began, rows, counts = time.monotonic(), list[tuple[Any, ...]](), Counter[str]()
    wanted = [part for part in given.filter.split(",") if part]
    names = [n for n in list_names(given.all) if not wanted or any(p in n for p in wanted)]
    for name in names:
        if time.monotonic() - began > given.seconds:
            break
        what, more = try_network(name)
        counts[what] += 1
        rows.append((name, what, more))
        print(f"{name:40} {what:10} {more}", flush=True)
        gc.collect()
    print(f"\n{len(rows)} of {len(names)}: {dict(counts)}")
    if given.write:
        with given.write.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("network", "result", "rules or reason"), *rows])


if __name__ == "__main__":
    main()
