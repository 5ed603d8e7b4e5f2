from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from isnet_cli.config.schema import Dicom
from isnet_cli.core.files import sha256_file
from isnet_cli.images.kept import load_image
from isnet_cli.ingest import reading
from isnet_cli.ingest.reading import FileFacts, ReadTask, read_file, skip_file
from tests.images.dicom.factory import dicom_bytes, image_values
from tests.ingest.factory import png, tree


def task(path: Path, folder: Path, **others: object) -> ReadTask:
    values = {"dicom": Dicom(), "scale": "bits", "max_side": 1024, "view": "frontal", **others}
    return ReadTask(path, "a/image", folder, **values)


def test_a_image_is_kept_and_described(tmp_path: Path) -> None:
    path = png(tmp_path / "in.png", 1, bits=16)
    found = read_file(task(path, tmp_path / "out"))
    (frame,) = found.frames
    assert found.sha256 == sha256_file(path)
    assert found.images() == ["images/a/image.png"]
    assert (frame.height, frame.width, frame.bits, frame.format) == (80, 96, 16, "png")
    assert frame.reason == ""
    assert load_image(tmp_path / "out" / frame.image_file).shape == (80, 96)
    assert list(tree(tmp_path / "out")) == ["images/a/image.png"]


def test_facts_survive_json(tmp_path: Path) -> None:
    found = read_file(task(png(tmp_path / "in.png", 1), tmp_path / "out"))
    assert FileFacts.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_frames_are_judged_one_by_one(tmp_path: Path) -> None:
    stack = np.stack([image_values(12, seed=1), np.full((80, 96), 7), image_values(12, seed=2)])
    path = tmp_path / "stack"
    path.write_bytes(dicom_bytes(stack))
    found = read_file(task(path, tmp_path / "out"))
    assert [frame.key for frame in found.frames] == ["a/image_f1", "a/image_f2", "a/image_f3"]
    assert [frame.reason.partition(":")[0] for frame in found.frames] == ["", "constant", ""]
    assert found.images() == ["images/a/image_f1.png", "images/a/image_f3.png"]


@pytest.mark.parametrize(
    ("attributes", "noted"),
    [
        ({"ImagerPixelSpacing": [0.143, 0.2]}, "0.143;0.2"),
        ({"PixelSpacing": [0.1, 0.1]}, "0.1;0.1"),
    ],
)
def test_the_spacing_is_noted(tmp_path: Path, attributes: dict[str, object], noted: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(dicom_bytes(image_values(), **attributes))
    assert read_file(task(path, tmp_path)).frames[0].spacing == noted
    assert read_file(task(png(tmp_path / "in.png", 1), tmp_path)).frames[0].spacing == ""


def test_the_stated_view_decides(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(dicom_bytes(image_values(), ViewPosition="LL"))
    assert read_file(task(path, tmp_path)).frames[0].reason.startswith("lateral:")
    seen = read_file(task(path, tmp_path, stated_view="frontal")).frames[0]
    assert (seen.reason, seen.view) == ("", "frontal")
    assert read_file(task(path, tmp_path, view="any")).frames[0].view == "lateral"


def test_faults_are_reasons_and_never_raised(tmp_path: Path) -> None:
    text = tmp_path / "notes"
    text.write_text("a report")
    found = read_file(task(text, tmp_path))
    assert found.frames[0].reason.startswith("not_image: a text file")
    assert found.sha256 == sha256_file(text)
    assert not found.passing
    lost = read_file(task(tmp_path / "lost", tmp_path))
    assert (lost.sha256, lost.frames[0].reason) == ("", "missing: no such file")
    assert lost.passing
    assert read_file(task(tmp_path, tmp_path)).frames[0].reason.startswith("not_a_file:")


@pytest.mark.parametrize(
    ("error", "reason"), [(PermissionError, "no_access"), (FileNotFoundError, "missing")]
)
def test_a_file_that_goes_away_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError], reason: str
) -> None:
    def fail(path: Path) -> str:
        raise error("CANARY")

    monkeypatch.setattr(reading, "sha256_file", fail)
    found = read_file(task(png(tmp_path / "in.png", 1), tmp_path))
    assert found.frames[0].reason.startswith(f"{reason}:")
    assert "CANARY" not in found.frames[0].reason
    assert found.passing


def test_a_file_that_is_written_to_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = png(tmp_path / "in.png", 1)

    def touch(name: Path) -> str:
        os.utime(name, ns=(5, 5))
        return sha256_file(name)

    monkeypatch.setattr(reading, "sha256_file", touch)
    found = read_file(task(path, tmp_path / "out"))
    assert found.frames[0].reason.startswith("changed:")
    assert found.passing
    assert not (tmp_path / "out").exists()


def test_a_skipped_file_has_one_row() -> None:
    found = skip_file("k", "lateral", "words")
    assert [(frame.key, frame.reason) for frame in found.frames] == [("k", "lateral: words")]
    assert found.images() == []
