"""The card of a trained model: read by all that use the model, with or without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isnet_cli.core.files import sha256_file
from isnet_cli.core.records.read import Record, check_record, read_record
from isnet_cli.core.records.schemas import CardHead, ModelCard, RunRecord
from isnet_cli.errors import IsnetError

CARD = "model.json"
CARD_SCHEMA = 2
WHAT = "a model's card"
FIX = "copy both model.safetensors and model.json from the training run"


def read_card(path: Path) -> dict[str, Any]:
    """A model's card, checked; inside a run, also that it is as the training wrote it.

    Args:
        path: ``model.json``.

    Raises:
        IsnetError: Kind "weights": it cannot be read, another version wrote it, it is not as
            `ModelCard` says, or it was changed since the training.
    """
    content = read_record(path, Record, what=WHAT, fix=FIX, kind="weights")
    _check_version(content, path)
    check_record(content, ModelCard, path, what=WHAT, fix=FIX, kind="weights")
    _check_unchanged(path)
    return content


def read_head(path: Path, *, version: bool = True) -> dict[str, Any]:
    """A model's card, as far as the command line needs it.

    Args:
        path: ``model.json``.
        version: Refuse the card of another version.

    Raises:
        IsnetError: Kind "weights".
    """
    content = read_record(path, CardHead, what=WHAT, fix=FIX, kind="weights")
    if version:
        _check_version(content, path)
    _check_unchanged(path)
    return content


def read_validation(path: Path) -> dict[str, float | None]:
    """Figures of the validation images at the epoch that a model's card is of, by name.

    Raises:
        IsnetError: As `read_card`.
    """
    found: dict[str, float | None] = read_card(path).get("validation", {})
    return found


def _check_version(content: dict[str, Any], path: Path) -> None:
    if content.get("schema") != CARD_SCHEMA:
        raise IsnetError(
            "weights",
            f"{path}: a model of another version of isnet (card format"
            f" {content.get('schema', 'none')!s:.20}), expected format {CARD_SCHEMA}",
            fix="train the model again with this version: isnet train CONFIG",
        )


def _check_unchanged(path: Path) -> None:
    """Compares the card with the hash in the record of the run that it lies in, if in any."""
    record = path.parent.parent / "run.json"
    if path.parent.name != "train" or not record.is_file():
        return
    run = read_record(record, RunRecord, what="a run record", fix=FIX)
    stage = run["stages"].get("train", {})
    if stage.get("status") != "done" or path.name not in stage["outputs"]:
        return
    if sha256_file(path) != stage["outputs"][path.name]:
        raise IsnetError(
            "weights",
            f"{path}: changed since isnet train wrote it (SHA-256 is not that of run.json)",
            fix="isnet train CONFIG --overwrite, or copy the file again from the training run",
        )
