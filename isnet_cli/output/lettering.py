"""Words on pictures: a font that is always there, lines that fit, no control characters."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from isnet_cli.text.forms import for_picture

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> Font:
    """DejaVu Sans at `size` px from matplotlib's files, or Pillow's own font without them."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def fit(text: str, letters: Font, width: float) -> str:
    """`text` on one line of at most `width` px; the middle gives way to an ellipsis."""
    text = for_picture(text)[:1000]
    if letters.getlength(text) <= width:
        return text
    low, high = 0, len(text)  # characters kept; the longest that fits, by bisection
    while low < high:
        kept = (low + high + 1) // 2
        if letters.getlength(_shortened(text, kept)) <= width:
            low = kept
        else:
            high = kept - 1
    return _shortened(text, low)


def wrap(text: str, letters: Font, width: float, lines: int) -> list[str]:
    """`text` broken at spaces into at most `lines` lines of `width` px; the last is shortened."""
    words = for_picture(text)[:4000].split()
    out: list[str] = []
    while words and len(out) < lines - 1:
        line = words.pop(0)
        while words and letters.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        out.append(fit(line, letters, width))
    if words:
        out.append(fit(" ".join(words), letters, width))
    return out


def _shortened(text: str, kept: int) -> str:
    head = (kept + 1) // 2
    tail = kept - head
    return f"{text[:head]}…{text[len(text) - tail :]}"
