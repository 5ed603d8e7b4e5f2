"""How much each run relies on the background, side by side."""

from __future__ import annotations

from isnet_cli.report.compare.text import (
    HEADS,
    VARIANTS,
    Content,
    difference,
    figure,
    reasons,
    title,
)
from isnet_cli.report.document import Block, Notice, Section, Table, Text
from isnet_cli.report.facts import percent


def reliance_section(content: Content, stem: str) -> Section:
    """Behaviour on cut and pasted images first, then where the relevance lies."""
    found = [own["reliance"] for test in content["tests"] for own in test["runs"].values()]
    blocks: list[Block] = []
    if any(one["n"] for one in found):
        blocks += [
            Text(
                "The same images whole, cut, and pasted on the background of another image, of "
                "another class or of the same one. Above 0.5 with the lungs removed, a model reads "
                "the class off the background. Flips: share of images whose prediction changes on "
                "the background of another class. Gap: score on backgrounds of the same class "
                "minus that on backgrounds of another; 0 for a model that does not care."
            ),
            _variants(content),
            _behaviour(content),
        ]
    else:
        why = reasons([(title(content, t), r["reliance"]["why"]) for t, _, r in _each(content)])
        blocks.append(Notice(" ".join(["No image was cut and pasted.", *why]), "empty"))
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
    rows, why = [], []
    for test, run, own in _each(content):
        found = own["reliance"]
        figures = [figure(found["auc"][name]) for name in VARIANTS]
        rows.append((title(content, test), run, str(found["n"]), *figures))
        where = f"{title(content, test)}, {run}"
        why += [(f"{where}, {words}", found["auc"][v]["why"]) for v, words in VARIANTS.items()]
    groups = [("", HEADS + 1), ("macro AUC", len(VARIANTS))]
    columns = ("test", "run", "images", *VARIANTS.values())
    return Table(columns, rows, numbers_from=HEADS, groups=groups, notes=reasons(why))


def _behaviour(content: Content) -> Table:
    rows, why = [], []
    for test, run, own in _each(content):
        found = own["reliance"]
        gaps = [difference(found[name]) for name in ("gap_f1", "gap_auc")]
        rows.append((title(content, test), run, figure(found["flips"]), *gaps))
        where = f"{title(content, test)}, {run}"
        why += [(where, found[name]["why"]) for name in ("flips", "gap_f1", "gap_auc")]
    columns = ("test", "run", "flips", "gap of macro F1", "gap of macro AUC")
    caption = "What exchanged backgrounds change"
    return Table(columns, rows, caption, numbers_from=HEADS, notes=reasons(why))


def _outside(content: Content) -> Table:
    rows, why = [], []
    for test, run, own in _each(content):
        found = own["reliance"]["outside"]
        count = str(found["n"] or 0)
        rows.append(
            (title(content, test), run, count, percent(found["mean"]), percent(found["p95"]))
        )
        why.append((f"{title(content, test)}, {run}", found["why"]))
    columns = ("test", "run", "images", "mean", "95th percentile")
    caption = "Relevance outside the lungs"
    return Table(columns, rows, caption, numbers_from=HEADS, notes=reasons(why))
