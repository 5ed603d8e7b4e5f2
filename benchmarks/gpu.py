"""Everything that only a GPU can tell, in one command: is it right there, how fast, what waits.

    python benchmarks/gpu.py --out DIR [--minutes 9]

Needs Python, PyTorch, torchvision, timm, numpy, Pillow, PyYAML, pydantic, safetensors and
scikit-learn. Prints a table as it goes and writes ``DIR/gpu.json`` after each part; parts for which
no time is left are named there. Without a GPU the same parts run on small images, as a trial of
the script: their figures say nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE), str(HERE / "models")]

from isnet_cli.config.schema import Config  # noqa: E402 - the two lines above find it
from isnet_cli.core.parallel.step_figures import StepFigures  # noqa: E402
from isnet_cli.dataset.feed import Feed, draw_parts  # noqa: E402
from isnet_cli.dataset.image_dataset import ImageDataset  # noqa: E402
from isnet_cli.dataset.packed_file import pack  # noqa: E402
from isnet_cli.dataset.records import RecordForm  # noqa: E402
from isnet_cli.images.types import Row  # noqa: E402
from isnet_cli.train.classifier_training import ClassifierTraining  # noqa: E402
from isnet_cli.train.validation import Validator  # noqa: E402
from isnet_lrp import Choice, Compute, relevance  # noqa: E402
from isnet_lrp.compiled import compiled_relevance  # noqa: E402
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss  # noqa: E402
from isnet_models.backbones import build_backbone  # noqa: E402
from isnet_models.methods import registry  # noqa: E402
from isnet_models.methods.base import Context  # noqa: E402
from isnet_models.methods.settings import ISNetSettings  # noqa: E402

BOUNDS = (0.0, 1.0)
P = 0.7  # weight of the heat-map loss
KINDS: dict[str, tuple[str | None, int]] = {  # what the maps explain, and maps per image
    "standard": (None, 0), "one map": ("selective", 1), "three maps": ("all", 3),
    "ten maps": ("all", 10),
}  # fmt: skip
CHANGES = {"rotate": 10.0, "translate": 0.05, "scale": 0.1, "contrast": 0.2, "brightness": 0.1}
Step = Callable[[], Tensor]


@dataclass
class Bench:
    """What all parts need.

    Attributes:
        device: ``cuda``, or ``cpu`` for a trial.
        size: Side of the images, px.
        batch: Images of a step.
        nets: Names of torchvision.
        ends: When the time is up (`time.monotonic`).
        out: Folder of the JSON file.
        found: Everything so far.
    """

    device: torch.device
    size: int
    batch: int
    nets: tuple[str, ...]
    ends: float
    out: Path
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.ends - time.monotonic()

    def say(self, name: str, value: Any) -> None:
        """Prints one figure."""
        text = f"{value:10.4g}" if isinstance(value, float) else f"  {value}"
        print(f"  {name:44}{text}", flush=True)

    def wait(self) -> None:
        """Lets the device finish."""
        if self.cuda:
            torch.cuda.synchronize()

    def save(self) -> None:
        """Writes the JSON file by rename."""
        temporary = self.out / ".gpu.json"
        temporary.write_text(json.dumps(self.found, indent=1))
        temporary.replace(self.out / "gpu.json")


# -- steps ---------------------------------------------------------------------------------------


def make_net(name: str, classes: int, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A network with random weights in training mode."""
    torch.manual_seed(0)
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    for module in net.modules():  # the chance of dropout is another on each device
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net.to(device, dtype).train()


