"""Checks that look at several keys at once; each fault is a key and a sentence."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator

from isnet_cli.config.schema import (
    COLLECTIONS,
    Choice,
    Columns,
    Config,
    Heatmap,
    ImageSet,
    Labels,
    chosen_images,
)
from isnet_cli.config.yaml_tree import Key
from isnet_cli.text.forms import make_encodable
from isnet_models.methods import registry

Fault = tuple[Key, str]


def check(config: Config) -> list[Fault]:
    """All faults of a configuration whose single keys are valid; empty when it is good."""
    return [
        *_names(config),
        *_methods(config),
        *_multilabel(config),
        *_collections(config),
        *_sets(config),
        *_patterns(config),
        *_classes(config),
        *_training(config),
        *_heatmap(config),
    ]


def _names(config: Config) -> Iterator[Fault]:
    """Names stand in files of UTF-8, which has no place for half a character."""
    for section in ("sets", "collections"):
        for name in getattr(config.data, section):
            if make_encodable(name) != name:
                yield ("data", section, name), "a name with half a character (\\ud800 to \\udfff)"
    for name in config.data.labels.classes or ():
        if make_encodable(name) != name:
            yield ("data", "labels", "classes"), "a name with half a character (\\ud800 to \\udfff)"


def _multilabel(config: Config) -> Iterator[Fault]:
    if config.data.labels.task != "multilabel":
        return
    if config.bias.kind == "shapes":
        yield (
            ("bias", "kind"),
            "shapes stand for one class per image and cannot be drawn with"
            " data.labels.task: multilabel; set bias.kind: none",
        )
    if _has(config, "isnet") and config.train.settings_of("isnet").variant == "selective":
        yield (
            ("train", "settings", "isnet", "variant"),
            "selective explains one class against the others and does not exist with"
            " data.labels.task: multilabel; set train.settings.isnet.variant: auto, or flex",
        )


def _patterns(config: Config) -> Iterator[Fault]:
    """Patterns of paths in place of columns must be regular expressions that can match."""
    places: list[tuple[Key, Columns]] = [(("data", "columns"), config.data.columns)]
    for section in ("collections", "sets"):
        for name, entry in getattr(config.data, section).items():
            if entry.columns is not None:
                places.append((("data", section, name, "columns"), entry.columns))
    for key, columns in places:
        for role, setting in columns:
            if not isinstance(setting, str) or not setting.startswith("path:"):
                continue
            if role not in {"patient", "source"}:
                yield (*key, role), "path:PATTERN names patients and sources alone; name a column"
                continue
            try:
                pattern = re.compile(setting.removeprefix("path:"))
            except re.error as error:
                yield (*key, role), f"'{setting}' is no regular expression ({error})"
                continue
            if pattern.match(""):
                yield (*key, role), f"'{setting}' matches nothing at all; expected a pattern"


def _methods(config: Config) -> Iterator[Fault]:
    yield from _method(config, ("train", "method"), config.train.method)
    for number, part in enumerate(config.train.parts_before):
        yield from _method(config, ("train", "before", number, "method"), part.method)
    share = sum(part.share for part in config.train.parts_before)
    if share >= 1:
        yield (
            ("train", "before"),
            f"the shares add up to {share:g}, expected less than 1: the rest is for train.method",
        )


def _method(config: Config, key: Key, method: str) -> Iterator[Fault]:
    try:
        needs = registry.needs(method)
    except ValueError as error:
        yield key, str(error)
        return
    if "one label" in needs and config.data.labels.task == "multilabel":
        yield key, f"{method} needs {registry.NEEDS['one label']}"
    if "segmenter" in needs and config.masks.model == "none":
        yield ("masks", "model"), f"{method} needs {registry.NEEDS['segmenter']}, found none"


def _has(config: Config, method: str) -> bool:
    methods = [config.train.method, *(part.method for part in config.train.parts_before)]
    with contextlib.suppress(ValueError):  # an unknown method is a fault of its own
        return method in {entry.name for one in methods for entry in registry.parts(one)}
    return False


def _collections(config: Config) -> Iterator[Fault]:
    shared, usual = config.data.labels, Labels()
    for name, entry in config.data.collections.items():
        if not name:
            yield ("data", "collections", name), "an empty name, expected that of a source"
        for key in ("task", "classes", "uncertain"):
            own = getattr(entry.labels or usual, key)
            if own not in (getattr(usual, key), getattr(shared, key)):
                yield (
                    ("data", "collections", name, "labels", key),
                    f"all main images share data.labels.{key}; set it there",
                )


def _sets(config: Config) -> Iterator[Fault]:
    shares: dict[tuple[Choice, ...], float] = defaultdict(float)
    for name, entry in config.data.sets.items():
        yield from _only(config, name, entry)
        if name.startswith(COLLECTIONS):
            yield (
                ("data", "sets", name),
                f"names that begin with {COLLECTIONS} are data.collections",
            )
        if entry.images is not None and entry.fraction is not None:
            yield (
                ("data", "sets", name, "fraction"),
                "a set with images of its own takes all of them; remove fraction or images",
            )
        elif entry.fraction is not None:
            shares[tuple(chosen_images(entry))] += entry.fraction
        task = entry.labels.task if entry.labels is not None else config.data.labels.task
        if task != config.data.labels.task:
            yield (
                ("data", "sets", name, "labels", "task"),
                f"found {task}, but data.labels.task is {config.data.labels.task}",
            )
    for chosen, share in shares.items():
        if share > 1.0 + 1e-9:
            names = dict.fromkeys(source for source, _ in chosen)
            of = f" of source {', '.join(names)}" if chosen else ""
            yield ("data", "sets"), f"the fractions{of} add up to {share:g}, expected at most 1"


def _only(config: Config, name: str, entry: ImageSet) -> Iterator[Fault]:
    if entry.only is None:
        return
    key = ("data", "sets", name, "only")
    if entry.source is not None:
        yield key, "sources are named by only already; remove source"
    if config.data.labels.task == "multilabel":
        yield key, "expected one class per image (data.labels.task: multiclass)"
    if not entry.only or not all(entry.only.values()):
        yield key, "expected sources, each with at least one class"


def _classes(config: Config) -> Iterator[Fault]:
    classes = config.data.labels.classes
    if classes is not None and len(set(classes)) < len(classes):
        yield ("data", "labels", "classes"), "a class is named twice"
    if classes is None:
        return
    weights = config.train.class_weights
    if isinstance(weights, list) and len(weights) != len(classes):
        yield (
            ("train", "class_weights"),
            f"found {len(weights)} weights for {len(classes)} classes",
        )
    if config.heatmap.target not in {"predicted", "true", "all", *classes}:
        yield (
            ("heatmap", "target"),
            f"found '{config.heatmap.target}', expected predicted, true, all or one of"
            f" {', '.join(classes)}",
        )


def _training(config: Config) -> Iterator[Fault]:
    train, shapes = config.train, config.bias.shapes
    if train.early_stop.patience and train.select == "last":
        yield (
            ("train", "early_stop", "patience"),
            "stopping early needs a figure to stop by; train.select: loss, auc or swapped",
        )
    if train.schedule.warmup_epochs >= train.epochs:
        yield (
            ("train", "schedule", "warmup_epochs"),
            f"found {train.schedule.warmup_epochs}, expected fewer than train.epochs"
            f" ({train.epochs})",
        )
    dual = _has(config, "isnet") and train.settings_of("isnet").variant == "dual"
    if dual and train.precision == "mixed":
        yield ("train", "precision"), "the z+ rule of variant dual needs float32"
    if train.schedule.milestones != sorted(set(train.schedule.milestones)):
        yield ("train", "schedule", "milestones"), "expected epochs in rising order"
    if shapes is not None and len(set(shapes)) < len(shapes):
        yield ("bias", "shapes"), "a shape is named twice"
    if shapes is not None and len(shapes) < 2:
        yield ("bias", "shapes"), "expected at least two shapes, one per class"


def method_faults(heat: Heatmap, method: str) -> Iterator[Fault]:
    """Faults of heat-map settings that depend on how maps are made.

    Args:
        heat: The settings.
        method: Method of explanation; of ``own`` the one that it stands for.
    """
    if heat.family is not None and method != "lrp":
        yield ("heatmap", "family"), f"a family belongs to method lrp, found method {method}"
    if method == "attention_rollout" and heat.target != "predicted":
        yield (
            ("heatmap", "target"),
            "attention rollout is the same for every class; set heatmap.target: predicted",
        )


def _heatmap(config: Config) -> Iterator[Fault]:
    heat = config.heatmap
    if heat.method != "own":
        yield from method_faults(heat, heat.method)
    elif heat.model is None:  # else the model's card tells, when it is opened
        with contextlib.suppress(ValueError):  # an unknown method is a fault of its own
            yield from method_faults(heat, registry.parts(config.train.method)[0].explains)
    if len(set(heat.formats)) < len(heat.formats):
        yield ("heatmap", "formats"), "a format is named twice"
    if heat.identity == "keep" and config.data.privacy.rename:
        yield (
            ("heatmap", "identity"),
            "keep contradicts data.privacy.rename: true, which forgets where images come from",
        )
