"""isnet_lrp beside zennit, captum and LXT: networks right, second derivatives, time and memory.

    python benchmarks/compare_engines.py [--engines isnet_lrp,zennit] [--parts right,slope,cost]
                                         [--rounds 7] [--json FILE]

zennit and captum come with `pip install 'isnet[dev]'`. LXT's requirements are many: install it
elsewhere (`pip install --target DIR lxt`) and put DIR on PYTHONPATH. What cannot be imported is
reported as not installed. Every engine works in processes of its own, as its documentation says:
zennit with its epsilon composite and the canonizers that fit, captum's LRP, LXT's patches for
torchvision's vision transformer.

right: of 40 networks (all of torchvision's families, every seventh of network_list.py's from timm),
in float64 with nothing added to activations and epsilon 1e-9. A map is right if its sum is the
logit and, where gradient x input conserves it (piecewise linear networks), if it is that; both to
1e-3 of the largest value. slope: derivative of a map by the weights against finite differences of
the same engine's map. cost: a map, and a training step through it, in standard training steps
(forward and backward pass of cross-entropy; evaluation mode, one thread, CPU time, in turns), and
the step's peak memory in those of the standard step.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.network_list import TIMM, TORCHVISION, build, images
from benchmarks.networks import without_biases

NETWORKS = TORCHVISION + TIMM[::7]
TINY, USUAL = 1e-9, 0.01  # epsilon
TOLERANCE = 1e-3
HOMOGENEOUS = 1e-6  # to which gradient x input conserves the logit of a piecewise linear network
SLOPE = 1e-4  # largest error of a right derivative
COSTS = ("resnet18", "vgg11_bn", "vit_b_32")
SIZE, BATCH = 128, 4
# (network, images, classes [B], epsilon, whether it is differentiated) -> maps [B, C, H, W] and
# logits of the same forward pass, if the engine gives them
Found = tuple[Tensor, Tensor | None]
Engine = Callable[[nn.Module, Tensor, Tensor, float, bool], Found]


def gradient_times_input(
    net: nn.Module, x: Tensor, classes: Tensor, epsilon: float, graph: bool
) -> Found:
    image = x.clone().requires_grad_()
    logits = net(image)
    chosen = logits.gather(1, classes[:, None]).sum()
    (slope,) = torch.autograd.grad(chosen, image, create_graph=graph)
    return image.detach() * slope, logits


def use_isnet_lrp() -> Engine:
    from isnet_lrp import relevance

    def explain(net: nn.Module, x: Tensor, classes: Tensor, epsilon: float, graph: bool) -> Found:
        found = relevance(net, x, classes, epsilon=epsilon, create_graph=graph)
        return found.maps[:, 0], found.logits

    return explain


def use_zennit() -> Engine:
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import LayerMapComposite, layer_map_base
    from zennit.rules import Epsilon
    from zennit.torchvision import ResNetCanonizer
    from zennit.types import Convolution, Linear

    def explain(net: nn.Module, x: Tensor, classes: Tensor, epsilon: float, graph: bool) -> Found:
        resnet = isinstance(net, torchvision.models.ResNet)
        canonizer = ResNetCanonizer() if resnet else SequentialMergeBatchNorm()
        rules = [*layer_map_base(epsilon), (Convolution, Epsilon(epsilon)),
                 (Linear, Epsilon(epsilon))]  # fmt: skip
        image = x.clone().requires_grad_()
        with LayerMapComposite(rules, [canonizer]).context(net) as hooked:
            logits = hooked(image)
            seed = logits * F.one_hot(classes, logits.shape[1]).to(logits)
            (found,) = torch.autograd.grad(logits, image, seed, create_graph=graph)
        return found, logits

    return explain


def use_captum() -> Engine:
    import captum.attr
    from captum.attr._utils.lrp_rules import EpsilonRule

    def explain(net: nn.Module, x: Tensor, classes: Tensor, epsilon: float, graph: bool) -> Found:
        kinds = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
                 nn.BatchNorm2d)  # fmt: skip
        for module in net.modules():
            if isinstance(module, kinds):
                module.rule = EpsilonRule(epsilon)  # type: ignore[assignment]
        image = x.clone().requires_grad_()
        return captum.attr.LRP(net).attribute(image, target=classes), None

    return explain


def use_lxt() -> Engine:
    from lxt.efficient import monkey_patch

    monkey_patch(torchvision.models.vision_transformer)
    return gradient_times_input


ENGINES: dict[str, Callable[[], Engine]] = {
    "isnet_lrp": use_isnet_lrp,
    "zennit": use_zennit,
    "captum": use_captum,
    "lxt": use_lxt,
}


def make_out_of_place(net: nn.Module) -> nn.Module:
    """The network without in-place modules, which some engines cannot take."""
    for module in net.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    return net


# -- networks right ------------------------------------------------------------------------------


def judge(engines: Sequence[str]) -> dict[str, dict[str, str]]:
    """ "right", "wrong by .." or "refused: .." of every network, by engine.

    Each network is made once; the engines work on it in copies of this process, since some change
    classes of torch.
    """
    context = multiprocessing.get_context("fork")
    found: dict[str, dict[str, str]] = {engine: {} for engine in engines}
    for engine in engines:
        importlib.import_module({"lxt": "lxt.efficient"}.get(engine, engine))
    for network in NETWORKS:
        x = images(network, 2)
        net, x = without_biases(build(network), x), x.double()
        with torch.no_grad():
            logits = net(x)
        plain, _ = gradient_times_input(net, x, logits.argmax(1), 0.0, False)
        for engine in engines:
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_send, args=(there, engine, net, x, logits, plain))
            process.start()
            there.close()
            try:
                found[engine][str(network)] = here.recv()
            except EOFError:
                found[engine][str(network)] = "refused: the process ended"
            process.join()
            print(engine, network, found[engine][str(network)], file=sys.stderr, flush=True)
        gc.collect()
    return found


def _send(connection: Any, engine: str, *given: Any) -> None:
    warnings.simplefilter("ignore")
    connection.send(_judge(ENGINES[engine](), *given))


def _judge(explain: Engine, net: nn.Module, x: Tensor, logits: Tensor, plain: Tensor) -> str:
    value = logits.amax(1)

    def find_loss(maps: Tensor) -> float:
        return float((maps.sum((1, 2, 3)) - value).abs().max() / value.abs().max())

    try:
        found, _ = explain(make_out_of_place(net), x, logits.argmax(1), TINY, False)
    except Exception as error:  # whatever an engine raises
        return f"refused: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:90]}"
    found = found.detach()
    lost = find_loss(found)
    if find_loss(plain) < HOMOGENEOUS:
        lost = max(lost, float((found - plain).abs().max() / plain.abs().max()))
    return "right" if lost < TOLERANCE else f"wrong by {lost:.1g}"


# -- derivatives by the weights ------------------------------------------------------------------


class Chain(nn.Module):
    """Convolutions flattened by a function: captum has no rule for the module."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(x).flatten(1))
        return found


