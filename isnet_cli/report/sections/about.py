"""First and last sections: what the report is, what was found at a glance, what it cannot say."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.report.cells import Shown, notes_on, ranged
from isnet_cli.report.document import Block, Notice, Section, Table, Text
from isnet_cli.report.facts import (
    METRICS,
    VERSIONS,
    RunFacts,
    all_tests,
    cells_of_tests,
    heads_of_tests,
    names_of_tests,
    percent,
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


def about_section(runs: Sequence[RunFacts]) -> Section:
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
        _models(runs),
        *_glance(runs),
    ]
    return Section("about", "What this is", blocks, ("isnet.yaml", "evaluate/metrics.json"))


def limits_section() -> Section:
    """What must not be concluded."""
    first, *others = LIMITS
    return Section("limits", "Limits", [Notice(first, "warning"), *map(Text, others)])


def _models(runs: Sequence[RunFacts]) -> Table:
    rows = []
    for run in runs:
        model = run.model
        size = " x ".join(map(str, model["input"] or "?"))
        names = (str(model["method"]), str(model["arch"]), size, _bias(run), str(model["seed"]))
        rows.append((run.name, *names))
    methods = sorted({row[1] for row in rows} & set(_METHODS))
    columns = ("run", "method", "network", "input, px", "synthetic bias", "seed")
    notes = [_METHODS[name] for name in methods]
    return Table(columns, rows, numbers_from=len(columns), notes=notes)


def _bias(run: RunFacts) -> str:
    bias = run.config.get("bias", {})
    if bias.get("kind", "none") == "none":
        return "none"
    return (
        f"{bias['kind']} in training and test" if bias.get("train") else f"{bias['kind']} in test"
    )


def _glance(runs: Sequence[RunFacts]) -> list[Block]:
    tests = all_tests(runs)
    if not tests:
        return [Notice("No run has been evaluated yet.", "empty")]
    heads, names = heads_of_tests(tests), [run.name for run in runs]
    rows = [
        (
            *cells,
            *(_macro(run, test, "f1") for run in runs),
            *(_macro(run, test, "auc") for run in runs),
            *(percent(run.outside(test)) for run in runs),
        )
        for test, cells in zip(tests, cells_of_tests(tests), strict=True)
    ]
    figures = ("macro-F1", "macro AUC", "relevance outside lungs")
    table = Table(
        (*heads, *(names if len(runs) > 1 else [""]) * len(figures)),
        rows,
        "Main results",
        numbers_from=len(heads),
        groups=[("", len(heads)), *((words, len(runs)) for words in figures)],
        notes=notes_on(
            Shown(f"{name}, {run.name}", f"macro-{rate.upper()}", run.cell(test, "macro", rate))
            for test, name in zip(tests, names_of_tests(tests), strict=True)
            for run in runs
            for rate in ("f1", "auc")
        ),
        sources=[f"{METRICS}: sets"],
    )
    sentences = [s for s in (_shift_sentence(run, tests) for run in runs) if s]
    return [table, *(Text(s) for s in sentences)]


def _macro(run: RunFacts, test: tuple[str, str], rate: str) -> str:
    return ranged(run.macro(test, rate), run.cell(test, "macro", rate))


def _shift_sentence(run: RunFacts, tests: Sequence[tuple[str, str]]) -> str:
    for name in dict.fromkeys(name for name, _ in tests):
        values = [run.macro((name, version), "f1") for version in VERSIONS]
        known = [v for v in values if v is not None]
        if len(known) == len(VERSIONS):
            biased, standard, deceiving = known
            return (
                f"{run.name}, set {name}: macro-F1 is {biased:.3f} with the marks of training, "
                f"{standard:.3f} without marks and {deceiving:.3f} with deceiving marks; the "
                f"largest difference is {max(known) - min(known):.3f}."
            )
    return ""
