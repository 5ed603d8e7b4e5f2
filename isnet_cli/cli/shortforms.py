"""Short forms as keys of the configuration: a folder of images, images for another run's model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isnet_cli.cli.source import RECORD, Source, is_run, make_options, make_run_name, require_run
from isnet_cli.config.reading import READING
from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    from isnet_cli.config.load import Option

Images = Path | tuple[Path, ...]
CARD = Path("train", "model.json")
WEIGHTS_NAME, CARD_NAME = "model.safetensors", "model.json"
IMAGES = "images"  # the set of images that are predicted


def make_image_options(source: Source) -> list[Option]:
    """The images typed in place of a configuration; without one they also name the run."""
    if source.images is None:
        return []
    pairs: list[tuple[str, str, Any]] = [("SOURCE", "data.images", source.images)]
    if source.config is None:
        pairs.append(("SOURCE", "name", make_run_name(source.images)))
    return make_options(pairs)


def configure_heatmaps(run: Path, images: Images) -> tuple[Source, list[Option]]:
    """Settings that draw heat maps of other images with the model of `run`.

    Returns:
        The run's configuration, and what has to change in it.

    Raises:
        IsnetError: Kind "weights", when the run has no trained model.
    """
    data = {"images": images, "labels": _label_settings(run), "columns": {}, "sets": {}}
    pairs: list[tuple[str, str, Any]] = [
        ("--model", "heatmap.model", run),
        ("--model", "name", make_run_name(images)),
        ("--model", "bias", {}),  # these images are explained as they are
        *(("SOURCE", f"data.{key}", value) for key, value in data.items()),
    ]
    return Source(run / RECORD), [*make_options(pairs), *_blanks("heatmap.sets")]


def use_images_of_run(source: Source, output: Path | None, stages: Sequence[str]) -> list[Option]:
    """What has to change so that another folder gets the results on a run's own images.

    Images, masks and model are used from where they are; nothing is written there.

    Args:
        source: What was named.
        output: The folder that was asked for, or None.
        stages: Those of ``evaluate``, ``predict`` and ``heatmap`` that are wanted.
    """
    if source.run is None or output is None or _is_same(source.run, output):
        return []
    from isnet_cli.config.load import load
    from isnet_cli.core.pipeline import open_run

    run = source.run.absolute()
    config = load(run / RECORD)
    images = open_run(run, config).owner("ingest").path.absolute()
    pairs = [("-o", f"{stage}.model", getattr(config, stage).model or str(run)) for stage in stages]
    return make_options([("-o", "upstream", images), *pairs])


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def configure_test_sets(
    run: Path, sets: Mapping[str, Mapping[str, Any]]
) -> tuple[Source, list[Option]]:
    """Settings that score the model of `run` on other test sets.

    Args:
        run: Run folder of the trained model.
        sets: Per test set: ``images`` and, where there are any, ``labels`` (paths).

    Returns:
        The run's configuration, and what has to change in it.

    Raises:
        IsnetError: Kind "weights", when the run has no trained model.
    """
    labels = _label_settings(run)
    images = {
        name: {
            "images": files["images"],
            "labels": {**labels, **({"file": files["labels"]} if "labels" in files else {})},
        }
        for name, files in sets.items()
    }
    pairs: list[tuple[str, str, Any]] = [
        ("--model", "evaluate.model", run),
        ("--model", "name", make_run_name(Path("-".join(sets)))),
        ("--test", "data.labels", labels),
        ("--test", "data.columns", {}),
        ("--test", "data.sets", images),
    ]
    return Source(run / RECORD), [*make_options(pairs), *_blanks("data.images", "evaluate.sets")]


def configure_prediction(
    model: Path, images: Images, maps: list[str] | None
) -> tuple[Source, list[Option], str]:
    """Settings that predict other images, with heat maps of all of them on request.

    Args:
        model: Run folder, its ``train`` folder, a folder with the two model files, or one of them.
        images: The images.
        maps: Formats of heat maps, or None.

    Returns:
        The configuration to start from, what has to change in it, and a warning or "".

    Raises:
        IsnetError: Kind "weights", when there is no trained model.
    """
    place = model.parent if model.name in (WEIGHTS_NAME, CARD_NAME) else model
    run = place.parent if place.name == CARD.parent.name and is_run(place.parent) else place
    pairs: list[tuple[str, str, Any]] = [
        *_one_set(run, images),
        ("--model", "heatmap.model", run),
        ("SOURCE", "heatmap.sets", [IMAGES]),
        ("--maps", "heatmap.formats", maps),
    ]
    limit = _no_limit()
    if is_run(run):
        labels, tree = _label_settings(require_run(run, "--model")), _record(run)
        pairs += [
            ("--model", "bias", {}),  # these images are taken as they are
            ("SOURCE", "data.labels", labels),
            ("SOURCE", "data.columns", {}),
        ]
        if tree["masks"]["on_suspect"] == "fail":  # a doubtful mask is a doubt, no failure
            pairs.append(("--model", "masks.on_suspect", "exclude"))
        return Source(run / RECORD), [*make_options(pairs), *_blanks(), limit], ""
    card = _card(model, run)
    pairs += _from_card(card)
    warning = "" if "reading" in card else (
        f"{run / CARD_NAME} does not say how images were read and masked in training:"
        " the defaults are used"
    )  # fmt: skip
    return Source(), [*make_options(pairs), limit], warning


def configure_onnx(model: Path, images: Images) -> tuple[Source, list[Option]]:
    """Settings that predict images with the model of an ONNX file.

    Returns:
        As `configure_prediction`, without a warning.

    Raises:
        IsnetError: As `open_onnx`.
    """
    from isnet_cli.inference.onnx_model import open_onnx

    card = open_onnx(model).card
    return Source(), make_options([*_one_set(model, images), *_from_card(card)])


def _one_set(model: Path, images: Images) -> list[tuple[str, str, Any]]:
    """All images as one set, for a model."""
    return [
        ("--model", "predict.model", model),
        ("--model", "name", make_run_name(images)),
        ("SOURCE", "data.images", images),
        ("SOURCE", "data.sets", {IMAGES: {"fraction": 1.0}}),
        ("SOURCE", "data.split", {"group": "none"}),  # nothing is divided
    ]


def _from_card(card: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """How a model's images are read and what its classes mean, by its card."""
    reading = card.get("reading", {})
    variant = card.get("settings", {}).get("isnet", {}).get("variant")
    return [
        *(
            ("--model", f"{section}.{key}", reading.get(section, {}).get(key))
            for section, keys in READING.items()
            for key in keys
        ),
        ("--model", "data.labels", {"task": card["task"], "classes": card["classes"]}),
        ("--model", "train.method", card.get("method")),
        ("--model", "train.settings.isnet.variant", variant),
    ]


