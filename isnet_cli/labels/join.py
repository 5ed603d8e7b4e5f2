"""Which row of a label file belongs to which image: every usual key is tried, ambiguity is refused.

A join is accepted only when each matched key value names one image (or one examination, one
patient) and one meaning; otherwise the attempt counts as ambiguous and is not used. Several rows of
one image are one meaning when they agree, or when `data.repeated` says how to make them one.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from isnet_cli.config.schema import Labels
from isnet_cli.errors import IsnetError
from isnet_cli.images.find import strip_suffix
from isnet_cli.labels.column_names import (
    ACCESSION_NAMES,
    FILE_NAMES,
    FOLDER_NAMES,
    INDEX_NAMES,
    ROLE_NAMES,
    UID_NAMES,
    is_named,
    list_names,
    plain,
    require_column,
)
from isnet_cli.labels.join_keys import (
    ALONE,
    FILE_KINDS,
    FOLDER,
    ID_KINDS,
    ImageName,
    Matches,
    RowFinder,
    read_keys,
    read_row_keys,
)
from isnet_cli.labels.repeated import CHOICES, ConflictError, Repeated, merge_rows
from isnet_cli.labels.tables import LabelRow, LabelTable
from isnet_cli.labels.values import encode_findings
from isnet_cli.text.tables import format_table

SETTINGS: dict[str, tuple[str, ...]] = {  # data.labels.key -> kinds of key to try
    "auto": (*FILE_KINDS, *ID_KINDS, FOLDER),
    "file": ("path", "name", "name alone"),
    "stem": ("stem", "stem alone"),
    "uid": ("uid",),
    "accession": ("accession",),
    "patient": ("patient",),
    "folder": (FOLDER,),
}
USUAL = {
    **dict.fromkeys((*FILE_KINDS, *ALONE), FILE_NAMES),
    "uid": UID_NAMES,
    "accession": ACCESSION_NAMES,
    "patient": ROLE_NAMES["patient"],
    FOLDER: (*ACCESSION_NAMES, *ROLE_NAMES["patient"]),
}
ORDER = (
    "path",
    "name",
    "name alone",
    "stem",
    "stem alone",
    *ID_KINDS,
    FOLDER,
)  # from strong to weak
OF_FILES = frozenset({*FILE_KINDS, *ALONE})
SHARED = frozenset({"accession", "patient", FOLDER})  # one row may belong to several images
EXAMPLES = 5
TRIED_CELLS = 3_000_000  # a refusal tries no more keys than this to find what would work


@dataclass(frozen=True)
class Attempt:
    """One way of joining and what came of it.

    Attributes:
        kind: Kind of key, one of `ORDER` (see `join_keys.find_rows`).
        column: Column of the label file.
        rows: Row index for each image, None where there is none.
        ambiguous: Images whose key value names several images or several meanings.
        examples: Up to five such values, for messages; empty for values that identify a patient.
        stated: What all rows of each image state together, None where there is no row.
        used: All rows that found an image.
        conflicts: Images whose rows differ in nothing but the label.
    """

    kind: str
    column: str
    rows: tuple[int | None, ...]
    ambiguous: int
    examples: tuple[str, ...] = ()
    stated: tuple[LabelRow | None, ...] = ()
    used: frozenset[int] = frozenset()
    conflicts: int = 0

    @property
    def images(self) -> int:
        """How many images found their row."""
        return sum(row is not None for row in self.rows)

    @property
    def used_rows(self) -> int:
        """How many rows found an image."""
        return len(self.used | {row for row in self.rows if row is not None})

    @property
    def rank(self) -> int:
        """Rank of the kind of key, 0 for the strongest."""
        return ORDER.index(self.kind)


@dataclass(frozen=True)
class Join:
    """The accepted join.

    Attributes:
        chosen: The attempt whose rows are used.
        attempts: All that were tried, in order.
        table: The match table as lines of text.
    """

    chosen: Attempt
    attempts: tuple[Attempt, ...]
    table: tuple[str, ...]


def needs_headers(table: LabelTable, labels: Labels) -> bool:
    """Whether identifiers inside the images' headers may be needed to join `table`."""
    if labels.key in {"file", "stem"}:
        return False
    if labels.key != "auto":
        return True
    return any(_find_usual_columns(table, kind) for kind in ID_KINDS)


