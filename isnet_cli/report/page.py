"""The page: which sections, in which order, under which heading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isnet_cli.report.blocks import Report, Section
from isnet_cli.report.pictures import ReportPictures
from isnet_cli.report.results import Cohort, RunResults
from isnet_cli.report.sections.about import build_about_section, build_limits_section
from isnet_cli.report.sections.background import build_background_section
from isnet_cli.report.sections.calibration import build_calibration_section
from isnet_cli.report.sections.cohort import build_cohort_section, build_masks_section
from isnet_cli.report.sections.localisation import build_localisation_section
from isnet_cli.report.sections.map_check import build_map_check_section
from isnet_cli.report.sections.maps import build_images_section, build_maps_section
from isnet_cli.report.sections.scores import build_scores_section
from isnet_cli.report.sections.setup import build_configuration_section, build_versions_section
from isnet_cli.report.sections.shift import build_reliance_section, build_shift_section
from isnet_cli.report.sections.training import build_training_section
from isnet_cli.report.subgroups import build_subgroup_sections


def build_page(
    runs: Sequence[RunResults], cohorts: Sequence[Cohort], pictures: ReportPictures
) -> Report:
    """The whole report.

    Args:
        runs: At least one run, in the order of the columns.
        cohorts: Their images, each set of images once.
        pictures: Maps and masks to show.
    """
    areas = [area for cohort in cohorts if (area := cohort.outside_area) is not None]
    even = sum(areas) / len(areas) if areas else None
    masks, maps, images = _build_picture_sections(runs, cohorts, pictures)
    findings, check = build_localisation_section(runs), build_map_check_section(runs)
    return Report(
        "Report on " + _join_names([run.name for run in runs]),
        "Chest X-ray classification: cohort, lung masks, training, scores, and where the "
        "classifier looks",
        [
            build_about_section(runs),
            build_cohort_section(cohorts),
            masks,
            build_training_section(runs),
            build_scores_section(runs),
            *build_subgroup_sections(runs),
            build_calibration_section(runs),
            build_shift_section(runs),
            build_background_section(runs),
            build_reliance_section(runs, even),
            *([findings] if findings else []),
            maps,
            images,
            *([check] if check else []),
            build_configuration_section(runs),
            build_versions_section(runs),
            build_limits_section(),
        ],
        _list_facts(runs, cohorts),
    )


def replace_pictures(
    page: Report, runs: Sequence[RunResults], cohorts: Sequence[Cohort], pictures: ReportPictures
) -> Report:
    """The same page with other pictures of images; its figures are not made again."""
    other = {section.name: section for section in _build_picture_sections(runs, cohorts, pictures)}
    return replace(page, sections=[other.get(one.name, one) for one in page.sections])


def _build_picture_sections(
    runs: Sequence[RunResults], cohorts: Sequence[Cohort], pictures: ReportPictures
) -> tuple[Section, Section, Section]:
    chosen = any(one.picks for one in pictures.chosen)
    return (
        build_masks_section(cohorts, pictures.tiles),
        build_maps_section(runs, pictures.maps, pictures.note, chosen=chosen),
        build_images_section(runs, pictures.chosen),
    )


def _join_names(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _list_facts(runs: Sequence[RunResults], cohorts: Sequence[Cohort]) -> list[tuple[str, str]]:
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
