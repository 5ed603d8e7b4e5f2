"""Contact sheets of maps: order, captions, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.heatmap import contact_sheet as mapsheet
from isnet_cli.heatmap import stage as heatmap
from isnet_cli.heatmap.contact_sheet import SHEET, reliance_first, sheets
from tests.evaluate.factory import make_trained
from tests.support.runs import small_config


def line(share: str, key: str = "a", target: str = "sick", folder: str = "test/") -> dict[str, str]:
    return {
        "key": key, "target": target, "outside_share": share, "probability": "0.7", "error": "",
        "png": f"{folder}{key}_{target}.png",
    }  # fmt: skip


def test_the_most_reliant_come_first_and_those_without_a_share_last() -> None:
    lines = [line("0.2"), line("", "b"), line("0.9", "c"), line("0.2", "A"), line("1.0", "d")]
    assert [x["key"] for x in sorted(lines, key=reliance_first)] == ["d", "c", "A", "a", "b"]


def test_sheets_of_an_index() -> None:
    lines = [line("0.1", "p/q", folder="test/biased/"), line("0.1", "c", "a b", "far/")]
    lines[1]["png"] = "far/c_a_b-24be7d.png"
    assert sheets([lines[0]]) == {f"test/biased/{SHEET}"}
    assert sheets([{**lines[0], "png": ""}]) == set()


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
