"""Training of the lung U-Net on images with masks: reads, splits, trains, measures, writes."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import model_validator

from isnet_cli.config.load import dump, plain
from isnet_cli.config.segmenter import NO_START, Segmenter
from isnet_cli.core import files, runtime
from isnet_cli.core.records.read import Record
from isnet_cli.core.records.schemas import Count, File, Hash, NotNull
from isnet_cli.core.records.sealed import read_sealed, write_sealed
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder, installed_versions
from isnet_cli.core.training_loop import CHECKPOINT
from isnet_cli.errors import IsnetError
from isnet_cli.guard.memory import keep_freed_memory
from isnet_cli.images.mask_files import PAIR
from isnet_cli.masks.segmenter.examples import (
    Example,
    make_phantom_examples,
    read_examples,
    split_by_patient,
)
from isnet_cli.masks.segmenter.measure import FIELDS, figures, measure
from isnet_cli.masks.segmenter.pairs import Pair, find_pairs, is_unlabelled
from isnet_cli.masks.segmenter.self_training import FIELDS as LABELLED_FIELDS
from isnet_cli.masks.segmenter.self_training import label_examples
from isnet_cli.masks.segmenter.unet_training import UNetTraining
from isnet_models.lung_unet import LungUNet, from_card, lung_unet, unfolded
from isnet_models.registry import Card, WeightsError, find_card
from isnet_models.weights import save_weights

FORMAT = 1  # goes up when the same settings and images give another network
RECORD, HISTORY, SCORES, SKIPPED = "training.json", "history.csv", "images.csv", "skipped.csv"
LABELLED = "unlabelled.csv"  # images without masks: the teacher's verdicts
CONFIG = "training.yaml"  # the resolved configuration
AGAIN = "isnet masks train CONFIG --overwrite   trains again"
TEACHERS = "data.teacher: lung-unet, or the .safetensors file of isnet masks train"
TASK = (
    "Segments both lungs (heart excluded) on frontal chest X-rays; probability of lung per pixel."
)
INPUT = (
    "[B, 1, 256, 256] in [0, 1], bone bright, letterboxed with 0; intensities are standardised"
    " inside the network."
)
FIGURES_ARE = (
    "Dice of the union of both lungs on held-out images, at the images' own size, with the default"
    " threshold and cleaning; s.d., 5th percentile and minimum over images."
)


@dataclass(frozen=True)
class Outcome:
    """What a training gave.

    Attributes:
        weights: The network's file; its card lies beside it.
        status: ``done``, ``current`` (it was done before) or ``incomplete`` (stopped, continues).
        summary: JSON-able figures; empty while incomplete.
        skipped: Number of images that could not be used.
    """

    weights: Path
    status: str
    summary: dict[str, Any]
    skipped: int


def run(config: Segmenter, output: Path, context: RunContext, *, replace: bool = False) -> Outcome:
    """Trains a lung U-Net, or continues one; writes weights, card, history and scores to `output`.

    Args:
        config: The configuration.
        output: Folder of this training; new, or of the same kind.
        context: Side effects.
        replace: Forget a training of other settings or images that lies there.

    Raises:
        IsnetError: Kind "usage": the folder holds something else; "data": no usable image;
            "weights": the network to start from; "machine".
    """
    start, teacher = _start(config), _teacher(config)
    pairs = find_pairs(config.data, config.limits)
    identity = _identity(config, pairs, start, teacher)
    _check_folder(output, identity, replace)
    with RunFolder(output).lock():
        try:
            done = _finished(config, output, identity)
        except IsnetError:
            if not replace:
                raise
            done = None
        if done is not None:
            (output / CHECKPOINT).unlink(missing_ok=True)  # of a process that was killed at the end
            return done
        write_sealed(output / RECORD, {"identity": identity, "versions": installed_versions()})
        files.write_text(output / CONFIG, dump(config))
        return _run(config, output, context, pairs, start, teacher, identity)


def _run(
    config: Segmenter, output: Path, context: RunContext, pairs: Sequence[Pair], start: Card | None,
    teacher: Card | None, identity: str,
) -> Outcome:  # fmt: skip
    weights = output / f"{config.name}.safetensors"
    found, skipped = read_examples(
        pairs, config.data, context, config.limits, config.machine.workers
    )
    if context.stop_requested():
        return Outcome(weights, "incomplete", {}, len(skipped))
    files.write_csv(output / SKIPPED, ("image", "reason", "detail"), skipped)
    if skipped:
        counts = Counter(row["reason"] for row in skipped).most_common()
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts)
        context.warn("images", f"{len(skipped)} of {len(pairs)} images cannot be used ({reasons}):"
                   f" see {output / SKIPPED}")  # fmt: skip
    given = [e for e in found if not is_unlabelled(e.pair)]
    if not given:
        raise _none_usable(pairs, skipped, output)
    examples = split_by_patient(
        [*given, *make_phantom_examples(config.data.phantoms)], config.data, config.seed
    )
    keep_freed_memory()
    runtime.make_deterministic(config.machine.deterministic)
    device = runtime.choose_device(config.machine.device)
    if teacher is not None:
        unlabelled = [e for e in found if is_unlabelled(e.pair)]
        with _report_weights("data.teacher", TEACHERS):
            net = from_card(teacher, device)
        labelled, verdicts = label_examples(net, unlabelled, config, context)
        if context.stop_requested():
            return Outcome(weights, "incomplete", {}, len(skipped))
        files.write_csv(output / LABELLED, LABELLED_FIELDS, verdicts)
        context.say(f"self-training: {len(labelled)} of {len(unlabelled)} images without masks"
                    f" take part, see {output / LABELLED}")  # fmt: skip
        examples += labelled
    parts = Counter(e.part for e in examples)
    context.say(
        f"lung U-Net: {parts['train']} images for training, {parts['validation']} for validation,"
        f" {parts['held_out']} held out"
    )
    training = UNetTraining(config, network(config, start).to(device), examples, output, identity)
    if training.restore():
        context.say(f"continued after epoch {training.progress.epoch}")
    finished = training.run(context)
    history = training.progress.history
    if history:
        files.write_csv(output / HISTORY, list(history[0]), history)
    if not finished:
        return Outcome(weights, "incomplete", {}, len(skipped))
    sha256 = save_weights(training.best, weights, half=True)
    facts = _card(config, examples, training, sha256, start, teacher)
    files.write_json(weights.with_suffix(".json"), facts)
    true = [e for e in examples if not is_unlabelled(e.pair)]
    rows = measure(lung_unet(str(weights), device), true, config, context)  # what is shipped
    files.write_csv(output / SCORES, FIELDS, rows)
    summary = {"best_epoch": training.best_epoch, "figures": figures(rows)}
    files.write_json(weights.with_suffix(".json"), {**facts, "figures": summary["figures"]})
    made = (
        weights,
        weights.with_suffix(".json"),
        *(output / n for n in (HISTORY, SCORES, SKIPPED, LABELLED)),
    )
    hashes = {path.name: files.sha256_file(path) for path in made if path.is_file()}
    record = {"identity": identity, "versions": installed_versions(), "summary": summary}
    write_sealed(output / RECORD, {**record, "skipped": len(skipped), "files": hashes})
    (output / CHECKPOINT).unlink(missing_ok=True)
    return Outcome(weights, "done", summary, len(skipped))


def network(config: Segmenter, start: Card | None) -> LungUNet:
    """The network before training: of random weights that depend on the seed, or the card's.

    Raises:
        IsnetError: Kind "config" for an unknown encoder; "weights".
    """
    if start is not None:
        try:
            return unfolded(start)
        except WeightsError as error:
            raise IsnetError("weights", str(error), fix=f"model.weights: {NO_START}") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.derive_seed(config.seed, "weights"))
        try:
            return LungUNet(config.model.encoder, config.model.decoder_channels)
        except (KeyError, ValueError, RuntimeError) as error:
            raise IsnetError(
                "config",
                f"model.encoder: '{config.model.encoder}' is no encoder of"
                " segmentation-models-pytorch that fits five decoder blocks",
                fix="model.encoder: tu-mobilenetv3_small_100, resnet18, ...",
            ) from error


def _start(config: Segmenter) -> Card | None:
    if config.model.weights == NO_START:
        return None
    with _report_weights("model.weights", "model.weights: lung-unet, or none"):
        return find_card(config.model.weights)


def _teacher(config: Segmenter) -> Card | None:
    if config.data.teacher is None:
        return None
    with _report_weights("data.teacher", TEACHERS):
        return find_card(config.data.teacher)


@contextmanager
def _report_weights(key: str, fix: str) -> Iterator[None]:
    try:
        yield
    except WeightsError as error:
        raise IsnetError("weights", f"{key}: {error}", fix=fix) from error


def _identity(
    config: Segmenter, pairs: Sequence[Pair], start: Card | None, teacher: Card | None
) -> str:
    """Hash of what the trained network depends on."""
    settings = plain(config)
    for name in ("card", "machine", "name"):
        del settings[name]
    stamps = [(p.name, p.patient, p.source, p.label, *_stamps(p), p.outlines) for p in pairs]
    hashes = [card.sha256 if card else "" for card in (start, teacher)]
    return files.fingerprint(FORMAT, settings, stamps, *hashes)


def _stamps(pair: Pair) -> list[tuple[int, int]]:
    """Size and time of change of the pair's files; (-1, 0) for one that is not there."""
    found = []
    for path in (pair.image, *(Path(part) for part in pair.mask.split(PAIR) if part)):
        try:
            status = path.stat()
            found.append((status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((-1, 0))
    return found


def _check_folder(output: Path, identity: str, replace: bool) -> None:
    """Refuses a folder of other things, and of a training of other settings unless `replace`."""
    files.refuse_foreign(output, RECORD, set(), "training")
    if not (output / RECORD).is_file() or replace:
        return
    if _record(output)["identity"] != identity:
        raise IsnetError(
            "usage",
            f"{output}: a training of other settings or images",
            fix="-o DIR for a new one, or --overwrite",
        )


def _finished(config: Segmenter, output: Path, identity: str) -> Outcome | None:
    """The earlier result when it is whole and of the same settings and images.

    Raises:
        IsnetError: Kind "data": a file of it is gone or was changed.
    """
    if not (output / RECORD).is_file():
        return None
    record = _record(output)
    if record["identity"] != identity or "summary" not in record:
        return None
    for name, digest in record["files"].items():
        path = output / name
        if not path.is_file() or files.sha256_file(path) != digest:
            found = "was changed since it was written" if path.is_file() else "is gone"
            raise IsnetError("data", f"{path}: {found}", fix=AGAIN)
    weights = output / f"{config.name}.safetensors"
    return Outcome(weights, "current", record["summary"], record["skipped"])


class TrainingRecord(Record):
    """``training.json``; all but the first two keys once the training is done."""

    identity: Hash
    versions: dict[str, str]
    summary: Annotated[dict[str, Any] | None, NotNull] = None
    skipped: Annotated[Count | None, NotNull] = None
    files: Annotated[dict[File, Hash] | None, NotNull] = None

    @model_validator(mode="after")
    def _whole(self) -> TrainingRecord:
        if len({value is None for value in (self.summary, self.skipped, self.files)}) > 1:
            raise ValueError("expected summary, skipped and files, or none of them")
        return self


def _record(output: Path) -> dict[str, Any]:
    """The record of an earlier training.

    Raises:
        IsnetError: Kind "data": it is damaged, or was changed.
    """
    return read_sealed(output / RECORD, TrainingRecord, what="a record of a training", fix=AGAIN)


def _none_usable(
    pairs: Sequence[Pair], skipped: Sequence[dict[str, str]], output: Path
) -> IsnetError:
    return IsnetError(
        "data",
        f"none of {len(pairs)} images can be used with its mask, see {output / SKIPPED}",
        fix="name each mask like its image (a.png: a.png, or a_left.png and a_right.png) and make"
        " it as large",
        details=tuple(f"{row['image']}: {row['detail']}" for row in skipped[:3]),
    )


def _card(
    config: Segmenter,
    examples: Sequence[Example],
    training: UNetTraining,
    sha256: str,
    start: Card | None,
    teacher: Card | None,
) -> dict[str, Any]:
    """Everything about the network but its figures; no path, and no image's name unless asked."""
    settings = plain(config)
    shown = {name: settings[name] for name in ("seed", "model", "train")}
    if start is not None:
        shown["model"] = {"weights": start.name, "weights_sha256": start.sha256}
    shares = ("phantoms", "validation", "held_out", "held_out_sources", "scale")
    shown["data"] = {name: settings["data"][name] for name in shares}
    shown["data"]["excluded"] = len(config.data.exclude)
    if teacher is not None:
        known = {"name": teacher.name, "sha256": teacher.sha256, "licence": teacher.licence}
        shown["data"] |= {"teacher": known, "agreement": config.data.agreement}
        held = {e.pair.image.resolve() for e in examples if e.part == "held_out"}
        twice = sum(e.pair.image.resolve() in held for e in examples if is_unlabelled(e.pair))
        shown["data"]["held_out_seen_without_mask"] = twice
    sources = sorted({e.pair.source for e in examples})
    counts = Counter((e.part, e.pair.source) for e in examples)
    about = config.card
    card: dict[str, Any] = {
        "name": config.name, "version": about.version, "task": TASK, "input": INPUT,
        "licence": about.licence, "licence_reason": about.licence_reason, "data": about.data,
        "limits": about.limits, "figures_are": FIGURES_ARE,
        "file": f"{config.name}.safetensors", "sha256": sha256,
        "architecture": {
            "class": LungUNet.__name__, "encoder": training.unet.encoder,
            "decoder_channels": list(training.unet.decoder_channels),
        },
        "training": {
            "command": shlex.join(["isnet", "masks", "train", f"{config.name}.yaml"]),
            "settings": shown,
            "images": {part: {s: counts[part, s] for s in sources}
                      for part in ("train", "validation", "held_out")},
            "epoch": training.best_epoch,
        },
    }  # fmt: skip
    if about.names:
        card["held_out"] = sorted(e.pair.name for e in examples if e.part == "held_out")
    return card