def make_step(
    bench: Bench, name: str, kind: str, *, mixed: bool = False, compiled: bool = False
) -> tuple[nn.Module, Step]:
    """A network and a step of its training without the optimiser, which returns the loss."""
    target, maps = KINDS[kind]
    K, B, S, device = max(maps, 3), bench.batch, bench.size, bench.device
    net = make_net(name, K, device, torch.float32)
    x, labels = torch.rand(B, 3, S, S, device=device), torch.arange(B, device=device) % K
    masks = make_masks(B, S, device, torch.float32)
    settings, wanted = HeatmapLossSettings(), "mixed" if mixed else "float32"
    chosen: Any = target
    engine = compiled_relevance(net, x, chosen, zb=BOUNDS) if compiled else None

    def step() -> Tensor:
        net.zero_grad(set_to_none=True)
        if target is None:
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                logits = net(x)
            loss = nn.functional.cross_entropy(logits.float(), labels)
        else:
            found = engine(x) if engine else relevance(
                net, x, chosen, zb=BOUNDS, create_graph=True,
                compute=Compute(wanted, check=False),
            )  # fmt: skip
            heat = heatmap_loss(found.maps, masks, settings).total
            loss = (1 - P) * nn.functional.cross_entropy(found.logits, labels) + P * heat
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return net, step


