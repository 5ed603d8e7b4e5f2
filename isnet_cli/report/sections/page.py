"""The page: which sections, in which order, under which heading."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.report.document import Report
from isnet_cli.report.facts import Cohort, RunFacts
from isnet_cli.report.sections.about import about_section, limits_section
from isnet_cli.report.sections.background import background_section
from isnet_cli.report.sections.calibration import calibration_section
from isnet_cli.report.sections.cohort import cohort_section, masks_section
from isnet_cli.report.sections.images import images_section
from isnet_cli.report.sections.maps import maps_section
from isnet_cli.report.sections.scores import scores_section
from isnet_cli.report.sections.setup import configuration_section, versions_section
from isnet_cli.report.sections.shift import reliance_section, shift_section
from isnet_cli.report.sections.training import training_section


def page(runs: Sequence[RunFacts], cohorts: Sequence[Cohort], note: str = "") -> Report:
    """The whole report.

    Args:
        runs: At least one run, in the order of the columns.
        cohorts: Their images, each set of images once.
        note: How the maps were drawn.
    """
    areas = [area for cohort in cohorts if (area := cohort.outside_area) is not None]
    even = sum(areas) / len(areas) if areas else None
    return Report(
        "Report on " + _listed([run.name for run in runs]),
        "Chest X-ray classification: cohort, lung masks, training, scores, and where the "
        "classifier looks",
        [
            about_section(runs),
            cohort_section(cohorts),
            masks_section(cohorts),
            training_section(runs),
            scores_section(runs),
            calibration_section(runs),
            shift_section(runs),
            background_section(runs),
            reliance_section(runs, even),
            maps_section(runs, note),
            images_section(runs),
            configuration_section(runs),
            versions_section(runs),
            limits_section(),
        ],
        _facts(runs, cohorts),
    )


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _facts(runs: Sequence[RunFacts], cohorts: Sequence[Cohort]) -> list[tuple[str, str]]:
    images = sum(len(cohort.images) for cohort in cohorts)
    classes = next((run.metrics["classes"] for run in runs if run.metrics), None)
    classes = classes or next((run.card["classes"] for run in runs if run.card), None)
    times = [
        str(entry["finished"])
        for run in runs
        for entry in run.record.get("stages", {}).values()
        if entry.get("status") == "done"
    ]
    made = next((run.record["versions"]["isnet"] for run in runs if "versions" in run.record), "")
    facts = [
        ("images", str(images) if images else ""),
        ("classes", ", ".join(classes or ())),
        ("runs", str(len(runs)) if len(runs) > 1 else ""),
        ("last stage finished", max(times)[:16].replace("T", " ") + " UTC" if times else ""),
        ("made by", f"isnet {made}" if made else ""),
        ("use", "research only"),
    ]
    return [(name, value) for name, value in facts if value]
