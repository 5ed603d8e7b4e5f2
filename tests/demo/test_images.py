"""The demonstration's films are drawn once, completed after a stop, and never mixed with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.files import read_csv
from isnet_cli.core.run_context import Ports
from isnet_cli.demo.images import describe, lungs_path, make_films
from isnet_cli.errors import IsnetError
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.read import read_films
from isnet_cli.phantoms.collection import plan_films

PLANS = plan_films(4, 2, 0, 96)


def stamps(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_films_lungs_and_labels_belong_together(tmp_path: Path) -> None:
    make_films(tmp_path, PLANS, Ports())
    rows = read_csv(tmp_path / "labels.csv")
    assert [row["file"] for row in rows] == [plan.file for plan in PLANS]
    for plan in PLANS:
        (film,) = read_films(tmp_path / "films" / plan.file)
        assert load_mask(lungs_path(tmp_path, plan.key)).shape == film.pixels.shape
    assert not list(tmp_path.rglob(".*"))


def test_a_second_call_writes_nothing_but_the_missing(tmp_path: Path) -> None:
    make_films(tmp_path, PLANS, Ports())
    before = stamps(tmp_path)
    make_films(tmp_path, PLANS, Ports())
    kept = {name for name, time in stamps(tmp_path).items() if before[name] == time}
    assert {name for name in before if not name.endswith("films.json")} <= kept
    lost = tmp_path / "films" / PLANS[1].file
    content = lost.read_bytes()
    lost.unlink()
    make_films(tmp_path, PLANS, Ports())
    assert lost.read_bytes() == content


def test_films_of_another_plan_are_refused(tmp_path: Path) -> None:
    make_films(tmp_path, PLANS, Ports())
    with pytest.raises(IsnetError, match="another demonstration") as caught:
        make_films(tmp_path, plan_films(4, 2, 1, 96), Ports())
    assert caught.value.kind == "data"


def test_own_films_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "mine.png").write_bytes(b"precious")
    with pytest.raises(IsnetError, match="of your own"):
        make_films(tmp_path, PLANS, Ports())
    assert [p.name for p in tmp_path.rglob("*")] == ["films", "mine.png"]


def test_a_stop_is_obeyed_and_the_next_call_continues(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_films(tmp_path, PLANS, Ports(stop_requested=lambda: True))
    assert not (tmp_path / "labels.csv").exists()
    make_films(tmp_path, PLANS, Ports())
    assert all((tmp_path / "films" / plan.file).is_file() for plan in PLANS)
    assert (tmp_path / "labels.csv").is_file()


def test_description_counts() -> None:
    facts = describe(PLANS)
    assert facts["films"] == len(PLANS)
    assert facts["patients"] == 6
    assert facts["hospital_b"] == 2
    assert sum(facts["kinds"].values()) == len(PLANS)
