"""Notes of the reader that hold for most images: then they are a warning of the whole run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from isnet_cli.ingest.set_checks import Finding

SHARE = 0.5  # of the images: more than this have the note
FEWEST = 3  # images with the note
USUAL = re.compile(  # what the reader does as a rule, and what is no doubt about the image
    r"full range of|window linear(?!.* not)|window (sigmoid|linear_exact)$|VOI LUT$|modality LUT$"
    r"|rescale$|inverted$|padding \d|colour$|burned-in annotation|transparency on black"
)
ADVICE = (  # beginning of a note, what to type
    ("narrow", "data.scale: range, or percentile, spreads each image"),
    ("for processing", "data.scale: percentile, or export the images for presentation"),
    ("mirrored", "look at the images; training takes them as they are"),
    ("damaged", "fetch the files again"),
    ("PhotometricInterpretation", "data.dicom.photometric: monochrome1 where bone is dark"),
    ("16-bit colour", "export grey images of 16 bits"),
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def find_common_notes(notes: Sequence[str], what: str = "images") -> list[Finding]:
    """A warning for each note that more than half of the images have, and at least three.

    Args:
        notes: Of each image, joined by ``; `` (see `Row.notes`); notes that differ in numbers alone
            count as one.
        what: What was read, for the sentence.
    """
    found: dict[str, Counter[str]] = {}
    for line in notes:
        seen = {_NUMBER.sub("#", note): note for note in line.split("; ") if note}
        for kind, note in seen.items():
            if not USUAL.match(note) or "not used" in note:
                found.setdefault(kind, Counter())[note] += 1
    return list(_warn_of(found, len(notes), what))


def _warn_of(found: dict[str, Counter[str]], total: int, what: str) -> Iterator[Finding]:
    for texts in found.values():
        count = texts.total()
        if count < FEWEST or count <= SHARE * total:
            continue
        text = texts.most_common(1)[0][0]
        more = ", and the like" if len(texts) > 1 else ""
        yield Finding(
            "warning",
            f"{count} of {total} {what}: {text}{more}",
            fix=next((words for start, words in ADVICE if text.startswith(start)), ""),
        )