def _no_limit() -> Option:
    """Maps of all images, not of a selection."""
    from isnet_cli.config.load import Option

    return Option("--maps", "heatmap.limit", "all")


def _card(model: Path, place: Path) -> dict[str, Any]:
    """The card of a model without its run."""
    path = place / CARD_NAME
    lacking = [name for name in (WEIGHTS_NAME, CARD_NAME) if not (place / name).is_file()]
    if lacking:
        found = f"no {lacking[0]}" if place.is_dir() else "no such folder"
        raise IsnetError(
            "weights",
            f"--model {model}: {found}, expected the folder of a trained run, or one with"
            f" {WEIGHTS_NAME} and {CARD_NAME}",
            fix="isnet train",
        )
    from isnet_cli.core.records.cards import read_head

    card = read_head(path)
    if card.get("task") is None:
        raise IsnetError(
            "weights", f"{path}: lacks task", fix="copy it again from the training run"
        )
    return card


def _record(run: Path) -> dict[str, Any]:
    from isnet_cli.config.load import load, plain

    return plain(load(run / RECORD))


def _blanks(*keys: str) -> list[Option]:
    """Keys that the run's own images had and these images do not."""
    from isnet_cli.config.load import Option

    own = ("upstream", "masks.files", "evaluate.annotations")
    blank = [Option("--model", key, None) for key in (*keys, *own)]
    return [*blank, Option("--model", "data.collections", {})]


def _label_settings(run: Path) -> dict[str, Any]:
    """What the model's classes mean; where and how labels are found is the new images' own."""
    card = run / CARD
    if not card.is_file():
        raise IsnetError(
            "weights",
            f"--model {run}: not trained, {card} is missing",
            fix=f"isnet train {run}",
        )
    from isnet_cli.core.records.cards import read_head

    settings, classes = _record(run)["data"]["labels"], read_head(card, version=False)["classes"]
    kept = {key: settings[key] for key in ("task", "uncertain") if key in settings}
    return {**kept, "classes": classes}
