"""Time and memory of training with relevance maps, as ratios to the standard training step.

    python benchmarks/engine.py [--nets resnet18,densenet121] [--json] [--compiled]

A step is forward pass, losses and backward pass of one batch: cross-entropy alone (standard), or
with maps and heat-map loss, as the ISNet trains by default (LRP-Flex, epsilon 0.01, zB in the
first layer). Networks are torchvision's with random weights, in training mode. All kinds of step
take turns, round by round, and each round gives one ratio; one CPU thread, timed by CPU time, at
128 px, or the GPU at 224 px where there is one. Peak memory above the idle process is measured in
fresh processes. Beside each ratio stands its limit: what the convolutions alone must compute.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from isnet_cli.guard.memory import keep_freed_memory
from isnet_lrp import relevance
from isnet_lrp.compiled import compiled_relevance
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss

NETS = ("densenet121", "resnet18", "resnet50", "vgg19_bn")
BOUNDS = (0.0, 1.0)
P = 0.7  # weight of the heat-map loss
Step = Callable[[], None]


@dataclass(frozen=True)
class Kind:
    """One kind of step.

    Attributes:
        target: What the maps explain; None: no maps.
        maps: Maps per image, and classes of the network.
        zb: Whether the first layer follows the zB rule.
        compiled: Whether the step's relevance is compiled.
    """

    target: str | None
    maps: int = 1
    zb: bool = True
    compiled: bool = False


KINDS: dict[str, Kind] = {
    "one_map_eager": Kind("selective"),
    "one_map_stochastic_eager": Kind("stochastic"),
    "one_map_without_zb_eager": Kind("selective", zb=False),
    "one_map_compiled": Kind("selective", compiled=True),
    "three_maps_eager": Kind("all", 3),
    "ten_maps_eager": Kind("all", 10),
}
MEMORY: dict[str, str] = {
    "memory_one_map": "one_map_eager",
    "memory_three_maps": "three_maps_eager",
}


@dataclass(frozen=True)
class Setting:
    """Where and on what the steps run."""

    device: str
    size: int
    batch: int
    rounds: int


def network(name: str, classes: int, device: str) -> nn.Module:
    """A torchvision network with random weights in training mode."""
    torch.manual_seed(0)
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return net.to(device).train()


def make_step(name: str, kind: Kind, setting: Setting) -> Step:
    """A training step without the optimiser."""
    B, S, K = setting.batch, setting.size, max(kind.maps, 3)
    net = network(name, K, setting.device)
    x = torch.rand(B, 3, S, S, device=setting.device)
    labels = torch.arange(B, device=setting.device) % K
    masks = torch.zeros(B, 1, S, S, device=setting.device)
    masks[..., S // 4 : 3 * S // 4, S // 4 : 3 * S // 4] = 1
    settings = HeatmapLossSettings()

    bounds = BOUNDS if kind.zb else None
    target: Any = kind.target
    compiled = compiled_relevance(net, x, target, zb=bounds) if kind.compiled else None

    def loss() -> Tensor:
        if kind.target is None:
            return F.cross_entropy(net(x), labels)
        if compiled is not None:
            result = compiled(x)
        else:
            result = relevance(net, x, target, zb=bounds, create_graph=True)
        heat = heatmap_loss(result.maps, masks, settings).total
        return (1 - P) * F.cross_entropy(result.logits, labels) + P * heat

    def step() -> None:
        loss().backward()  # type: ignore[no-untyped-call]
        net.zero_grad()

    return step


def seconds(step: Step, device: str) -> float:
    """Duration of one step: of the GPU's work, else CPU time."""
    if device == "cuda":
        torch.cuda.synchronize()
        began = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - began
    began = time.process_time()
    step()
    return time.process_time() - began


def ratios(name: str, setting: Setting, kinds: Sequence[str]) -> dict[str, list[float]]:
    """Each kind's ratios to the standard step of the same round."""
    standard = make_step(name, Kind(None), setting)
    steps = {kind: make_step(name, KINDS[kind], setting) for kind in kinds}
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for round_ in range(setting.rounds + 1):
        before = seconds(standard, setting.device)
        taken = {kind: seconds(step, setting.device) for kind, step in steps.items()}
        base = (before + seconds(standard, setting.device)) / 2
        if round_:  # the first round warms up
            for kind, value in taken.items():
                found[kind].append(value / base)
    return found


