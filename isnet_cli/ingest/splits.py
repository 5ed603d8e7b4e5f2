"""Splits images into named sets: whole patients, all classes everywhere, the same every time."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from isnet_cli.config.schema import Choice, ImageSet, Split, chosen_images
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.labels.values import decode_findings

DEFAULT_SETS: Mapping[str, ImageSet] = {
    "train": ImageSet(fraction=0.7),
    "val": ImageSet(fraction=0.15),
    "test": ImageSet(fraction=0.15),
}
NEGATIVE = ""  # class of a multi-label image without any finding
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Group:
    """Images that must stay together.

    Attributes:
        name: What orders the groups, together with the seed; memory only.
        images: Indices of the images.
        classes: How many of the images are of each class.
    """

    name: str
    images: tuple[int, ...]
    classes: Mapping[str, int]


def list_classes(label: str, task: str) -> list[str]:
    """Classes that one manifest label has; multi-label images without any: `NEGATIVE`."""
    if task == "multiclass":
        return [label] if label else []
    positive = [name for name, value in decode_findings(label).items() if value == 1.0]
    return positive or ([NEGATIVE] if label else [])


def assign_sets(
    rows: Sequence[Row],
    patients: Sequence[str],
    sets: Mapping[str, ImageSet],
    split: Split,
    *,
    seed: int,
    task: str,
) -> list[Row]:
    """Gives each usable image of the main images its set.

    A set with `source` draws from the images of these sources, one with `only` from those of them
    that have the classes named; a set without either draws from the images that no other names.
    Sets that draw from the same images share them by `fraction`; one of them may leave it out and
    gets the rest. With a `set` column in the label file (now in `Row.set`), the column is followed
    when no sets are configured, and for configured sets that have neither a choice nor a fraction;
    its images are not split again.

    Only rows that are ``ok`` and labelled take part; when no row has a label, all take part in
    configured sets, and without configured ones they stay in no set. The result depends on the
    rows, the settings and the seed, not on the order of the rows. Each set's size is off its
    fraction by less than the largest group.

    Args:
        rows: The main images; `Row.set` holds the column's value or is empty.
        patients: Patient of each row as found (no pseudonym), empty when unknown; memory only.
        sets: The configured sets; those with images of their own are ignored here.
        split: How to group and whether to stratify.
        seed: Orders the groups.
        task: ``multiclass`` or ``multilabel``.

    Raises:
        IsnetError: Kind "config" or "data": overlapping sources, fractions above 1, two sets that
            want the rest, a source that no image has.
    """
    labelled = any(row.label and row.status == "ok" for row in rows)
    usable = [i for i, row in enumerate(rows) if row.status == "ok" and (row.label or not labelled)]
    own = {name: entry for name, entry in sets.items() if entry.images is None}
    fixed = {
        i: rows[i].set
        for i in usable
        if rows[i].set and (not own or _follows_column(own, rows[i].set))
    }
    to_fill = {
        n: e for n, e in own.items() if not _follows_column(own, n) or n not in fixed.values()
    }
    if not own and not fixed and labelled:
        to_fill = dict(DEFAULT_SETS)
    result = dict.fromkeys(range(len(rows)), "") | fixed
    free = [i for i in usable if i not in fixed]
    for names, members in _find_pools(rows, free, to_fill):
        groups = _group_images(rows, patients, members, split, task)
        shares = _complete_shares({name: to_fill[name].fraction for name in names}, names)
        for group, name in split_groups(groups, shares, seed, stratify=split.stratify):
            result.update(dict.fromkeys(group.images, name))
    return [replace(row, set=result[i]) for i, row in enumerate(rows)]


def _follows_column(sets: Mapping[str, ImageSet], name: str) -> bool:
    """Whether a configured set leaves it to the label file's column which images it has."""
    entry = sets.get(name)
    return entry is not None and not chosen_images(entry) and entry.fraction is None


def split_groups(
    groups: Sequence[Group], shares: Mapping[str, float], seed: int, *, stratify: bool = True
) -> list[tuple[Group, str]]:
    """Splits groups into sets so that sizes and classes come close to the shares.

    Groups go, large before small, rare classes before common ones, and otherwise in the order of
    a hash of (seed, name), to the set that lacks the largest share of the group's classes among
    the sets it fits into. When it fits into none, it goes to the set that lacks most images: an
    overshoot then is smaller than the group, and no set that lacks a whole group can be passed
    over, so every set ends less than one (largest) group away from its share.

    Args:
        groups: The groups; their order does not matter.
        shares: Fraction of all images for each set; what is missing to 1 stays in no set.
        seed: Of the order.
        stratify: False: only sizes count.
    """
    total = sum(len(group.images) for group in groups)
    counts: Counter[str] = Counter()
    for group in groups:
        counts.update(group.classes)
    names = [*shares, ""]
    parts = [*shares.values(), max(0.0, 1.0 - sum(shares.values()))]
    lacking = {name: part * total for name, part in zip(names, parts, strict=True) if part > 0}
    wanted = {name: {c: lacking[name] / total * n for c, n in counts.items()} for name in lacking}
    placed = []
    for group in sorted(groups, key=lambda g: _rank_group(g, counts, seed)):
        size = len(group.images)
        fits = [name for name in lacking if lacking[name] >= size - TOLERANCE]
        need = dict.fromkeys(fits, 0.0)
        if stratify:
            need = {
                name: sum(n * wanted[name][c] / counts[c] for c, n in group.classes.items())
                for name in fits
            }
        best = max(fits or lacking, key=lambda name: (need.get(name, 0.0), lacking[name]))
        lacking[best] -= size
        for c, n in group.classes.items():
            wanted[best][c] -= n
        placed.append((group, best))
    return placed


