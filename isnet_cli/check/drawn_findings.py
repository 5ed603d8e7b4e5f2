"""What `isnet check` says of annotations: whether they find their images, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isnet_cli.annotations.read import (
    check_annotations,
    locate_annotations,
    read_all_annotations,
)
from isnet_cli.config.schema import Config
from isnet_cli.dataset.evaluation_sets import UNNAMED, choose_sets
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.ingest.set_checks import Finding


def check_drawn_findings(
    rows: Sequence[Row], config: Config, salt: bytes
) -> tuple[dict[str, Any], list[Finding]]:
    """Joins annotations to the images of the sets that are scored, as `isnet evaluate` will.

    Args:
        rows: All images with their sets; those of unknown size are not looked at.
        config: The configuration.
        salt: What keys are made with where they are pseudonyms.

    Returns:
        Per set: ``findings``, ``images`` that have some, ``without``, ``left_out``; and problems.
    """
    if config.evaluate.annotations is None:
        return {}, []
    filled = {row.set or UNNAMED for row in rows if row.status == "ok"}
    try:
        check_annotations(config)
        if not filled.issuperset(config.evaluate.sets or ()):
            return {}, []  # a problem that is told already
        sets = choose_sets(rows, config.evaluate.sets, "evaluate.sets")
    except IsnetError as error:
        return {}, [Finding("error", error.message, error.fix, error.details)]
    own = {name: [row for row in images if row.height] for name, images in sets.items()}
    try:
        found = read_all_annotations(
            config, salt if config.data.privacy.rename else None, own, rows
        )
    except IsnetError as error:
        return {}, [Finding("error", error.message, error.fix, error.details)]
    facts = {
        name: {
            "findings": sum(map(len, entry.findings.values())),
            "images": len(entry.findings),
            "without": len(own[name]) - len(entry.findings),
            "left_out": dict(entry.left_out),
        }
        for name, entry in found.items()
    }
    places = {locate_annotations(config, name): entry.left_out for name, entry in found.items()}
    lost = {f"{count} left out: {why}" for one in places.values() for why, count in one.items()}
    problems = [Finding("warning", f"evaluate.annotations: {text}") for text in sorted(lost)]
    problems += [
        Finding("warning", f"evaluate.annotations: no finding in an image of set '{name}'")
        for name, one in facts.items()
        if not one["images"]
    ]
    return facts, problems


def describe_drawn_findings(found: dict[str, Any]) -> list[str]:
    """A line a set."""
    return [
        f"annotations of set '{name}': {one['findings']} findings in {one['images']} images,"
        f" none in {one['without']}"
        for name, one in found.items()
    ]
