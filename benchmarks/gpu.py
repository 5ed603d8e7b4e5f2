"""Everything that only a GPU can tell, in one command: is it right there, how fast, what waits.

    python benchmarks/gpu.py --out DIR [--minutes 9]

Needs Python, PyTorch, torchvision, timm, numpy, Pillow, PyYAML, pydantic, safetensors and
scikit-learn. Prints a table as it goes and writes each figure into ``DIR/gpu.json``; what fails, or
for which no time is left, is named there, and the other parts run. Whatever hangs, the script ends
`GRACE` seconds after its time. Without a GPU the same parts run on small images, as a trial of the
script: their figures say nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
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
from isnet_models.ranks import Ranks, SharedBatch, sum_gradients  # noqa: E402

BOUNDS = (0.0, 1.0)
P = 0.7  # weight of the heat-map loss
KINDS: dict[str, tuple[str | None, int]] = {  # what the maps explain, and maps per image
    "standard": (None, 0), "one map": ("selective", 1), "three maps": ("all", 3),
    "ten maps": ("all", 10),
}  # fmt: skip
GRACE = 20.0  # seconds between the end of the time and that of a part that hangs
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
        found: Everything so far, by part.
        part: The one that runs.
    """

    device: torch.device
    size: int
    batch: int
    nets: tuple[str, ...]
    ends: float
    out: Path
    found: dict[str, Any] = field(default_factory=dict)
    part: str = ""

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"

    def has_time(self, name: str, seconds: float = 20.0) -> bool:
        """Whether so many seconds are left; notes what is left out otherwise."""
        if self.ends - time.monotonic() > seconds:
            return True
        self.found[self.part].setdefault("left out", []).append(name)
        return False

    def note(self, name: str, value: Any) -> None:
        """Prints one figure of the part, or several by name, and writes it down."""
        self.found[self.part][name] = value
        entry = value if isinstance(value, dict) else {"": value}
        shown = (f"{k} {v:.7g}" if isinstance(v, float) else f"{k} {v}" for k, v in entry.items())
        print(f"  {name:42}{'  '.join(shown)}", flush=True)
        self.save()

    def fail(self, name: str, error: Exception) -> None:
        """Notes what failed; the other figures may do."""
        self.note(name, {"failed": f"{type(error).__name__}: {str(error)[:300]}"})

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
    bench: Bench,
    name: str,
    kind: str,
    *,
    mixed: bool = False,
    compiled: bool = False,
    layout: torch.memory_format = torch.contiguous_format,
) -> tuple[nn.Module, Step]:
    """A network and a step of its training without the optimiser, which returns the loss."""
    target, maps = KINDS[kind]
    K, B, S, device = max(maps, 3), bench.batch, bench.size, bench.device
    net = make_net(name, K, device, torch.float32).to(memory_format=layout)
    x = torch.rand(B, 3, S, S, device=device).contiguous(memory_format=layout)
    labels = torch.arange(B, device=device) % K
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


def capture(step: Step) -> Step:
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


def check_numbers(bench: Bench) -> None:
    """Maps and weight gradients against float64 on the CPU: cosine, and ratio of the norms."""
    size = 64 if bench.cuda else 32
    for name in ("resnet18", "densenet121", "vgg11_bn")[: 3 if bench.cuda else 1]:
        torch.manual_seed(1)
        x = torch.rand(4, 3, size, size, dtype=torch.float64)
        start = make_net(name, 3, torch.device("cpu"), torch.float64).state_dict()
        for target in ("selective", "all", "stochastic"):
            if not bench.has_time(f"{name} {target}"):
                return
            true = learn(name, x, start, target, "float32")
            for precision in ("float32", "mixed"):
                ours = learn(name, x.float().to(bench.device), start, target, precision)
                for what, a, b in zip(("map", "gradient"), ours, true, strict=True):
                    bench.note(f"{name} {target} {precision} {what}", compare(a, b))


def compare(ours: Tensor, true: Tensor) -> dict[str, float]:
    """Cosine, and ratio of the norms, of two vectors."""
    a, b = ours.double().cpu(), true.double().cpu()
    return {"cosine": float(a @ b / (a.norm() * b.norm())), "ratio": float(a.norm() / b.norm())}


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


