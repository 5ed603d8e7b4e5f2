"""Cohort: which images came in, which were lost and why, how classes and sources mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from isnet_cli.output.figures import number
from isnet_cli.report.blocks import Block, Flow, Grid, Notice, Picture, Section, Step, Table, Text
from isnet_cli.report.results import Cells, Cohort
from isnet_cli.report.wording import format_percent

NO_LABEL = "no label"
NO_SET = "in no set"
UNKNOWN = "unknown"
MANIFEST, QC = "ingest/manifest.csv", "masks/qc.csv"


def build_cohort_section(cohorts: Sequence[Cohort]) -> Section:
    """Flow, set x class and class x source, once for each set of images that runs share."""
    blocks: list[Block] = []
    for cohort in cohorts:
        if len(cohorts) > 1:
            blocks.append(Text(f"Images of {', '.join(cohort.users)} (ingested in {cohort.name}):"))
        if not cohort.rows:
            reason = cohort.missing.get("ingest", "the manifest is empty")
            blocks.append(Notice(f"No cohort to show: {reason}", "empty"))
            continue
        blocks += [
            _build_flow(cohort),
            *_explain_fate(cohort),
            *_tabulate_sets(cohort),
            *_tabulate_sources(cohort),
        ]
    files = (MANIFEST, QC)
    return Section("cohort", "Cohort", blocks, files)


def build_masks_section(cohorts: Sequence[Cohort], tiles: Sequence[Sequence[Picture]]) -> Section:
    """Origin and verdict of the lung masks, and a sheet to check them by eye.

    Args:
        cohorts: The images and masks.
        tiles: Of each cohort, images with the outline of their masks, the most doubtful first.
    """
    blocks: list[Block] = []
    for cohort, pictures in zip(cohorts, tiles, strict=True):
        if len(cohorts) > 1:
            blocks.append(Text(f"Masks of {', '.join(cohort.users)} (made in {cohort.name}):"))
        if not cohort.qc:
            reason = cohort.missing.get("masks", "the table of masks is empty")
            blocks.append(Notice(f"No masks to show: {reason}", "empty"))
            continue
        blocks += [_tabulate_verdicts(cohort), *_tabulate_doubts(cohort)]
        if pictures:
            blocks.append(Grid(pictures, least=120, title="Check by eye, the most doubtful first"))
    return Section("masks", "Lung masks", blocks, ("masks/qc.csv", "masks/<key>.png"))


def list_classes(row: Cells, task: str) -> list[str]:
    """Classes that a manifest row is positive for; ``no label`` for none known."""
    label = row["label"]
    if task != "multilabel":
        return [label or NO_LABEL]
    parts = [part.rpartition("=") for part in label.split(";") if part]
    if not any(sign in {"0", "1"} for _, _, sign in parts):
        return [NO_LABEL]
    return [name for name, _, sign in parts if sign == "1"] or ["none of the labels"]


def _build_flow(cohort: Cohort) -> Flow:
    images = cohort.images
    skipped = Counter(
        row["reason"].partition(":")[0] or UNKNOWN for row in cohort.rows if row["status"] != "ok"
    )
    labelled = [row for row in images if NO_LABEL not in list_classes(row, cohort.task)]
    used = [row for row in labelled if row["set"]]
    steps = [
        Step(
            len(cohort.rows),
            "images found",
            [(_spell_code(r), n) for r, n in skipped.most_common()],
        ),
        Step(len(images), "images read", _drop_zeros((NO_LABEL, len(images) - len(labelled)))),
        Step(
            len(labelled),
            "images with a label",
            _drop_zeros((NO_SET, len(labelled) - len(used))),
        ),
        Step(len(used), "images in named sets", _count_doubtful(cohort, used)),
    ]
    if cohort.qc:
        good = {row["key"] for row in cohort.qc if row["verdict"] == "ok"}
        steps.append(Step(sum(r["key"] in good for r in used), "images with a sound lung mask"))
    return Flow(steps, sources=(MANIFEST, QC) if cohort.qc else (MANIFEST,))


def _count_doubtful(cohort: Cohort, used: Sequence[Cells]) -> list[tuple[str, int]]:
    verdicts = {row["key"]: row["verdict"] for row in cohort.qc}
    found = Counter(verdicts.get(row["key"], "missing") for row in used) if verdicts else Counter()
    return _drop_zeros(
        ("with a suspect mask", found["suspect"]), ("without a mask", found["missing"])
    )


def _explain_fate(cohort: Cohort) -> Iterator[Text]:
    """What becomes of images without a sound mask, where there are any."""
    if all(row["verdict"] == "ok" for row in cohort.qc):
        return
    if cohort.on_suspect == "keep":
        yield Text("Images with a suspect mask are used like all others (masks.on_suspect: keep).")
    else:
        yield Text(
            "Images with a suspect mask are left out of training, and images without a mask where "
            "the method needs one. In the test sets they are scored, but not measured for "
            "relevance outside the lungs."
        )


def _tabulate_sets(cohort: Cohort) -> Iterator[Block]:
    counts: dict[str, Counter[str]] = {}
    totals: Counter[str] = Counter()
    for row in cohort.images:
        name = row["set"] or NO_SET
        totals[name] += 1
        counts.setdefault(name, Counter()).update(list_classes(row, cohort.task))
    classes = _sort_names(name for counter in counts.values() for name in counter)
    order = sorted(counts, key=lambda n: ({"train": 0, "val": 1, NO_SET: 9}.get(n, 2), n))
    patients = {
        name: {r["patient"] for r in cohort.images if (r["set"] or NO_SET) == name and r["patient"]}
        for name in order
    }
    rows = [
        (
            name,
            *(str(counts[name][c]) for c in classes),
            str(totals[name]),
            str(len(patients[name])) if patients[name] else UNKNOWN,
        )
        for name in order
    ]
    notes = ["An image can be positive for several labels."] if cohort.task == "multilabel" else []
    yield Table(
        ("set", *classes, "images", "patients"), rows, "Sets and classes", notes=notes,
        sources=[MANIFEST],
    )  # fmt: skip


def _tabulate_sources(cohort: Cohort) -> Iterator[Block]:
    counts: dict[str, Counter[str]] = {}
    for row in cohort.images:
        for name in list_classes(row, cohort.task):
            counts.setdefault(name, Counter())[row["source"] or UNKNOWN] += 1
    sources = _sort_names(source for counter in counts.values() for source in counter)
    if sources == [UNKNOWN]:
        yield Notice(
            "The images' sources (hospitals, collections) are not known, so it cannot be checked "
            "whether a class comes from one source only."
        )
        return
    rows = [(name, *(str(counts[name][s]) for s in sources)) for name in _sort_names(counts)]
    yield Table(("class", *sources), rows, "Classes and sources", sources=[MANIFEST])
    training = [row for row in cohort.images if row["set"] in {"train", "val"}]
    yield from _warn_of_one_source(training or cohort.images, cohort.task)


def _warn_of_one_source(images: Sequence[Cells], task: str) -> Iterator[Notice]:
    """Warns of classes that come from one of several sources: the hospital can give them away."""
    sources: dict[str, set[str]] = {}
    for row in images:
        for name in list_classes(row, task):
            if name != NO_LABEL and row["source"]:
                sources.setdefault(name, set()).add(row["source"])
    if len({source for found in sources.values() for source in found}) < 2:
        return
    alone = [f"{name} ({min(found)})" for name, found in sources.items() if len(found) == 1]
    if alone:
        yield Notice(
            f"In the training images, these classes come from one source only: {', '.join(alone)}."
            " A classifier can learn the source instead of the disease, and a test on the same "
            "sources will not show it.",
            "warning",
        )


def _tabulate_verdicts(cohort: Cohort) -> Table:
    counts = Counter((row["origin"] or "none", row["verdict"]) for row in cohort.qc)
    list_sources = _sort_names(origin for origin, _ in counts)
    rows = []
    for origin in list_sources:
        areas = [
            area
            for row in cohort.qc
            if (row["origin"] or "none") == origin and row["verdict"] == "ok"
            if (area := number(row["area"])) is not None
        ]
        mean = format_percent(sum(areas) / len(areas)) if areas else "n/a"
        rows.append((origin, *(str(counts[origin, v]) for v in ("ok", "suspect", "missing")), mean))
    columns = ("origin of the mask", "ok", "suspect", "missing", "mean lung area of ok masks")
    return Table(columns, rows, sources=[QC])


def _tabulate_doubts(cohort: Cohort) -> Iterator[Block]:
    reasons = Counter(
        part.partition(":")[0]
        for row in cohort.qc
        if row["verdict"] != "ok"
        for part in row["reason"].split("; ")
    )
    if reasons:
        rows = [
            (_spell_code(reason or UNKNOWN), str(count)) for reason, count in reasons.most_common()
        ]
        yield Table(("why a mask is suspect or missing", "images"), rows, sources=[QC])


def _drop_zeros(*entries: tuple[str, int]) -> list[tuple[str, int]]:
    return [entry for entry in entries if entry[1]]


def _sort_names(names: Iterator[str] | Sequence[str] | dict[str, Counter[str]]) -> list[str]:
    """Distinct names, sorted, the stand-ins for nothing last."""
    return sorted(set(names), key=lambda n: (n in {NO_LABEL, UNKNOWN, NO_SET, "none"}, n))


def _spell_code(code: str) -> str:
    return code.replace("_", " ")
