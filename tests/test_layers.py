"""The architecture holds: arrows, heavy imports, sizes, state, forbidden calls, mirrors."""

from __future__ import annotations

import re

import pytest

from tests.architecture import ARROWS, CHECKS, HEAVY, ROOT, Module, imports, layer, modules, parse

MODULES = modules()
TESTS = ROOT / "tests"

# Modules whose behaviour is tested elsewhere: in which file, and why there.
VERB = ("test_cli_verbs.py", "a verb is its options and one call: tested from words to files")
NO_MIRROR: dict[str, tuple[str, str]] = {
    "isnet_cli.stages.base": ("test_stages_pipeline.py", "declarations only"),
    "isnet_cli.cli.arguments": ("test_cli_app.py", "declarations only"),
    **{
        f"isnet_cli.cli.{name}": VERB
        for name in ("check", "doctor", "evaluate", "heatmap", "ingest", "init")
    },
    **{f"isnet_cli.cli.{name}": VERB for name in ("masks", "report", "run", "train")},
}

BAD: list[tuple[str, str, str]] = [  # check, module, a snippet it must refuse
    ("arrows", "isnet_cli.data.x", "from isnet_cli.runs.files import write_text"),
    ("arrows", "isnet_cli.errors", "import isnet_cli.ports"),
    ("arrows", "isnet_cli.config.x", "from isnet_cli import data"),
    ("arrows", "isnet_cli.stages.x", "def f():\n    from isnet_cli.cli import app"),
    ("arrows", "isnet_cli.cli.x", "from isnet_cli.data.read import read_films"),
    ("arrows", "isnet_cli.export.x", "import isnet_models"),
    ("arrows", "isnet_models.x", "from isnet_cli.errors import IsnetError"),
    ("heavy", "isnet_cli.cli.x", "import torch"),
    ("heavy", "isnet_cli.cli.x", "def f():\n    import torch.nn"),
    ("heavy", "isnet_cli.cli.x", "import rich.progress"),
    ("heavy", "isnet_cli.data.codec", "try:\n    import SimpleITK\nexcept ImportError:\n    pass"),
    ("heavy", "isnet_cli.export.x", "from matplotlib.figure import Figure"),
    ("foreign", "isnet_cli.data.x", "import pickle"),
    ("foreign", "isnet_cli.export.x", "from matplotlib import pyplot as plt"),
    ("foreign", "isnet_cli.data.x", "from urllib.request import urlopen"),
    ("foreign", "isnet_models.lrp.graph", "from pathlib import Path"),
    ("foreign", "isnet_models.x", "import zennit"),
    ("calls", "isnet_cli.x", "eval('1')"),
    ("calls", "isnet_cli.x", "import yaml\nyaml.load(text, Loader)"),
    ("calls", "isnet_cli.x", "torch.load(path)"),
    ("calls", "isnet_cli.x", "torch.load(path, weights_only=False)"),
    ("calls", "isnet_cli.x", "subprocess.run(words, shell=True)"),
    ("calls", "isnet_cli.x", "archive.extractall(folder)"),
    ("calls", "isnet_cli.x", "np.load(path, allow_pickle=True)"),
    ("size", "isnet_cli.x", "x = 1\n" * 501),
    ("size", "isnet_cli.x", "def f():\n" + "    x = 1\n" * 80),
    ("state", "isnet_cli.x", "cache = {}"),
    ("state", "isnet_cli.x", "seen: list[int] = []"),
    ("state", "isnet_cli.x", "def f():\n    global x\n    x = 1"),
    ("state", "isnet_cli.x", "TABLE = {}\ndef f(k):\n    TABLE[k] = 1"),
    ("state", "isnet_cli.x", "NAMES = []\ndef f(k):\n    NAMES.append(k)"),
    ("docstrings", "isnet_cli.x", "def f():\n    pass"),
    ("docstrings", "isnet_cli.x", '"""Doc."""\ndef f():\n    pass'),
    ("docstrings", "isnet_cli.x", '"""Doc."""\nclass A:\n    """Doc."""\n    def f(self): ...'),
]
GOOD: list[tuple[str, str, str]] = [
    ("arrows", "isnet_cli.stages.x", "import isnet_models\nfrom isnet_cli.data import read"),
    ("heavy", "isnet_cli.runs.runtime", "def f():\n    import torch"),
    (
        "heavy",
        "isnet_cli.data.x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
    ),
    ("calls", "isnet_cli.x", "torch.load(path, weights_only=True)\nre.compile('x')"),
    ("state", "isnet_cli.x", "TABLE = {'a': 1}\ndef f():\n    table = {}\n    table['a'] = 1"),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path)
def test_module_keeps_the_rule(module: Module, check: str) -> None:
    assert CHECKS[check](module) == []


@pytest.mark.parametrize(("check", "name", "code"), BAD)
def test_every_rule_can_fail(check: str, name: str, code: str) -> None:
    assert CHECKS[check](parse(name, code))


@pytest.mark.parametrize(("check", "name", "code"), GOOD)
def test_rules_let_good_code_pass(check: str, name: str, code: str) -> None:
    assert CHECKS[check](parse(name, code)) == []


def test_every_check_has_a_bad_example() -> None:
    assert {check for check, _, _ in BAD} == set(CHECKS)


def test_every_layer_is_in_the_table() -> None:
    found = {layer(m.name) for m in MODULES if m.name.startswith("isnet_cli.")}
    assert found - {"__init__"} == set(ARROWS)


def test_the_heavy_table_names_no_library_in_vain() -> None:
    used = {entry.name.split(".")[0] for module in MODULES for entry in imports(module)}
    assert set(HEAVY) <= used


def test_nothing_imports_the_tests_or_the_folder_of_models() -> None:
    used = {entry.name.split(".")[0] for module in MODULES for entry in imports(module)}
    assert not used & {"tests", "models", "benchmarks"}


def mirrors(name: str) -> list[str]:
    """Test files that may mirror a module."""
    stem = name.replace("isnet_cli.", "", 1).replace("isnet_models", "models", 1).replace(".", "_")
    return [path.name for path in TESTS.glob("test_*.py") if _fits(path.stem, stem)]


def _fits(test: str, stem: str) -> bool:
    return re.fullmatch(rf"test_{re.escape(stem)}(_\w+)?", test) is not None


@pytest.mark.parametrize(
    "name", [m.name for m in MODULES if not m.name.endswith("__init__") and m.name not in NO_MIRROR]
)
def test_every_module_has_its_test_file(name: str) -> None:
    assert mirrors(name), f"{name} has no mirror under tests/"


def test_exceptions_from_the_mirror_are_needed() -> None:
    names = {module.name for module in MODULES}
    assert set(NO_MIRROR) <= names
    assert [name for name in NO_MIRROR if mirrors(name)] == []
    assert [name for name, (file, _) in NO_MIRROR.items() if not (TESTS / file).is_file()] == []
    assert all(reason for _, reason in NO_MIRROR.values())