def join_labels(
    images: Sequence[ImageName],
    table: LabelTable,
    labels: Labels,
    roots: Sequence[Path],
    repeated: Repeated = "refuse",
    *,
    finder: RowFinder | None = None,
    propose: bool = True,
) -> Join:
    """Finds the row of each image.

    Args:
        images: What can be known of each image, in the order of the result.
        table: The label file.
        labels: The way to join (`Labels.key`) and the least share of images that must match.
        roots: Folders, besides the label file's own, that relative paths may start from.
        repeated: What to make of rows of one image that differ in their label.
        finder: What is known already of these images, this table and these roots.
        propose: A refusal tries what would work.

    Returns:
        The join with most matched images among those without any ambiguity.

    Raises:
        IsnetError: Kind "data", with the match table: no images, nothing matches, fewer images than
            `Labels.min_match`, ambiguous keys, or two ways of joining that contradict each other.
    """
    if not images:
        raise IsnetError(
            "data",
            f"{table.csv.path}: no image to label, expected at least one",
            fix="check data.images",
        )
    finder = finder or RowFinder(images, table.csv, roots)
    least = max(1.0, labels.min_match * len(images) - 1e-9)
    attempts: list[Attempt] = []
    for pairs in _list_pairs(table, labels):
        tried = [
            _try_column(finder, table, kind, column, labels.task, repeated)
            for kind, column in pairs
        ]
        found = [attempt for attempt in tried if attempt is not None]
        attempts += found
        good = [a for a in found if not a.ambiguous and a.images >= least]
        if good:
            best = max(good, key=lambda a: (a.images, -a.rank))
            trial = _Trial(finder, table, labels, repeated) if propose else None
            _refuse_contradiction(best, good, table, images, attempts, trial)
            return Join(best, tuple(attempts), format_match_table(attempts, images, table))
    raise build_refusal(attempts, finder, table, labels, repeated, propose=propose)


def _list_pairs(table: LabelTable, labels: Labels) -> Iterator[list[tuple[str, str]]]:
    """(kind, column) pairs to try together; a later list only when an earlier one fails."""
    if labels.key.startswith("column:"):
        name = labels.key[len("column:") :]
        column = require_column(table.csv, name, "data.labels.key: column:{}")
        yield [(kind, column) for kind in SETTINGS["auto"]]
        return
    if labels.key not in SETTINGS:
        raise IsnetError(
            "config",
            f"data.labels.key: '{labels.key}', expected {', '.join(SETTINGS)} or column:NAME",
            fix="data.labels.key: auto",
        )
    kinds = SETTINGS[labels.key]
    pairs = [(kind, column) for kind in kinds for column in _find_usual_columns(table, kind)]
    folders = [pair for pair in pairs if pair[0] == FOLDER and len(kinds) > 1]
    usual = [pair for pair in pairs if pair not in folders]
    yield usual
    known = set(usual)
    named = [
        (kind, column)
        for kind in kinds
        if kind in FILE_KINDS
        for column in _find_id_columns(table)
        if (kind, column) not in known
    ]
    named += [(kind, x) for kind in kinds if kind in FILE_KINDS for x in _find_pairs(table, kind)]
    yield named
    yield folders
    free = _find_free_columns(table)
    if labels.key == "auto":  # then no stems and no columns of numbers
        kinds = ("path", "name")
        free = [name for name in free if _is_text(table.csv.column(name))]
    known |= set(named)
    yield [
        (kind, column)
        for kind in kinds
        for column in free
        if (kind, column) not in known and kind != FOLDER
    ]


def _find_usual_columns(table: LabelTable, kind: str) -> list[str]:
    """Columns whose names say that they hold this kind of key."""
    patient = [table.roles.patient] if table.roles.patient else []
    if kind == "patient":
        return patient
    taken = table.roles.used()
    found = [x for x in table.csv.columns if is_named(x, USUAL[kind]) and x not in taken]
    if kind == FOLDER:
        return [name for name in (*found, *patient) if _is_telling(table.csv.column(name))]
    if kind in FILE_KINDS:
        folders = [x for x in table.csv.columns if is_named(x, FOLDER_NAMES) and x not in taken]
        return [*(f"{folder}/{file}" for folder in folders for file in found), *found]
    return found


def _find_pairs(table: LabelTable, kind: str) -> list[str]:
    """Columns of hospital, set or patient, where images may lie in folders called like these."""
    roles = table.roles
    files = [x for x in table.csv.columns if is_named(x, USUAL[kind]) and x not in roles.used()]
    folders = filter(None, (roles.source, roles.set, roles.patient))
    return [f"{folder}/{file}" for folder in folders for file in files]


