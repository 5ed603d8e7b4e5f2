"""Turns pydantic's errors into one sentence per key: found, expected, did you mean."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from isnet_cli.config.schema import Config, PerMethod
from isnet_cli.config.yaml_tree import Key

LONGEST = 60  # characters of a found value that a message shows


def explain(
    error: ValidationError, tree: Any, root: type[BaseModel] = Config
) -> list[tuple[Key, str]]:
    """Keys and messages of a failed validation of `tree`, one per key, in the order of the file."""
    found: dict[Key, list[str]] = {}
    for item in error.errors(include_url=False, include_context=True):
        key = locate(item["loc"], tree)
        text = _sentence(item, key, root)
        name, mark, rest = text.partition(": ")  # several keys together: the text names one
        if item["type"] == "value_error" and mark and name in _names(_value(tree, key)):
            key, text = (*key, name), rest
        if text not in found.setdefault(key, []):
            found[key].append(text)
    return [(key, _together(texts, _value(tree, key))) for key, texts in found.items()]


def locate(loc: tuple[int | str, ...], tree: Any) -> Key:
    """The part of pydantic's location that exists in `tree`; branches of unions are left out."""
    key: list[int | str] = []
    here = tree
    for part in loc:
        listed = isinstance(here, (list, tuple)) and isinstance(part, int) and part < len(here)
        if listed or (isinstance(here, dict) and part in here):
            here = here[part]
            key.append(part)
    return tuple(key)


def known_keys(key: Key, root: type[BaseModel] = Config) -> list[str]:
    """Names that the section at `key` below `root` has; empty when `key` is no section."""
    model: type[BaseModel] | None = root
    rest = list(key)
    while rest and model is not None:
        name = rest.pop(0)
        info = model.model_fields.get(str(name))
        if info is None:
            return []
        if any(isinstance(mark, PerMethod) for mark in info.metadata):
            if not rest:
                return list(PerMethod.classes())
            model = PerMethod.classes().get(str(rest.pop(0)))
            continue
        annotation = info.annotation
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1] if rest else None
            rest = rest[1:]
        model = next(_sections(annotation), None)
    return list(model.model_fields) if model is not None else []


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType):
        for branch in get_args(annotation):
            yield from _sections(branch)


def _sentence(item: Any, key: Key, root: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        return _unknown(key, root)
    if item["type"] in {"value_error", "assertion_error"}:
        return str(item["ctx"]["error"])
    message = str(item["msg"])
    if item["type"] == "missing":
        return "expected one value more"
    if item["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return "expected 'key: value' lines below"
    if item["type"] == "string_pattern_mismatch" and key[-1:] == ("device",):
        return "expected auto, cpu, mps, cuda or cuda:N"
    return message.replace("Input should be", "expected", 1).replace("Input should", "should", 1)


def _unknown(key: Key, root: type[BaseModel]) -> str:
    names = known_keys(key[:-1], root)
    close = difflib.get_close_matches(str(key[-1]), names, n=1, cutoff=0.6)
    if close:
        return f"unknown key, did you mean '{close[0]}'?"
    where = f"'{key[-2]}'" if len(key) > 1 else "the top level"
    return f"unknown key; {where} has {', '.join(names)}"


def _together(texts: list[str], value: Any) -> str:
    plain = [text for text in texts if not text.startswith("expected")]
    wanted = [text.removeprefix("expected ") for text in texts if text.startswith("expected")]
    if not wanted:
        return "; ".join(plain)
    hint = ""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and any("string" in text for text in wanted):
        hint = "; write it in quotes to make it a word"
    if isinstance(value, str) and any("number" in text or "integer" in text for text in wanted):
        hint = "; numbers stand without quotes"
    return "; ".join([*plain, f"found {_show(value)}, expected {' or '.join(wanted)}{hint}"])


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, dict) else []


def _value(tree: Any, key: Key) -> Any:
    for part in key:
        tree = tree[part]
    return tree


def _show(value: Any) -> str:
    text = (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    )
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
