"""What trained classifiers see, on phantoms whose lesions are known: AUC, marks, pointing game.

    python benchmarks/phantom_lab.py [--methods a,b] [--seeds 0,1,2] [--steps N] [--json]
        [--cache FOLDER] [--draw FILE] [--patients 900,60,240,160] [--side 96]

Hospital A is trained on, with a mark per class in the background (`bias.kind: shapes`); the test
images of A have the marks of training (biased), none (standard) or exchanged ones (deceiving), and
those of hospital B have none. Training is the product's own, by the names of its methods; the last
epoch is tested.

A method is NAME:key=value:key=value, stages are joined by " then " and hand their weights on:

    isnet:pooling_share=0.04:layers=auto
    isnet+background_mix:isnet.heatmap_weight=0.5:background_mix.share=0.5
    background_mix:epochs=20 then isnet:epochs=10:lr=0.001

Keys are settings of the method; `epochs` or `part` (of the steps, 0 to 1), `lr`, `average` (epochs
of the mean of the weights) and `marks` (true, false) belong to the stage; steps that no stage asks
for are shared out evenly among the others. A method alone is trained as a run trains it by default:
an ISNet after its start (`start=false`: without), at the half of the rate. PRESETS below have short
names, and `NAME=recipe` gives a recipe one.

Of ill test images without marks, by the map of the class ill minus that of the class normal
(LRP-Flex, zB):

pointing  share of images whose strongest positive place, blurred by 1 px, lies on the lesion or at
          most 2 px from it; `chance` is that of a place drawn at random from the lungs
inside    share of the positive relevance that lies on the lesion
outside   share of the absolute relevance that lies outside the lungs; `outside_marked`: with marks
same      mean correlation of an image's map with the mean map; 1: all maps are the same

`--methods front` trains the ISNet with other weights and pooling shares, without parts of the
recipe, and its rivals; --draw makes a picture of AUC and pointing against `outside`.

With --cache, images and trained stages are kept and found again; drop the folder when the code of
a method has changed.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from isnet_cli.config.schema import Config, Train
from isnet_cli.core.files import fingerprint
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.runtime import make_deterministic
from isnet_cli.core.workers import run_tasks, worker_count
from isnet_cli.dataset.image_dataset import ImageDataset, Version, encode_labels
from isnet_cli.dataset.records import DEPTH, KeptRecords, RecordForm
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from isnet_cli.output.plotting import SERIES, STYLE
from isnet_cli.phantoms.collection import DISEASE, NORMAL
from isnet_cli.phantoms.exposure import Hospital
from isnet_cli.phantoms.phantom import make_phantom
from isnet_cli.stats.localisation import average, measure_localisation, measure_sameness
from isnet_cli.stats.reliance import outside_share
from isnet_cli.stats.scores import scores
from isnet_cli.train.classifier_training import ClassifierTraining
from isnet_cli.train.relevance_range import find_ranges
from isnet_cli.train.setup import build_method, build_net, prepare_network
from isnet_cli.train.validation import Validator, probabilities
from isnet_lrp import RelevanceError, relevance
from isnet_models.methods import registry

CPU = torch.device("cpu")
CLASSES = [DISEASE, NORMAL]
DRAWN = 2  # phantoms are drawn at twice the side and reduced
STEPS, BATCH, RATE = 1240, 32, 0.002
PRESETS = {
    "standard_clean": "standard:marks=false",  # the yardstick
    "isnet_alone": "isnet:start=false",
    "isnet_paper": "isnet:preset=paper",
}
FRONT = [
    *(
        f"isnet:heatmap_weight={weight}:pooling_share={share}"
        for weight in (0.3, 0.5, 0.7)
        for share in (0.01, 0.04, 0.16)
    ),
    "isnet:layers=none", "isnet:margin=0.03", "isnet:background_weight=2",
    "isnet:relevance_range=estimate", "isnet+background_mix", "isnet_alone", "isnet_paper",
    "standard_clean", "standard", "background_mix", "masked_mix",
    *(f"rrr:gradient_weight={weight}" for weight in (0.001, 0.01, 0.1, 1)),
]  # fmt: skip
DEFAULT = "standard_clean,standard,background_mix,isnet,isnet_alone,isnet_paper,rrr"
KINDS = ("pixels", "lungs", "lesions", "ill")
VERSIONS: tuple[Version, ...] = ("biased", "standard", "deceiving")


@dataclass(frozen=True)
class Stage:
    """One training: a method with its settings."""

    method: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    epochs: int | None = None
    part: float | None = None
    lr: float = RATE
    average: float = 0.0
    marks: bool = True


@dataclass(frozen=True)
class Images:
    """A set of phantoms at the network's size, [N, side, side] each but `ill` [N]."""

    pixels: NDArray[np.uint16]
    lungs: NDArray[np.bool_]
    lesions: NDArray[np.bool_]
    ill: NDArray[np.bool_]
    name: str

    def dataset(self, config: Config) -> ImageDataset:
        """As a run has them."""
        rows = [
            Row(f"{self.name}{i}", label=DISEASE if ill else NORMAL)
            for i, ill in enumerate(self.ill)
        ]
        labels = encode_labels(rows, CLASSES, "multiclass")
        form = RecordForm(*self.pixels.shape[1:])
        records = KeptRecords(form, form.make(self.pixels, self.lungs))
        return ImageDataset(records, np.arange(len(rows)), labels, rows, CLASSES, config)