def _find_id_columns(table: LabelTable) -> list[str]:
    """Columns of identifiers, which may be what the images' files are called.

    Short numbers are not tried: image 7 need not be that of patient 7.
    """
    names = (*UID_NAMES, *ACCESSION_NAMES)
    found = [name for name in table.csv.columns if is_named(name, names)]
    found += [table.roles.patient] if table.roles.patient else []
    return [name for name in dict.fromkeys(found) if _is_telling(table.csv.column(name))]


def _is_telling(cells: Sequence[str]) -> bool:
    return _hold_mostly(cells, lambda cell: len(cell) > 5 or not cell.isdigit())


def _find_free_columns(table: LabelTable) -> list[str]:
    """Columns without a meaning of their own, but for numbers of rows."""
    taken = table.roles.used()
    return [
        name
        for name in table.csv.columns
        if name not in taken and not INDEX_NAMES.fullmatch(plain(name))
    ]


def _is_text(cells: Sequence[str]) -> bool:
    """Whether most cells contain a letter, as file names do and measurements do not."""
    return _hold_mostly(cells, lambda cell: any(sign.isalpha() for sign in cell))


def _hold_mostly(cells: Sequence[str], test: Callable[[str], bool]) -> bool:
    """Whether more than half of the filled cells pass a test."""
    count = Counter(cells)
    del count[""]
    return sum(n for cell, n in count.items() if test(cell)) * 2 > count.total()


def _try_column(
    finder: RowFinder, table: LabelTable, kind: str, column: str, task: str, repeated: Repeated
) -> Attempt | None:
    """Tries the join by one column; None when no image has this kind of key."""
    found = finder.find(column, kind)
    if found is None:
        return None
    claimed = found
    if kind in FILE_KINDS and any(found):
        # a name in the table may mean an image in a subfolder that has no row of its own
        by_end = finder.find_by_end(column, kind)
        claimed = [rows or others for rows, others in zip(found, by_end, strict=True)]
    judge = _Judge(table, column, kind, _count_claims(claimed), task, repeated)
    judged: dict[int, _Verdict] = {}  # by identity: images that fit the same rows share one list
    chosen: list[int | None] = []
    stated: list[LabelRow | None] = []
    used: set[int] = set()
    examples: list[str] = []
    ambiguous = conflicts = 0
    for image, rows in zip(finder.images, found, strict=True):
        if id(rows) not in judged:
            judged[id(rows)] = judge(rows)
        verdict = judged[id(rows)]
        chosen.append(rows[0] if verdict.row is not None else None)
        stated.append(verdict.row)
        if verdict.row is not None:
            used.update(rows)
        if verdict.why:
            ambiguous += 1
            conflicts += verdict.conflict
            name = image.shown if kind in OF_FILES else f"one {_name_kind(kind)}"
            examples += [f"{name}: {verdict.why}"] if len(examples) < EXAMPLES else []
    return Attempt(
        kind, column, tuple(chosen), ambiguous, tuple(examples),
        tuple(stated), frozenset(used), conflicts,
    )  # fmt: skip


def _name_kind(kind: str) -> str:
    return "folder of a patient or examination" if kind == FOLDER else kind


def _count_claims(found: Matches) -> dict[int, int]:
    """How many images each row fits."""
    images = Counter(map(id, found))
    claims: dict[int, int] = defaultdict(int)
    for rows in {id(rows): rows for rows in found}.values():
        for row in rows:
            claims[row] += images[id(rows)]
    return claims


class _Verdict(NamedTuple):
    """What the rows that fit an image come to."""

    row: LabelRow | None = None  # what they state together
    why: str = ""  # why they do not settle what it is
    conflict: bool = False  # they differ in nothing but the label


@dataclass(frozen=True)
class _Judge:
    """Do the rows that fit an image settle what it is?"""

    table: LabelTable
    column: str
    kind: str
    claims: Mapping[int, int]
    task: str
    repeated: Repeated

    def __call__(self, rows: Sequence[int]) -> _Verdict:
        if not rows:
            return _Verdict()
        lines = ", ".join(str(self.table.rows[row].line) for row in rows[:EXAMPLES])
        if self.kind not in SHARED and any(self.claims[row] > 1 for row in rows):
            return _Verdict(why=f"line {lines} fits other images too")
        if self._name_different_files(rows):
            return _Verdict(why=f"lines {lines} name different files")
        return self._unite(rows, lines)

    def _name_different_files(self, rows: Sequence[int]) -> bool:
        if self.kind not in OF_FILES or len(rows) < 2:
            return False
        return len(set(read_row_keys(self.table.csv, self.column, rows))) > 1

    def _unite(self, rows: Sequence[int], lines: str) -> _Verdict:
        found = [self.table.rows[row] for row in rows]
        if len({row.meaning for row in found}) == 1:
            return _Verdict(found[0])
        by_patient = self.kind == "patient" or self.column == self.table.roles.patient
        if by_patient and self.kind in SHARED:  # rows of other visits are not about this image
            return _Verdict(why=f"lines {lines} differ")
        try:
            return _Verdict(merge_rows(found, self.task, self.repeated))
        except ConflictError as conflict:
            what = str(conflict)
            return _Verdict(None, f"lines {lines} differ in their {what}", what == "label")


