"""Short forms as keys of the configuration: a folder of films, films for another run's model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isnet_cli.cli.source import RECORD, Source, name_of, option_list
from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    from isnet_cli.config.load import Option

CARD = Path("train", "model.json")


def film_options(source: Source) -> list[Option]:
    """The films typed in place of a configuration; without one they also name the run."""
    if source.images is None:
        return []
    pairs: list[tuple[str, str, Any]] = [("SOURCE", "data.images", source.images)]
    if source.config is None:
        pairs.append(("SOURCE", "name", name_of(source.images)))
    return option_list(pairs)


def films_to_explain(run: Path, images: Path) -> tuple[Source, list[Option]]:
    """Settings that draw heat maps of other films with the model of `run`.

    Returns:
        The run's configuration, and what has to change in it.

    Raises:
        IsnetError: Kind "weights", when the run has no trained model.
    """
    data = {"images": str(images), "labels": _label_settings(run), "columns": {}, "sets": {}}
    pairs: list[tuple[str, str, Any]] = [
        ("--model", "heatmap.model", run),
        ("--model", "name", name_of(images)),
        ("--model", "bias", {}),  # these films are explained as they are
        *(("SOURCE", f"data.{key}", value) for key, value in data.items()),
    ]
    return Source(run / RECORD), [*option_list(pairs), *_blanks("heatmap.sets")]


def sets_to_evaluate(
    run: Path, sets: Mapping[str, Mapping[str, str]]
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
    films = {
        name: {
            "images": files["images"],
            "labels": {**labels, **({"file": files["labels"]} if "labels" in files else {})},
        }
        for name, files in sets.items()
    }
    pairs: list[tuple[str, str, Any]] = [
        ("--model", "evaluate.model", run),
        ("--model", "name", name_of(Path("-".join(sets)))),
        ("--test", "data.labels", labels),
        ("--test", "data.columns", {}),
        ("--test", "data.sets", films),
    ]
    return Source(run / RECORD), [*option_list(pairs), *_blanks("data.images", "evaluate.sets")]


def _blanks(*keys: str) -> list[Option]:
    """Keys that the run's own films had and these films do not."""
    from isnet_cli.config.load import Option

    return [Option("--model", key, None) for key in (*keys, "upstream", "masks.files")]


def _label_settings(run: Path) -> dict[str, Any]:
    """What the model's classes mean; where and how labels are found is the new films' own."""
    from isnet_cli.config.yaml_tree import parse

    card = run / CARD
    if not card.is_file():
        raise IsnetError(
            "weights",
            f"--model {run}: not trained, {card} is missing",
            fix=f"isnet train {run}",
        )
    tree = parse((run / RECORD).read_text(encoding="utf-8")).value
    settings = tree["data"]["labels"] if isinstance(tree, dict) else {}
    classes = json.loads(card.read_text(encoding="utf-8"))["classes"]
    kept = {key: settings[key] for key in ("task", "uncertain") if key in settings}
    return {**kept, "classes": classes}
