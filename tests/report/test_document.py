"""The document: every kind of block has a kind of its own and a place in the template."""

import dataclasses
from importlib import resources
from typing import get_args

import pytest

from isnet_cli.report.document import Block, Notice, Report, Section


def test_each_block_has_its_own_kind_and_the_template_knows_it() -> None:
    kinds = [block.kind for block in get_args(Block)]
    assert len(set(kinds)) == len(kinds) == 10
    folder = resources.files("isnet_cli.report") / "templates"
    template = (folder / "report.html.j2").read_text(encoding="utf-8")
    assert [kind for kind in kinds if f'block.kind == "{kind}"' not in template] == []


def test_a_report_is_frozen() -> None:
    report = Report("t", "s", [Section("a", "A", [Notice("n")])])
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.title = "other"  # type: ignore[misc]