def small_networks() -> dict[str, nn.Module]:
    """A convolutional network and a vision transformer, float64."""
    torch.manual_seed(0)
    transformer = torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=3)
    nn.init.normal_(transformer.heads.head.weight)
    return {"convolutions": Chain().double().eval(), "transformer": transformer.double().eval()}


def check_slopes(explain: Engine) -> dict[str, str]:
    """Error of the derivative along a random direction of the weights, against differences."""
    return {name: _check_slope(explain, net) for name, net in small_networks().items()}


def _check_slope(explain: Engine, net: nn.Module) -> str:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 3, 16, 16, generator=generator).double()
    weight = torch.randn(x.shape, generator=generator).double()
    classes = torch.tensor([0, 2])
    parameters = [p for p in net.parameters() if p.requires_grad]
    way = [torch.randn(p.shape, generator=generator).double() for p in parameters]

    def loss(graph: bool) -> Tensor:
        return (explain(net, x, classes, USUAL, graph)[0] * weight).sum()

    def shifted(step: float) -> float:
        with torch.no_grad():
            for p, d in zip(parameters, way, strict=True):
                p.add_(d, alpha=step)
        found = float(loss(False))
        with torch.no_grad():
            for p, d in zip(parameters, way, strict=True):
                p.sub_(d, alpha=step)
        return found

    try:
        slopes = torch.autograd.grad(loss(True), parameters, allow_unused=True)
        ours = sum(float((g * d).sum()) for g, d in zip(slopes, way, strict=True) if g is not None)
    except Exception as error:  # whatever an engine raises
        return f"none: {(str(error).splitlines() or [''])[0][:90]}"
    # maps have kinks (epsilon's sign, ReLUs): the smallest step without one is not known
    trues = [(shifted(step) - shifted(-step)) / (2 * step) for step in (1e-6, 1e-7, 1e-8)]
    true = min(trues, key=lambda value: abs(ours - value))
    error = abs(ours - true) / abs(true)
    return "right" if error < SLOPE else f"wrong: {ours:.4g}, finite difference {true:.4g}"


# -- cost ----------------------------------------------------------------------------------------


