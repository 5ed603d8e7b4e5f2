"""One function per kind of output: no text of an input acts on a terminal, a viewer or a parser.

Names of classes, sets and files, cells and header values may hold anything: terminal escapes,
marks that turn the direction, characters that nobody sees, line ends, undecodable bytes of file
names (as lone surrogates). Every writer passes its text through the function of its kind.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Control characters, format characters (direction, zero width, tags), separators of lines, blanks
# that are letters, lone surrogates and noncharacters. Unicode 16, categories Cc, Cf, Cs, Zl, Zp.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb"
    "\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
) + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(1 << 16, 17 << 16, 1 << 16)
)
_LINE = re.compile(f"[{_UNSEEN}]")
_LINES = re.compile(f"(?!\n)[{_UNSEEN}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8}))")
_LOOKS_ESCAPED = re.compile(r"\\(?=u[0-9a-f]{4}|U[0-9a-f]{8})")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FORMULA = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&]|^[#+\-]|(?<![^\W_])_|_(?![^\W_])")


def for_terminal(text: str) -> str:
    """`text` for a terminal: line feeds stay, all that is unseen or acts is a visible escape."""
    return _LINES.sub(_escape, text)


def for_line(text: str) -> str:
    """`text` for one line of a terminal or of a comment: as `for_terminal`, line feeds included."""
    return _LINE.sub(_escape, text)


def for_picture(text: str, *, lines: bool = False) -> str:
    """`text` for pictures, SVG and HTML, before markup is escaped: legal in XML, nothing unseen.

    Args:
        text: Anything, such as a file name.
        lines: Keep line feeds; otherwise they become spaces, as tabs do.
    """
    plain = re.sub(r"\r\n?", "\n", text).replace("\t", " ")
    return (_LINES if lines else _LINE).sub("\ufffd", plain if lines else plain.replace("\n", " "))


def for_csv(cell: str) -> str:
    r"""A cell that a spreadsheet takes for text, and `from_csv` gives back; numbers stay numbers.

    Spreadsheets run cells that begin with ``= + - @``: those get a leading apostrophe. Characters
    that are unseen or act become ``\uXXXX``, and so does a backslash that could be read as one.
    """
    if cell.isascii() and cell.isprintable() and "\\" not in cell and cell[:1] not in "'=+-@":
        return cell  # nearly every cell; the empty one too
    escaped = _LINE.sub(_escape_long, _LOOKS_ESCAPED.sub(r"\\u005c", cell))
    formula = _FORMULA.match(escaped) and not _NUMBER.fullmatch(escaped)
    return f"'{escaped}" if formula else escaped


def from_csv(cell: str) -> str:
    """Reads what `for_csv` gave."""
    if cell[:1] != "'" and "\\" not in cell:
        return cell
    plain = cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), plain)


def format_json(
    content: Any, *, indent: int | None = 2, only_ascii: bool = False, **options: Any
) -> str:
    """`content` as JSON, all that is unseen escaped; reads back equal.

    Args:
        content: JSON-able.
        indent: Spaces a level; None: one line.
        only_ascii: Escape every letter that is not of ASCII, for streams of any encoding.
        **options: Of `json.dumps`.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=only_ascii, **options)
    return _LINES.sub(_escape_json, text)  # line feeds are ours: those of strings are escaped


def escape_in_quotes(text: str) -> str:
    """YAML text in which all that is unseen stands in double quotes, with escapes in its place."""
    return _LINES.sub(_escape_long, text)


def for_markdown(text: str) -> str:
    """`text` for a cell or a line of Markdown: it neither formats nor ends the cell."""
    return _MARKDOWN.sub(r"\\\g<0>", for_picture(text))


def for_dicom(text: str, longest: int = 64) -> str:
    """`text` as one DICOM value of UTF-8 (ISO_IR 192): no backslash, nothing unseen, cut to size.

    Args:
        text: Anything.
        longest: Characters that the value representation allows: 64 (LO), 16 (SH), 1024 (ST).
    """
    return for_picture(text).replace("\\", "/").strip()[:longest].strip()


def make_encodable(text: str) -> str:
    r"""`text` that UTF-8 can hold: undecodable bytes of a file name become ``\xNN``."""
    return _SURROGATE.sub(_escape_byte, text)


def cut_middle(text: str, longest: int) -> str:
    """`text` of at most `longest` characters; the middle gives way to an ellipsis."""
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[len(text) - (longest - head - 1) :]}"


def _escape_byte(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else _escape_long(found)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    short = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    if short is not None:
        return short
    return f"\\x{code:02x}" if code < 256 else _escape_long(found)


def _escape_long(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
