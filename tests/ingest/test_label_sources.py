from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.core.files import write_csv
from isnet_cli.errors import IsnetError
from isnet_cli.images.find import collect_images
from isnet_cli.images.header_scan import HeaderFacts, scan_header
from isnet_cli.images.manifest import rows_to_dicts
from isnet_cli.images.types import ROW_FIELDS, Row
from isnet_cli.ingest.label_sources import MAIN, Collection, Labelling
from tests.ingest.factory import labels, png


def labelling(images: Path, name: str = MAIN, known: tuple[str, ...] = (), **settings: object):
    collection = Collection(name, str(images), Labels(**settings), Columns())
    return Labelling(collection, collect_images(str(images)), known)


def labelled(found: Labelling) -> dict[str, str]:
    found.join_by_names()
    facts = [scan_header(path) for _, path in found.images.images]
    rows = found.find_rows(facts)
    return {key: row.label for (key, _), (row, _) in zip(found.images.images, rows, strict=True)}


def test_a_table(tmp_path: Path) -> None:
    for n in range(3):
        png(tmp_path / f"x/{n}.png", n)
    path = labels(tmp_path / "l.csv", "0.png,a", "1.png,b")
    found = labelling(tmp_path / "x", file=str(path))
    assert labelled(found) == {"0": "a", "1": "b", "2": ""}
    assert found.classes == ("a", "b")
    assert found.match[-3:] == (
        "joined by path, column 'file'",
        "labels from 'label' (by its name; 2 different values in 2 cells)",
        "1 images have no row",
    )
    assert found.lost == ()


def test_a_table_s_masks_are_no_images(tmp_path: Path) -> None:
    for name in ("0", "1", "m0", "m1"):
        png(tmp_path / f"x/{name}.png", 1)
    path = labels(tmp_path / "l.csv", "0.png,a,m0.png", "1.png,b,x/m1.png",
                  header="file,label,mask")  # fmt: skip
    found = labelling(tmp_path / "x", file=str(path))
    assert labelled(found) == {"0": "a", "1": "b"}
    rows = found.find_rows([HeaderFacts()] * 2)
    assert [masks for _, masks in rows] == [str(tmp_path / f"x/m{n}.png") for n in range(2)]


def test_folders(tmp_path: Path) -> None:
    for n in range(4):
        png(tmp_path / f"x/{'ab'[n % 2]}/{n}.png", n)
    found = labelling(tmp_path / "x")
    assert labelled(found) == {"a/0": "a", "a/2": "a", "b/1": "b", "b/3": "b"}
    several = labelling(tmp_path / "x", task="multilabel")
    assert labelled(several)["a/0"] == "a=1;b=0"
    outside = labelling(tmp_path / "x", "far", ("a", "c"))
    assert labelled(outside) == {"a/0": "a", "a/2": "a", "b/1": "", "b/3": ""}


def test_no_labels_at_all(tmp_path: Path) -> None:
    png(tmp_path / "x/0.png", 0)
    found = labelling(tmp_path / "x")
    assert labelled(found) == {"0": ""}
    assert found.match[0].startswith("no labels:")


def manifest(folder: Path, *found: str) -> Path:
    rows = [
        Row(str(n), path=str(png(folder / f"x/{n}.png", n)), label=label)
        for n, label in enumerate(found)
    ]
    path = folder / "manifest.csv"
    write_csv(path, ROW_FIELDS, rows_to_dicts(rows))
    return path


def test_a_manifest(tmp_path: Path) -> None:
    found = labelling(manifest(tmp_path, "a", "b", ""))
    assert list(labelled(found).values()) == ["a", "b", ""]
    assert found.classes == ("a", "b")
    several = labelling(manifest(tmp_path, "a=1;b=?", "a=0;b=1"), task="multilabel")
    assert list(labelled(several).values()) == ["a=1;b=?", "a=0;b=1"]
    assert several.classes == ("a", "b")
    with pytest.raises(IsnetError, match="one class per image, but"):
        labelled(labelling(manifest(tmp_path, "a", "b"), task="multilabel"))


def test_a_manifest_without_paths_gives_the_kept_images(tmp_path: Path) -> None:
    png(tmp_path / "images/k.png", 1, bits=16)
    row = Row("k", image_file="images/k.png", label="a", patient="0123456789ab", set="train")
    write_csv(tmp_path / "manifest.csv", ROW_FIELDS, rows_to_dicts([row]))
    found = labelling(tmp_path / "manifest.csv")
    found.join_by_names()
    ((row, masks),) = found.find_rows([HeaderFacts(kind="png")])
    assert (row.label, row.patient, row.set, masks) == ("a", "0123456789ab", "train", "")


def test_labels_of_an_outside_set_are_put_into_the_main_classes(tmp_path: Path) -> None:
    for n in range(2):
        png(tmp_path / f"x/{n}.png", n)
    path = labels(tmp_path / "l.csv", "0,1,0", "1,0,", header="file,b,z")
    found = labelling(tmp_path / "x", "far", ("a", "b"), file=str(path), task="multilabel")
    assert labelled(found) == {"0": "a=?;b=1", "1": "a=?;b=0"}
    path = labels(tmp_path / "l.csv", "0,b", "1,c")
    with pytest.raises(IsnetError, match=r"data\.sets\.far: class 'c', expected one of .*'a', 'b'"):
        labelled(labelling(tmp_path / "x", "far", ("a", "b"), file=str(path)))
    chosen = labelling(tmp_path / "x", "far", ("a", "b"), file=str(path), classes=["b"])
    assert labelled(chosen) == {"0": "b", "1": ""}
