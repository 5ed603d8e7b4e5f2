"""Cost of a training step with heat maps, relative to the standard step, interleaved in one run.

    python benchmarks/relevance.py [--arch resnet18 densenet121] [--size 128] [--batch 4]

Prints, per architecture and method, the median time per step and its ratio to `standard`.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from isnet_models.backbones import build_backbone
from isnet_models.methods import Batch, ISNet, ISNetSettings, Method, Standard


def step_seconds(net: torch.nn.Module, method: Method, batch: Batch) -> float:
    """Seconds of forward, heat maps, loss and backward of one batch."""
    began = time.perf_counter()
    method.losses(net, batch, 0).total.backward()
    net.zero_grad()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["small", "resnet18", "densenet121"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    targets = ("selective", "stochastic", "all")
    methods: dict[str, Method] = {
        "standard": Standard(),
        **{f"isnet {t}": ISNet(ISNetSettings(target=t)) for t in targets},
    }
    B, S, K = options.batch, options.size, options.classes
    masks = torch.zeros(B, 1, S, S)
    masks[..., S // 4 : 3 * S // 4, S // 4 : 3 * S // 4] = 1
    batch = Batch(torch.rand(B, 1, S, S), masks, torch.randint(0, K, (B,)))
    print(f"torch {torch.__version__}, {options.threads} thread(s), {S} px, batch {B}, K = {K}")
    for arch in options.arch:
        net = build_backbone(arch, K).train()
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        for round_ in range(options.rounds + 1):
            for name, method in methods.items():
                taken = step_seconds(net, method, batch)
                if round_:  # the first round warms up
                    seconds[name].append(taken)
        for name, values in seconds.items():
            ratios = [a / b for a, b in zip(values, seconds["standard"], strict=True)]
            print(
                f"{arch:14} {name:18} {1000 * statistics.median(values):8.1f} ms/step   "
                f"ratio {statistics.median(ratios):.2f}"
            )


if __name__ == "__main__":
    main()
