"""The maps of one image as files and as lines of the index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.heatmap import stage as heatmap
from isnet_cli.heatmap import writer as mapsheet
from isnet_cli.heatmap.writer import (
    COLUMNS,
    NO_LABEL,
    SHEET,
    Explained,
    MapWriter,
    has_map,
    list_sheets,
    reliance_first,
)
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import open_predictor
from isnet_cli.stats.reliance import NO_MASK, NOT_FINITE
from tests.evaluate.factory import SIDE, make_trained
from tests.support.runs import small_config

BIASED = {"bias": {"kind": "shapes"}}


def explained(*targets: int, mask: bool = True) -> Explained:
    rng = np.random.default_rng(0)
    lungs = np.zeros((SIDE, SIDE), bool)
    lungs[8:24, 8:24] = mask
    maps = {k: rng.normal(size=(1, SIDE, SIDE)).astype(np.float32) for k in targets}
    return Explained(np.array([1.0, 2.0]), np.array([0.3, 0.7]), maps, lungs)


def written(
    path: Path, found: Explained, version: Any = "standard", **sections: Any
) -> tuple[list[dict[str, str]], list[Path]]:
    folder = make_trained(path / "run", sets={"test": 2})
    predictor = open_predictor(small_config(**sections), None, folder)
    rows = read_manifest(folder.path / "ingest" / "manifest.csv")
    writer = MapWriter(predictor, path / "out", "my set", version, "my_set~1")
    return writer.write(predictor.load(rows), 1, found)


def test_a_line_and_two_files_for_each_class(tmp_path: Path) -> None:
    lines, paths = written(tmp_path, explained(0, 1))
    assert [line["target"] for line in lines] == ["normal", "sick"]
    assert [line["probability"] for line in lines] == ["0.300000", "0.700000"]
    assert all(tuple(line) == COLUMNS for line in lines)
    assert all(line["predicted"] == line["label"] == "sick" for line in lines)
    names = [line[kind] for line in lines for kind in ("png", "npz")]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == names
    assert all(path.is_file() for path in paths)
    assert all(has_map(line) for line in lines)


def test_names_of_sets_become_names_of_folders(tmp_path: Path) -> None:
    lines, _ = written(tmp_path, explained(1))
    assert lines[0]["set"] == "my set"
    assert lines[0]["png"].startswith("my_set~1/")
    assert lines[0]["png"].endswith("/test/001--sick.png")


def test_an_images_name_and_a_class_are_joined_without_doubt(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 2}, classes=["finding", "no_finding"])
    predictor = open_predictor(small_config(), None, folder)
    rows = read_manifest(folder.path / "ingest" / "manifest.csv")
    rows = [replace(row, label="") for row in rows]
    dataset = predictor.load(rows)
    writer = MapWriter(predictor, tmp_path / "out", "test", "standard", "test")
    found = []
    for key in ("p1", "p1_no"):
        dataset.rows[1] = replace(rows[1], key=key)
        predictor.qc[key] = "missing"
        found += [line["png"] for line in writer.write(dataset, 1, explained(0, 1))[0]]
    assert len(set(found)) == 4
    assert found[0] == "test/p1--finding.png"


def test_parts_of_the_journal_are_named_without_doubt(tmp_path: Path) -> None:
    one = MapWriter(None, tmp_path, "a", "standard", "a")  # type: ignore[arg-type]
    other = MapWriter(None, tmp_path, "a/standard/b", "standard", "b")  # type: ignore[arg-type]
    assert one.part(Row(key="b/standard/c")) != other.part(Row(key="c"))


def test_the_version_is_in_the_path_of_a_biased_run_alone(tmp_path: Path) -> None:
    lines, _ = written(tmp_path, explained(1), "deceiving", **BIASED)
    assert "/deceiving/" in lines[0]["png"]
    lines, _ = written(tmp_path / "plain", explained(1))
    assert "standard" not in lines[0]["png"]


def test_image_without_a_class_to_explain_has_a_line_and_no_file(tmp_path: Path) -> None:
    lines, paths = written(tmp_path, explained())
    assert [line["error"] for line in lines] == [NO_LABEL]
    assert not paths
    assert not has_map(lines[0])


def test_without_a_mask_the_map_is_written_and_the_share_is_empty(tmp_path: Path) -> None:
    lines, paths = written(tmp_path, explained(1, mask=False))
    assert (lines[0]["error"], lines[0]["outside_share"]) == (NO_MASK, "")
    assert len(paths) == 2
    assert has_map(lines[0])


def test_a_broken_map_is_reported_and_not_drawn(tmp_path: Path) -> None:
    found = explained(0, 1)
    found.maps[0][0, 0, 0] = np.inf
    lines, paths = written(tmp_path, found)
    assert [line["error"] for line in lines] == [NOT_FINITE, ""]
    assert [has_map(line) for line in lines] == [False, True]
    assert len(paths) == 2


@pytest.mark.parametrize("version", ["biased", "deceiving"])
def test_the_shape_is_in_the_picture(tmp_path: Path, version: str) -> None:
    pictures = []
    for name, which in (("a", version), ("b", "standard")):
        _, paths = written(tmp_path / name, explained(1), which, **BIASED)
        with Image.open(next(p for p in paths if p.suffix == ".png")) as picture:
            pictures.append(np.asarray(picture).astype(int))
    shaped, plain = pictures
    assert shaped.shape == plain.shape
    left = slice(0, shaped.shape[1] // 2)
    assert np.abs(shaped - plain)[60:400, left].max() > 50


def line(share: str, key: str = "a", target: str = "sick", folder: str = "test/") -> dict[str, str]:
    return {
        "key": key, "target": target, "outside_share": share, "probability": "0.7", "error": "",
        "png": f"{folder}{key}--{target}.png",
    }  # fmt: skip


def test_the_most_reliant_come_first_and_those_without_a_share_last() -> None:
    lines = [line("0.2"), line("", "b"), line("0.9", "c"), line("0.2", "A"), line("1.0", "d")]
    assert [x["key"] for x in sorted(lines, key=reliance_first)] == ["d", "c", "A", "a", "b"]


def test_sheets_of_an_index() -> None:
    lines = [line("0.1", "p/q", folder="test/biased/"), line("0.1", "c", "a b", "far/")]
    lines[1]["png"] = "far/c--a_b~24be7d01.png"
    assert list_sheets([lines[0]]) == {f"test/biased/{SHEET}"}
    assert list_sheets([{**lines[0], "png": ""}]) == set()


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    draw = mapsheet.contact_sheet

    def spy(tiles: Any, captions: Any, columns: int, **style: Any) -> Any:
        calls.append((tiles, captions, columns, style["heading"]))
        return draw(tiles, captions, columns, **style)

    monkeypatch.setattr(mapsheet, "contact_sheet", spy)
    return calls


def test_each_set_and_version_has_its_sheet(
    tmp_path: Path, captured: list[tuple[Any, ...]]
) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 4, "far": 2})
    config = small_config(bias={"kind": "shapes"})
    run_stage(heatmap, config, folder, RunContext())
    root = folder.path / "heatmap"
    for name in ("test", "far"):
        for version in ("biased", "standard", "deceiving"):
            with Image.open(root / name / version / SHEET) as sheet:
                assert sheet.mode == "RGB"
                assert len(sheet.getcolors(10**6) or []) > 100
    lines = [
        x for x in read_csv(root / "index.csv") if (x["set"], x["version"]) == ("test", "biased")
    ]
    ordered = sorted(lines, key=lambda x: -float(x["outside_share"]))
    tiles, captions, _, heading = captured[0]
    assert [text.split("\n")[0] for text in captions] == [x["key"] for x in ordered]
    for text, cells in zip(captions, ordered, strict=True):
        assert f"{100 * float(cells['outside_share']):.0f} % outside" in text
        assert text.split("\n")[1].startswith(
            f"{cells['target']} {float(cells['probability']):.2f}"
        )
    assert heading[0] == "Relevance, set test (biased): 4 maps of 4 images"
    assert all(np.ptp(tile) > 50 for tile in tiles)


def test_more_maps_than_tiles_are_counted(
    tmp_path: Path, captured: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapsheet, "TILES", 3)
    folder = make_trained(tmp_path / "run", sets={"test": 4})
    run_stage(heatmap, small_config(heatmap={"target": "all"}), folder, RunContext())
    tiles, _, _, heading = captured[0]
    assert len(tiles) == 3
    assert heading[0] == "Relevance, set test: 3 of 8 maps of 4 images"


def test_without_pictures_there_is_no_sheet_and_an_old_one_goes(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 1})
    path = folder.path / "heatmap" / "test" / SHEET
    run_stage(heatmap, small_config(), folder, RunContext())
    assert path.is_file()
    run_stage(heatmap, small_config(heatmap={"formats": ["npz"]}), folder, RunContext())
    assert not path.exists()


def test_a_image_without_a_mask_says_why(tmp_path: Path, captured: list[tuple[Any, ...]]) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 1}, verdicts={"test/000": "missing"})
    run_stage(heatmap, small_config(), folder, RunContext())
    assert captured[0][1][0].endswith("no lung mask")
