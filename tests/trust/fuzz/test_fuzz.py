"""Damaged files of every format: read, skipped with a reason, or refused; nothing else."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trust.figures import Figures
from tests.trust.fuzz.campaign import (
    Campaign,
    Result,
    group_results,
    list_cases,
    make_mutant,
    name_format,
    run_campaign,
)
from tests.trust.fuzz.sources import Source, make_home, make_sources

SEED = int(os.environ.get("ISNET_TRUST_SEED", "0"))
WHOLE = int(os.environ.get("ISNET_TRUST_MUTANTS", "100000"))
PROCESSES = int(os.environ.get("ISNET_TRUST_PROCESSES", "2"))
PAST = Path(__file__).with_name("past_faults.csv")  # mutants that were not accounted for once
KINDS = ("same", "far, noted", "far, silent", "accepted", "skipped", "refused", "fault")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    home = tmp_path_factory.mktemp("home")
    make_home(home)
    return list(make_sources(home).values())


def describe(faults: Sequence[Result]) -> str:
    """Faults by kind, with one mutant of each to replay."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in faults:
        words = (
            result.detail
            if result.kind == "fault"
            else (f"{result.seconds:.1f} s, {result.growth >> 20} MB")
        )
        found.setdefault((name_format(result.source), words), []).append(result)
    return "\n".join(
        f"{len(some)} x {name}: {words}; python -m tests.trust.fuzz.campaign"
        f" '{some[0].source}' {some[0].seed}"
        for (name, words), some in sorted(found.items(), key=lambda item: -len(item[1]))
    )


def read_past() -> list[tuple[str, int]]:
    with PAST.open(newline="", encoding="utf-8") as file:
        return [(row["source"], int(row["seed"])) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_some_mutants_and_all_that_were_faults_once(sources: list[Source], tmp_path: Path) -> None:
    cases = [*read_past(), *list_cases(sources, 1200, SEED)]
    campaign = run_campaign(cases, tmp_path)
    assert len(campaign.results) == len(cases)
    assert describe(campaign.faults) == ""
    kinds = {result.kind for result in campaign.results}
    assert {"same", "far, noted", "skipped", "refused", "accepted"} <= kinds


@pytest.mark.slow
def test_a_mutant_follows_from_its_seed(sources: list[Source]) -> None:
    for source in sources:
        if source.reader == "record":
            continue  # its content has times
        mutants = {make_mutant(source, seed)[0] for seed in range(6)}
        assert len(mutants) >= 3, source.name
        assert make_mutant(source, 3) == make_mutant(source, 3)


@pytest.mark.trust
@pytest.mark.timeout(6 * 3600)
def test_many_mutants(sources: list[Source], tmp_path: Path, figures: Figures) -> None:
    cases = list(list_cases(sources, WHOLE, SEED))
    campaign = run_campaign(cases, tmp_path, PROCESSES)
    _show(campaign, figures)
    assert len(campaign.results) == len(cases)
    assert describe(campaign.faults) == ""


def _show(campaign: Campaign, figures: Figures) -> None:
    results = campaign.results
    rows = [
        (name, sum(counts.values()), *(counts[kind] for kind in KINDS))
        for name, counts in sorted(group_results(results).items())
    ]
    figures.table("mutants", ("format", "mutants", *KINDS), rows)
    slowest = max(results, key=lambda r: r.seconds)
    heaviest = max(results, key=lambda r: r.growth)
    figures.say(
        f"{len(results)} mutants in {campaign.seconds / 60:.1f} minutes, seed {SEED}:"
        f" {campaign.deaths} deaths, {campaign.hangs} hangs, {len(campaign.faults)} faults;"
        f" slowest {slowest.seconds:.1f} s ({slowest.source}),"
        f" most memory {heaviest.growth / 1e6:.0f} MB ({heaviest.source})"
    )
    far = [r for r in results if r.kind in ("far, noted", "far, silent")]
    accepted = len(far) + sum(r.kind == "same" for r in results)
    silent = [r for r in far if r.kind == "far, silent"]
    figures.say(
        f"accepted pictures {accepted}, of which {len(far)} far from the sound file,"
        f" {len(silent)} ({100 * len(silent) / max(1, accepted):.1f} %) without a note"
    )
    causes = Counter((name_format(r.source), r.source, _shorten(r.damage)) for r in silent)
    figures.table(
        "far without a note, by file and damage",
        ("format", "file", "damage", "mutants"),
        [(*cause, count) for cause, count in causes.most_common(40)],
    )
    figures.lines += ["```", describe(campaign.faults) or "no faults", "```", ""]


def _shorten(damage: str) -> str:
    return " ".join(damage.split()[:2])
