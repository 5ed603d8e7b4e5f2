"""The architecture page lists every module with the first line of its docstring.

After a change:  python tests/house/test_docs_architecture.py  writes the list anew.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- modules -->\n", "<!-- end of modules -->"


def first_line(path: Path) -> str:
    """First line of a module's docstring, without the full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0].rstrip(".")


def index() -> str:
    """The list of packages and modules in Markdown."""
    lines = []
    for package in sorted(
        p.parent
        for top in ("isnet_cli", "models/isnet_models")
        for p in (ROOT / top).rglob("__init__.py")
    ):
        name = package.relative_to(ROOT).as_posix()
        lines += [f"\n**{name}** — {first_line(package / '__init__.py')}\n", "| | |", "|---|---|"]
        lines += [
            f"| `{path.name}` | {first_line(path)} |"
            for path in sorted(package.glob("*.py"))
            if path.name != "__init__.py"
        ]
    return "\n".join(lines).replace("`__` ", "") + "\n\n"


def parts() -> tuple[str, str, str]:
    """The page before, inside and after the list."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    inside, after = rest.split(END)
    return before, inside, after


def test_the_page_lists_every_module_as_it_is() -> None:
    assert parts()[1] == index()


if __name__ == "__main__":
    head, _, tail = parts()
    PAGE.write_text(head + START + index() + END + tail, encoding="utf-8")
