"""First and last sections: what the report is, what was found at a glance, what it cannot say."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.report.blocks import Block, Notice, Section, Table, Text
from isnet_cli.report.results import RunResults
from isnet_cli.report.wording import (
    METRICS_FILE,
    VERSIONS,
    ShownScore,
    explain_intervals,
    format_interval,
    format_percent,
    iterate_rows,
    list_heads,
    list_tests,
)

_METHODS = {
    "isnet": "isnet: relevance outside the lungs is penalised during training",
    "standard": "standard: classification loss alone",
}
LIMITS = (
    "This is a research tool. It is no medical device, it is not validated for clinical use, and "
    "nothing here may guide the care of a patient.",
    "A relevance map explains the classifier, not the disease. A map that stays inside the lungs "
    "does not prove by itself that the classifier is right or robust: read it beside the scores "
    "on changed backgrounds and on images from other hospitals.",
    "An interval says how much a score depends on which images were tested, not on chance "
    "in training (train with several seeds for that), and not on what other hospitals, devices, "
    "ages and diseases would give.",
    "Lung masks from a network can be wrong, above all on children, on lateral images, after "
    "surgery and with large opacities. The contact sheet shows them for checking.",
    "Names and dates in file headers are not written to any output. Letters burned into the image "
    "itself are part of the picture: look at the pictures before you share this page.",
)


def build_about_section(runs: Sequence[RunResults]) -> Section:
    """What was trained, how, and the main result in one table."""
    count = "one run" if len(runs) == 1 else f"{len(runs)} runs side by side"
    blocks: list[Block] = [
        Text(
            f"This page shows {count} of isnet, a toolkit that trains chest X-ray classifiers to "
            "use the lungs and not the background. The ISNet method adds a loss on the "
            "classifier's own relevance maps (layer-wise relevance propagation): relevance "
            "outside the lungs is penalised while the classifier learns. At test time no mask "
            "is needed. Each section names the files it was made from."
        ),
        _tabulate_models(runs),
        *_show_main_results(runs),
    ]
    return Section("about", "What this is", blocks, ("isnet.yaml", "evaluate/metrics.json"))


def build_limits_section() -> Section:
    """What must not be concluded."""
    first, *others = LIMITS
    return Section("limits", "Limits", [Notice(first, "warning"), *map(Text, others)])


def _tabulate_models(runs: Sequence[RunResults]) -> Table:
    rows = []
    for run in runs:
        model = run.model
        size = " x ".join(map(str, model["input"] or "?"))
        names = (
            str(model["method"]),
            str(model["arch"]),
            size,
            _describe_bias(run),
            str(model["seed"]),
        )
        rows.append((run.name, *names))
    methods = sorted({row[1] for row in rows} & set(_METHODS))
    columns = ("run", "method", "network", "input, px", "synthetic bias", "seed")
    notes = [_METHODS[name] for name in methods]
    return Table(columns, rows, numbers_from=len(columns), notes=notes)


def _describe_bias(run: RunResults) -> str:
    bias = run.settings.get("bias", {})
    if bias.get("kind", "none") == "none":
        return "none"
    return (
        f"{bias['kind']} in training and test" if bias.get("train") else f"{bias['kind']} in test"
    )


def _show_main_results(runs: Sequence[RunResults]) -> list[Block]:
    tests = list_tests(runs)
    if not tests:
        return [Notice("No run has been evaluated yet.", "empty")]
    heads = list_heads(runs, tests)
    rows = [
        (
            *cells,
            _format_macro(run, test, "f1"),
            _format_macro(run, test, "auc"),
            format_percent(run.outside(test)),
        )
        for test, run, _, cells in iterate_rows(runs, tests)
        if run.scores(test)
    ]
    table = Table(
        (*heads, "macro F1", "macro AUC", "relevance outside the lungs"),
        rows,
        "Main results",
        numbers_from=len(heads),
        notes=explain_intervals(
            ShownScore(where, f"macro {rate.upper()}", run.cell(test, "macro", rate))
            for test, run, where, _ in iterate_rows(runs, tests)
            for rate in ("f1", "auc")
        ),
        sources=[f"{METRICS_FILE}: sets"],
    )
    sentences = [s for s in (_describe_shift(run, tests) for run in runs) if s]
    return [table, *(Text(s) for s in sentences)]


def _format_macro(run: RunResults, test: tuple[str, str], rate: str) -> str:
    return format_interval(run.macro(test, rate), run.cell(test, "macro", rate))


def _describe_shift(run: RunResults, tests: Sequence[tuple[str, str]]) -> str:
    for name in dict.fromkeys(name for name, _ in tests):
        values = [run.macro((name, version), "f1") for version in VERSIONS]
        known = [v for v in values if v is not None]
        if len(known) == len(VERSIONS):
            biased, standard, deceiving = known
            return (
                f"{run.name}, set {name}: macro F1 is {biased:.3f} with the marks seen in "
                f"training, {standard:.3f} without marks and {deceiving:.3f} with deceiving marks; "
                f"the largest difference is {max(known) - min(known):.3f}."
            )
    return ""
