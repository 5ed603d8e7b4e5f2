"""The one way to read JSON and CSV: what is not as expected is an error that says where and how."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from isnet_cli.config.explain import explain
from isnet_cli.config.load import dotted
from isnet_cli.errors import IsnetError, Kind
from isnet_cli.guard.opening import read_bytes
from isnet_cli.text.forms import from_csv

MAX_BYTES = 256_000_000  # of one file
MAX_CELL = 1_000_000  # characters of one CSV cell
EXAMPLES = 5  # faults that a message shows
KEY = "key"  # column of all tables: an image's name, from which names of files are made
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")


class Record(BaseModel):
    """Base of all schemas: no type is converted, numbers are finite, further keys are allowed."""

    model_config = ConfigDict(
        extra="allow", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class FaultyFileError(ValueError):
    """What is wrong with a file's content; the reader adds the file's name and the fix.

    Args:
        message: What was found.
        line: Where, from 1; 0: not in one line.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line

    def place(self, path: Path) -> str:
        """The file, with the line if there is one."""
        return f"{path}:{self.line}" if self.line else str(path)


def read_record(
    path: Path, schema: type[Record], *, what: str, fix: str, kind: Kind = "data"
) -> dict[str, Any]:
    """A JSON object that is as `schema` says, unchanged.

    Args:
        path: The file.
        schema: What it has to hold.
        what: What it should be, for messages ("a run record").
        fix: What to type or change.
        kind: Of the error.

    Raises:
        IsnetError: It cannot be read, is not JSON, or not as the schema says; names the place.
    """
    content = read_json(path, what=what, fix=fix, kind=kind)
    check_record(content, schema, path, what=what, fix=fix, kind=kind)
    found: dict[str, Any] = content
    return found


def read_json(path: Path, *, what: str, fix: str, kind: Kind = "data") -> Any:
    """The content of a JSON file; as `read_record` without a schema.

    Raises:
        IsnetError: It cannot be read or is not JSON: NaN, infinities and a key twice are none.
    """
    try:
        return parse_json(read_text(path))
    except FaultyFileError as error:
        raise IsnetError(kind, f"{error.place(path)}: not {what} ({error})", fix=fix) from error


def check_record(
    content: Any,
    schema: type[Record],
    path: Path | str,
    *,
    what: str,
    fix: str,
    kind: Kind = "data",
) -> None:
    """As `read_record`, for content that was read before.

    Raises:
        IsnetError: It is not as the schema says; names each place, what was found and expected.
    """
    faults = find_faults(content, schema)
    if not faults:
        return
    first, *rest = faults
    more = [*rest[: EXAMPLES - 1]]
    if len(rest) >= EXAMPLES:
        more.append(f"... and {len(rest) - EXAMPLES + 1} more")
    raise IsnetError(kind, f"{path}: {first} in {what}", details=tuple(more), fix=fix)


def find_faults(content: Any, schema: type[Record]) -> list[str]:
    """What is not as the schema says, as ``place: found .., expected ..``; empty when all is."""
    if not isinstance(content, dict):
        return [f"found {name_type(content)}, expected an object {{...}}"]
    try:
        return _list_faults(content, schema)
    except RecursionError:
        return ["nested too deep"]


