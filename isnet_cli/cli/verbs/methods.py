"""The training methods as a table: what each does, what it needs, its settings."""

from __future__ import annotations

import json
import textwrap
from dataclasses import fields
from typing import Any

from isnet_cli.cli.session import Result
from isnet_models.methods import registry

WIDTH = 100  # of a line
TIED = "\N{NO-BREAK SPACE}"


def methods_result() -> Result:
    """All methods and additions, for `isnet train --list-methods`."""
    found = [_described(entry) for entry in registry.ENTRIES]
    width = max(len(one["name"]) for one in found)
    lines = []
    for addition, title in ((False, "methods"), (True, "additions: METHOD+ADDITION")):
        chosen = [one for one in found if one["addition"] == addition]
        if chosen:
            lines += [title, *(line for one in chosen for line in _lines(one, width))]
    lines += ["", "settings go under train.settings.NAME; those of the ISNet's loss are the keys",
              "of train.heatmap_loss"]  # fmt: skip
    return Result({"methods": found}, "\n".join(lines))


def _described(entry: registry.Entry) -> dict[str, Any]:
    kind = entry.load()
    names = [field.name for field in fields(kind.Settings)]
    return {
        "name": entry.name,
        "addition": entry.addition,
        "summary": entry.summary,
        "source": entry.source,
        "needs": [registry.NEEDS[need] for need in entry.needs],
        "explains": entry.explains,
        "own_network": entry.own_network,
        "settings": {name: getattr(kind.Settings(), name) for name in names},
    }


def _lines(one: dict[str, Any], width: int) -> list[str]:
    lines = [f"  {one['name']:<{width}}  {one['summary']}"]
    blank = " " * (width + 4)
    if one["source"]:
        lines += _wrapped(f"source: {one['source']}", blank)
    if one["needs"]:
        lines += _wrapped(f"needs: {'; '.join(one['needs'])}", blank)
    if one["own_network"]:
        lines.append(f"{blank}has a network of its own: model.arch is not used")
    if one["settings"]:
        pairs = [f"{name}: {json.dumps(value)}" for name, value in one["settings"].items()]
        whole = [pair.replace(" ", TIED) for pair in pairs]  # no line ends inside a setting
        lines += [
            line.replace(TIED, " ") for line in _wrapped(f"settings: {', '.join(whole)}", blank)
        ]
    return lines


def _wrapped(text: str, blank: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=blank, subsequent_indent=f"{blank}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
