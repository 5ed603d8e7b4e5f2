"""Paired tests of all pairs of runs, with Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isnet_cli.report.cells import p_text
from isnet_cli.report.compare.text import (
    HEADS,
    SCORES,
    Content,
    counted,
    difference,
    reasons,
    title,
)
from isnet_cli.report.document import Block, Fold, Notice, Section, Table, Text

SHOWN = ("macro_f1", "macro_auc")  # the others are folded
LONG = 40  # lines of a table that is shown unasked


def tests_section(content: Content, stem: str) -> Section:
    """Differences of all pairs on all tests, one table a score."""
    found = content["comparisons"]
    sources = (f"{stem}.json", f"{stem}_tests.csv")
    if not found["pairs"]:
        words = "No test has labels, so there is nothing to compare but where the models look."
        return Section("tests", "Paired tests", [Notice(words, "empty")])
    size, alpha = found["family_size"], found["alpha"]
    blocks: list[Block] = [
        Text(
            "Each line is the second run minus the first on the very same images. Areas: DeLong's "
            f"paired test. All other scores: {found['draws']} bootstrap draws of patients, the "
            "same for both runs. p is two-sided and of that line alone."
        ),
        Text(
            f"p (Holm) is corrected for the {counted(size, 'comparison')} of its score. The "
            f"family: {found['family']}. The chance of any false difference in one score's family "
            f"is held at {100 * alpha:g} %; the scores are not corrected for each other, so choose "
            "the score that decides before looking."
        ),
        Text(_summary(content)),
        *(_block(content, name) for name in SCORES),
        Notice(
            "A test of two runs is about these two trained models. Whether one method is better "
            "than another needs several trainings of each (see Several seeds).",
            "info",
        ),
    ]
    return Section("tests", "Paired tests", blocks, sources)


def _summary(content: Content) -> str:
    found = content["comparisons"]
    parts = []
    for name in SHOWN:
        values = [pair["differences"][name]["p_holm"] for pair in found["pairs"]]
        count = sum(p is not None and p <= found["alpha"] for p in values)
        parts.append(f"{count} of {len(values)} in {SCORES[name]}")
    return f"Significant at {100 * found['alpha']:g} % after the correction: {', '.join(parts)}."


def _block(content: Content, name: str) -> Block:
    table = _table(content, name)
    if name in SHOWN and len(table.rows) <= LONG:
        return replace(table, caption=f"Differences of {SCORES[name]}")
    return Fold(f"Differences of {SCORES[name]}", table)


def _table(content: Content, name: str) -> Table:
    rows: list[Sequence[str]] = []
    why = []
    for pair in content["comparisons"]["pairs"]:
        cell = pair["differences"][name]
        p = cell["p_holm"]
        verdict = "no" if p is None or p > content["comparisons"]["alpha"] else "yes"
        names = f"{pair['second']} \N{MINUS SIGN} {pair['first']}"
        figures = (difference(cell), p_text(cell), p_text({"p": p}), verdict)
        rows.append((title(content, pair), names, *figures))
        where = f"{title(content, pair)}, {pair['first']} and {pair['second']}"
        why.append((where, cell.get("why")))
    columns = ("test", "runs", "difference", "p", "p (Holm)", "significant")
    return Table(columns, rows, numbers_from=HEADS, notes=reasons(why))
