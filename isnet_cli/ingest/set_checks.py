"""Is the division into sets sound: patients, copies, empty sets, classes, hospitals."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from isnet_cli.config.schema import ImageSet, Split
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.ingest.splits import DEFAULT_SETS, NEGATIVE, list_classes
from isnet_cli.labels.values import parse_label

EXAMPLES = 5
UNKNOWN = "unknown"  # name of an empty source in tables
NEEDED = ("train", "val")
VALIDATION = "evaluate.sets: [val]   scores the validation images, which also choose the model"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or doubtful.

    Attributes:
        severity: ``error`` stops the run, ``warning`` does not.
        text: Where, what was found, what was expected; no patient identity.
        fix: What to type or change.
        details: Up to five examples.
    """

    severity: Literal["error", "warning"]
    text: str
    fix: str = ""
    details: tuple[str, ...] = ()


def check_sets(
    rows: Sequence[Row], sets: Mapping[str, ImageSet], split: Split, task: str
) -> list[Finding]:
    """Everything that is wrong or doubtful with the sets of the usable rows, errors first.

    Errors: a patient or a file's copy in two sets (a warning with ``split.allow_overlap``), an
    empty train or val set although training images are there, training images that are all alike.
    Warnings: another expected set that is empty, no test set at all, a set without labels, a class
    that a set lacks, a class whose training images all come from one source while other classes
    come from elsewhere.
    """
    used = [row for row in rows if row.status == "ok" and row.set]
    overlap: Literal["error", "warning"] = "warning" if split.allow_overlap else "error"
    found = [
        *_check_patients(used, overlap, split),
        *_check_copies(used, overlap),
        *_check_empty(rows, used, sets),
        *_check_training(used, task),
        *_check_classes(used, task),
        *_check_sources(used, task),
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


def refuse_errors(findings: Sequence[Finding]) -> None:
    """Raises the first error among the findings; the others are named in its details.

    Raises:
        IsnetError: Kind "data".
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = tuple(f"also: {finding.text}" for finding in errors[1:])
        first = errors[0]
        raise IsnetError("data", first.text, fix=first.fix, details=(*first.details, *more))


def count_classes(
    rows: Sequence[Row], by: Literal["source", "set"], task: str
) -> dict[str, dict[str, int]]:
    """Usable labelled images per source (or set) and class; multi-label images count in each class.

    Multi-label images without any finding are counted as ``no finding``. Sets without labelled
    images are listed, sources without are not.
    """
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        name = row.source or UNKNOWN if by == "source" else row.set
        if row.status == "ok" and name and (row.label or by == "set"):
            counts = table[name]
            counts.update(
                c if c != NEGATIVE else "no finding" for c in _list_row_classes(row, task)
            )
    order = sorted(table, key=lambda name: (*(name != first for first in DEFAULT_SETS), name))
    return {name: dict(sorted(table[name].items())) for name in order}


def _list_row_classes(row: Row, task: str) -> list[str]:
    return list_classes(row.label, task) if row.label else []


def _check_patients(
    rows: Sequence[Row], severity: Literal["error", "warning"], split: Split
) -> Iterator[Finding]:
    images: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.patient:
            images[row.patient].setdefault(row.set, row)
    shared = {patient: found for patient, found in images.items() if len(found) > 1}
    if shared:
        names = sorted({name for found in shared.values() for name in found})
        yield Finding(
            severity,
            f"data.sets: {_count_noun(len(shared), 'patient')} in more than one of the sets"
            f" {', '.join(names)}, expected each in one",
            fix="; ".join(
                [
                    *(["data.split.group: patient keeps them together"] * (split.group == "none")),
                    *_propose_ids(shared.values(), split),
                    "data.split.allow_overlap: true   if you mean it",
                ]
            ),
            details=_list_examples({f"patient {key}": found for key, found in shared.items()}),
        )


def _propose_ids(shared: Iterable[Mapping[str, Row]], split: Split) -> list[str]:
    """The setting for numbers that hospitals give independently, where it would help."""
    apart = all(len({row.source for row in found.values()}) == len(found) for found in shared)
    if split.ids == "source" or not apart:
        return []
    return ["data.split.ids: source   if hospitals number their patients independently"]


def _check_copies(rows: Sequence[Row], severity: Literal["error", "warning"]) -> Iterator[Finding]:
    images: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.sha256:
            images[row.sha256, row.frame].setdefault(row.set, row)
    shared = {key[0][:12]: found for key, found in images.items() if len(found) > 1}
    if shared:
        names = sorted({name for found in shared.values() for name in found})
        yield Finding(
            severity,
            f"data.sets: {_count_noun(len(shared), 'image')} in more than one of the sets"
            f" {', '.join(names)} (files with the same bytes), expected each in one",
            fix="remove the copies; data.split.allow_overlap: true   if you mean it",
            details=_list_examples({f"sha256 {key}": found for key, found in shared.items()}),
        )


def _check_empty(
    rows: Sequence[Row], used: Sequence[Row], sets: Mapping[str, ImageSet]
) -> Iterator[Finding]:
    filled = {row.set for row in used}
    labelled = any(row.label for row in rows if row.status == "ok")
    expected = list(sets) if sets else list(NEEDED) if filled & set(NEEDED) else []
    if not labelled and not any(name in NEEDED for name in sets):
        expected = []
    tested = filled - set(NEEDED)
    if not sets and filled & set(NEEDED) and not tested:
        expected.append("test")
    groups = len({row.patient or row.key for row in used})
    rest = f"({len(used)} images of {_count_noun(groups, 'patient')} are in other sets)"
    for name in expected:
        if name in filled:
            continue
        needed = name in NEEDED
        fix = (
            f"give data.sets.{name} a fraction or source with images, or write '{name}' into"
            " the label file's set column"
        )
        if not needed:
            fix = f"more patients, another fraction, or images of its own: data.sets.{name}.images"
        yield Finding(
            "error" if needed else "warning",
            f"data.sets.{name}: no image, expected at least one {rest}",
            fix=(fix if labelled else "give the labels: data.labels.file")
            + ("" if needed or tested else f"; {VALIDATION}"),
        )
    if "train" in filled and not tested and set(expected) <= set(NEEDED):
        yield Finding(
            "warning",
            "data.sets: no test image, so evaluate has nothing to score",
            fix=f"a test set under data.sets; {VALIDATION}",
        )


def _check_training(rows: Sequence[Row], task: str) -> Iterator[Finding]:
    """Training images that are all alike teach nothing."""
    labels = [row.label for row in rows if row.set == "train" and row.label]
    values: dict[str, set[float]] = defaultdict(set)
    for label in labels:
        for name, value in parse_label(label, task).items():
            values[name].add(value)
    learnable = (
        len(values) > 1
        if task == "multiclass"
        else any({0.0, 1.0} <= found for found in values.values())
    )
    if labels and not learnable:
        what = f"of class '{labels[0]}'" if task == "multiclass" else "alike in every finding"
        yield Finding(
            "error",
            f"data.sets.train: all {len(labels)} images are {what}, expected images of two classes"
            " or more",
            fix="check the label column (data.labels.columns), or add images of another class",
        )


def _check_classes(rows: Sequence[Row], task: str) -> Iterator[Finding]:
    classes = {c for row in rows for c in _list_row_classes(row, task)} - {NEGATIVE}
    for name in dict.fromkeys(row.set for row in rows):
        found = [c for row in rows if row.set == name for c in _list_row_classes(row, task)]
        missing = sorted(classes - set(found))
        if found and missing:
            only = len(set(found)) == 1 and task == "multiclass"
            yield Finding(
                "warning",
                f"data.sets.{name}: no image of class {', '.join(map(repr, missing))};"
                + (f" all are of class '{found[0]}';" if only else "")
                + " its scores have no value for it",
                fix="more images of the class, or another fraction",
            )
        elif classes and not found and name not in NEEDED:
            yield Finding(
                "warning",
                f"data.sets.{name}: no image has a label, so it gets predictions and no scores",
                fix=f"data.sets.{name}.labels.file: its label file",
            )


def _check_sources(rows: Sequence[Row], task: str) -> Iterator[Finding]:
    learnt = [row for row in rows if row.set == "train"] or rows
    sources: dict[str, set[str]] = defaultdict(set)
    for row in learnt:
        for name in _list_row_classes(row, task):
            sources[name].add(row.source or UNKNOWN)
    if len(set().union(*sources.values())) < 2:
        return
    for name, where in sorted(sources.items()):
        if len(where) == 1 and name != NEGATIVE:
            yield Finding(
                "warning",
                f"class '{name}' comes only from source '{next(iter(where))}':"
                " a model can learn the hospital instead of the disease",
            )


def _count_noun(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _list_examples(shared: Mapping[str, Mapping[str, Row]]) -> tuple[str, ...]:
    lines = [
        f"{name}: " + ", ".join(f"{row.key} ({row.set})" for row in found.values())
        for name, found in sorted(shared.items())[:EXAMPLES]
    ]
    if len(shared) > EXAMPLES:
        lines.append(f"and {len(shared) - EXAMPLES} more")
    return tuple(lines)