def make_steps(explain: Engine, name: str) -> dict[str, Callable[[], None]]:
    """The standard training step, a map, and a training step through the map."""
    torch.manual_seed(0)
    options = {"image_size": SIZE} if name.startswith("vit") else {}
    net = torchvision.models.get_model(name, num_classes=3, **options).eval()
    make_out_of_place(net)
    x, classes = torch.rand(BATCH, 3, SIZE, SIZE), torch.arange(BATCH) % 3

    def standard() -> None:
        F.cross_entropy(net(x), classes).backward()  # type: ignore[no-untyped-call]
        net.zero_grad()

    def map_alone() -> None:
        explain(net, x, classes, USUAL, False)

    def step() -> None:
        maps, logits = explain(net, x, classes, USUAL, True)
        loss = F.cross_entropy(net(x) if logits is None else logits, classes)
        (loss + maps.square().mean()).backward()
        net.zero_grad()

    return {"standard": standard, "map": map_alone, "step": step}


def measure(explain: Engine, name: str, rounds: int) -> dict[str, float | str]:
    """Median ratios of a map and of a step to the standard step of the same round."""
    steps = make_steps(explain, name)
    found: dict[str, list[float]] = {"map": [], "step": []}
    failed: dict[str, str] = {}
    for round_ in range(rounds + 1):
        base = _seconds(steps["standard"])
        for kind, values in found.items():
            try:
                taken = _seconds(steps[kind]) if kind not in failed else 0.0
            except Exception as error:  # whatever an engine raises
                failed[kind] = (str(error).splitlines() or [""])[0][:90]
                continue
            if round_:
                values.append(taken / base)
    return {kind: failed.get(kind) or statistics.median(v) for kind, v in found.items()}


def _seconds(step: Callable[[], None]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


def find_peak(explain: Engine, name: str, kind: str) -> float:
    """Peak memory of three steps above the idle process, in bytes."""
    step = make_steps(explain, name)[kind]
    idle = _status("VmRSS")
    for _ in range(3):
        step()
    return _status("VmHWM") - idle


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


# -- all of it -----------------------------------------------------------------------------------


def call(*words: str) -> Any:
    """What this script prints in a fresh process whose allocator returns freed blocks."""
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(engine: str, part: str, name: str, rounds: int) -> Any:
    """One part for one engine (of `right` for several), in this process."""
    if part == "right":
        return judge(engine.split(","))
    explain = ENGINES[engine]()
    torch.backends.cuda.enable_flash_sdp(False)  # torch's own attention has no second derivative
    if part == "slope":
        return check_slopes(explain)
    return measure(explain, name, rounds) if part == "time" else find_peak(explain, name, part)


def ask(engine: str, parts: list[str], rounds: int) -> dict[str, Any]:
    """Figures of one engine alone."""
    found: dict[str, Any] = {}
    if "slope" in parts:
        found["slope"] = call("--one", engine, "slope", "", "0")
    for name in COSTS if "cost" in parts else ():
        cost = call("--one", engine, "time", name, str(rounds))
        if isinstance(cost.get("step"), float):
            peaks = [call("--one", engine, kind, name, "0") for kind in ("standard", "step")]
            cost["memory"] = peaks[1] / peaks[0]
        found[name] = cost
    return found


def write_table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures as a table in Markdown."""
    measured = [name for name in COSTS if any(name in found for found in figures.values())]
    heads = [f"{name}: map, step, memory" for name in measured]
    rows = [["engine", f"right of {len(NETWORKS)}", "wrong", "refused", "slope, convolutions",
             "slope, transformer", *heads]]  # fmt: skip
    for engine, found in figures.items():
        if "missing" in found:
            rows.append([engine, found["missing"], *[""] * (len(rows[0]) - 2)])
            continue
        verdicts = list(found.get("right", {}).values())
        counts = [str(sum(v.startswith(word) for v in verdicts))
                  for word in ("right", "wrong", "refused")]  # fmt: skip
        slopes = [str(v).split(":")[0] for v in found.get("slope", {}).values()] or ["", ""]
        costs = [
            ", ".join(f"{v:.2f}" if isinstance(v, float) else "-" for v in
                      (found.get(name, {}).get(kind) for kind in ("map", "step", "memory")))
            for name in measured
        ]  # fmt: skip
        rows.append([engine, *counts, *slopes, *costs])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--parts", default="right,slope,cost")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="all figures; those there are kept")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if given.one:
        engine, part, name, rounds = given.one
        print(json.dumps(work(engine, part, name, int(rounds))))
        return
    engines, parts = given.engines.split(","), given.parts.split(",")
    there = [engine for engine in engines if importlib.util.find_spec(engine) is not None]
    figures: dict[str, dict[str, Any]] = {}
    if given.json and given.json.exists():
        figures = json.loads(given.json.read_text(encoding="utf-8"))
    for engine in engines:
        found = (
            ask(engine, parts, given.rounds) if engine in there else {"missing": "not installed"}
        )
        figures.setdefault(engine, {}).update(found)
    if "right" in parts:
        for engine, verdicts in call("--one", ",".join(there), "right", "", "0").items():
            figures[engine]["right"] = verdicts
    print(json.dumps(figures, indent=1), flush=True)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(write_table(figures))


if __name__ == "__main__":
    main()