def make_masks(B: int, S: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Square lungs."""
    masks = torch.zeros(B, 1, S, S, device=device, dtype=dtype)
    masks[..., S // 4 : 3 * S // 4, S // 4 : 3 * S // 4] = 1
    return masks


def capture(bench: Bench, step: Step) -> Step:
    """The step as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay


def measure_seconds(bench: Bench, step: Step, rounds: int) -> float:
    """Median duration of a step."""
    for _ in range(2):
        step()
    found = []
    for _ in range(rounds):
        bench.wait()
        began = time.perf_counter()
        step()
        bench.wait()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


# -- parts ---------------------------------------------------------------------------------------


def check_numbers(bench: Bench) -> dict[str, Any]:
    """Maps and weight gradients against float64 on the CPU: cosine, and ratio of the norms."""
    found: dict[str, Any] = {}
    size = 64 if bench.cuda else 32
    for name in ("resnet18", "densenet121", "vgg11_bn")[: 3 if bench.cuda else 1]:
        torch.manual_seed(1)
        x = torch.rand(4, 3, size, size, dtype=torch.float64)
        start = make_net(name, 3, torch.device("cpu"), torch.float64).state_dict()
        for target in ("selective", "all", "stochastic"):
            true = learn(name, x, start, target, "float32")
            for precision in ("float32", "mixed"):
                ours = learn(name, x.float().to(bench.device), start, target, precision)
                for what, a, b in zip(("map", "gradient"), ours, true, strict=True):
                    mine, exact = a.double().cpu(), b.double()
                    cosine = float(mine @ exact / (mine.norm() * exact.norm()))
                    key = f"{name} {target} {precision} {what}"
                    found[key] = {"cosine": cosine, "ratio": float(mine.norm() / exact.norm())}
                    bench.say(key, f"cosine {cosine:.7f}  ratio {found[key]['ratio']:.6f}")
    return found


def learn(
    name: str, x: Tensor, start: dict[str, Tensor], target: str, precision: str
) -> tuple[Tensor, Tensor]:
    """Maps of `x`, and the weight gradients of the ISNet's loss, each as one vector."""
    net = make_net(name, 3, x.device, x.dtype)
    net.load_state_dict(start)
    chosen: Any = target
    result = relevance(
        net, x, chosen, zb=BOUNDS, create_graph=True,
        compute=Compute("float32" if x.dtype == torch.float64 else precision, check=False),
        choice=Choice(generator=torch.Generator().manual_seed(0)),
    )  # fmt: skip
    masks = make_masks(len(x), x.shape[-1], x.device, x.dtype)
    heat = heatmap_loss(result.maps, masks, HeatmapLossSettings()).total
    labels = torch.arange(len(x), device=x.device) % 3
    loss = (1 - P) * nn.functional.cross_entropy(result.logits, labels) + P * heat
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return result.maps.detach().flatten(), torch.cat(gradients)


def compare_engines(bench: Bench) -> dict[str, Any]:
    """Seconds of each kind of step, and its ratio to the standard step of the same precision."""
    found: dict[str, Any] = {}
    rounds = 10 if bench.cuda else 1
    for name in bench.nets:
        for mixed in (False, True):
            base = 0.0
            for kind in KINDS:
                if bench.left < 60 and bench.cuda:
                    return {**found, "left out": f"from {name} {kind} on: no time left"}
                key = f"{name} {kind}{' mixed' if mixed else ''}"
                found[key] = entry = _try_step(bench, name, kind, mixed, rounds)
                base = base or entry.get("seconds", 0.0)
                if "seconds" in entry:
                    entry["ratio"] = entry["seconds"] / base
                    entry["images_per_second"] = bench.batch / entry["seconds"]
                    shown = f"{1000 * entry['seconds']:8.1f} ms  ratio {entry['ratio']:.2f}"
                    if "graph_seconds" in entry:
                        shown += f"  as a graph {1000 * entry['graph_seconds']:.1f} ms"
                    bench.say(key, f"{shown}  {entry['peak_mb']:.0f} MB")
                else:
                    bench.say(key, entry["failed"])
    return found


def _try_step(bench: Bench, name: str, kind: str, mixed: bool, rounds: int) -> dict[str, Any]:
    gc.collect()
    if bench.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    entry: dict[str, Any] = {}
    try:
        _, step = make_step(bench, name, kind, mixed=mixed)
        entry["seconds"] = measure_seconds(bench, step, rounds)
        entry["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6 if bench.cuda else 0.0
    except RuntimeError as error:  # too little memory, as a rule: the other kinds may fit
        return {"failed": str(error).splitlines()[0][:160]}
    if bench.cuda and kind in ("standard", "one map"):
        try:
            entry["graph_seconds"] = measure_seconds(bench, capture(bench, step), rounds)
        except RuntimeError as error:
            entry["graph_failed"] = str(error).splitlines()[0][:160]
    return entry


def compile_steps(bench: Bench) -> dict[str, Any]:
    """The compiled ISNet step beside the eager one."""
    found: dict[str, Any] = {}
    for name in ("resnet18", "densenet121") if bench.cuda else ():
        if bench.left < 150:
            return {**found, "left out": f"{name}: no time left"}
        began = time.perf_counter()
        try:
            _, step = make_step(bench, name, "one map", compiled=True)
            found[name] = {"seconds": measure_seconds(bench, step, 10)}
        except RuntimeError as error:
            found[name] = {"failed": str(error).splitlines()[0][:160]}
        found[name]["first_call_seconds"] = time.perf_counter() - began
        bench.say(f"{name} one map compiled", json.dumps(found[name]))
    return found


def make_dataset(bench: Bench, folder: Path, config: Config, count: int) -> ImageDataset:
    """Packed noise of so many images, two classes; every tenth without a mask."""
    form = RecordForm(bench.size, bench.size)
    rng = np.random.default_rng(0)
    base = rng.integers(0, 65536, (16, bench.size, bench.size)).astype(np.uint16)
    lungs = make_masks(1, bench.size, torch.device("cpu"), torch.float32)[0, 0].numpy() > 0

    def draw() -> Iterator[tuple[Any, Any]]:
        for n in range(count):
            yield np.roll(base[n % 16], n, 1), lungs & (n % 10 != 9)

    records = pack(folder, "0" * 64, form, count, draw)
    rows = [Row(f"i{n}", label=str(n % 2)) for n in range(count)]
    labels = np.arange(count, dtype=np.float32) % 2
    return ImageDataset(records, np.arange(count), labels, rows, ["0", "1"], config)


def make_config(bench: Bench, arch: str, method: str, batch: int, workers: int) -> Config:
    """The configuration of a training."""
    return Config.model_validate(
        {
            "model": {"arch": arch, "input": [bench.size, bench.size], "channels": 3},
            "train": {
                "method": method, "batch_size": batch, "precision": "mixed", "epochs": 1,
                "augment": CHANGES, "optimizer": {"name": "adamw", "lr": 1e-4},
            },
            "machine": {"workers": workers, "device": bench.device.type},
            "bias": {"kind": "shapes"},
        }
    )  # fmt: skip


def measure_input(bench: Bench, folder: Path) -> dict[str, Any]:
    """Images per second that reach the device ready to be trained on, by threads."""
    found: dict[str, Any] = {}
    count = 4096 if bench.cuda else 64
    for workers in (1, 2, 4, 8) if bench.cuda else (0, 1):
        batch = 2 * bench.batch
        config = make_config(bench, "resnet18", "standard", batch, workers)
        dataset = make_dataset(bench, folder, config, count)
        order = np.random.default_rng(1).permutation(count)
        parts = [order[i : i + batch] for i in range(0, count, batch)]
        for _ in range(2):  # the first time finds the places of the marks
            bench.wait()
            began = time.perf_counter()
            size, chance = config.model.input, torch.Generator().manual_seed(0)
            changed = draw_parts(parts, size, config.train.augment, chance)
            for one in Feed(dataset, changed, "biased", bench.device):
                last = one.images
            bench.wait()
        found[f"{workers} threads"] = count / (time.perf_counter() - began)
        assert last.shape[1:] == (3, bench.size, bench.size)
        bench.say(f"input path, {workers} threads, images/s", found[f"{workers} threads"])
    return found


def train_whole(bench: Bench, folder: Path) -> dict[str, Any]:
    """Whole training steps, input path and optimiser included: images per second, time waited."""
    found: dict[str, Any] = {}
    arch = "densenet121" if bench.cuda else "resnet18"
    for method in ("standard", "isnet"):
        for batch in (64, 256) if bench.cuda else (4,):
            if bench.left < 45 and bench.cuda:
                return {**found, "left out": f"{method} {batch}: no time left"}
            config = make_config(bench, arch, method, batch, 4)
            steps = 20 if bench.cuda else 2
            dataset = make_dataset(bench, folder, config, 4096 if bench.cuda else 64)
            found[f"{arch} {method} batch {batch}"] = entry = _train(bench, config, dataset, steps)
            bench.say(f"{arch} {method} batch {batch}", json.dumps(entry))
    return found


def make_training(bench: Bench, config: Config, dataset: ImageDataset) -> ClassifierTraining:
    """A training of the configuration; the range of relevance is given."""
    ranges: Any = {"every map": (1.0, 25.0)}
    settings: Any = {"isnet": ISNetSettings(variant="selective", heatmap_weight=P)}
    context = Context(autocast=True, ranges=ranges, classes=2)
    method = registry.make(config.train.method, context, settings)
    torch.manual_seed(0)
    net = build_backbone(config.model.arch, 2, channels=3).to(bench.device)
    few = ImageDataset(
        dataset.records, dataset.places[:8], dataset.labels[:8], dataset.rows[:8],
        dataset.classes, config,
    )  # fmt: skip
    validator = Validator(few, "biased", 4, bench.device)
    return ClassifierTraining(
        config, net, method, dataset, validator, "biased", bench.out, "gpu", lambda n, row: None
    )


def _train(bench: Bench, config: Config, dataset: ImageDataset, steps: int) -> dict[str, Any]:
    training = make_training(bench, config, dataset)
    training.begin_epoch(0)
    training.net.train()
    figures, waited, began = StepFigures(bench.device), 0.0, 0.0
    try:
        for step in range(steps + 3):
            if step == 3:  # the first steps choose kernels
                bench.wait()
                began, waited = time.perf_counter(), 0.0
            asked = time.perf_counter()
            batch = training.make_batch(0, step)
            waited += time.perf_counter() - asked
            training.train_step(batch, 0, step, figures)
        bench.wait()
        seconds = time.perf_counter() - began
    finally:
        training.end_epoch()
    images = steps * config.train.batch_size
    return {
        "images_per_second": images / seconds, "step_ms": 1000 * seconds / steps,
        "host_in_input_share": waited / seconds, "finite": figures.read().bad_step is None,
    }  # fmt: skip


def count_waits(bench: Bench, folder: Path) -> dict[str, Any]:
    """How often the host waits for the GPU in a training step and in a validation batch."""
    if not bench.cuda:
        return {"left out": "needs a GPU"}
    config = make_config(bench, "resnet18", "isnet", 32, 2)
    training = make_training(bench, config, make_dataset(bench, folder, config, 4096))
    training.begin_epoch(0)
    training.net.train()
    figures = StepFigures(bench.device)
    for step in range(2):
        training.train_step(training.make_batch(0, step), 0, step, figures)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        training.train_step(training.make_batch(0, 2), 0, 2, figures)
        in_step = len(said)
        training.validator.collect(training.net, training.method, 0)
        torch.cuda.set_sync_debug_mode("default")
    training.end_epoch()
    where = sorted({f"{Path(w.filename).name}:{w.lineno}" for w in said})
    found = {"step": in_step, "validation": len(said) - in_step, "where": where}
    bench.say("waits of the host", json.dumps(found))
    return found


def profile_step(bench: Bench) -> dict[str, Any]:
    """Where the time of the ISNet step goes, by kernel."""
    from torch.profiler import ProfilerActivity, profile

    name = "densenet121" if bench.cuda else "resnet18"
    _, step = make_step(bench, name, "one map", mixed=bench.cuda)
    for _ in range(2):
        step()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.cuda else [])]
    with profile(activities=kinds) as seen:
        for _ in range(3):
            step()
        bench.wait()
    key = "self_device_time_total" if bench.cuda else "self_cpu_time_total"
    events = sorted(seen.key_averages(), key=lambda e: -getattr(e, key))
    total = sum(getattr(e, key) for e in events) or 1
    found = {
        e.key[:100]: {"share": getattr(e, key) / total, "calls": e.count / 3} for e in events[:25]
    }
    for kernel, entry in list(found.items())[:10]:
        bench.say(kernel[:44], f"{100 * entry['share']:5.1f} %  {entry['calls']:.0f} calls a step")
    return found


