"""What a table states about view, modality and body part: it counts as a header's statement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.header import (
    MODALITIES,
    PROJECTION,
    refuse_body_part,
    refuse_modality,
    refuse_plane,
)
from isnet_cli.labels.values import is_missing, parse_view

_XRAY = re.compile(
    r"\b(X-?\s?RAYS?|RX|CXR|RADIOGRAPH\w*|RADIOGRAF\w*|R(O|Ö|OE)NTGEN\w*|FILM"
    r"|CR|DX|DR)\b"
)
_WORDS = {  # other words for the codes of `MODALITIES`
    "CT": re.compile(r"\b(CT|CAT|HRCT|LDCT|CBCT|CTA|CTPA|TOMOGRA\w*|TAC)\b"),
    "MR": re.compile(r"\b(MR|MRI|MRT|FMRI|IRM|MAGNETIC\s+RESONANCE\w*)\b"),
    "US": re.compile(r"\b(US|USG|ULTRASOUND|ULTRASONOGRA\w*|SONOGRA\w*|ECHOCARDIOGRA\w*)\b"),
    "PT": re.compile(r"\b(PT|PET|POSITRON\w*)\b"),
    "NM": re.compile(r"\b(NM|SPECT|SCINTIGRA\w*|NUCLEAR)\b"),
    "MG": re.compile(r"\b(MG|MAMMOGRA\w*)\b"),
    "XA": re.compile(r"\b(XA|ANGIOGRA\w*)\b"),
    "ES": re.compile(r"\b(ENDOSCOP\w*|BRONCHOSCOP\w*)\b"),
    "SM": re.compile(r"\b(HISTOLOG\w*|MICROSCOP\w*)\b"),
}


class Statement(NamedTuple):
    """What one row states.

    Attributes:
        view: ``frontal``, ``lateral`` or ``unknown``.
        fault: (reason, sentence), when that rules the image out; else None.
        odd: Words about the modality that nobody understood.
    """

    view: str = "unknown"
    fault: tuple[str, str] | None = None
    odd: str = ""


def read_statement(
    views: Sequence[str], modalities: Sequence[str], parts: Sequence[str]
) -> Statement:
    """Reads the cells of one row; unknown words never rule an image out.

    Args:
        views: Cells about the projection; the first that decides is taken.
        modalities: Cells about the modality.
        parts: Cells about the body part.
    """
    odd = ""
    try:
        for cell in modalities:
            code = find_modality(cell)
            odd = odd or (cell if code is None else "")
            refuse_modality(code or "")
        for cell in views:
            refuse_plane(cell)
            code = find_modality(cell)  # "CT axial" as a view
            refuse_modality(code if code in _WORDS else "")
        for cell in parts:
            refuse_body_part(cell)
    except UnreadableImage as fault:
        return Statement(fault=(fault.reason, f"{fault.detail}, by the label file"))
    known = (view for view in map(parse_view, views) if view != "unknown")
    return Statement(next(known, "unknown"), odd=odd)


def find_modality(cell: str) -> str | None:
    """DICOM's code for a modality in words; empty for none stated, None for unknown words."""
    if is_missing(cell):
        return ""
    words = " ".join(re.sub(r"[_/.]", " ", cell.upper()).split())
    if words in PROJECTION or words in MODALITIES:
        return words
    if _XRAY.search(words):
        return "DX"
    return next((code for code, pattern in _WORDS.items() if pattern.search(words)), None)
