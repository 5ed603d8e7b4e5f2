"""Which files are meant by ``data.images``, and under which key each image appears in outputs."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from isnet_cli.core.names import OWN_ENDINGS, fold_name, is_reserved
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_text
from isnet_cli.text.forms import from_csv

IMAGE_SUFFIXES = frozenset(  # dropped from keys
    (".dcm", ".dicom", ".dic", ".ima", ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff")
)
_TEXTS = (".csv", ".tsv", ".txt", ".md", ".rst", ".html", ".htm", ".xml", ".log", ".ipynb", ".py")
_TABLES = (".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".db", ".xls", ".xlsx")
SIDECAR_SUFFIXES = frozenset((*_TEXTS, *_TABLES, ".ods", ".sh", ".bat"))  # left out of folders
SKIPPED_NAMES = frozenset({"dicomdir", "thumbs.db", "desktop.ini", "__macosx"})
PATH_COLUMNS = (
    *("path", "paths", "file_path", "filepath", "image_path"),
    *("image", "file", "file_name", "filename"),
)
MAX_PATH, MAX_NAME = 4000, 255  # bytes of a path, and of one of its parts
MAX_PART = 120  # characters of one key component; file systems allow 255 bytes with our endings
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]|[\ud800-\udfff]')
_FRAME_LIKE = re.compile(r"_f\d+$")
_EDGES = re.compile(r"^[.\- ]+|[. ]+$")  # hidden, taken for an option, dropped by Windows


class Collected(NamedTuple):
    """Candidates in their final order.

    Attributes:
        root: Folder that the keys are relative to.
        images: (key, path) of each file; keys are unique, also where case and the way Unicode
            writes a letter are ignored.
    """

    root: Path
    images: list[tuple[str, Path]]


def collect_images(images: str | Sequence[str]) -> Collected:
    """Finds the candidate files; nothing is opened but lists.

    Args:
        images: A folder (searched to any depth), a file, a pattern with ``*``, a ``.txt`` list
            (one path a line, ``#`` comments), a ``.csv`` or ``.tsv`` with a path column (a run's
            ``manifest.csv`` included), or several of these. Paths in lists are relative to the
            list.

    Left out of folders: hidden names, DICOMDIR, tables and texts beside the images, folders that
    hold a run of this program, and anything reached a second time through a link. A listed file
    that does not exist stays in the result, so that it becomes a row of the skipped list.

    Returns:
        The images in an order that depends on nothing but their paths.

    Raises:
        IsnetError: Kind "data": an entry does not exist, a list has no path column, or nothing
            was found.
    """
    entries = [images] if isinstance(images, str) else list(images)
    found = [path for entry in entries for path in _expand(Path(entry))]
    unique = list({_resolve_links(path): path for path in reversed(found)}.values())
    if not unique or not any(path.exists() for path in unique):
        where = make_printable(entries[0]) if entries else "data.images"
        raise IsnetError(
            "data",
            f"{where}: no image found ({len(unique)} files are listed, none of them exists)",
            fix="set data.images to a folder, file, list or CSV of X-rays",
        )
    root = _find_root(entries, unique)
    relative = sorted((_split_relative(path, root), path) for path in unique)
    keys = _make_keys([parts for parts, _ in relative])
    return Collected(root, [(key, path) for key, (_, path) in zip(keys, relative, strict=True)])


def name_frame(key: str, frame: int, frames: int) -> str:
    """Key of one frame (counted from 0) of a file: the file's own key, or ``key_f1``, ``key_f2``.

    No other file's key ends like that (`collect_images` keeps the suffix of a file that would).
    """
    return key if frames == 1 else f"{key}_f{frame + 1}"


def make_printable(text: str) -> str:
    """`text` without control characters and undecodable bytes, for keys, tables and messages."""
    return _UNSAFE.sub("_", text)


def _expand(entry: Path) -> Iterator[Path]:
    """The files that one entry stands for."""
    if entry.is_dir():
        yield from _walk_folder(entry)
    elif entry.suffix.lower() == ".txt" and os.path.lexists(entry):
        yield from _read_text_list(entry)
    elif entry.suffix.lower() in {".csv", ".tsv"} and os.path.lexists(entry):
        yield from _read_path_table(entry)
    elif entry.exists():
        yield entry
    elif matches := sorted(glob.glob(str(entry), recursive=True)):
        for match in matches:
            yield from _expand(Path(match))
    else:
        raise IsnetError(
            "data",
            f"{make_printable(str(entry))}: no such file or folder, expected X-rays",
            fix="correct data.images; relative paths start at the configuration file",
        )


def _walk_folder(top: Path) -> Iterator[Path]:
    """Regular files below `top`, links followed, each folder visited once."""
    seen: set[tuple[int, int]] = set()
    closed: list[OSError] = []  # folders that cannot be listed become rows of the skipped list
    for folder, folders, names in os.walk(top, followlinks=True, onerror=closed.append):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen or {"run.json", "isnet.yaml"} <= set(names):
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _is_left_out(name))
        for name in sorted(names):
            path = Path(folder, name)
            if not _is_left_out(name) and path.suffix.lower() not in SIDECAR_SUFFIXES:
                yield path
    yield from (Path(error.filename) for error in closed)


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or name.lower() in SKIPPED_NAMES


def _read_text_list(file: Path) -> Iterator[Path]:
    for line in _read_list(file).splitlines():
        if (entry := line.strip()) and not entry.startswith("#"):
            yield from _resolve_entry(file, entry)


def _read_path_table(file: Path) -> Iterator[Path]:
    """Files named by the path column of a table; kept images where a manifest hides its paths."""
    text = _read_list(file)
    first = text.partition("\n")[0]
    delimiter = max("\t,;|", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = {name.strip().lower().replace(" ", "_"): name for name in rows.fieldnames or ()}
    column = next((names[name] for name in PATH_COLUMNS if name in names), None)
    if column is None:
        raise IsnetError(
            "data",
            f"{file}: no column with paths, expected one named {', '.join(PATH_COLUMNS[:4])}, ...",
            fix="rename the column that holds the images' paths to 'path'",
        )
    try:
        for row in rows:
            entry = (row.get(column) or "").strip() or (row.get("image_file") or "").strip()
            if entry and "image_file" in row:  # our own manifest
                entry = from_csv(entry)
            if entry:
                yield from _resolve_entry(file, entry)
    except csv.Error as error:
        raise _faulty_list(file, f"not a table (line {rows.line_num}: {error})") from error


def _read_list(file: Path) -> str:
    """The text of a list; bytes that are no UTF-8 are kept, as file names may hold them."""
    try:
        text = read_text(file, "utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise _faulty_list(file, (error.strerror or "unreadable").lower()) from error
    if "\0" in text:
        raise _faulty_list(file, "not UTF-8 text (it holds null bytes)")
    return text


def _faulty_list(file: Path, found: str) -> IsnetError:
    return IsnetError(
        "data",
        f"{make_printable(str(file))}: {found}, expected a list of X-rays",
        fix="correct data.images: a .txt file with one path a line, or a .csv file with a column"
        " path, saved as UTF-8",
    )


def _resolve_entry(file: Path, entry: str) -> Iterator[Path]:
    """The files of one line; ``~`` and ``$`` are letters like others, nothing is expanded."""
    if len(os.fsencode(entry)) > MAX_PATH or any(
        len(os.fsencode(part)) > MAX_NAME for part in Path(entry).parts
    ):
        shown = make_printable(entry[:60])
        raise _faulty_list(file, f"a path of {len(entry)} characters ({shown}...)")
    path = file.parent / entry
    try:
        folder = path.is_dir()
    except OSError as error:
        raise _faulty_list(file, f"{make_printable(entry[:60])}: {error.strerror}") from error
    if folder:
        yield from _walk_folder(path)
    else:
        yield path


def _resolve_links(path: Path) -> str:
    """The same for two names of one file."""
    return os.path.realpath(path)


def _find_root(entries: list[str], paths: list[Path]) -> Path:
    """The given folder, or the deepest folder that holds all the files."""
    if len(entries) == 1 and Path(entries[0]).is_dir():
        return Path(entries[0])
    parents = [os.path.abspath(path.parent) for path in paths]
    try:
        return Path(os.path.commonpath(parents))
    except ValueError:  # several drives
        return Path(Path(parents[0]).anchor)


def _split_relative(path: Path, root: Path) -> tuple[str, ...]:
    base = Path(os.path.abspath(root))
    whole = Path(os.path.abspath(path))
    inside = whole.relative_to(base) if whole.is_relative_to(base) else Path(whole.name)
    return inside.parts


def _make_keys(relatives: list[tuple[str, ...]]) -> list[str]:
    """Unique keys: the suffix is dropped unless two files would then share a key."""
    whole = ["/".join([*map(_make_safe_folder, parts[:-1]), _make_safe(parts[-1])])
             for parts in relatives]  # fmt: skip
    short = [_without_suffix(key) for key in whole]
    count = Counter(map(fold_name, short))
    wanted = []
    for long, key in zip(whole, short, strict=True):
        folded = fold_name(key)
        frame_of = _FRAME_LIKE.sub("", folded)
        clash = count[folded] > 1 or (frame_of != folded and frame_of in count)
        wanted.append((long if clash else key, long))
    return number_keys(wanted)


def number_keys(wanted: Sequence[tuple[str, str]]) -> list[str]:
    """Keys that differ, as do those of the frames of their files (`name_frame`).

    Args:
        wanted: The key of each file, and what stands before ``~2``, ``~3`` ... where another file
            has it.
    """
    keys: list[str] = []
    taken: set[str] = set()
    framed: set[str] = set()  # of keys that look like frames, the files that would have them
    for key, base in wanted:
        choice, number = key, 2
        while _is_taken(fold_name(choice), taken, framed):
            choice, number = f"{base}~{number}", number + 1
        folded = fold_name(choice)
        taken.add(folded)
        if (file := _FRAME_LIKE.sub("", folded)) != folded:
            framed.add(file)
        keys.append(choice)
    return keys


def _is_taken(folded: str, taken: set[str], framed: set[str]) -> bool:
    file = _FRAME_LIKE.sub("", folded)
    return folded in taken or folded in framed or (file != folded and file in taken)


def _without_suffix(key: str) -> str:
    """Drops an image suffix; other dots belong to the name (UIDs are full of them)."""
    strip_suffix, suffix = os.path.splitext(key)
    return strip_suffix if suffix.lower() in IMAGE_SUFFIXES else key


def _make_safe(part: str) -> str:
    """One key component that every file system accepts with our endings added."""
    safe = _EDGES.sub(lambda found: "_" * len(found[0]), make_printable(part))
    if is_reserved(safe):
        safe = f"_{safe}"
    if len(safe.encode()) <= MAX_PART:
        return safe
    strip_suffix, suffix = os.path.splitext(safe)
    keep = suffix if suffix.lower() in IMAGE_SUFFIXES else ""
    digest = hashlib.sha256(os.fsencode(part)).hexdigest()[:8]
    return f"{strip_suffix.encode()[:80].decode(errors='ignore')}-{digest}{keep}"


def _make_safe_folder(part: str) -> str:
    """As `_make_safe`; no folder is called as a file of ours that may stand beside it."""
    safe = _make_safe(part)
    stem, ending = os.path.splitext(safe)
    return f"{stem}_{ending[1:]}" if OWN_ENDINGS.fullmatch(ending) else safe


def list_places(cell: str, bases: Sequence[str]) -> list[str]:
    """Absolute paths that a path written in a table may mean, one per base folder."""
    if not cell:
        return []
    return list(
        dict.fromkeys(normalise_path(os.path.join(base, normalise_slashes(cell))) for base in bases)
    )


def normalise_slashes(text: str) -> str:
    """`text` with slashes instead of backslashes and one form for composed letters."""
    return unicodedata.normalize("NFC", text.replace("\\", "/"))


def normalise_path(text: str) -> str:
    """A path without ``.`` and ``..``, with forward slashes."""
    return normalise_slashes(os.path.normpath(normalise_slashes(text)))


def strip_suffix(name: str) -> str:
    """A file name without an image suffix; other dots belong to the name (UIDs have many)."""
    base, _, suffix = name.rpartition(".")
    known = f".{suffix.lower()}" in IMAGE_SUFFIXES
    return base if known and base.rpartition("/")[2].strip(".") else name
