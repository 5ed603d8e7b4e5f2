"""Examples of docs/extend-lrp.md and of the engine's own README print what the pages say."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from isnet_lrp import FAMILIES
from isnet_lrp.family import _FAMILIES, list_families
from isnet_lrp.record.table import HANDLERS
from isnet_lrp.register import KINDS
from tests.house.rules import ROOT

PAGE = (ROOT / "docs/extend-lrp.md").read_text(encoding="utf-8")
README = (ROOT / "packaging/isnet_lrp/README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"<!-- example -->\n```python\n(.*?)```\s+prints\s+```\n(.*?)```", PAGE + README, re.DOTALL
)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_prints_what_the_page_says(number: int) -> None:
    code, expected = EXAMPLES[number]
    names, printed = dict(HANDLERS), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "an example", "exec"), {"__name__": "example"})  # noqa: S102 - ours
        assert printed.getvalue() == expected
    finally:  # what was registered for good
        HANDLERS.clear()
        HANDLERS.update(names)
        for name in set(list_families()) - set(FAMILIES):
            del _FAMILIES[name]


def test_every_example_is_tried_and_every_kind_of_rule_named() -> None:
    assert len(EXAMPLES) == (PAGE + README).count("```python") == 7
    for kind in KINDS:
        assert f'"{kind}"' in PAGE
