"""What the stage reports: matches, warnings, counts; and the refusal when no image can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.ingest.catalogue import Contents
from isnet_cli.ingest.common_notes import find_common_notes
from isnet_cli.ingest.label_sources import MAIN, is_main, name_plainly
from isnet_cli.ingest.rows import count_rows
from isnet_cli.ingest.set_checks import Finding, count_classes
from isnet_cli.text.tables import format_counts


def title_labels(name: str) -> str:
    """The heading over how the images of a collection got their labels."""
    if name == MAIN:
        return "labels"
    return f"labels of {'collection' if is_main(name) else 'set'} '{name_plainly(name)}'"


def report_contents(contents: Contents, context: RunContext) -> None:
    """Reports how labels were matched, and warns of what is doubtful so far."""
    for name, lines in contents.match.items():
        context.say(f"{title_labels(name)}:")
        for line in lines:
            context.say(f"  {line}")
    if contents.masks_left_out:
        context.say(f"{contents.masks_left_out} files are masks of images and were left out")
    for text in contents.warnings:
        context.warn("data", text)


def refuse_empty(rows: Sequence[Row]) -> None:
    """Raises when no row can be used.

    Raises:
        IsnetError: Kind "data", with the reasons.
    """
    if any(row.status == "ok" for row in rows):
        return
    reasons = _count_reasons(rows)
    raise IsnetError(
        "data",
        f"data.images: none of {len(rows)} files can be used"
        f" ({', '.join(f'{name} {n}' for name, n in reasons.most_common())}),"
        " expected frontal chest X-rays",
        details=tuple(f"{row.key}: {row.reason}" for row in rows[:5]),
        fix="set data.images to the folder of the X-rays; docs/skipped.md explains the reasons",
    )


def report_warnings(
    findings: Sequence[Finding], rows: Sequence[Row], config: Config, context: RunContext
) -> None:
    """Warns of doubtful sets, of notes on most images, and of images of unknown patients."""
    for finding in findings:
        context.warn("data", finding.text + (f" ({finding.fix})" if finding.fix else ""))
    warn_of_notes(rows, context)
    unknown = [row for row in rows if row.status == "ok" and row.set and not row.patient]
    if unknown and config.data.split.group == "patient":
        context.warn(
            "data",
            f"the patient of {len(unknown)} images is unknown: each counts as a patient of its own"
            " (data.columns.patient names the column, or a pattern of the path)",
        )


def warn_of_notes(rows: Sequence[Row], context: RunContext) -> None:
    """Warns of notes that most of the images have."""
    used = [row.notes for row in rows if row.status == "ok"]
    for finding in find_common_notes(used):
        context.warn("data", finding.text + (f" ({finding.fix})" if finding.fix else ""))


def report_rows(rows: Sequence[Row], config: Config, context: RunContext) -> None:
    """Reports how many images were read and skipped, and the classes of each source and set."""
    number = count_rows(rows)
    context.say(f"read {number['read']} of {number['found']} images")
    for name, n in _count_reasons(rows).most_common():
        context.say(f"  skipped {n}: {name}")
    task = config.data.labels.task
    if number["labelled"]:
        for line in format_counts(count_classes(rows, "source", task), "source"):
            context.say(f"  {line}")
        for line in format_counts(count_classes(rows, "set", task), "set"):
            context.say(f"  {line}")


def summarise_rows(rows: Sequence[Row], config: Config) -> dict[str, Any]:
    """The stage's figures: counts, images per set, source and class, reasons for skipping."""
    task = config.data.labels.task
    return {
        **count_rows(rows),
        "sets": count_classes(rows, "set", task),
        "sources": count_classes(rows, "source", task),
        "reasons": dict(sorted(_count_reasons(rows).items())),
    }


def _count_reasons(rows: Sequence[Row]) -> Counter[str]:
    return Counter(row.reason.partition(":")[0] for row in rows if row.reason)
