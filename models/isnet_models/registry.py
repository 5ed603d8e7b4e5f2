"""Names of the shipped networks and their cards; importable without torch."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD_BYTES = 16_000_000
CARDS = Path(__file__).parent / "cards"
INSTEAD = {"lung-unet": "lung-unet-open"}  # where an installation was made without the first
REQUIRED = ("name", "version", "task", "architecture", "file", "sha256", "licence")


class WeightsError(Exception):
    """A network's weights or card are missing, damaged, foreign or of another architecture."""


@dataclass(frozen=True)
class Card:
    """What is known about one weight file.

    Attributes:
        name: Name in the registry.
        version: Version of the weights.
        task: What the network does, one sentence.
        architecture: Class and its arguments, as the class takes them.
        weights: The safetensors file.
        sha256: Hash of that file, 64 hex digits; checked at each load.
        licence: Licence of the weights (the code has its own).
        content: The whole card: data, training command, figures measured, limits.
    """

    name: str
    version: str
    task: str
    architecture: dict[str, Any]
    weights: Path
    sha256: str
    licence: str
    content: dict[str, Any]


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes; a pipe or device is never opened.

    Raises:
        OSError: It cannot be opened, is something else, or is larger.
    """
    _check_regular(os.stat(path), path, most)
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        _check_regular(os.fstat(handle), path, most)
        return file.read()


def _check_regular(status: os.stat_result, path: Path, most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENXIO, "not a regular file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"larger than {most // 1_000_000} MB", str(path))


def names() -> tuple[str, ...]:
    """Names of the shipped networks, sorted."""
    return tuple(sorted(path.stem for path in CARDS.glob("*.json")))


def find_shipped(name: str) -> str:
    """`name`, or the network in its place (`INSTEAD`) where this installation lacks it."""
    there, other = names(), INSTEAD.get(name, name)
    return other if name not in there and other in there else name


def explain_substitute(name: str) -> str:
    """A sentence where another network than `name` is used; "" where none is."""
    used = find_shipped(name)
    return "" if used == name else f"{name} is not part of this installation: {used} is used"


def find_card(name: str) -> Card:
    """The card of a shipped network, or of a ``.safetensors`` file with a ``.json`` card beside.

    A network that this installation lacks is replaced as `find_shipped` says.

    Raises:
        WeightsError: No such name or file, or the card is not one.
    """
    if name.endswith(".safetensors"):
        return read_card(Path(name).with_suffix(".json"))
    name = find_shipped(name)
    if name not in names():
        raise WeightsError(f"{name!r}: no such network; shipped are {', '.join(names()) or 'none'}")
    return read_card(CARDS / f"{name}.json")


def read_card(path: Path) -> Card:
    """Reads and checks one card; the weight file's presence is checked when it is loaded.

    Raises:
        WeightsError: The file is missing, is not JSON, or lacks a field.
    """
    try:
        content: dict[str, Any] = json.loads(read_regular(path, CARD_BYTES).decode("utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: card not found beside the weights") from error
    except OSError as error:
        raise WeightsError(f"{path}: card cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not a JSON card") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: not a JSON card, expected an object {{...}}")
    missing = [field for field in REQUIRED if field not in content]
    if missing:
        raise WeightsError(f"{path}: card lacks {', '.join(missing)}")
    for field in REQUIRED:
        expected = dict if field == "architecture" else str
        if not isinstance(content[field], expected) or not content[field]:
            kind = "an object {...}" if expected is dict else "text"
            raise WeightsError(f"{path}: {field} is {content[field]!r:.60}, expected {kind}")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", content["sha256"]):
        raise WeightsError(f"{path}: sha256 is not the 64 hex digits of the file's hash")
    if "\0" in content["file"]:
        raise WeightsError(f"{path}: file holds a null byte, expected the name of the weights")
    return Card(
        name=content["name"],
        version=content["version"],
        task=content["task"],
        architecture=content["architecture"],
        weights=path.parent / Path(content["file"]).name,  # never out of the card's folder
        sha256=content["sha256"],
        licence=content["licence"],
        content=content,
    )