def _refuse_contradiction(
    best: Attempt,
    good: Sequence[Attempt],
    table: LabelTable,
    images: Sequence[ImageName],
    attempts: Sequence[Attempt],
    trial: _Trial | None,
) -> None:
    """Raises when another good attempt gives an image another meaning; weaker file names do not."""
    for other in good:
        weaker = {best.kind, other.kind} <= OF_FILES and other.rank > best.rank
        if other is best or weaker:
            continue
        differ = [
            image
            for image, a, b in zip(images, best.stated, other.stated, strict=True)
            if a is not None and b is not None and a.meaning != b.meaning
        ]
        if differ:
            raise IsnetError(
                "data",
                f"{table.csv.path}: joining by {best.kind} ('{best.column}') and by {other.kind}"
                f" ('{other.column}') gives {len(differ)} images different rows",
                details=(
                    f"first: {differ[0].shown}",
                    *format_match_table(attempts, images, table),
                ),
                fix="   or ".join(
                    [*_try_keys(trial, [best.column, other.column]), "mend the label file"]
                ),
            )


def format_match_table(
    attempts: Sequence[Attempt], images: Sequence[ImageName], table: LabelTable
) -> tuple[str, ...]:
    """The attempts as an aligned text table: key, column, images, rows, ambiguous images."""
    head = ("key", "column", "images matched", "rows matched", "ambiguous")
    rows = [
        (
            attempt.kind,
            attempt.column,
            f"{attempt.images} of {len(images)}",
            f"{attempt.used_rows} of {len(table.rows)}",
            str(attempt.ambiguous),
        )
        for attempt in attempts
    ]
    return tuple(format_table(head, rows, left=len(head)).splitlines())


@dataclass(frozen=True)
class _Trial:
    """The same join with other settings, to propose only what works."""

    finder: RowFinder
    table: LabelTable
    labels: Labels
    repeated: Repeated

    def works(self, *, repeated: Repeated | None = None, **labels: object) -> bool:
        """Whether the join is accepted with these settings."""
        changed = self.labels.model_copy(update=labels)
        chosen = repeated or self.repeated
        try:
            join_labels(
                self.finder.images,
                self.table,
                changed,
                self.finder.roots,
                chosen,
                finder=self.finder,
                propose=False,
            )
        except IsnetError:
            return False
        return True

    def as_findings(self) -> _Trial:
        """The trial with each class as a finding of its own."""
        names = self.table.classes
        rows = tuple(
            replace(row, label=encode_findings({c: float(c == row.label) for c in names}))
            if row.label
            else row
            for row in self.table.rows
        )
        labels = self.labels.model_copy(update={"task": "multilabel"})
        return replace(self, table=replace(self.table, rows=rows), labels=labels)


