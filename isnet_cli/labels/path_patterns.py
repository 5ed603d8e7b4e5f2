"""Patients and sources that only paths name, as in ``patient00001/study2/view1.jpg``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from isnet_cli.labels.column_names import PATH

# What stands before a patient's number, from sure to likely.
_WORDS = (
    r"patients?|patientid|subjects?|subj|sub|patid|pat|pt|person|pid|participant|proband|paciente",
    r"p|case|id",
    r"",
)
_NUMBERED = r"({words})([-_ .]?)(\d+[A-Za-z]?)"
_YEAR = re.compile(r"(19|20)\d\d(-?(0\d|1[0-2])(-?[0-3]\d)?)?")
LEAST_DIGITS = 3  # of a name without any word
LEAST_SHARE = 0.9  # of the images must lie in such a folder


def is_pattern(setting: str | None) -> bool:
    """Whether a column's setting is ``path:PATTERN``."""
    return setting is not None and setting.startswith(PATH)


def find_in_path(setting: str, role: str, path: str) -> str:
    """What a pattern finds in a path: its group called `role`, else its first, else all of it.

    Args:
        setting: ``path:PATTERN``, a valid regular expression.
        role: ``patient`` or ``source``.
        path: Path of the image below the folder of images, with forward slashes.

    Returns:
        The text, empty where the pattern does not occur.
    """
    match = re.search(setting.removeprefix(PATH), path)
    if match is None:
        return ""
    if role in match.groupdict():
        return match.group(role) or ""
    return (match.group(1) if match.re.groups else match.group()) or ""


def propose_patient_pattern(paths: Sequence[str]) -> str:
    """A setting ``path:PATTERN`` that reads the patient from names of folders; empty without any.

    Folders count as patients when nearly all images lie in one that is called like a numbered
    patient, there are two or more, and one has several images. Beginnings of file names such as
    ``sub-01_ses-2`` count as well.

    Args:
        paths: Paths below the folder of images, with forward slashes.
    """
    parts = [path.split("/") for path in paths]
    for words in _WORDS:
        found = list(_propose_folders(parts, words))
        if words:
            found += _propose_files(parts, words)
        for names, patterns in sorted(found, key=lambda x: -len(set(x[0].values()))):
            for pattern in patterns:
                read = [find_in_path(PATH + pattern, "patient", path) for path in paths]
                if all(read[i] == name for i, name in names.items()):
                    return PATH + pattern
    return ""


Proposal = tuple[dict[int, str], list[str]]  # patient of each image; patterns to try


def _propose_folders(parts: Sequence[Sequence[str]], words: str) -> Iterator[Proposal]:
    """Levels of folders, the deepest first."""
    numbered = re.compile(_NUMBERED.format(words=words), re.IGNORECASE)
    deepest = max((len(part) for part in parts), default=1) - 1
    for level in range(deepest - 1, -1, -1):
        matches = {
            i: match
            for i, part in enumerate(parts)
            if len(part) > level + 1 and (match := numbered.fullmatch(part[level]))
        }
        if not words:
            matches = {i: m for i, m in matches.items() if _is_bare_number(m.group())}
        if _are_patients(matches, len(parts)):
            names = {i: match.group() for i, match in matches.items()}
            yield names, [*_write_patterns(matches), _write_level(level)]


def _write_level(level: int) -> str:
    return rf"^(?:[^/]+/){{{level}}}([^/]+)/" if level else "^([^/]+)/"


def _propose_files(parts: Sequence[Sequence[str]], words: str) -> Iterator[Proposal]:
    numbered = re.compile(_NUMBERED.format(words=words) + r"(?=[_.\- ])", re.IGNORECASE)
    matches = {i: match for i, part in enumerate(parts) if (match := numbered.match(part[-1]))}
    if _are_patients(matches, len(parts)):
        yield {i: match.group() for i, match in matches.items()}, _write_patterns(matches)


def _are_patients(matches: dict[int, re.Match[str]], images: int) -> bool:
    count = Counter(match.group() for match in matches.values())
    repeated = len(count) > 1 and max(count.values()) > 1
    return repeated and len(matches) >= LEAST_SHARE * images


def _is_bare_number(name: str) -> bool:
    digits = sum(sign.isdigit() for sign in name)
    return digits >= LEAST_DIGITS and not _YEAR.fullmatch(name)


def _write_patterns(matches: dict[int, re.Match[str]]) -> list[str]:
    """Patterns from simple to exact; whoever calls tries them."""
    befores = {
        re.escape(match.group(1) + match.group(2)).replace(r"\-", "-") for match in matches.values()
    }
    tails = {match.group(3) for match in matches.values()}
    if len(befores) > 1:
        return []
    before = befores.pop()
    letters = "[A-Za-z]?" if any(tail[-1].isalpha() for tail in tails) else ""
    digits: Counter[int] = Counter()
    for tail in tails:
        digits[sum(sign.isdigit() for sign in tail)] += 1
    exact = rf"\d{{{next(iter(digits))}}}" if len(digits) == 1 else r"\d+"
    simple = [rf"{before}\d+{letters}"] if before else []
    return [*simple, rf"{before}{exact}{letters}", rf"(?:^|/)({before}{exact}{letters})(?:/|_|-)"]
