"""How much each run relies on the background, side by side."""

from __future__ import annotations

from isnet_cli.export.document import Block, Fold, Notice, Section, Table, Text
from isnet_cli.export.facts import figure_of, percent
from isnet_cli.export.sections.compare_text import (
    VARIANTS,
    Content,
    cells,
    heads,
    ranged,
    reasons,
    title,
)


def reliance_section(content: Content, stem: str) -> Section:
    """Behaviour on cut and pasted films first, then where the relevance lies."""
    found = [own["reliance"] for test in content["tests"] for own in test["runs"].values()]
    blocks: list[Block] = []
    if any(one["n"] for one in found):
        blocks += [
            Text(
                "The same films whole, cut, and pasted on the background of another film, of "
                "another class or of the same one. Above 0.5 with the lungs removed, a model reads "
                "the class off the background. Flips: share of films whose prediction changes on "
                "the background of another class. Gap: score on backgrounds of the same class "
                "minus that on backgrounds of another; 0 for a model that does not care."
            ),
            _variants(content),
            _behaviour(content),
            _intervals(content),
        ]
    else:
        why = reasons([(title(content, t), r["reliance"]["why"]) for t, _, r in _each(content)])
        blocks.append(Notice(" ".join(["No film was cut and pasted.", *why]), "empty"))
    if any(one["outside"]["n"] for one in found):
        blocks += [
            Text(
                "Share of each map's absolute relevance outside the lung mask. A low share alone "
                "proves nothing: read it beside the figures above."
            ),
            _outside(content),
        ]
    else:
        why = reasons(
            [(title(content, t), r["reliance"]["outside"]["why"]) for t, _, r in _each(content)]
        )
        blocks.append(Notice(" ".join(["No relevance was measured.", *why]), "empty"))
    sources = (f"{stem}.json", f"{stem}_reliance.csv")
    return Section("reliance", "Reliance on the background", blocks, sources)


def _each(content: Content) -> list[tuple[Content, str, Content]]:
    return [(test, run, own) for test in content["tests"] for run, own in test["runs"].items()]


def _variants(content: Content) -> Table:
    names = heads(content)
    rows = [
        (
            *cells(content, test), run, str(own["reliance"]["n"]),
            *(figure_of(own["reliance"]["auc"][name]["value"]) for name in VARIANTS),
        )
        for test, run, own in _each(content)
    ]  # fmt: skip
    groups = [("", len(names) + 2), ("macro AUC", len(VARIANTS))]
    columns = (*names, "run", "films", *VARIANTS.values())
    return Table(columns, rows, numbers_from=len(names) + 1, groups=groups, notes=_why(content))


def _why(content: Content) -> list[str]:
    return reasons(
        [
            (f"{title(content, test)}, {run}, {words}", own["reliance"]["auc"][name]["why"])
            for test, run, own in _each(content)
            for name, words in VARIANTS.items()
        ]
    )


def _intervals(content: Content) -> Fold:
    names = heads(content)
    rows = [
        (
            *cells(content, test), run,
            *(ranged(own["reliance"]["auc"][name]) for name in VARIANTS),
            ranged(own["reliance"]["gap_f1"], signed=True),
        )
        for test, run, own in _each(content)
    ]  # fmt: skip
    columns = (*names, "run", *VARIANTS.values(), "gap of macro F1")
    table = Table(columns, rows, numbers_from=len(names) + 1)
    return Fold("All variants with their intervals", table)


def _behaviour(content: Content) -> Table:
    rows, why = [], []
    for test, run, own in _each(content):
        found = own["reliance"]
        rows.append(
            (
                *cells(content, test), run, ranged(found["auc"]["lungs_removed"]),
                ranged(found["flips"]), ranged(found["gap_auc"], signed=True),
            )
        )  # fmt: skip
        where = f"{title(content, test)}, {run}"
        why += [(where, found[name]["why"]) for name in ("flips", "gap_auc")]
    names = heads(content)
    columns = (*names, "run", "AUC, lungs removed", "flips", "gap of macro AUC")
    caption = "The critical figures with their intervals"
    return Table(columns, rows, caption, numbers_from=len(names) + 1, notes=reasons(why))


def _outside(content: Content) -> Table:
    rows, why = [], []
    for test, run, own in _each(content):
        found = own["reliance"]["outside"]
        count = str(found["n"] or 0)
        rows.append(
            (*cells(content, test), run, count, percent(found["mean"]), percent(found["p95"]))
        )
        why.append((f"{title(content, test)}, {run}", found["why"]))
    names = heads(content)
    columns = (*names, "run", "films", "mean", "95th percentile")
    caption = "Relevance outside the lungs"
    return Table(columns, rows, caption, numbers_from=len(names) + 1, notes=reasons(why))
