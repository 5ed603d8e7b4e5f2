from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from isnet_cli.images.find import list_places, normalise_path, normalise_slashes, strip_suffix
from isnet_cli.images.types import Identity
from isnet_cli.labels.csv_table import CsvTable
from isnet_cli.labels.join_keys import ImageName, RowFinder

ROOT = Path("/data/xrays")


def fits(cells: list[str], names: list[str], kind: str) -> list[list[int]] | None:
    table = CsvTable(
        Path("/data/labels.csv"), ("file",), tuple((c,) for c in cells),
        tuple(range(2, 2 + len(cells))), ",", "utf-8",
    )  # fmt: skip
    return RowFinder([ImageName(ROOT / n, n) for n in names], table, [ROOT]).find("file", kind)


@pytest.mark.parametrize(
    ("cell", "image", "kinds"),
    [
        ("a/1.png", "a/1.png", "path name stem name_alone stem_alone"),
        ("xrays/a/1.png", "a/1.png", "path name stem name_alone stem_alone"),
        ("/data/xrays/a/1.png", "a/1.png", "path name stem name_alone stem_alone"),
        ("./xrays//b/../a/1.png", "a/1.png", "path name stem name_alone stem_alone"),
        ("xrays\\a\\1.png", "a/1.png", "path name stem name_alone stem_alone"),
        ("a/1", "a/1.png", "path name stem name_alone stem_alone"),
        ("a/1.png", "x/a/1.png", "name stem name_alone stem_alone"),
        ("1.png", "x/a/1.png", "name stem name_alone stem_alone"),
        ("old/tree/a/1.png", "a/1.png", "name stem name_alone stem_alone"),
        ("A/1.PNG", "a/1.dcm", "stem stem_alone"),
        ("a/1.dcm", "a/1.png", "stem stem_alone"),
        ("b/1.png", "a/1.png", "name_alone stem_alone"),
        ("1.2.840", "1.2.840.dcm", "path name stem name_alone stem_alone"),
        ("1.2", "1.2.840", ""),
        ("01.png", "1.png", ""),
    ],
)
def test_what_fits_what(cell: str, image: str, kinds: str) -> None:
    found = {
        kind
        for kind in ("path", "name", "stem", "name alone", "stem alone")
        if fits([cell, "elsewhere/9"], [image], kind) == [[0]]
    }
    assert found == {kind.replace("_", " ") for kind in kinds.split()}


def test_folders_that_all_rows_begin_with_are_left_out() -> None:
    cells = ["C:\\old\\a\\1.png", "C:\\old\\b\\1.png"]
    assert fits(cells, ["a/1.png", "b/1.png", "x/a/1.png"], "name") == [[0], [1], []]
    assert fits(cells, ["a/1.png", "b/1.png"], "path") == [[], []]


def test_identifiers() -> None:
    table = CsvTable(Path("/l.csv"), ("id",), (("7",), ("07",), ("",)), (2, 3, 4), ",", "utf-8")
    images = [ImageName(ROOT / "a", "a", Identity("07", "7", ""))]
    finder = RowFinder(images, table, [ROOT])
    assert finder.find("id", "patient") == [[1]]
    assert finder.find("id", "accession") == [[0]]
    assert finder.find("id", "uid") is None


@pytest.mark.parametrize("deep", ["", "train/p{}/s1/"])
def test_only_rows_that_may_fit_are_taken_apart(deep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{deep.format(n)}{'view1' if deep else n}.jpg" for n in range(3000)]
    rows = tuple((f"Top-small/{name}" if deep else name,) for name in names)
    table = CsvTable(ROOT / "l.csv", ("file",), rows, tuple(range(2, 3002)), ",", "utf-8")
    images = [ImageName(ROOT / name, name) for name in names[::1000]]
    seen = Counter[str]()

    def count(cell: str) -> list[tuple[str, ...]]:
        seen[cell] += 1
        return [tuple(cell.split("/"))]

    monkeypatch.setattr("isnet_cli.labels.join_keys._split_cell", count)
    finder = RowFinder(images, table, [ROOT])
    found = [finder.find("file", kind) for kind in ("path", "name", "stem")]
    assert found[1] == found[2] == [[0], [1000], [2000]]
    assert seen.total() < 20


def test_small_parts() -> None:
    assert normalise_slashes("a\\b") == "a/b"
    assert normalise_slashes("u\u0308") == "\u00fc"
    assert normalise_path("a/./b/../c.png") == "a/c.png"
    assert list_places("m.png", ["/a", "/b"]) == ["/a/m.png", "/b/m.png"]
    assert list_places("/m.png", ["/a", "/b"]) == ["/m.png"]
    assert list_places("", ["/a"]) == []
    assert [strip_suffix(n) for n in ("a.PNG", "a.b.dcm", "1.2.3", "a.tar")] == [
        "a",
        "a.b",
        "1.2.3",
        "a.tar",
    ]
