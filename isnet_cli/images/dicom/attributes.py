"""Attributes of a data set, whatever stands in their elements: nothing here raises."""

from __future__ import annotations

from typing import Any

Padding = tuple[int, int]


def read_value(ds: Any, keyword: str) -> Any:
    """An attribute's value; None where it is missing, empty or cannot be converted."""
    try:
        value = ds.get(keyword)
        empty = value is None or value == "" or (hasattr(value, "__len__") and not len(value))
    except Exception:  # pydicom converts on first access and raises what it likes
        return None
    return None if empty else value


def read_text(ds: Any, keyword: str) -> str:
    """A single text value without surrounding blanks; empty when missing, multiple or odd."""
    value = read_value(ds, keyword)
    return str(value).strip("\x00 \t\r\n") if isinstance(value, (str, int, float)) else ""


def read_items(ds: Any, keyword: str) -> list[Any]:
    """The items of a sequence that hold something; none where it is no sequence."""
    from pydicom.dataset import Dataset

    value = read_value(ds, keyword)
    try:
        return [item for item in value or () if isinstance(item, Dataset) and len(item)]
    except Exception:  # an item that cannot be converted
        return []


def read_numbers(ds: Any, keyword: str) -> list[float]:
    """All values of a decimal or whole attribute that are numbers, in order."""
    value = read_value(ds, keyword)
    several = hasattr(value, "__len__") and not isinstance(value, (str, bytes))
    numbers = []
    for part in value if several else [value]:
        try:
            numbers.append(float(part))
        except (TypeError, ValueError):
            continue
    return numbers


def has_embedded_overlay(ds: Any) -> bool:
    """Whether an overlay lies in unused bits of the pixels (PS3.3 2004, C.9.2; now retired)."""
    for group in range(0x6000, 0x6020, 2):
        try:
            declared = (group, 0x0100) in ds or (group, 0x0102) in ds
        except Exception:  # no data set
            return False
        if declared and (group, 0x3000) not in ds:
            return True
    return False