def _list_faults(content: dict[str, Any], schema: type[Record]) -> list[str]:
    try:
        schema.model_validate(content)
    except ValidationError as error:
        absent = [item["loc"] for item in error.errors() if item["type"] == "missing"]
        missing = [f"{dotted(place)}: missing" for place in absent]
        lacking = {place[:-1] for place in absent}
        others = [
            f"{dotted(key)}: {text}" if key else text
            for key, text in explain(error, content, schema)
            if key not in lacking or "expected one value more" not in text
        ]
        return [*missing, *others]
    return []


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        FaultyFileError: Not JSON: NaN, infinities, numbers beyond a float, a key twice, nested too
            deep.
    """
    try:
        return json.loads(text, **STRICT)
    except json.JSONDecodeError as error:
        raise FaultyFileError(f"not JSON, {error.msg}", error.lineno) from error
    except RecursionError as error:
        raise FaultyFileError("not JSON, nested too deep") from error
    except FaultyFileError:
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise FaultyFileError("not JSON, a number too long") from error


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file.

    Raises:
        FaultyFileError: It cannot be read, is larger than `limit` bytes, or not UTF-8.
    """
    try:
        content = read_bytes(path, limit)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or str(error)
        raise FaultyFileError(reason[0].lower() + reason[1:]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise FaultyFileError("not UTF-8 text", line) from error


def read_rows(
    path: Path,
    columns: Collection[str] = (),
    *,
    fix: str,
    values: Mapping[str, Collection[str]] | None = None,
    numbers: Collection[str] | Callable[[str], bool] = (),
    shares: Callable[[str], bool] = lambda name: False,
    unique: str = "",
    files: Collection[str] = (),
    kind: Kind = "data",
) -> list[dict[str, str]]:
    """Rows of a CSV that `write_csv` wrote; every value is a string.

    Args:
        path: The file.
        columns: Those it must have; others may be there.
        fix: What makes the file anew.
        values: Column -> what its cells may be.
        numbers: Columns whose cells are empty or finite numbers, or what says so of a column.
        shares: Says of a column whether its cells are empty or numbers from 0 to 1.
        unique: Column whose cells are all different and not empty.
        files: Columns of names of files in the run, or empty cells; `KEY` always is one.
        kind: Of the error.

    Raises:
        IsnetError: It cannot be read, or is not as asked; names the line.
    """

    def fault(line: int, text: str) -> IsnetError:
        return IsnetError(kind, f"{path}{f':{line}' if line else ''}: {text}", fix=fix)

    try:
        names, rows = parse_csv(read_text(path))
    except FaultyFileError as error:
        raise fault(error.line, f"not a CSV table ({error})") from error
    lacking = [name for name in columns if name not in names]
    if lacking:
        raise fault(1, f"no column {', '.join(lacking)}, expected {', '.join(columns)}")
    numeric = numbers if callable(numbers) else numbers.__contains__
    checks: dict[str, list[Callable[[str], str]]] = {
        name: [
            *([_find_number_fault] if numeric(name) else []),
            *([_find_share_fault] if shares(name) else []),
            *([find_name_fault] if name == KEY or name in files else []),
        ]
        for name in names
    }
    checked = [(name, found) for name, found in checks.items() if found]
    seen = set[str]()
    for line, row in rows:
        for name, allowed in (values or {}).items():
            if row[name] not in allowed:
                raise fault(line, f"{name} '{row[name]}', expected {' or '.join(sorted(allowed))}")
        for name, tests in checked:
            for found in filter(None, (test(row[name]) for test in tests if row[name])):
                raise fault(line, f"{name} '{row[name]:.60}', {found}")
        if unique:
            if not row[unique]:
                raise fault(line, f"no {unique}, expected one in each line")
            if row[unique] in seen:
                raise fault(line, f"{unique} '{row[unique]}' a second time, expected each once")
            seen.add(row[unique])
    return [row for _, row in rows]


def find_name_fault(name: str) -> str:
    """Why a recorded name is none of a file in its folder, or "".

    What a run's tables and records name is read and written: a name from outside (``..``, absolute,
    with a drive, or with what another system takes for a separator) must not lead elsewhere.
    """
    if not name or name in (".", "./"):
        return "expected the name of a file"
    if _CONTROL.search(name):
        return "expected a name without control characters"
    if "\\" in name or _DRIVE.match(name) or PurePosixPath(name).is_absolute():
        return "expected a name inside the folder, its parts separated by /"
    return "expected a name inside the folder, without .." if ".." in name.split("/") else ""


def parse_csv(
    text: str, delimiter: str = ","
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header and rows of a table that `write_csv` wrote, each with the number of its last line.

    Raises:
        FaultyFileError: No header, a name twice, another number of cells, a null byte, or a cell
            that does not end.
    """
    if "\0" in text:
        raise FaultyFileError("a null byte", text[: text.index("\0")].count("\n") + 1)
    before = csv.field_size_limit(MAX_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = next(reader, None)
        if not names:
            raise FaultyFileError("empty")
        names = [from_csv(name) for name in names]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise FaultyFileError(f"column '{twice[0]}' twice")
        rows = []
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise FaultyFileError(
                    f"another number of cells ({len(cells)}), expected the header's {len(names)}",
                    reader.line_num,
                )
            row = dict(zip(names, map(from_csv, cells), strict=True))
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise FaultyFileError(f"not CSV, {error}", reader.line_num) from error
    finally:
        csv.field_size_limit(before)
    return names, rows


def name_type(value: Any) -> str:
    """A JSON value's kind, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = ((dict, "an object"), (list, "a list"), (str, "text"), ((int, float), "a number"))
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)


def _find_number_fault(cell: str) -> str:
    return "" if _is_finite(cell) else "expected a number"


def _find_share_fault(cell: str) -> str:
    sound = _is_finite(cell) and 0 <= float(cell) <= 1
    return "" if sound else "expected a number from 0 to 1"


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _refuse_constant(constant: str) -> float:
    raise FaultyFileError(f"not JSON, {constant}")


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise FaultyFileError(f"not JSON, the number {text[:20]} is too large")
    return value


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FaultyFileError(f"not JSON, key '{twice}' twice")
    return found


STRICT: Mapping[str, Any] = {  # options of `json.loads`
    "parse_constant": _refuse_constant,
    "parse_float": _read_float,
    "object_pairs_hook": _read_object,
}
