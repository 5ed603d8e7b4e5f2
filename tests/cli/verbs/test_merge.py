"""Shards of stages, put together, are what one command makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.files import read_csv
from tests.cli.factory import isnet
from tests.ingest.factory import two_classes

STAGES = ("ingest", "masks")


def test_shards_give_the_tables_of_one_command(tmp_path: Path) -> None:
    images = two_classes(tmp_path / "input") / "xrays"
    options = ("--set", "masks.model=none", "-j", "0")
    assert isnet("masks", images, *options, "-o", tmp_path / "one").code == 7  # there are no masks
    run = tmp_path / "run"
    for stage in STAGES:
        source = images if stage == "ingest" else run
        for shard in ("1/3", "3/3"):
            done = isnet(stage, source, *options, "-o", run, "--shard", shard, "--json")
            assert done.document["status"] == "share", done.err
        early = isnet("merge", run)
        assert (early.code, f"shard 2/3 of stage '{stage}'" in early.err) == (4, True)
        assert isnet(stage, source, *options, "-o", run, "--shard", "2/3").code == 0
        assert isnet("merge", run).code in (0, 7)
    ours, theirs = (read_rows(root / "ingest/manifest.csv") for root in (run, tmp_path / "one"))
    assert ours == theirs
    assert (run / "masks/qc.csv").read_text() == (tmp_path / "one/masks/qc.csv").read_text()
    assert not list(run.rglob(".unfinished-*"))
    assert not list(run.glob(".lock-*"))
    assert isnet("merge", run).code == 2


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a manifest without the pseudonyms, which each run salts anew."""
    return [{**row, "patient": ""} for row in read_csv(path)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["masks", "X", "--shard", "5/4", "-o", "Y"], "expected I/N"),
        (["masks", "X", "--shard", "1/4"], "without a run folder"),
        (["masks", "X", "--shard", "1/4", "-o", "Y", "--restart"], "other shards may be at work"),
        (["merge", "X"], "expected the folder of a trained run"),
    ],
)
def test_what_cannot_be_shared_is_refused(tmp_path: Path, words: list[str], found: str) -> None:
    (tmp_path / "X").mkdir()
    done = isnet(*[tmp_path / w if w in ("X", "Y") else w for w in words])
    assert done.code == (5 if words[0] == "merge" else 2)
    assert found in done.err