def check_sharing(bench: Bench, folder: Path) -> None:
    """A step on the way that several processes take, by one: through NCCL where there is a GPU."""
    backend = "nccl" if bench.cuda and dist.is_nccl_available() else "gloo"
    dist.init_process_group(
        backend, init_method=f"file://{folder / 'meeting'}", rank=0, world_size=1
    )
    try:
        name = "densenet121" if bench.cuda else "resnet18"
        found, seconds = [], []
        for ranks in (None, Ranks(0, 1)):
            net, step = make_step(bench, name, "one map")
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = 0.1  # of few values: a smaller one magnifies rounding

            def shared(
                net: nn.Module = net, step: Step = step, ranks: Ranks | None = ranks
            ) -> Tensor:
                if ranks is None:
                    return step()
                with SharedBatch(ranks, bench.batch):
                    loss = step()
                sum_gradients(net.parameters(), ranks)
                return loss

            seconds.append(measure_seconds(bench, shared, 5 if bench.cuda else 1))
            gradients = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
            found.append(torch.cat(gradients))
        bench.note(f"{name}, {backend}, gradient beside alone", compare(found[1], found[0]))
        bench.note("duration beside alone", seconds[1] / seconds[0])
    finally:
        dist.destroy_process_group()


def compare_engines(bench: Bench) -> None:
    """Seconds of each kind of step, and its ratio to the standard step of the same precision."""
    for name in bench.nets:
        for mixed in (False, True):
            base = 0.0
            for kind in KINDS:
                key = f"{name} {kind}{' mixed' if mixed else ''}"
                if bench.has_time(key, 60 if bench.cuda else 20):
                    seconds = time_step(bench, key, base, name, kind, mixed=mixed)
                    base = base or seconds


def time_step(
    bench: Bench, key: str, base: float, name: str, kind: str, *, graph: bool = False, **how: Any
) -> float:
    """Notes duration, ratio to `base` seconds and peak memory of a step; its seconds, 0: it failed.

    Args:
        bench: The bench.
        key: Name of the figures.
        base: Seconds of what it is compared with; 0: nothing.
        name: As in `make_step`.
        kind: See there.
        graph: Whether the step is captured as a CUDA graph.
        **how: See there.
    """
    gc.collect()
    if bench.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    try:
        _, step = make_step(bench, name, kind, **how)
        if graph:
            step = capture(step)
        step()
        first = time.perf_counter() - began
        seconds = measure_seconds(bench, step, 10 if bench.cuda else 1)
    except Exception as error:  # too little memory, no compiler: the other kinds may do
        bench.fail(key, error)
        return 0.0
    peak = torch.cuda.max_memory_allocated() / 1e6 if bench.cuda else 0.0
    bench.note(
        key,
        {
            "ms": 1000 * seconds, "ratio": seconds / (base or seconds),
            "images_per_second": bench.batch / seconds, "peak_mb": peak, "first_s": first,
        },
    )  # fmt: skip
    return seconds


def compare_layouts(bench: Bench) -> None:
    """Steps in mixed precision with channels last beside those as they are."""
    for name in bench.nets[:2]:
        for kind in ("standard", "one map"):
            base, key = 0.0, f"{name} {kind} mixed"
            for layout in (torch.contiguous_format, torch.channels_last):
                more = ", channels last" if layout == torch.channels_last else ""
                if bench.has_time(key + more):
                    base = time_step(
                        bench, key + more, base, name, kind, mixed=True, layout=layout
                    )  # fmt: skip


def capture_graphs(bench: Bench) -> None:
    """Steps as CUDA graphs beside eager ones."""
    for name in bench.nets if bench.cuda else ():
        for kind in ("standard", "one map"):
            base = 0.0
            for graph in (False, True):
                key = f"{name} {kind} mixed{', as a graph' if graph else ''}"
                if bench.has_time(key):
                    base = time_step(bench, key, base, name, kind, mixed=True, graph=graph)


def compile_steps(bench: Bench) -> None:
    """Compiled ISNet steps beside eager ones."""
    for name in ("resnet18", "densenet121") if bench.cuda else ():
        base = 0.0
        for compiled in (False, True):
            key = f"{name} one map{', compiled' if compiled else ''}"
            if bench.has_time(key, 90 if compiled else 20):
                base = time_step(bench, key, base, name, "one map", compiled=compiled)


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


def measure_input(bench: Bench, folder: Path) -> None:
    """Images per second that reach the device ready to be trained on, by threads."""
    count = 4096 if bench.cuda else 64
    for workers in (1, 2, 4, 8) if bench.cuda else (0, 1):
        name = f"{workers} threads, images/s"
        if not bench.has_time(name):
            return
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
        bench.note(name, count / (time.perf_counter() - began))
        assert last.shape[1:] == (3, bench.size, bench.size)


