"""Writes ``packaging/isnet.1``, the manual page, from the commands themselves: ``make man``.

The wheel installs it as ``share/man/man1/isnet.1``, where ``man isnet`` finds it. typer makes
Markdown alone, and click-man finds no options in typer's commands.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import typer

from isnet_cli import __version__
from isnet_cli.cli.app import EPILOG, app

PAGE = Path(__file__).with_name("isnet.1")


def make_page() -> str:
    """The page in the language of man(7)."""
    root = typer.main.get_command(app)
    context = root.make_context("isnet", [], resilient_parsing=True)
    lines = [
        f'.TH ISNET 1 "" "isnet {__version__}" "User Commands"',
        ".SH NAME", rf"isnet \- {_escape(_first(root.help))}",
        ".SH SYNOPSIS", ".B isnet", r"\fIVERB\fR [\fISOURCE\fR] [\fIOPTIONS\fR]",
        ".SH DESCRIPTION", _escape(root.help or ""), ".SH OPTIONS", *_list_options(root, context),
        ".SH VERBS",
    ]  # fmt: skip
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        words = " ".join(command.collect_usage_pieces(inner))
        lines += [
            f".SS isnet {_escape(name)} {_escape(words)}", _escape(command.help or ""),
            *_list_options(command, inner),
        ]  # fmt: skip
    blocks = [block.strip() for block in EPILOG.replace("\b", "").split("\n\n")]
    codes = [line.strip() for line in blocks[0].splitlines()[1:]]
    lines += [".SH EXIT STATUS", ".nf", *map(_escape, codes), ".fi"]
    lines += [".SH NOTES", *map(_escape, blocks[1].splitlines())]
    return "\n".join(lines) + "\n"


def _list_options(command: Any, context: Any) -> list[str]:
    lines = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            lines += [".TP", rf"\fB{_escape(record[0])}\fR", _escape(record[1]) or r"\&"]
    return lines


def _first(text: str | None) -> str:
    return (text or "").split("\n")[0].rstrip(".")


def _escape(text: str) -> str:
    """Text that groff prints as it is: hyphens stay hyphens, no line is a request."""
    plain = re.sub(r"\s+", " ", text).strip().replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{plain}" if plain[:1] in (".", "'") else plain


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
