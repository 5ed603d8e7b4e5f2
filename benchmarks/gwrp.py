"""GWRP by its leading values against a full sort: time and error, value and gradient.

    python benchmarks/gwrp.py [--side 224] [--maps 4] [--device cpu] [--json]

Per decay d: milliseconds per map, forward and backward, median of interleaved rounds; largest
difference of value and gradient from the full sort in float64, relative to the largest entry.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from isnet_lrp.losses.gwrp import count_leading, gwrp

DECAYS = (0.0, 0.5, 0.9, 0.99, 0.996, 0.999, 0.9999, 1.0)


def by_sort(values: Tensor, d: float) -> Tensor:
    """The definition: every value ranked, every weight used."""
    ranks = torch.arange(values.shape[-1], dtype=torch.float64, device=values.device)
    weights = torch.pow(d, ranks)
    weights = (weights / weights.sum()).to(values.dtype)
    return (values.sort(-1, descending=True).values * weights).sum(-1)


def seconds(pool: Callable[[Tensor, float], Tensor], maps: Tensor, d: float) -> float:
    """Time of one forward and backward pass."""
    if maps.device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    torch.autograd.grad(pool(maps, d).sum(), maps)
    if maps.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def errors(maps: Tensor, d: float) -> tuple[float, float]:
    """Relative errors of value and gradient against the full sort in float64."""
    exact_maps = maps.detach().double().requires_grad_()
    ours, exact = gwrp(maps, d), by_sort(exact_maps, d)
    (mine,) = torch.autograd.grad(ours.sum(), maps)
    (theirs,) = torch.autograd.grad(exact.sum(), exact_maps)
    # equal float32 values may share their weights in any order: compare them by rank
    ranked, expected = mine.double().sort(-1).values, theirs.sort(-1).values
    value = ((ours.double() - exact).abs() / exact).max().item()
    return value, ((ranked - expected).abs().max() / expected.max()).item()


def measure(maps: Tensor, d: float, rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {"sort": [], "gwrp": []}
    for number in range(rounds + 1):
        for name, pool in (("sort", by_sort), ("gwrp", gwrp)):
            each = seconds(pool, maps, d)
            if number:  # the first round warms up
                taken[name].append(1000 * each / len(maps))
    value, gradient = errors(maps, d)
    n = maps.shape[-1]
    return {
        "d": d,
        "ranked": {0.0: 1, 1.0: n}.get(d) or count_leading(n, d, maps.dtype),
        "sort_ms": statistics.median(taken["sort"]),
        "gwrp_ms": statistics.median(taken["gwrp"]),
        "value_error": value,
        "gradient_error": gradient,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--maps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    flat = torch.randn(options.maps, options.side**2, device=options.device).abs()
    result = {}
    for dtype in (torch.float32, torch.float64):
        maps = flat.to(dtype).requires_grad_()
        result[str(dtype)] = [measure(maps, d, options.rounds) for d in DECAYS]
    if options.json:
        print(json.dumps(result))
        return
    print(f"torch {torch.__version__}, {options.device}, {options.side} px, per map")
    for dtype, lines in result.items():
        print(f"{dtype}: d, values ranked, sort ms, gwrp ms, value error, gradient error")
        for line in lines:
            print("{d:8} {ranked:6} {sort_ms:8.3f} {gwrp_ms:8.3f}".format(**line), end="")
            print("  {value_error:.1e}  {gradient_error:.1e}".format(**line))


if __name__ == "__main__":
    main()