def train_whole(bench: Bench, folder: Path) -> None:
    """Whole training steps, input path and optimiser included: images per second, time waited."""
    arch = "densenet121" if bench.cuda else "resnet18"
    for batch in (64, 256) if bench.cuda else (4,):
        for method in ("standard", "isnet"):
            name = f"{arch} {method} batch {batch}"
            if not bench.has_time(name, 45 if bench.cuda else 20):
                continue
            config = make_config(bench, arch, method, batch, 4)
            dataset = make_dataset(bench, folder, config, 4096 if bench.cuda else 64)
            try:
                bench.note(name, _train(bench, config, dataset, 12 if bench.cuda else 2))
            except Exception as error:
                bench.fail(name, error)


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
    if bench.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
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
        "peak_mb": torch.cuda.max_memory_allocated() / 1e6 if bench.cuda else 0.0,
    }  # fmt: skip


def count_waits(bench: Bench, folder: Path) -> None:
    """How often the host waits for the GPU in a training step and in a validation batch."""
    config = make_config(bench, "resnet18", "isnet", bench.batch, 2)
    training = make_training(bench, config, make_dataset(bench, folder, config, 32 * bench.batch))
    training.begin_epoch(0)
    training.net.train()
    figures = StepFigures(bench.device)
    try:
        for step in range(2):
            training.train_step(training.make_batch(0, step), 0, step, figures)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if bench.cuda:
                torch.cuda.set_sync_debug_mode("warn")
            training.train_step(training.make_batch(0, 2), 0, 2, figures)
            in_step = len(said)
            training.validator.collect(training.net, training.method, 0)
    finally:
        if bench.cuda:
            torch.cuda.set_sync_debug_mode("default")
        training.end_epoch()
    where = sorted({f"{Path(w.filename).name}:{w.lineno}" for w in said})
    bench.note("waits", {"step": in_step, "validation": len(said) - in_step, "where": where})


def profile_step(bench: Bench) -> None:
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
    for e in events[:25]:
        share, calls = getattr(e, key) / total, e.count / 3
        bench.note(e.key[:100], {"share": share, "calls a step": calls})


def run_part(bench: Bench, name: str, part: Callable[[], None]) -> None:
    """One part; what it found until it failed stays."""
    print(name, flush=True)
    bench.part, began = name, time.monotonic()
    bench.found[name] = {}
    try:
        if bench.has_time(name):
            part()
    except Exception as error:
        bench.fail("all that follows here", error)
    bench.found[name]["took_seconds"] = time.monotonic() - began
    bench.save()


def end_in_time(bench: Bench) -> None:
    """Ends the process some seconds after its time, whatever it does then."""

    def end() -> None:
        print(f"  no end in sight in {bench.part}: ended", flush=True)
        bench.found.setdefault(bench.part, {})["failed"] = "no end in sight"
        bench.save()
        os._exit(1)

    timer = threading.Timer(max(0.0, bench.ends - time.monotonic()) + GRACE, end)
    timer.daemon = True
    timer.start()


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
    end_in_time(bench)
    device = torch.cuda.get_device_name() if cuda else "no GPU: a trial, whose figures say nothing"
    bench.found["machine"] = {
        "device": device, "torch": torch.__version__, "cores": os.cpu_count(),
        "cudnn": torch.backends.cudnn.version() if cuda else None,
    }  # fmt: skip
    print(f"torch {torch.__version__}, {device}, {bench.size} px", flush=True)
    with tempfile.TemporaryDirectory(dir=given.out) as name:
        folder = Path(name)
        parts: dict[str, Callable[[], None]] = {
            "numbers": lambda: check_numbers(bench),
            "waits": lambda: count_waits(bench, folder),
            "input": lambda: measure_input(bench, folder),
            "training": lambda: train_whole(bench, folder),
            "engine": lambda: compare_engines(bench),
            "sharing": lambda: check_sharing(bench, folder),
            "profile": lambda: profile_step(bench),
            "layouts": lambda: compare_layouts(bench),
            "compiled": lambda: compile_steps(bench),
            "graphs": lambda: capture_graphs(bench),  # last: one that fails may end CUDA
        }
        for title, part in parts.items():
            run_part(bench, title, part)
    failed = [title for title, part in bench.found.items() if '"failed"' in json.dumps(part)]
    print(f"{given.out / 'gpu.json'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