def read_recipe(text: str, rate: float = RATE) -> list[Stage]:
    """The stages of a recipe, as the module's docstring describes it; `rate` is the default."""
    parts = PRESETS.get(text, text).split(" then ")
    if len(parts) > 1:
        return [_read_stage(part.strip(), rate)[0] for part in parts]
    last, start = _read_stage(parts[0], rate)
    before = Train.model_validate({"method": last.method, "settings": last.settings}).parts_before
    if not (start and before):
        return [last]
    (first,) = before
    slow = replace(last, lr=last.lr / first.lr_factor)
    return [replace(last, method=first.method, settings={}, part=first.share), slow]


def share_epochs(stages: Sequence[Stage], total: int) -> list[int]:
    """Epochs of each stage, at least one, of `total` in all."""
    given = [s.epochs or (round(s.part * total) if s.part else 0) for s in stages]
    rest = max(0, total - sum(given)) // max(1, given.count(0))
    return [max(1, epochs or rest) for epochs in given]


def _read_stage(text: str, rate: float) -> tuple[Stage, bool]:
    """A stage, and whether what comes before it by default is wanted."""
    method, *words = re.split(r":(?![^\[{]*[\]}])", text)
    parts = registry.parts(method)
    settings: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {"lr": rate, "start": True}
    for word in words:
        name, equal, value = word.partition("=")
        if not equal:
            raise ValueError(f"'{word}': expected key=value")
        read = yaml.safe_load(value)
        if name in ("epochs", "part", "lr", "average", "marks", "start"):
            own[name] = read
            continue
        given, _, key = name.rpartition(".")
        fits = [p.name for p in parts if key in p.settings_class().model_fields]
        if not (given or fits):
            raise ValueError(f"'{name}': {method} has no such setting")
        settings.setdefault(given or fits[0], {})[key] = read
    start = bool(own.pop("start"))
    return Stage(method, settings, **own), start


def split_list(text: str) -> list[str]:
    """The items between commas that are in no brackets."""
    return [item.strip() for item in re.split(r",(?![^\[{]*[\]}])", text) if item.strip()]


def configure(stage: Stage, seed: int, epochs: int, side: int) -> Config:
    """The configuration of a stage, as a YAML file would have it."""
    return Config.model_validate(
        {
            "seed": seed,
            "model": {"arch": "small", "input": side},
            "bias": {"kind": "shapes", "shapes": ["triangle", "circle"], "size": 0.15},
            "train": {
                "before": [],
                "method": stage.method,
                "settings": stage.settings,
                "epochs": epochs,
                "batch_size": BATCH,
                "average_epochs": float(stage.average),
                "optimizer": {"name": "adamw", "lr": float(stage.lr), "weight_decay": 0.01},
            },
        }
    )  # fmt: skip


