"""Shared options are declared once and arrive as one record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer

from isnet_cli.cli.options import RunOptions, ScreenOptions, with_options

Number = Annotated[int, typer.Option("--number", help="A number.")]


@pytest.fixture
def seen() -> list[tuple[RunOptions, int]]:
    return []


@pytest.fixture
def call(seen: list[tuple[RunOptions, int]]) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @with_options(RunOptions)
    def verb(options: RunOptions, number: Number = 1) -> int:
        """Do it."""
        seen.append((options, number))
        return number

    return app


def invoke(app: typer.Typer, *words: str) -> int:
    code = typer.main.get_command(app).main(args=list(words), standalone_mode=False)
    assert isinstance(code, int)
    return code


def test_defaults(call: typer.Typer, seen: list[tuple[RunOptions, int]]) -> None:
    assert invoke(call) == 1
    assert seen == [(RunOptions(), 1)]
    assert seen[0][0].overrides == []


def test_all_of_them(call: typer.Typer, seen: list[tuple[RunOptions, int]]) -> None:
    words = (
        "--number 4 --json -q -vv --no-progress -c a.yaml --set a=1 --set b=2 -o out -d cpu -j 0"
        " --seed 3 --no-deterministic --restart --overwrite --strict --dry-run"
    )
    assert invoke(call, *words.split()) == 4
    options, _ = seen[0]
    assert options == RunOptions(
        json=True,
        quiet=True,
        verbose=2,
        no_progress=True,
        config=Path("a.yaml"),
        set_=["a=1", "b=2"],
        output=Path("out"),
        device="cpu",
        workers=0,
        seed=3,
        deterministic=False,
        restart=True,
        overwrite=True,
        strict=True,
        dry_run=True,
    )
    assert options.overrides == ["a=1", "b=2"]


def test_the_command_keeps_name_and_help() -> None:
    @with_options(ScreenOptions)
    def verb(options: ScreenOptions) -> int:
        """Do it."""
        return 0

    assert (verb.__name__, verb.__doc__) == ("verb", "Do it.")
