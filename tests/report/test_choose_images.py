"""Images that stand out: the choice, transcribed slowly from the tables; what has no map."""

import json
from pathlib import Path

import pytest

from isnet_cli.core.files import read_csv, write_csv
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.choose_images import (
    KINDS,
    MappedImage,
    choose_images,
    limit_images,
    measure_sureness,
    pick_images,
)
from isnet_cli.report.pictures import ChosenImages, MapPicture, Pick, ReportPictures
from isnet_cli.report.results import read_run
from tests.report.factory import make_report_run
from tests.report.sections.factory import relevance_map

CLASSES = ("tb", "old")


def keys(images: list[MappedImage]) -> list[str]:
    return [image.key for image in images]


def test_most_and_least_share_no_image() -> None:
    images = [MappedImage(str(i), i / 10, None, 0.5) for i in range(5)] + [
        MappedImage("x", None, True, 0.9)
    ]
    assert keys(pick_images(images, "most")) == ["4", "3", "2"]
    assert keys(pick_images(images, "least")) == ["0", "1"]


def test_wrong_and_right_are_the_surest_and_ties_go_by_name() -> None:
    images = [MappedImage("b", 0.1, False, 0.7), MappedImage("a", 0.1, False, 0.7),
              MappedImage("c", 0.1, False, 0.9), MappedImage("d", 0.1, True, 0.8),
              MappedImage("e", 0.1, None, 1.0)]  # fmt: skip
    assert keys(pick_images(images, "wrong")) == ["c", "a", "b"]
    assert keys(pick_images(images, "right")) == ["d"]


def test_sureness_of_one_class() -> None:
    line = {"label": "old", "predicted": "tb", "p_tb": "0.8", "p_old": "0.2"}
    assert measure_sureness(line, CLASSES, "multiclass") == (False, 0.8)
    assert measure_sureness(line | {"label": "tb"}, CLASSES, "multiclass") == (True, 0.8)
    assert measure_sureness(line | {"label": ""}, CLASSES, "multiclass") == (None, 0.8)


def test_sureness_of_several_labels() -> None:
    line = {"predicted": "tb", "p_tb": "0.875", "p_old": "0.25", "label": "tb=1;old=0"}
    assert measure_sureness(line, CLASSES, "multilabel") == (True, 0.75)
    assert measure_sureness(line | {"label": "tb=0;old=1"}, CLASSES, "multilabel") == (False, 0.875)
    assert measure_sureness(line | {"label": "tb=?;old=1"}, CLASSES, "multilabel") == (False, 0.75)
    assert measure_sureness(line | {"label": ""}, CLASSES, "multilabel") == (None, 0.75)


def chosen(folder: RunFolder) -> ChosenImages:
    return choose_images([read_run(folder, "one")], [folder])[0]


def spread_shares(folder: RunFolder) -> None:
    """Gives the images' maps shares that differ."""
    path = folder.stage_dir("heatmap") / "index.csv"
    rows = read_csv(path)
    for i, row in enumerate(rows):
        row["outside_share"] = f"{(i * 7 % 13) / 13:.6f}"
    write_csv(path, list(rows[0]), rows)
    record_again(folder)


def record_again(folder: RunFolder) -> None:
    """Records the heat maps with the table as it is now."""
    path = folder.stage_dir("heatmap") / "index.csv"
    folder.finish("heatmap", "again", [path], {})


def test_lists_are_those_of_the_tables(tmp_path: Path) -> None:
    skill = {"standard": 0.0}
    sets = {"train": 2, "val": 2, "test": 8}
    folder = make_report_run(tmp_path / "run", biased=False, full=True, skill=skill, sets=sets)
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
    sets = {"train": 2, "val": 2, "test": 8}
    folder = make_report_run(tmp_path / "run", biased=False, config=config, sets=sets)
    path = folder.stage_dir("heatmap") / "index.csv"
    rows = [row for row in read_csv(path) if row["set"] == "test"][:7]
    rows[0] |= {"png": "", "npz": "", "error": "the map holds NaN or infinity"}
    rows[1] |= {"outside_share": "", "error": "lung mask is suspect"}
    write_csv(path, list(rows[0]), rows)
    record_again(folder)
    (cover,) = chosen(folder).coverage
    assert (cover.tested, cover.mapped, cover.limit) == (8, 6, 7)
    assert dict(cover.errors) == {
        "the map holds NaN or infinity": 1,
        "lung mask is suspect": 1,
    }


def test_runs_without_maps_or_scores_choose_nothing(tmp_path: Path) -> None:
    scored = ("ingest", "masks", "train", "evaluate")
    without = make_report_run(tmp_path / "a", stages=scored, biased=False)
    assert chosen(without).picks == []
    maps_only = make_report_run(tmp_path / "b", stages=("ingest", "masks", "heatmap"), biased=False)
    assert chosen(maps_only).picks == []


def test_a_lost_table_is_named(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", biased=False, full=True)
    run = read_run(folder, "one")
    (folder.stage_dir("evaluate") / "test" / "standard" / "background.csv").unlink()
    with pytest.raises(IsnetError, match=r"background\.csv: missing or damaged"):
        choose_images([run], [folder])


def test_many_sets_have_fewer_images_each(tmp_path: Path) -> None:
    sets = {"train": 2, **{f"set{i}": 4 for i in range(4)}}
    folder = make_report_run(tmp_path / "run", sets=sets, formats=("npz",))  # 12 tests, 48 lists
    run = chosen(folder)
    assert {len(p.maps) for p in run.picks} <= {1, 2}
    assert len(json.dumps([item.picture.uri for p in run.picks for item in p.maps])) < 4e6


def test_a_limit_keeps_lists_even() -> None:
    maps: list[MapPicture] = [relevance_map(f"f{i}") for i in range(8)]
    tiles = [item.picture for item in maps]
    whole = ReportPictures(
        [maps], [ChosenImages([Pick("Set test", "most", maps, 8)])], [tiles], "note"
    )
    two, none = limit_images(whole, 2, 3), limit_images(whole, 0, 0)
    assert [item.key for item in two.maps[0]] == ["f2", "f6"]
    assert [item.key for item in two.chosen[0].picks[0].maps] == ["f0", "f1"]
    assert (two.tiles, two.note) == ([tiles[:3]], "note")
    assert none.chosen[0].picks == none.maps[0] == none.tiles[0] == []
    assert limit_images(whole, 99, 99).maps == [maps]