Task = tuple[int, int, Hospital, bool, int]  # seed, patient, hospital, ill, side


def _draw(task: Task) -> tuple[NDArray[np.uint16], NDArray[np.bool_], NDArray[np.bool_]]:
    seed, patient, hospital, ill, side = task
    drawn = make_phantom(patient, 0, ill, hospital, seed, DRAWN * side)
    height, width = drawn.pixels.shape
    frame = Frame((height, width), (side, side))
    pixels = np.rint(frame.to_network(drawn.pixels).clip(0, 1) * DEPTH).astype(np.uint16)
    return pixels, frame.mask_to_network(drawn.lungs), frame.mask_to_network(drawn.lesion)


def draw_images(
    seed: int, counts: Sequence[int], side: int, folder: Path | None
) -> dict[str, Images]:
    """Sets ``train``, ``val`` and ``test`` of hospital A and ``b`` of hospital B; half are ill."""
    name = f"images-{seed}-{'-'.join(map(str, counts))}-{side}.npz"
    kept = None if folder is None else folder / name
    if kept is None or not kept.is_file():
        train, val, test, other = counts
        sizes: list[tuple[str, Hospital, int, int]] = [
            ("train", "A", 0, train), ("val", "A", train, val), ("test", "A", train + val, test),
            ("b", "B", 0, other),
        ]  # fmt: skip
        tasks: list[Task] = [
            (seed, first + i, hospital, i % 2 == 0, side)
            for _, hospital, first, count in sizes
            for i in range(count)
        ]
        drawn: dict[int, Any] = dict(run_tasks(_draw, tasks, worker_count(None, len(tasks))))
        arrays, at = {}, 0
        for name, _, _, count in sizes:
            part = [drawn[at + i] for i in range(count)]
            for kind, values in zip(KINDS, zip(*part, strict=True), strict=False):
                arrays[f"{name}_{kind}"] = np.stack(values)
            arrays[f"{name}_ill"] = np.array([i % 2 == 0 for i in range(count)])
            at += count
        if kept is None:
            return _name_sets(arrays)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(kept, **arrays)
    with np.load(kept) as file:
        return _name_sets(dict(file))


def _name_sets(arrays: dict[str, Any]) -> dict[str, Images]:
    return {
        name: Images(*(arrays[f"{name}_{kind}"] for kind in KINDS), name)
        for name in ("train", "val", "test", "b")
    }


