"""Images that stand out: the choice, transcribed slowly from the tables; what has no map."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from isnet_cli.core.files import read_csv, write_csv
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.choose_images import KINDS, XRay, add_images, limited, pick, sureness
from isnet_cli.report.facts import MapFacts, Pick, RunFacts
from isnet_cli.report.read_run import read_run
from tests.report.factory import make_report_run
from tests.report.sections.factory import relevance_map

CLASSES = ("tb", "old")


def keys(images: list[XRay]) -> list[str]:
    return [image.key for image in images]


def test_most_and_least_share_no_image() -> None:
    images = [XRay(str(i), i / 10, None, 0.5) for i in range(5)] + [XRay("x", None, True, 0.9)]
    assert keys(pick(images, "most")) == ["4", "3", "2"]
    assert keys(pick(images, "least")) == ["0", "1"]


def test_wrong_and_right_are_the_surest_and_ties_go_by_name() -> None:
    images = [XRay("b", 0.1, False, 0.7), XRay("a", 0.1, False, 0.7), XRay("c", 0.1, False, 0.9),
             XRay("d", 0.1, True, 0.8), XRay("e", 0.1, None, 1.0)]  # fmt: skip
    assert keys(pick(images, "wrong")) == ["c", "a", "b"]
    assert keys(pick(images, "right")) == ["d"]


def test_sureness_of_one_class() -> None:
    line = {"label": "old", "predicted": "tb", "p_tb": "0.8", "p_old": "0.2"}
    assert sureness(line, CLASSES, "multiclass") == (False, 0.8)
    assert sureness(line | {"label": "tb"}, CLASSES, "multiclass") == (True, 0.8)
    assert sureness(line | {"label": ""}, CLASSES, "multiclass") == (None, 0.8)


def test_sureness_of_several_labels() -> None:
    line = {"predicted": "tb", "p_tb": "0.875", "p_old": "0.25", "label": "tb=1;old=0"}
    assert sureness(line, CLASSES, "multilabel") == (True, 0.75)
    assert sureness(line | {"label": "tb=0;old=1"}, CLASSES, "multilabel") == (False, 0.875)
    assert sureness(line | {"label": "tb=?;old=1"}, CLASSES, "multilabel") == (False, 0.75)
    assert sureness(line | {"label": ""}, CLASSES, "multilabel") == (None, 0.75)


def chosen(folder: RunFolder) -> RunFacts:
    return add_images([read_run(folder, "one")], [folder])[0]


def spread_shares(folder: RunFolder) -> None:
    """Gives the images' maps shares that differ."""
    path = folder.stage_dir("heatmap") / "index.csv"
    rows = read_csv(path)
    for i, row in enumerate(rows):
        row["outside_share"] = f"{(i * 7 % 13) / 13:.6f}"
    write_csv(path, list(rows[0]), rows)


def test_lists_are_those_of_the_tables(tmp_path: Path) -> None:
    skill = {"standard": 0.0}
    folder = make_report_run(tmp_path / "run", biased=False, full=True, skill=skill)
    spread_shares(folder)
    run = chosen(folder)
    assert [p.kind for p in run.picks if p.group == "Set test"] == list(KINDS)
    index = [r for r in read_csv(folder.stage_dir("heatmap") / "index.csv") if r["set"] == "test"]
    table = folder.stage_dir("evaluate") / "test" / "standard"
    lines = {row["key"]: row for row in read_csv(table / "predictions.csv")}
    shares = sorted(index, key=lambda row: float(row["outside_share"]))
    names = [row["key"] for row in shares]
    found = {p.kind: [item.key for item in p.maps] for p in run.picks if p.group == "Set test"}
    assert found["least"] == names[:4]
    assert found["most"] == names[4:][::-1]
    for kind in ("right", "wrong"):
        own = [k for k, r in lines.items() if (r["label"] == r["predicted"]) == (kind == "right")]
        own.sort(key=lambda k: -max(float(lines[k][f"p_{c}"]) for c in ("normal", "tb")))
        assert found[kind] == own[:6]
    swapped = {r["key"]: r for r in read_csv(table / "background.csv")
               if r["variant"] == "other_class"}  # fmt: skip
    for item in (item for p in run.picks if p.group == "Set test" for item in p.maps):
        row = swapped[item.key]
        flips = row["flipped"] == "1"
        assert item.note == (f"flips to {row['predicted']}" if flips else "does not flip")


def test_images_without_map_or_share_are_counted_by_reason(tmp_path: Path) -> None:
    config = {"heatmap": {"limit": 7}}
    folder = make_report_run(tmp_path / "run", biased=False, config=config)
    path = folder.stage_dir("heatmap") / "index.csv"
    rows = [row for row in read_csv(path) if row["set"] == "test"][:7]
    rows[0] |= {"png": "", "npz": "", "error": "the map holds NaN or infinity"}
    rows[1] |= {"outside_share": "", "error": "lung mask is suspect"}
    write_csv(path, list(rows[0]), rows)
    (cover,) = chosen(folder).covers
    assert (cover.tested, cover.mapped, cover.limit) == (8, 6, 7)
    assert dict(cover.errors) == {
        "the map holds NaN or infinity": 1,
        "lung mask is suspect": 1,
    }


def test_runs_without_maps_or_scores_choose_nothing(tmp_path: Path) -> None:
    without = make_report_run(tmp_path / "a", stages=("ingest", "masks", "train", "evaluate"))
    assert chosen(without).picks == []
    maps_only = make_report_run(tmp_path / "b", stages=("ingest", "masks", "heatmap"))
    assert chosen(maps_only).picks == []


def test_a_lost_table_is_named(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", biased=False, full=True)
    run = read_run(folder, "one")
    (folder.stage_dir("evaluate") / "test" / "standard" / "background.csv").unlink()
    with pytest.raises(IsnetError, match=r"background\.csv: missing or damaged"):
        add_images([run], [folder])


def test_many_sets_have_fewer_images_each(tmp_path: Path) -> None:
    sets = {"train": 4, **{f"set{i}": 8 for i in range(4)}}
    folder = make_report_run(tmp_path / "run", sets=sets)  # 12 tests, 48 lists
    run = chosen(folder)
    assert {len(p.maps) for p in run.picks} <= {1, 2}
    assert len(json.dumps([item.picture.uri for p in run.picks for item in p.maps])) < 4e6


def test_a_limit_keeps_lists_even() -> None:
    maps: list[MapFacts] = [relevance_map(f"f{i}") for i in range(8)]
    run = RunFacts("r", maps=maps, picks=[Pick("Set test", "most", maps, 8)])
    assert [item.key for item in limited(run, 2).maps] == ["f2", "f6"]
    assert [item.key for item in limited(run, 2).picks[0].maps] == ["f0", "f1"]
    assert limited(run, 0).picks == limited(run, 0).maps == []
    assert limited(replace(run, picks=[]), 99).maps == maps
