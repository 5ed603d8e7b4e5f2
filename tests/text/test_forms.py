"""One property for each kind of output: it parses, nothing unseen is left, it reads back equal."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import escape

from isnet_cli.config.yaml_tree import parse, write
from isnet_cli.text.forms import (
    cut_middle,
    for_csv,
    for_dicom,
    for_line,
    for_markdown,
    for_picture,
    for_terminal,
    format_json,
    from_csv,
    make_encodable,
)

ACTS = "\x1b[2J\x9b1m\x07\x7f\u202e\u2066\u200b\u2028\ufeff\u2029\udcff\ud83d\U000e0041\ufffe\n\r\t"
texts = st.text(
    st.one_of(
        st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Cn", "Lo", "Lu", "Nd"]),
        st.sampled_from([*ACTS, *"=+-@'\"\\/|*_`<>&;,:{}[]#$~u0041x"]),
    )
)


def is_quiet(text: str, allowed: str = "") -> bool:
    """Whether no character acts on a terminal or turns the direction."""
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return all(
        unicodedata.category(letter) not in bad or letter in "\u0600\u0601\u0602\u0603\u0604\u0605"
        or letter in "\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd" or letter in allowed
        or 0x13430 <= ord(letter) <= 0x1343F  # signs with a shape of their own
        for letter in text
    )  # fmt: skip


@given(texts)
@example(ACTS)
def test_a_terminal_gets_only_letters(text: str) -> None:
    assert is_quiet(for_line(text))
    assert is_quiet(for_terminal(text), "\n")
    assert for_terminal(text).count("\n") == text.count("\n")
    for_line(text).encode()


def test_letters_of_all_scripts_stay() -> None:
    text = "Pneumonie größer 肺炎 التهاب निमोनिया 🫁 a\\b 'c' [bold]x[/] %s {0}"
    for form in (for_line, for_terminal, for_picture, for_csv, for_dicom):
        assert form(text) == text if form is not for_dicom else text.replace("\\", "/")
    assert for_line("a\tb\nc\x1b\x9b\u202e\U000e0041\udcff") == (
        "a\\tb\\nc\\x1b\\x9b\\u202e\\U000e0041\\udcff"
    )


@given(texts)
@example(ACTS)
def test_a_picture_gets_legal_xml(text: str) -> None:
    for lines in (False, True):
        shown = for_picture(text, lines=lines)
        assert is_quiet(shown, "\n" if lines else "")
        element = ElementTree.fromstring(  # noqa: S314 - our own
            f"<p a='{escape(shown)}'>{escape(shown)}</p>"
        )
        assert (element.text or "") == shown
    assert for_picture("a\r\nb\tc", lines=True) == "a\nb c"
    assert for_picture("evil\u202egnp.exe") == "evil\ufffdgnp.exe"


@given(st.lists(texts, min_size=1))
@example(["=1+1", "'=1", "\\u0041", "\\\\u005c", ACTS, "", "'", "-", "+1 234"])
def test_a_cell_reads_back_equal_and_runs_nowhere(cells: list[str]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(map(for_csv, cells))
    assert buffer.getvalue().count("\n") == 1
    assert is_quiet(buffer.getvalue(), "\n")
    buffer.getvalue().encode()
    (read,) = csv.reader(io.StringIO(buffer.getvalue())) if any(cells) else [cells]
    assert [from_csv(cell) for cell in read] == cells
    for cell in read:
        assert cell[:1] not in {*"=+-@\t\r\uff1d\uff0b\uff0d\uff20"} or float(cell) is not None


@pytest.mark.parametrize("number", ["-1", "+0.5", "-1e-05", "-.5", "0", "12.", "-0.0", "1E+3"])
def test_numbers_in_cells_stay_numbers(number: str) -> None:
    assert for_csv(number) == number


@pytest.mark.parametrize(
    "cell", ["=cmd|' /C calc'!A0", "+1+1", "-1-1", "@SUM(A1)", "-", "-inf", "\uff1d1+1", "'=1"]
)
def test_formulas_in_cells_are_texts(cell: str) -> None:
    assert for_csv(cell) == f"'{cell}"


@given(st.dictionaries(texts, st.one_of(texts, st.lists(texts)), max_size=4))
@example({ACTS: [ACTS]})
def test_json_reads_back_equal(content: dict[str, object]) -> None:
    for indent in (None, 2):
        text = format_json(content, indent=indent)
        assert is_quiet(text, "\n")
        text.encode()
        # a pair of lone surrogates is one character in JSON
        joined = json.loads(json.dumps(content))
        assert json.loads(text) == joined


@given(st.dictionaries(texts, texts, max_size=4))
@example({ACTS: ACTS, "a": "\u3164"})
@example({ACTS.replace("\ud83d", ""): "\u3164"})
def test_yaml_reads_back_equal(content: dict[str, str]) -> None:
    text = write(content)
    assert is_quiet(text, "\n")
    text.encode()
    found = parse(text)
    # bytes of names, as Python writes them, are text; other halves of a character are refused
    half = re.compile("[\ud800-\udc7f\udd00-\udfff]")
    expected = {_join(key): _join(value) for key, value in content.items()}
    if any(map(half.search, (*expected, *expected.values()))):
        assert "half a character" in found.problems[0][2]
    else:
        assert (found.value, found.problems) == (expected, [])


def _join(text: str) -> str:
    """Two halves of a character that follow each other are one."""
    return re.sub(
        "[\ud800-\udbff][\udc00-\udfff]",
        lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"),
        text,
    )


@given(texts)
@example("a|b *c* _d_ <script> [x](y) `z` # \\ &amp; ~~e~~\n# head")
def test_markdown_is_one_cell_without_marks(text: str) -> None:
    cell = for_markdown(text)
    assert is_quiet(cell)
    plain = cell.replace("\\\\", "")
    for mark in "|*<[`&~":
        assert plain.count(mark) == plain.count(f"\\{mark}")
    assert for_markdown("macro_f1 (2 of 3)") == "macro_f1 (2 of 3)"


@given(texts, st.sampled_from([16, 64, 1024]))
@example(ACTS * 9, 16)
def test_a_dicom_value_fits(text: str, longest: int) -> None:
    value = for_dicom(text, longest)
    assert len(value) <= longest
    assert "\\" not in value
    assert value == value.strip()
    assert is_quiet(value)
    assert for_dicom("a\\b\nc" + "x" * 99) == "a/b c" + "x" * 59


def test_bytes_of_file_names_become_text() -> None:
    assert make_encodable("/a/b cé肺") == "/a/b cé肺"
    assert make_encodable("/a/caf\udce9\ud800") == "/a/caf\\xe9\\ud800"


def test_the_middle_is_cut() -> None:
    assert cut_middle("abcdefgh", 8) == "abcdefgh"
    assert cut_middle("abcdefghi", 5) == "ab…hi"