def build_refusal(
    attempts: Sequence[Attempt],
    finder: RowFinder,
    table: LabelTable,
    labels: Labels,
    repeated: Repeated = "refuse",
    *,
    propose: bool = True,
) -> IsnetError:
    """The error that says why none of the attempts is good enough, with the match table."""
    images = finder.images
    best = max(attempts, key=lambda a: (a.images + a.ambiguous, -a.rank), default=None)
    details = format_match_table(attempts, images, table) if attempts else ()
    trial = _Trial(finder, table, labels, repeated) if propose else None
    if best is not None and best.conflicts:
        return IsnetError(
            "data",
            f"{table.csv.path}: {best.conflicts} of {len(images)} images have several rows with"
            " different labels, expected one label per image",
            details=(*(f"e.g. {text}" for text in best.examples), *details),
            fix="   or ".join([*_try_repeated(trial), "keep one row per image"]),
        )
    if best is not None and best.ambiguous:
        words = "write each image's path relative to the label file into a column 'file'"
        return IsnetError(
            "data",
            f"{table.csv.path}: joining labels by {_name_kind(best.kind)} ('{best.column}') is"
            f" ambiguous for {best.ambiguous} of {len(images)} images, expected one image per key",
            details=(*(f"e.g. {text}" for text in best.examples), *details),
            fix="   or ".join([*_try_all_keys(trial, attempts), words]),
        )
    matched = best.images if best is not None else 0
    missing = images[0] if best is None else images[best.rows.index(None)]
    hint = _suggest_remedy(images, table, attempts)
    choices = _try_all_keys(trial, attempts)
    if matched and trial is not None:
        share = _round_down(matched / len(images))
        if trial.works(min_match=share):
            choices.append(f"data.labels.min_match: {share:g}   accepts fewer")
    return IsnetError(
        "data",
        f"{table.csv.path}: {matched} of {len(images)} images found a row, expected at least"
        f" {labels.min_match:.0%} (data.labels.min_match)",
        details=(
            f"first image without a row: {missing.shown}",
            *([hint] if hint else []),
            *details,
        ),
        fix="   or ".join(choices)
        or "write each image's path relative to the label file into a column 'file'",
    )


def _round_down(share: float) -> float:
    """A share with two digits, not above it."""
    digits = 2 - min(0, math.floor(math.log10(share)) + 1)
    scale = 10.0**digits
    return math.floor(share * scale) / scale


def _try_repeated(trial: _Trial | None) -> list[str]:
    """Settings that make one statement of several rows of an image."""
    if trial is None:
        return []
    good = [choice for choice in CHOICES if trial.works(repeated=choice)]
    found = []
    several = "any" not in good and trial.labels.task == "multiclass"
    if several and trial.as_findings().works(repeated="any"):
        found.append("data.labels.task: multilabel with data.repeated: any")
    if good:
        more = f" ({' or '.join(good[1:])})" if good[1:] else ""
        found.append(f"data.repeated: {good[0]}{more}")
    return found


def _try_keys(trial: _Trial | None, columns: Sequence[str]) -> list[str]:
    """Those of the columns by which a join works."""
    return [
        f"data.labels.key: column:{column}"
        for column in dict.fromkeys(columns)
        if trial is not None and trial.works(key=f"column:{column}")
    ]


def _try_all_keys(trial: _Trial | None, attempts: Sequence[Attempt]) -> list[str]:
    """The strongest settings of the key that work."""
    if trial is None or len(trial.finder.images) + len(trial.table.rows) > TRIED_CELLS // 100:
        return []
    keys = [key for key in ("file", "stem") if trial.works(key=key)][:1]
    found = [f"data.labels.key: {key}" for key in keys]
    tried = [attempt.column for attempt in attempts]
    columns = [name for name in trial.table.csv.columns if name not in trial.table.roles.label]
    return found or _try_keys(trial, sorted(columns, key=lambda name: name not in tried))[:2]


def _suggest_remedy(
    images: Sequence[ImageName], table: LabelTable, attempts: Sequence[Attempt]
) -> str:
    """What keeps images and rows apart, such as zeros that were lost."""
    if not attempts:
        columns = list_names(table.csv.columns)
        return f"none of the columns {columns} is named like one of file names or identifiers"
    for attempt in attempts:
        fruitless = not attempt.images and not attempt.ambiguous
        known = attempt.kind in {"stem", "accession", "patient"}
        if fruitless and known and _match_as_numbers(images, table, attempt):
            return (
                f"column '{attempt.column}' matches without leading zeros and decimals:"
                " a spreadsheet may have changed its numbers"
            )
        if fruitless and _hold_mostly(read_keys(table.csv, attempt.column), _is_rounded):
            return (
                f"column '{attempt.column}' holds rounded numbers such as 1.23E+17: a spreadsheet"
                " has changed them; take the table as it was published"
            )
    return ""


def _is_rounded(cell: str) -> bool:
    return bool(re.fullmatch(r"\d([.,]\d+)?E\+\d+", cell))


def _match_as_numbers(images: Sequence[ImageName], table: LabelTable, attempt: Attempt) -> bool:
    """Whether an image's key is in the column when leading zeros and ``.0`` do not count."""
    names = [
        strip_suffix(image.path.name)
        if attempt.kind == "stem"
        else getattr(image.identity, attempt.kind)
        for image in images
    ]
    cells = {
        re.sub(r"[.,]0+$", "", cell).lstrip("0") for cell in read_keys(table.csv, attempt.column)
    }
    return bool(({name.lstrip("0") for name in names} - {""}) & cells)
