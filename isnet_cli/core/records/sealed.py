"""JSON files that hold the hash of their own content: what was changed by hand is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from isnet_cli.core.files import fingerprint, write_json
from isnet_cli.core.records.read import Record, read_record
from isnet_cli.errors import IsnetError, Kind

SEAL = "content_sha256"  # key of the hash, the last one of the file


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object with the hash of its content, by rename."""
    write_json(path, {**content, SEAL: _digest(content)})


def read_sealed(
    path: Path, schema: type[Record], *, what: str, fix: str, kind: Kind = "data"
) -> dict[str, Any]:
    """Content of a file that `write_sealed` wrote, without the hash.

    Args:
        path: The file.
        schema: What it has to hold.
        what: What it should be, for messages.
        fix: What to type or change.
        kind: Of the error.

    Raises:
        IsnetError: As `read_record`; or its content is not the one that was written.
    """
    content = read_record(path, schema, what=what, fix=fix, kind=kind)
    seal = content.pop(SEAL, None)
    if seal != _digest(content):
        raise IsnetError(kind, f"{path}: changed since it was written ({SEAL} is another)", fix=fix)
    return content


def _digest(content: dict[str, Any]) -> str:
    return fingerprint(json.loads(json.dumps(content)))  # as it is read: lists, keys of text
