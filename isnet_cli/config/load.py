"""A YAML file, command-line options and ``--set`` pairs to a checked `Config`, and back to YAML."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from isnet_cli import __version__
from isnet_cli.config import yaml_tree
from isnet_cli.config.checks import check
from isnet_cli.config.explain import explain
from isnet_cli.config.schema import Config, Section
from isnet_cli.config.yaml_tree import Key, Problem
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_bytes

PATHS: tuple[tuple[str, ...], ...] = (  # keys whose values are paths; "*" is any name
    ("upstream",),
    ("data", "images"),
    ("data", "labels", "file"),
    ("data", "collections", "*", "images"),
    ("data", "collections", "*", "labels", "file"),
    ("data", "privacy", "salt_file"),
    ("data", "sets", "*", "images"),
    ("data", "sets", "*", "labels", "file"),
    ("masks", "files"),
    ("masks", "model"),  # a shipped network's name, or a file that ends in WEIGHTS
    ("model", "pretrained"),
    ("train", "settings", "*", "teacher"),
    ("evaluate", "model"),
    ("evaluate", "annotations"),
    ("evaluate", "annotations", "*"),
    ("predict", "model"),
    ("heatmap", "model"),
)
# Choices of numbers, where Python takes true for 1:
NUMBERS: tuple[Key, ...] = (("version",), ("model", "channels"))
WEIGHTS = ".safetensors"
WORDS: Mapping[tuple[str, ...], str] = {  # what a path may be instead: see `schema.Word`
    ("data", "labels", "file"): "folders",
    ("data", "collections", "*", "labels", "file"): "folders",
    ("data", "sets", "*", "labels", "file"): "folders",
    ("masks", "files"): "auto",
    ("model", "pretrained"): "none",
    ("evaluate", "model"): "own",
    ("evaluate", "annotations"): "none",
    ("predict", "model"): "own",
    ("heatmap", "model"): "own",
}
MAX_LINES = 50  # of one error message
Tree = TypeVar("Tree", bound=Section)


@dataclass(frozen=True)
class Form(Generic[Tree]):
    """What one kind of configuration file is.

    Attributes:
        kind: The root section.
        paths: Keys whose values are paths, "*" being any name.
        numbers: Choices of numbers, where Python takes true for 1.
        rules: Faults of several keys at once, as key and sentence.
        retry: Command that reads the file again.
        names: Those of `paths` that may also name a shipped network: what does not end in WEIGHTS.
    """

    kind: type[Tree]
    paths: tuple[tuple[str, ...], ...]
    numbers: tuple[Key, ...]
    rules: Callable[[Tree], list[tuple[Key, str]]]
    retry: str
    names: tuple[Key, ...] = ()


PIPELINE = Form(Config, PATHS, NUMBERS, check, "isnet check", names=(("masks", "model"),))


@dataclass(frozen=True)
class Option:
    """A value typed on the command line.

    Attributes:
        flag: As the user typed it (``--epochs``), for messages.
        key: Dotted key of the configuration.
        value: Of the right Python type; paths relative to the working folder.
    """

    flag: str
    key: str
    value: Any


@dataclass
class _Draft:
    """The tree before validation, with the origin of each key."""

    value: dict[str | int, Any] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)
    bases: dict[Key, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    name: str = "command line"
    retry: str = PIPELINE.retry

    def origin(self, key: Key) -> str:
        """Origin of a key or of its nearest known parent."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.origins[key[:length]]
        below = (origin for known, origin in self.origins.items() if known[: len(key)] == key)
        return next(below, self.name)

    def base(self, key: Key) -> Path:
        """Folder that relative paths under a key start from."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.bases:
                return self.bases[key[:length]]
        return Path.cwd()


def load(
    path: Path | None,
    overrides: Sequence[str] = (),
    options: Iterable[Option] = (),
) -> Config:
    """Reads a configuration; later origins win: defaults, file, options, ``--set`` pairs.

    Args:
        path: YAML file, or None for defaults.
        overrides: ``key=value`` pairs; the value is a YAML scalar or flow collection.
        options: Values of command-line options.

    Raises:
        IsnetError: Kind "config", with every fault as ``file:line: key: message``.
    """
    return load_form(PIPELINE, path, overrides, options)


def load_form(
    form: Form[Tree],
    path: Path | None,
    overrides: Sequence[str] = (),
    options: Iterable[Option] = (),
) -> Tree:
    """As `load`, for any kind of configuration file."""
    draft = _read(path)
    draft.retry = form.retry
    for option in options:
        _assign(draft, option.key, option.value, option.flag)
    for pair in overrides:
        _override(draft, pair)
    return _validate(draft, form)


def dump(config: Section) -> str:
    """The resolved tree as YAML, all defaults written out; `load` reads it back to an equal one."""
    head = f"# isnet {__version__}: resolved configuration, all defaults written out\n"
    return head + yaml_tree.write(plain(config))


def plain(config: Section) -> dict[str, Any]:
    """The configuration as dict, list, str, int, float, bool and None."""
    tree: dict[str, Any] = _plain(config.model_dump())
    return tree


def rooted(key: str, value: Any, base: Path) -> Any:
    """`value` of the dotted `key` with its relative paths made absolute, starting at `base`."""
    draft = _Draft()
    _assign(draft, key, copy.deepcopy(value), "")
    draft.bases = {key_[:1]: base for key_ in draft.bases}
    for pattern in PATHS:
        _absolute(draft, draft.value, pattern, PIPELINE.names)
    return _at(draft.value, tuple(key.split(".")))


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys whose values differ between two plain trees."""
    found = []
    for name in dict.fromkeys([*old, *new]):
        left, right = old.get(name), new.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            found += changed_keys(left, right, f"{prefix}{name}.")
        elif left != right:
            found.append(f"{prefix}{name}")
    return found


