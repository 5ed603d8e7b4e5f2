"""docs/methods.md names every method and setting; the method of docs/add-a-method.md trains."""

from __future__ import annotations

import re
import sys
import types

import pytest
import torch

from isnet_cli.config.yaml_tree import parse
from isnet_models.backbones import build_backbone
from isnet_models.methods import registry, settings
from isnet_models.methods.base import Context, Method
from isnet_models.methods.registry import ENTRIES, Entry
from tests.house.rules import ROOT
from tests.models.methods.factory import batch

PAGE = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
HEAD, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)


def test_the_table_names_every_method_with_its_needs_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", HEAD, re.MULTILINE))
    assert rows == {e.name: ", ".join(e.needs) or "nothing" for e in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=registry.names())
def test_every_method_has_a_section_with_its_settings(entry: Entry) -> None:
    (section,) = [text for text in SECTIONS if text.split("\n")[0].strip("` ") == entry.name]
    kind = entry.load().Settings
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*?) \|", section, re.MULTILINE)
    given = {}
    for names, defaults in rows:
        keys = re.findall(r"`(\w+)`", names)
        cell = defaults.replace("`", "")
        each = [cell] if len(keys) == 1 else cell.split(", ")
        given |= {key: parse(f"x: {text}").value["x"] for key, text in zip(keys, each, strict=True)}
    shared = re.search(r"Settings: those of `(\w+)`\s+without ([^.]+)\.", section)
    if shared is not None:
        other = next(e for e in ENTRIES if e.name == shared[1]).settings_class()()
        left_out = set(re.findall(r"`(\w+)`", shared[2]))
        assert left_out <= set(type(other).model_fields)
        given = other.model_dump(mode="json", exclude=left_out)
    assert given == kind().model_dump(mode="json")


EXAMPLE_PAGE = (ROOT / "docs/add-a-method.md").read_text(encoding="utf-8")


def _code(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", EXAMPLE_PAGE, re.S)
    assert found is not None
    return found[1]


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> tuple[Entry, ...]:
    """The registry with the page's line, the page's file in its place."""
    space = dict(vars(settings))
    exec(compile(_code("settings"), "settings.py", "exec"), space)  # noqa: S102 - our own page
    monkeypatch.setattr(settings, "MirrorSettings", space["MirrorSettings"], raising=False)
    module = types.ModuleType("isnet_models.methods.mirror")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(_code("file"), "mirror.py", "exec"), module.__dict__)  # noqa: S102 - our own page
    line = eval(_code("line").strip().rstrip(","), {"Entry": Entry})  # noqa: S307 - our own page
    return (*ENTRIES, line)


def test_the_example_is_a_method(entries: tuple[Entry, ...]) -> None:
    assert registry.needs("mirror", entries) == {"one label"}
    kind = registry.parts("mirror", entries)[-1].load()
    assert issubclass(kind, Method)
    assert registry.parts("mirror", entries)[-1].settings_class() is kind.Settings
    with pytest.raises(ValueError, match=r"smoothing\n.*less than or equal to 1"):
        kind.Settings(smoothing=2.0)


def test_its_loss_is_the_formula_on_the_page(entries: tuple[Entry, ...]) -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    method = registry.make("mirror", Context(), entries=entries)
    found = method.losses(net, data, 0)
    y, mirrored = net(data.images), net(data.images.flip(3))
    target = torch.nn.functional.one_hot(data.labels, 3) * 0.9 + 0.1 / 3
    entropy = -(target * y.log_softmax(1)).sum(1).mean()
    expected = entropy + 0.5 * ((y - mirrored) ** 2).mean()
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-5)
    with torch.no_grad():
        assert method.losses(net, data, 0).total.item() == pytest.approx(entropy.item(), rel=1e-5)