def limits(name: str, setting: Setting) -> dict[str, float]:
    """Ratios of the multiplications that convolutions and linear layers cannot do without.

    With F those of the forward pass and F1 those of its first layer: the standard step takes
    3F - F1 (no gradient of the pixels); K maps add K times a pass of signals and its two
    derivatives, 3K(F - F1), and zB's two first layers 6K·F1 (without zB: 3K·F1).
    """
    counts: list[int] = []

    def count(layer: nn.Module, args: Any, out: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        counts.append(out[0].numel() // weight.shape[0] * weight.numel())

    net = network(name, 3, "cpu").eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(torch.rand(1, 3, setting.size, setting.size))
    whole, first = sum(counts), counts[0]
    standard = 3 * whole - first
    found = {}
    for kind, k in KINDS.items():
        per_map = 3 * (whole - first) + (6 if k.zb else 3) * first
        found[kind] = (standard + k.maps * per_map) / standard
    return found


# -- memory --------------------------------------------------------------------------------------


def peak_of(name: str, kind: str, setting: Setting) -> float:
    """Peak memory of three steps above the idle process, in bytes; in this process."""
    step = make_step(name, KINDS.get(kind, Kind(None)), setting)
    gc.collect()
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        idle = torch.cuda.memory_allocated()
        for _ in range(3):
            step()
        return torch.cuda.max_memory_allocated() - idle
    idle = _status("VmRSS")
    for _ in range(3):
        step()
    return _status("VmHWM") - idle


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return float(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}: memory is measured on Linux")


def memory(name: str, kind: str, setting: Setting) -> float:
    """`peak_of` in a fresh process, whose allocator returns freed blocks to the system."""
    command = [sys.executable, __file__, "--nets", name, "--peak-of", kind]
    command += ["--device", setting.device, "--size", str(setting.size)]
    command += ["--batch", str(setting.batch)]
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return float(done.stdout)


# -- the table -----------------------------------------------------------------------------------


def measure(name: str, setting: Setting, compiled: bool) -> dict[str, Any]:
    """All figures of one network."""
    kinds = [k for k, kind in KINDS.items() if compiled or not kind.compiled]
    found: dict[str, Any] = {}
    for kind, values in ratios(name, setting, kinds).items():
        spread = {"min": min(values), "median": statistics.median(values), "max": max(values)}
        found[kind] = {"ratio": spread}
    for kind, limit in limits(name, setting).items():
        found.setdefault(kind, {"ratio": None, "reason": "asked for by --compiled"})
        found[kind]["limit"] = limit
    standard = memory(name, "standard", setting)
    for entry, kind in MEMORY.items():
        found[entry] = memory(name, kind, setting) / standard
    found["memory_standard_mb"] = standard / 1e6
    return found


def table(figures: dict[str, Any]) -> str:
    """Figures of one network as lines of text."""
    lines = []
    for kind in KINDS:
        entry = figures[kind]
        spread = entry["ratio"]
        text = (
            f"{spread['median']:6.2f}  ({spread['min']:.2f} to {spread['max']:.2f})"
            if spread
            else f"     -  ({entry['reason']})"
        )
        lines.append(f"  {kind:26}{text:34}limit {entry['limit']:.2f}")
    lines += [
        f"  {entry:26}{figures[entry]:6.2f}  (standard {figures['memory_standard_mb']:.0f} MB)"
        for entry in MEMORY
    ]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", default=",".join(NETS), help="torchvision names, by commas")
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout")
    parser.add_argument("--compiled", action="store_true", help="compile too (minutes a network)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    parser.add_argument("--size", type=int, help="side of the images; 128, with a GPU 224")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    size = given.size or (224 if given.device == "cuda" else 128)
    setting = Setting(given.device, size, given.batch, given.rounds)
    names = given.nets.split(",")
    if given.peak_of:
        print(peak_of(names[0], given.peak_of, setting))
        return
    keep_freed_memory()  # as `isnet train` does
    if not given.json:
        where = torch.cuda.get_device_name() if given.device == "cuda" else "one CPU thread"
        print(f"torch {torch.__version__}, {where}, {size} px, batch {given.batch}")
        print("ratio to the standard step: median (least to most) of the rounds")
    found = {}
    for name in names:
        found[name] = measure(name, setting, given.compiled)
        if not given.json:
            print(f"{name}\n{table(found[name])}", flush=True)
    if given.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
