"""The page of a comparison: every figure on it is in the JSON file that lies beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from isnet_cli.report.blocks import Block, Notice, Report, Section, Table, Text
from isnet_cli.report.compare.sections import (
    HEADS,
    Content,
    build_reliance_section,
    build_scores_section,
    build_seeds_section,
    build_tests_section,
    list_run_names,
    name_test,
)
from isnet_cli.report.compare.subgroups import build_subgroup_sections
from isnet_cli.report.wording import format_percent, format_score

LIMITS = (
    "This is a research tool. It is no medical device, it is not validated for clinical use, and "
    "nothing here may guide the care of a patient.",
    "Tests and intervals are about the images named here. Other hospitals, devices, ages and "
    "diseases can order the runs in another way.",
    "A difference that is not significant is no proof that two runs are alike: look at its "
    "interval.",
    "A relevance map explains the classifier, not the disease, and a map that stays inside the "
    "lungs does not prove that the classifier is robust.",
    "Letters burned into an image are part of the picture: look at the pictures before you share "
    "this page.",
)


def build_compare_page(content: Content, maps: Section, stem: str) -> Report:
    """The whole page.

    Args:
        content: What the JSON file holds.
        maps: The section of maps.
        stem: Name of the files without its ending.
    """
    names = list_run_names(content)
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    first, *others = LIMITS
    return Report(
        "Comparison of " + (shown if len(names) > 2 else " and ".join(names)),
        "Chest X-ray classifiers on the same images: scores, paired tests, use of the background, "
        "and where each looks",
        [
            _build_about_section(content, stem),
            build_scores_section(content, stem),
            build_tests_section(content, stem),
            build_seeds_section(content, stem),
            *build_subgroup_sections(content, stem),
            build_reliance_section(content, stem),
            dataclasses.replace(maps, sources=(f"{stem}.json", *maps.sources)),
            _build_origins_section(content, stem),
            Section("limits", "Limits", [Notice(first, "warning"), *map(Text, others)]),
        ],
        _list_facts(content),
    )


def _list_facts(content: Content) -> list[tuple[str, str]]:
    sets = {test["set"]: test["images"] for test in content["tests"]}
    facts = [
        ("runs", str(len(content["runs"]))),
        ("test sets", ", ".join(f"{name} ({count} images)" for name, count in sets.items())),
        ("classes", ", ".join(content["classes"])),
        ("made by", f"isnet {content['isnet']}"),
        ("use", "research only"),
    ]
    return [(name, value) for name, value in facts if value]


def _build_about_section(content: Content, stem: str) -> Section:
    blocks: list[Block] = [
        Text(
            "All figures are on images that every run was evaluated on. Every figure of this page "
            f"is in {stem}.json, and as tables in the CSV files beside it."
        ),
        _tabulate_models(content),
        *_show_main_results(content),
        *_list_left_out(content),
        *(Text(note) for note in content["notes"]),
    ]
    return Section("about", "At a glance", blocks, (f"{stem}.json",))


def _tabulate_models(content: Content) -> Table:
    rows = [
        (
            run["name"], run["method"], run["arch"], " x ".join(map(str, run["input"])),
            "n/a" if run["seed"] is None else str(run["seed"]), run["settings"] or "none",
        )
        for run in content["runs"]
    ]  # fmt: skip
    columns = ("run", "method", "network", "input, px", "seed", "seed group")
    return Table(columns, rows, numbers_from=len(columns))


def _show_main_results(content: Content) -> list[Block]:
    rows: list[Sequence[str]] = []
    for test in content["tests"]:
        for run, own in test["runs"].items():
            found, cut = own["scores"], own["reliance"]
            figures = (
                found["macro_f1"], found["macro_auc"], cut["auc"]["lungs_removed"],
            )  # fmt: skip
            rows.append(
                (
                    name_test(content, test),
                    run,
                    *(format_score(cell["value"]) for cell in figures),
                    format_percent(cut["flips"]["value"]),
                    format_percent(cut["outside"]["mean"]),
                )
            )
    columns = (
        "test", "run", "macro F1", "macro AUC", "AUC without lungs", "flips", "relevance outside",
    )  # fmt: skip
    note = "Intervals and tests are in the sections below."
    return [Table(columns, rows, "Main results", numbers_from=HEADS, notes=[note])]


def _list_left_out(content: Content) -> list[Block]:
    return [
        Notice(f"Left out: {one['set']}, {one['version']} images: {one['why']}.", "warning")
        for one in content["left_out"]
    ]


def _build_origins_section(content: Content, stem: str) -> Section:
    rows = [
        (run["name"], run["images_of"], file, digest)
        for run in content["runs"]
        for file, digest in run["files"].items()
    ]
    table = Table(("run", "images of", "file", "SHA-256"), rows, numbers_from=4)
    words = "Files that the figures were read from, below the folder of their run."
    return Section("origins", "Origins", [Text(words), table], (f"{stem}.json",))