def train(
    stages: Sequence[Stage], images: dict[str, Images], seed: int, steps: int, folder: Path
) -> tuple[nn.Module, int]:
    """Trains stage after stage; the network of the last epoch, and the number of all steps."""
    side, done = images["train"].pixels.shape[-1], 0
    per_epoch = -(-len(images["train"].ill) // BATCH)
    before: list[dict[str, Any]] = []
    net: nn.Module | None = None
    shared = share_epochs(stages, round(steps / per_epoch))
    for stage, epochs in zip(stages, shared, strict=True):
        config = configure(stage, seed, epochs, side)
        before.append({**config.model_dump(mode="json"), "marks": stage.marks})
        identity = fingerprint(len(images["train"].ill), before)
        directory = folder / f"{seed}-{identity[:16]}"
        directory.mkdir(parents=True, exist_ok=True)
        net = _train_stage(stage, config, net, images, directory, identity, done)
        done += epochs
    assert net is not None
    return net.eval(), done * per_epoch


def _train_stage(
    stage: Stage, config: Config, trained: nn.Module | None, images: dict[str, Images],
    directory: Path, identity: str, first: int,
) -> nn.Module:  # fmt: skip
    net = build_net(config, len(CLASSES))
    if trained is not None:
        net.load_state_dict(trained.state_dict())
    version: Version = "biased" if stage.marks else "standard"
    dataset, val = (images[name].dataset(config) for name in ("train", "val"))
    context, ranges = RunContext(), None
    if "range" in registry.needs(stage.method):
        path = directory / "ranges.json"
        ranges = find_ranges(
            config, dataset, version, CPU, path, identity, context, trained=trained
        )
    method = build_method(config, ranges, None, classes=len(CLASSES))
    prepare_network(method, net)
    validator = Validator(val, version, config.evaluate.batch_size, CPU)
    training = ClassifierTraining(
        config, net, method, dataset, validator, version, directory, identity,
        lambda best, row: None, first=first,
    )  # fmt: skip
    training.restore()
    training.run(context)
    return training.mean.net


@torch.no_grad()
def predict(net: nn.Module, dataset: ImageDataset, version: Version) -> NDArray[np.float64]:
    """Probabilities [N, 2]."""
    parts = np.array_split(np.arange(len(dataset)), max(1, len(dataset) // 64))
    logits = torch.cat([net(dataset.batch(part, version=version)[0]) for part in parts])
    return probabilities(logits, "multiclass")


def explain(net: nn.Module, dataset: ImageDataset, at: NDArray[np.int_], version: Version) -> Any:
    """Maps of the class ill minus those of normal, [N, side, side]; None without rules."""
    found = []
    for part in np.array_split(at, max(1, len(at) // 32)):
        x = dataset.batch(part, version=version)[0]
        try:
            maps = relevance(net, x, "all", family="flex", zb=(0.0, 1.0)).maps
        except RelevanceError:
            return None
        found.append((maps[:, 0] - maps[:, 1]).sum(1).numpy())
    return np.concatenate(found).astype(np.float64)


def measure(net: nn.Module, images: dict[str, Images], config: Config) -> dict[str, Any]:
    """All figures of a trained network."""
    test, other = (images[name].dataset(config) for name in ("test", "b"))

    def area(dataset: ImageDataset, version: Version) -> float:
        p = predict(net, dataset, version)
        return float(scores(p, dataset.labels.astype(int), CLASSES)["macro"]["auc"])

    auc = {version: area(test, version) for version in VERSIONS}
    found: dict[str, Any] = {"auc": {**auc, "b": area(other, "standard")}}
    at = np.flatnonzero(images["test"].ill)
    lungs, lesions = images["test"].lungs[at], images["test"].lesions[at]
    maps, marked = explain(net, test, at, "standard"), explain(net, test, at, "biased")
    names = ("pointing", "inside", "chance", "outside", "outside_marked", "same")
    if maps is None:
        return {**found, **dict.fromkeys(names)}
    seen = measure_localisation(maps, lesions, lungs)
    values = (
        average(seen.hit), average(seen.inside_share), average(seen.chance),
        average(outside_share(maps[:, None], lungs)),
        average(outside_share(marked[:, None], lungs)), measure_sameness(maps),
    )  # fmt: skip
    return {**found, **dict(zip(names, values, strict=True))}


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds; ``sd`` has the deviations, ``seeds`` the runs."""
    return {**_over(runs, statistics.fmean), "sd": _over(runs, _deviation), "seeds": list(runs)}


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _over(runs: Sequence[dict[str, Any]], how: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, first in runs[0].items():
        if isinstance(first, dict):
            found[name] = _over([run[name] for run in runs], how)
        else:
            known = [run[name] for run in runs if run[name] is not None]
            found[name] = how(known) if known else None
    return found


COLUMNS = (
    ("biased", ("auc", "biased")), ("standard", ("auc", "standard")),
    ("deceiving", ("auc", "deceiving")), ("B", ("auc", "b")), ("pointing", ("pointing",)),
    ("inside", ("inside",)), ("outside", ("outside",)), ("marked", ("outside_marked",)),
    ("same", ("same",)), ("minutes", ("minutes",)),
)  # fmt: skip


def cell(entry: dict[str, Any], path: tuple[str, ...]) -> str:
    mean, deviation = entry, entry["sd"]
    for key in path:
        mean, deviation = mean[key], deviation[key]
    if mean is None:
        return "-"
    digits = 3 if path[0] == "auc" else 2
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """A picture of AUC (the least of three versions) and pointing against relevance outside."""
    seen = {name: entry for name, entry in found.items() if entry["outside"] is not None}
    groups = {"ISNet": [], "others": []}  # type: dict[str, list[int]]
    for number, name in enumerate(seen):
        groups["ISNet" if name.startswith("isnet") else "others"].append(number)
    outside = [entry["outside"] for entry in seen.values()]
    panels = {
        "least AUC of the three versions": [
            min(entry["auc"][version] for version in VERSIONS) for entry in seen.values()
        ],
        "pointing game": [entry["pointing"] for entry in seen.values()],
    }
    with mpl.rc_context(STYLE):
        figure, all_axes = plt.subplots(1, 2, figsize=(10.5, 4.4 + 0.16 * len(seen)))
        for axes, (title, values) in zip(all_axes, panels.items(), strict=True):
            for (group, at), colour in zip(groups.items(), SERIES, strict=False):
                x, y = [outside[i] for i in at], [values[i] for i in at]
                axes.scatter(x, y, color=colour, label=group, s=34)
                for i, left, top in zip(at, x, y, strict=True):
                    axes.annotate(
                        str(i + 1), (left, top), (4, 3), textcoords="offset points", fontsize=8
                    )
            axes.set(title=title, xlabel="relevance outside the lungs")
        all_axes[0].legend()
        key = [f"{number}  {name}" for number, name in enumerate(seen, 1)]
        half = -(-len(key) // 2)
        for column, part in enumerate((key[:half], key[half:])):
            figure.text(0.06 + 0.47 * column, 0.01, "\n".join(part), fontsize=8, va="bottom")
        figure.tight_layout(rect=(0, 0.03 + 0.032 * half * 4.4 / (4.4 + 0.16 * len(seen)), 1, 1))
        figure.savefig(path, dpi=110)
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default=DEFAULT, help="recipes, separated by commas")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"training steps ({STEPS})")
    parser.add_argument("--patients", default="900,60,240,160", help="train,val,test,hospital B")
    parser.add_argument("--side", type=int, default=96, help="of the images, px")
    parser.add_argument("--cache", type=Path, help="keep images and trained stages here")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="picture, .png or .svg")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    seeds = [int(word) for word in split_list(asked.seeds)]
    counts = [int(word) for word in split_list(asked.patients)]
    recipes: dict[str, list[Stage]] = {}
    try:
        for text in FRONT if asked.methods == "front" else split_list(asked.methods):
            name, equal, recipe = text.partition("=")
            plain = not equal or not name.isidentifier()
            recipes[text if plain else name] = read_recipe(text if plain else recipe)
        if len(counts) != 4 or min(counts) < 4:
            raise ValueError("--patients: expected four numbers of at least 4")
    except ValueError as error:
        parser.error(str(error))
    make_deterministic(True)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in recipes}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in seeds:
            images = draw_images(seed, counts, asked.side, asked.cache)
            for name, stages in recipes.items():
                began = time.monotonic()
                folder = asked.cache or Path(temporary)
                net, steps = train(stages, images, seed, asked.steps, folder)
                minutes = (time.monotonic() - began) / 60
                config = configure(stages[-1], seed, 1, asked.side)
                figures = {**measure(net, images, config), "steps": steps, "minutes": minutes}
                runs[name].append(figures)
                print(f"{name}, seed {seed}: {json.dumps(figures)}", file=sys.stderr, flush=True)
    found = {name: summarise(each) for name, each in runs.items()}
    if asked.draw:
        draw(found, asked.draw)
    if asked.json:
        print(json.dumps(found))
        return
    rows = [["method", *(title for title, _ in COLUMNS)]]
    rows += [[name, *(cell(entry, path) for _, path in COLUMNS)] for name, entry in found.items()]
    rows.insert(1, ["---"] * len(rows[0]))
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    chance = statistics.fmean(entry["chance"] for entry in found.values() if entry["chance"])
    print(f"\npointing by chance: {chance:.2f}")


if __name__ == "__main__":
    main()