def json_schema() -> dict[str, Any]:
    """JSON Schema of the configuration, for the completion of editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "isnet.yaml",
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _read(path: Path | None) -> _Draft:
    if path is None:
        return _Draft()
    name = _short(path)
    tree = yaml_tree.parse(_text(path, name))
    draft = _Draft(name=name)
    for line, key, message in tree.problems:
        draft.problems.append(Problem(f"{name}:{line}", dotted(key), message))
    draft.origins = {key: f"{name}:{line}" for key, line in tree.lines.items()}
    base = Path(os.path.abspath(path)).parent
    draft.bases = {key: base for key in tree.lines if len(key) == 1}
    if isinstance(tree.value, dict):
        draft.value = tree.value
    elif tree.value is not None:
        draft.problems.append(Problem(f"{name}:1", "", "expected 'key: value' lines at the top"))
    return draft


def _text(path: Path, name: str) -> str:
    try:
        content = read_bytes(path, 4 * yaml_tree.MAX_CHARACTERS)
    except OSError as error:
        reason = "a folder" if path.is_dir() else (error.strerror or "unreadable").lower()
        raise IsnetError(
            "config",
            f"{name}: {reason}, expected a YAML file",
            fix="isnet init DIR writes one",
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise IsnetError(
            "config", f"{name}:{line}: not UTF-8 text", fix="save the file as UTF-8"
        ) from error


def _override(draft: _Draft, pair: str) -> None:
    name, sign, text = pair.partition("=")
    if not sign or not name.strip():
        draft.problems.append(
            Problem(f"--set {pair}", "", "expected KEY=VALUE, as in --set train.epochs=30")
        )
        return
    tree = yaml_tree.parse(text)
    for _, key, message in tree.problems:
        draft.problems.append(
            Problem(f"--set {name.strip()}", dotted(key), message.replace(" on line 1", ""))
        )
    _assign(draft, name.strip(), tree.value, "--set")


def _assign(draft: _Draft, name: str, value: Any, flag: str) -> None:
    key: Key = tuple(name.split("."))
    here = draft.value
    for part in key[:-1]:
        inner = here.get(part)
        if not isinstance(inner, dict):
            inner = here[part] = {}
        here = inner
    here[key[-1]] = value
    for table in (draft.origins, draft.bases):
        for inner_key in [known for known in table if known[: len(key)] == key]:
            del table[inner_key]
    draft.origins[key] = flag
    draft.bases[key] = Path.cwd()


def _validate(draft: _Draft, form: Form[Tree]) -> Tree:
    for pattern in form.paths:
        _absolute(draft, draft.value, pattern, form.names)
    for key in form.numbers:
        if _at(draft.value, key) is True:
            message = "found true, expected a number"
            draft.problems.append(Problem(draft.origin(key), dotted(key), message))
    config = None
    try:
        config = form.kind.model_validate(draft.value)
    except ValidationError as error:
        for key, message in explain(error, draft.value, form.kind):
            draft.problems.append(Problem(draft.origin(key), dotted(key), message))
    if config is not None:
        for key, message in form.rules(config):
            draft.problems.append(Problem(draft.origin(key), dotted(key), message))
    if draft.problems or config is None:
        raise _refusal(draft)
    return config


def _at(tree: Any, key: Key) -> Any:
    for part in key:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _absolute(
    draft: _Draft,
    here: Any,
    pattern: tuple[str, ...],
    may_be_names: tuple[Key, ...],
    key: Key = (),
) -> None:
    if not isinstance(here, dict):
        return
    part = pattern[len(key)]
    names = list(here) if part == "*" else [part] if part in here else []
    for name in names:
        inner = (*key, name)
        if len(inner) < len(pattern):
            _absolute(draft, here[name], pattern, may_be_names, inner)
        elif here[name] == WORDS.get(pattern, here) or (
            inner in may_be_names and not str(here[name]).endswith(WEIGHTS)
        ):
            continue
        elif isinstance(here[name], str):
            here[name] = _join(draft, inner, here[name])
        elif isinstance(here[name], list):
            here[name] = [
                _join(draft, inner, item) if isinstance(item, str) else item for item in here[name]
            ]


def _join(draft: _Draft, key: Key, text: str) -> str:
    if not text.strip():
        message = "an empty path; leave the key out"
        draft.problems.append(Problem(draft.origin(key), dotted(key), message))
        return text
    if text.startswith("~"):
        message = f"found '{text}': ~ is not expanded, write the whole path"
        draft.problems.append(Problem(draft.origin(key), dotted(key), message))
    whole = os.path.normpath(draft.base(key) / text)
    long = len(os.fsencode(whole)) > 4000 or any(
        len(os.fsencode(part)) > 255 for part in whole.split(os.sep)
    )
    if "\0" in text or long:
        what = "a path longer than file systems allow" if long else "a path with a null byte"
        draft.problems.append(Problem(draft.origin(key), dotted(key), f"found {what}"))
    return whole


def _refusal(draft: _Draft) -> IsnetError:
    first = {(problem.where, problem.key): problem for problem in reversed(draft.problems)}
    lines = [problem.line() for problem in sorted(first.values(), key=_place)]
    fix = f"{draft.retry} {draft.name} tries again" if draft.name.endswith(("yaml", "yml")) else ""
    return refusal(draft.name, lines, fix)


def refusal(name: str, faults: Sequence[str], fix: str) -> IsnetError:
    """One error that names all faults, up to `MAX_LINES`, of the file called `name`."""
    if len(faults) == 1:
        return IsnetError("config", faults[0], fix=fix)
    shown = list(faults[:MAX_LINES])
    if len(faults) > MAX_LINES:
        shown.append(f"... and {len(faults) - MAX_LINES} more")
    return IsnetError("config", f"{name}: {len(faults)} faults", details=tuple(shown), fix=fix)


def _place(problem: Problem) -> tuple[str, int, str]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line), problem.key) if line.isdigit() else (problem.where, 0, problem.key)


def dotted(key: Key) -> str:
    """A key as users write it: ``data.sets.train.fraction``, ``data.images[2]``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _short(path: Path) -> str:
    full = Path(os.path.abspath(path))
    try:
        return str(full.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