def main() -> int:
    """Runs the parts in order, as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu.json")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for everything")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    cuda = torch.cuda.is_available()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if not cuda:
        torch.set_num_threads(1)
    bench = Bench(
        torch.device("cuda" if cuda else "cpu"), 224 if cuda else 32, 32 if cuda else 2,
        ("densenet121", "resnet50", "resnet18", "vgg19_bn") if cuda else ("resnet18",),
        time.monotonic() + 60 * given.minutes, given.out,
    )  # fmt: skip
    device = torch.cuda.get_device_name() if cuda else "no GPU: a trial, whose figures say nothing"
    bench.found["machine"] = {
        "device": device, "torch": torch.__version__, "cores": os.cpu_count(),
        "cudnn": torch.backends.cudnn.version() if cuda else None,
    }  # fmt: skip
    print(f"torch {torch.__version__}, {device}, {bench.size} px", flush=True)
    with tempfile.TemporaryDirectory(dir=given.out) as folder:
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "numbers": lambda: check_numbers(bench),
            "waits": lambda: count_waits(bench, Path(folder)),
            "input": lambda: measure_input(bench, Path(folder)),
            "training": lambda: train_whole(bench, Path(folder)),
            "engine": lambda: compare_engines(bench),
            "profile": lambda: profile_step(bench),
            "compiled": lambda: compile_steps(bench),
        }
        for name, part in parts.items():
            print(name, flush=True)
            began = time.monotonic()
            try:
                found = part() if bench.left > 20 or not cuda else {"left out": "no time left"}
            except Exception as error:
                found = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
                print(f"  failed: {found['failed']}", flush=True)
            bench.found[name] = {**found, "took_seconds": time.monotonic() - began}
            bench.save()
    failed = [n for n, part in bench.found.items() if "failed" in part]
    print(f"{given.out / 'gpu.json'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