def _rank_group(group: Group, counts: Counter[str], seed: int) -> tuple[int, int, str, str]:
    """Large groups first (by powers of two, so that the seed still matters), then rare classes."""
    rarest = min(((counts[c], c) for c in group.classes), default=(0, ""))
    digest = hashlib.sha256(f"{seed}\0{group.name}".encode("utf-8", "surrogateescape"))
    return -len(group.images).bit_length(), *rarest, digest.hexdigest()


def _find_pools(
    rows: Sequence[Row], free: Sequence[int], sets: Mapping[str, ImageSet]
) -> list[tuple[list[str], list[int]]]:
    """Sets that draw from the same images, with these images."""
    pools: dict[tuple[Choice, ...], list[str]] = defaultdict(list)
    for name, entry in sets.items():
        pools[tuple(chosen_images(entry))].append(name)
    claimed: dict[Choice, tuple[Choice, ...]] = {}
    for choices, names in pools.items():
        for choice in choices:
            if _overlaps(choice, claimed):
                source = choice[0]
                key = "source" if choice[1] is None else "only"
                raise IsnetError(
                    "config",
                    f"data.sets.{names[0]}.{key}: source '{source}' is also part of another"
                    " choice of sources, expected equal or disjoint ones",
                    fix="give the sets that share a source the same list of sources",
                )
        claimed |= dict.fromkeys(choices, choices)
    _check_choices(rows, claimed, pools)
    owners = [
        claimed.get((row.source, row.label), claimed.get((row.source, None), ())) for row in rows
    ]
    return [(names, [i for i in free if owners[i] == choices]) for choices, names in pools.items()]


def _overlaps(choice: Choice, claimed: Mapping[Choice, object]) -> bool:
    source, label = choice
    if label is None:
        return any(source == other for other, _ in claimed)
    return choice in claimed or (source, None) in claimed


def _check_choices(
    rows: Sequence[Row],
    claimed: Mapping[Choice, tuple[Choice, ...]],
    pools: Mapping[tuple[Choice, ...], list[str]],
) -> None:
    found = sorted({row.source for row in rows if row.source})
    for (source, label), choices in claimed.items():
        where = f"data.sets.{pools[choices][0]}"
        if source not in found:
            raise IsnetError(
                "data",
                f"{where}.{'source' if label is None else 'only'}: no image of source '{source}',"
                f" found {', '.join(repr(name) for name in found[:12]) or 'no source at all'}",
                fix="write the source as in the label file"
                if found
                else "name the column of the source: data.columns.source: NAME",
            )
        labels = sorted({row.label for row in rows if row.source == source and row.label})
        if label is not None and label not in labels:
            raise IsnetError(
                "data",
                f"{where}.only.{source}: no image of class '{label}', found "
                f"{', '.join(labels[:12]) or 'no class'}",
                fix="write the class as in the label file",
            )


def _complete_shares(
    fractions: Mapping[str, float | None], names: Sequence[str]
) -> dict[str, float]:
    """The fraction of each set; the one without gets the rest."""
    given = sum(value for value in fractions.values() if value is not None)
    open_sets = [name for name in names if fractions[name] is None]
    if given > 1.0 + TOLERANCE:
        raise IsnetError(
            "config",
            f"data.sets: the fractions of {', '.join(names)} add up to {given:g},"
            " expected at most 1",
            fix="lower the fractions",
        )
    if len(open_sets) > 1:
        raise IsnetError(
            "config",
            f"data.sets: {' and '.join(open_sets)} draw from the same images without a fraction,"
            " expected at most one such set",
            fix=f"data.sets.{open_sets[0]}.fraction: {(1.0 - given) / len(open_sets):.3g}"
            if given < 1.0 - TOLERANCE
            else "lower the fractions of the others",
        )
    rest = max(0.0, 1.0 - given)
    return {name: rest if fractions[name] is None else fractions[name] or 0.0 for name in names}


def _group_images(
    rows: Sequence[Row], patients: Sequence[str], members: Sequence[int], split: Split, task: str
) -> list[Group]:
    images: dict[str, list[int]] = defaultdict(list)
    # these names are hashed: any change of their words would change every split
    for i in members:
        known = split.group == "patient" and patients[i]
        images[f"patient {patients[i]}" if known else f"film {rows[i].key}"].append(i)
    return [
        Group(
            name,
            tuple(indices),
            Counter(c for i in indices for c in list_classes(rows[i].label, task)),
        )
        for name, indices in images.items()
    ]
