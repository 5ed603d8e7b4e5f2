"""Pictures of the report: which images are chosen, what is drawn, what is refused."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isnet_cli.core.files import read_csv
from isnet_cli.errors import IsnetError
from isnet_cli.report.blocks import Picture
from isnet_cli.report.pictures import (
    MAP_SIDE,
    TILE_SIDE,
    choose_keys,
    draw_mask_tiles,
    draw_run_maps,
)
from tests.report.factory import make_report_run


def pixels(picture: Picture) -> np.ndarray:
    kind, content = picture.uri.split(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def lines(**labels: str) -> dict[str, dict[str, str]]:
    return {key: {"label": label} for key, label in labels.items()}


def test_choice_is_even_over_labels() -> None:
    index = lines(a="x", b="x", c="x", d="y", e="x", f="y")
    assert choose_keys([index], 4) == ["a", "b", "d", "f"]
    assert choose_keys([index], 99) == ["a", "b", "c", "e", "d", "f"]
    assert choose_keys([{}], 4) == []


def test_images_that_all_runs_have_come_first() -> None:
    one, two = lines(a="x", b="y", c="x"), lines(c="x", b="y", z="x")
    assert choose_keys([one, two], 2) == ["c", "b"]
    assert choose_keys([one, {}], 1) == ["a"]  # a run without any map is not counted


def test_maps_are_overlays_of_the_right_size(tmp_path: Path) -> None:
    (maps,) = draw_run_maps([make_report_run(tmp_path / "run", biased=False)])
    assert {item.group for item in maps} == {"Set test", "Set montgomery"}
    assert len(maps) == 10
    first = maps[0]
    assert (first.key, first.label, first.probability) == ("test/000", "normal", 0.87)
    assert first.outside == pytest.approx(0.1)
    picture = pixels(first.picture)
    assert picture.shape == (MAP_SIDE, round(MAP_SIDE * 80 / 96), 3)
    spread = picture.max(-1).astype(int) - picture.min(-1)
    assert (spread > 60).mean() > 0.02  # outline and relevance have colours


def test_versions_have_groups_of_their_own(tmp_path: Path) -> None:
    (maps,) = draw_run_maps([make_report_run(tmp_path / "run", sets={"train": 4, "test": 4})])
    assert [*dict.fromkeys(item.group for item in maps)] == [
        f"Set test, {version} images" for version in ("biased", "standard", "deceiving")
    ]


def test_the_image_under_a_biased_map_is_the_one_the_model_saw(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", sets={"train": 4, "test": 4})
    root = folder.stage_dir("heatmap")
    line = next(row for row in read_csv(root / "index.csv") if row["version"] == "biased")
    panel = np.array(Image.open(root / line["png"]))
    panel[36:60, 14:40] = 255  # a white shape in a corner of the image in the panel
    Image.fromarray(panel).save(root / line["png"])
    (maps,) = draw_run_maps([folder])
    shown = {(item.group, item.key): pixels(item.picture) for item in maps}
    biased = shown["Set test, biased images", line["key"]].astype(int)
    standard = shown["Set test, standard images", line["key"]].astype(int)
    assert biased[30:90, 30:90].mean() > standard[30:90, 30:90].mean() + 20


@pytest.mark.parametrize("formats", [("png",), ("npz",)])
def test_one_format_is_enough(tmp_path: Path, formats: tuple[str, ...]) -> None:
    folder = make_report_run(tmp_path / "run", biased=False, formats=formats)
    (maps,) = draw_run_maps([folder])
    assert len(maps) == 10
    assert pixels(maps[0].picture).shape[0] == MAP_SIDE


def test_runs_show_the_same_images(tmp_path: Path) -> None:
    first = make_report_run(tmp_path / "first", biased=False)
    config = {"upstream": str(tmp_path / "first")}
    second = make_report_run(tmp_path / "second", biased=False, config=config, outside=0.7)
    third = make_report_run(tmp_path / "third", stages=("ingest", "masks"))
    one, two, three = draw_run_maps([first, second, third])
    assert [item.key for item in one] == [item.key for item in two]
    assert three == []
    assert one[0].picture.uri != two[0].picture.uri


def test_one_target_is_shown_for_each_image(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", biased=False)
    path = folder.stage_dir("heatmap") / "index.csv"
    content = path.read_text().splitlines()
    other = [line.replace("normal,normal,normal", "tb,normal,normal") for line in content[1:]]
    path.write_text("\n".join([content[0], *other, *content[1:]]) + "\n")
    (maps,) = draw_run_maps([folder])
    assert {item.target for item in maps if item.label == "normal"} == {"normal"}


def test_images_without_a_map_are_left_out(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", biased=False)
    path = folder.stage_dir("heatmap") / "index.csv"
    rows = path.read_text().splitlines()
    rows[1] = ",".join([*rows[1].split(",")[:9], "", "", "the map holds NaN"])
    path.write_text("\n".join(rows) + "\n")
    (maps,) = draw_run_maps([folder])
    assert "test/000" not in {item.key for item in maps}
    assert len(maps) == 9


@pytest.mark.parametrize("suffix", ["png", "npz"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_lost_or_damaged_map_is_named(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    folder = make_report_run(tmp_path / "run", biased=False)
    path = folder.stage_dir("heatmap") / f"test/000_standard.{suffix}"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IsnetError, match="'test/000' is missing or damaged"):
        draw_run_maps([folder])


def test_masks_come_with_the_most_doubtful_first(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", sets={"train": 60, "test": 4})
    rows = read_csv(folder.stage_dir("ingest") / "manifest.csv")
    qc = read_csv(folder.stage_dir("masks") / "qc.csv")
    tiles = draw_mask_tiles(folder, rows, qc)
    assert 20 <= len(tiles) <= 24
    assert tiles[0].caption == "train/003: suspect, one lung"
    assert tiles[1].caption.endswith(": ok")
    picture = pixels(tiles[0]).astype(int)
    assert picture.shape[0] == TILE_SIDE
    assert (picture[..., 0] - picture[..., 2]).max() > 100  # the yellow outline
    assert len({tile.caption for tile in tiles}) == len(tiles)


def test_a_missing_mask_shows_the_bare_image(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", sets={"train": 4, "test": 4})
    rows = read_csv(folder.stage_dir("ingest") / "manifest.csv")
    qc = read_csv(folder.stage_dir("masks") / "qc.csv")
    qc[0] |= {"verdict": "missing", "reason": "no_file: none", "area": "", "balance": ""}
    (folder.stage_dir("masks") / f"{qc[0]['key']}.png").unlink()
    tiles = draw_mask_tiles(folder, rows, qc)
    tile = next(t for t in tiles if t.caption.endswith("missing, no file"))
    picture = pixels(tile).astype(int)
    assert (picture.max(-1) - picture.min(-1)).max() < 30
