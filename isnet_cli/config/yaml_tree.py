"""Strict YAML: text to a plain tree that knows the line of each key, and a tree back to text.

Scalars follow the YAML 1.2 core schema (``1e-3`` is a number, ``017`` is seventeen); duplicate
keys, tags, the words yes/no/on/off and documents that expand without measure are refused.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from isnet_cli.text.forms import escape_in_quotes, for_line

Key = tuple[str | int, ...]

MAX_CHARACTERS = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 40
MAX_DIGITS = 100  # of a number

_BASE = "tag:yaml.org,2002:"
_WORD = "tag:isnet:word"  # yes/no/on/off: booleans of YAML 1.1, words of YAML 1.2
_SCALARS = (
    (f"{_BASE}null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (f"{_BASE}bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (f"{_BASE}int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        f"{_BASE}float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    (_WORD, r"(?i:yes|no|on|off)", list("yYnNoO")),
)


@dataclass(frozen=True)
class Problem:
    """One fault of a configuration: where (file, line or option), which key, what is wrong."""

    where: str
    key: str
    message: str

    def line(self) -> str:
        """The fault as ``where: key: message``."""
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


@dataclass
class Tree:
    """A parsed document.

    Attributes:
        value: Plain Python: dict, list, str, int, float, bool, None.
        lines: Line (from 1) of each key and list item.
        problems: Faults as ``(line, key, message)``; empty when the document is good.
    """

    value: Any = None
    lines: dict[Key, int] = field(default_factory=dict)
    problems: list[tuple[int, Key, str]] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with YAML 1.2 scalars and without tags."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own protocol

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, f"tag {event.tag!r} is not allowed", event.start_mark
            )
        return super().compose_node(parent, index)


class _FastLoader(_Loader):
    """The same nodes from the events of libyaml, in a sixth of the time."""

    def __init__(self, text: str) -> None:
        yaml.composer.Composer.__init__(self)
        yaml.resolver.Resolver.__init__(self)
        events = yaml.CSafeLoader(text)
        for name in ("check_event", "peek_event", "get_event"):
            setattr(self, name, getattr(events, name))


_HALF = re.compile(r"[\ud800-\udfff]")
_LONE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")  # others: bytes of names (PEP 383)

# where libyaml may read more than PyYAML's own parser: control characters, breaks other than a
# line feed, byte order marks, characters beyond the first plane, block text, directives, '?'
_OTHERWISE = re.compile(r"[^\n\x20-\x7e\xa0-\u1fff\u2030-\ud7ff]|[|>%?]")


class _Dumper(yaml.SafeDumper):
    """PyYAML's emitter; quotes exactly those strings that `_Loader` would take for another type."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own protocol

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_list(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    flow = not any(isinstance(item, (dict, list)) for item in data)
    return dumper.represent_sequence(f"{_BASE}seq", data, flow_style=flow)


def _represent_text(dumper: _Dumper, data: str) -> yaml.Node:
    # PyYAML does not escape every line break in its other styles
    style = None if data.isprintable() and for_line(data) == data else '"'
    return dumper.represent_scalar(f"{_BASE}str", data, style=style)


for _tag, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)


def parse(text: str) -> Tree:
    """Parses one YAML document; faults are collected in the result, never raised."""
    tree = Tree()
    if len(text) > MAX_CHARACTERS:
        tree.problems.append((1, (), f"more than {MAX_CHARACTERS} characters"))
        return tree
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tree.problems.append((mark.line + 1 if mark else 1, (), _syntax(error)))
        return tree
    except yaml.YAMLError as error:
        tree.problems.append((1, (), f"not YAML text ({str(error).splitlines()[0]})"))
        return tree
    except RecursionError:
        tree.problems.append((1, (), f"nested deeper than {MAX_DEPTH} levels"))
        return tree
    if node is not None:
        builder = _Builder(tree)
        tree.value = builder.build(node, ())
    return tree


def write(value: Any, *, width: int = 96) -> str:
    """YAML text of a plain tree, folded at `width` columns; `parse` reads it back the same.

    What is unseen or acts on a terminal is an escape in double quotes.
    """
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=width,
    )
    return escape_in_quotes(text)


def _compose(text: str) -> yaml.Node | None:
    if yaml.__with_libyaml__ and not _OTHERWISE.search(text):
        with contextlib.suppress(yaml.YAMLError, UnicodeError):
            return _FastLoader(text).get_single_node()
    return _Loader(text).get_single_node()  # words every fault, with libyaml and without


class _Builder:
    """Turns PyYAML's nodes into plain values, with limits on what aliases may expand to."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.nodes = 0

    def build(self, node: yaml.Node, key: Key) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(key) > MAX_DEPTH:
            if self.nodes <= MAX_NODES + 1 or len(key) > MAX_DEPTH:
                self._fault(node, (), f"more than {MAX_NODES} values or {MAX_DEPTH} levels")
            self.nodes = max(self.nodes, MAX_NODES + 1)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, key)
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str | int, Any]:
        found: dict[str | int, Any] = {}
        for name_node, value_node in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                self._fault(name_node, key, "a key must be a word")
                continue
            name = self._scalar(name_node, key)
            if isinstance(name, bool) or not isinstance(name, (str, int)):
                self._fault(name_node, key, f"key {name_node.value!r}: write it in quotes")
                continue
            inner = (*key, name)
            if name in found:
                line = self.tree.lines[inner]
                self._fault(name_node, inner, f"duplicate key, first on line {line}")
                continue
            self.tree.lines[inner] = name_node.start_mark.line + 1
            found[name] = self.build(value_node, inner)
        return found

    def _sequence(self, node: yaml.SequenceNode, key: Key) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self.tree.lines[*key, index] = item.start_mark.line + 1
            items.append(self.build(item, (*key, index)))
        return items

    def _scalar(self, node: yaml.Node, key: Key) -> Any:
        text, tag = str(node.value), node.tag
        if tag == _WORD:
            truth = "true" if text.lower() in {"yes", "on"} else "false"
            self._fault(
                node, key, f"found {text}: write {truth}, or '{text}' in quotes for the word"
            )
            return text
        if tag == f"{_BASE}null":
            return None
        if tag == f"{_BASE}bool":
            return text.lower() == "true"
        if tag in (f"{_BASE}int", f"{_BASE}float") and len(text) > MAX_DIGITS:
            self._fault(node, key, f"a number of {len(text)} digits, expected {MAX_DIGITS} at most")
            text = "0"
        if tag == f"{_BASE}int":
            return int(text, 8 if text[:2] == "0o" else 16 if text[:2] == "0x" else 10)
        if tag == f"{_BASE}float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return self._join_halves(node, key, text)

    def _join_halves(self, node: yaml.Node, key: Key, text: str) -> str:
        """JSON writes a character beyond the first plane as two escapes, which are one character.

        A half alone is no character, but for those that stand for bytes of a file's name.
        """
        if not _HALF.search(text):
            return text
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        if _LONE.search(text):
            self._fault(node, key, "half a character (\\ud800 to \\udfff), expected text")
            return ""
        return text

    def _fault(self, node: yaml.Node, key: Key, message: str) -> None:
        self.tree.problems.append((node.start_mark.line + 1, key, message))


def _syntax(error: yaml.MarkedYAMLError) -> str:
    parts = [str(part).strip() for part in (error.context, error.problem) if part]
    return f"not valid YAML ({', '.join(parts)})"
