"""Tables of boxes as data sets have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.annotations.tables import BoxRow, read_boxes
from isnet_cli.errors import IsnetError

VINDR = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
CXR14 = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
RSNA = "patientId,x,y,width,height,Target"


def read(tmp_path: Path, *lines: str) -> list[BoxRow]:
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_boxes(path)


def test_the_plain_form(tmp_path: Path) -> None:
    found = read(tmp_path, "image,x,y,width,height,class", "a.png,1,2,30,40,TB", "a.png,5,6,7,8,")
    assert found == [
        BoxRow("a.png", "TB", (1, 2, 31, 42)), BoxRow("a.png", "", (5, 6, 12, 14))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            (VINDR, "9a,R8,No finding,,,,", "9b,R9,Nodule,10.5,20,30,44.25"),
            [BoxRow("9a", "No finding", None), BoxRow("9b", "Nodule", (10.5, 20, 30, 44.25))],
        ),
        (  # the form of the competition: a box of one pixel says that there is none
            ("image_id,class_name,x_min,y_min,x_max,y_max", "9a,No finding,0,0,1,1"),
            [BoxRow("9a", "No finding", None)],
        ),
        (
            (CXR14, "00013118_008.png,Atelectasis,225.08,547.02,86.78,79.19,,,"),
            [BoxRow("00013118_008.png", "Atelectasis", (225.08, 547.02, 311.86, 626.21))],
        ),
        (
            (RSNA, "0004cfab,,,,,0", "00436515,264,152,213,379,1", "00436515,562,152,256,453,1"),
            [
                BoxRow("0004cfab", "", None),
                BoxRow("00436515", "", (264, 152, 477, 531)),
                BoxRow("00436515", "", (562, 152, 818, 605)),
            ],
        ),
        (
            ("file;x1;y1;x2;y2;label", "a;1;2;3;4;TB"),
            [BoxRow("a", "TB", (1, 2, 3, 4))],
        ),
        (  # boxes of the original in a table whose images were made smaller
            ("image_id,x_min,y_min,x_max,y_max,width,height", "a,1,2,3,4,2000,1000"),
            [BoxRow("a", "", (1, 2, 3, 4), (1000, 2000))],
        ),
    ],
)
def test_forms_of_known_data_sets(
    tmp_path: Path, lines: tuple[str, ...], expected: list[BoxRow]
) -> None:
    for found, row in zip(read(tmp_path, *lines), expected, strict=True):
        assert (found.image, found.label, found.whole) == (row.image, row.label, row.whole)
        assert (found.box is None) == (row.box is None)
        assert row.box is None or found.box == pytest.approx(row.box)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("image,label", "a,TB"), "no columns with x, y, width and height"),
        (("text,x,y,width,height", "a,1,2,3,4"), "no column that names the image"),
        (("image,x,y,width,height", "a,1,2,3,4", "b,1,two,3,4"), r"boxes.csv:3: y 'two'"),
        (("image,x,y,width,height", "a,1,,3,4"), r"boxes.csv:2: y ''"),
        (("image,x,y,width,height", "a,1,inf,3,4"), r"boxes.csv:2: y 'inf'"),
        (("image,x,y,width,height",), "no rows"),
        (("image,x_min,y_min,x_max,y_max,width,height", "a,1,2,3,4,0,5"), "image of 0 x 5"),
    ],
)
def test_what_is_no_table_of_boxes_says_what_is_wrong(
    tmp_path: Path, lines: tuple[str, ...], found: str
) -> None:
    with pytest.raises(IsnetError, match=found) as caught:
        read(tmp_path, *lines)
    assert caught.value.kind == "data"
    assert "columns image, x, y, width, height" in caught.value.fix
