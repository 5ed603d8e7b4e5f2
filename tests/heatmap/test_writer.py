"""The maps of one image as files and as lines of the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isnet_cli.heatmap.writer import COLUMNS, NO_LABEL, Explained, MapWriter, made
from isnet_cli.images.manifest import read_manifest
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
    writer = MapWriter(predictor, path / "out", "my set", version)
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
    assert all(made(line) for line in lines)


def test_names_of_sets_become_names_of_folders(tmp_path: Path) -> None:
    lines, _ = written(tmp_path, explained(1))
    assert lines[0]["set"] == "my set"
    assert lines[0]["png"].startswith("my_set-")
    assert lines[0]["png"].endswith("/test/001_sick.png")


def test_the_version_is_in_the_path_of_a_biased_run_alone(tmp_path: Path) -> None:
    lines, _ = written(tmp_path, explained(1), "deceiving", **BIASED)
    assert "/deceiving/" in lines[0]["png"]
    lines, _ = written(tmp_path / "plain", explained(1))
    assert "standard" not in lines[0]["png"]


def test_image_without_a_class_to_explain_has_a_line_and_no_file(tmp_path: Path) -> None:
    lines, paths = written(tmp_path, explained())
    assert [line["error"] for line in lines] == [NO_LABEL]
    assert not paths
    assert not made(lines[0])


def test_without_a_mask_the_map_is_written_and_the_share_is_empty(tmp_path: Path) -> None:
    lines, paths = written(tmp_path, explained(1, mask=False))
    assert (lines[0]["error"], lines[0]["outside_share"]) == (NO_MASK, "")
    assert len(paths) == 2
    assert made(lines[0])


def test_a_broken_map_is_reported_and_not_drawn(tmp_path: Path) -> None:
    found = explained(0, 1)
    found.maps[0][0, 0, 0] = np.inf
    lines, paths = written(tmp_path, found)
    assert [line["error"] for line in lines] == [NOT_FINITE, ""]
    assert [made(line) for line in lines] == [False, True]
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
