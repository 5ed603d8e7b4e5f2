"""The rules of docs/architecture.md hold, and each of them can fail."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Mapping

import pytest

from tests.house.rules import ARROWS, CHECKS, check_dependencies, folder, modules, parse
from tests.support.paths import ROOT

BAD: list[tuple[str, str, str]] = [  # check, module, a snippet it must refuse
    ("arrows", "isnet_cli.images.x", "from isnet_cli.labels.join import join"),
    ("arrows", "isnet_cli.errors", "import isnet_cli.core"),
    ("arrows", "isnet_cli.config.x", "from isnet_cli import core"),
    ("arrows", "isnet_cli.train.x", "def f():\n    from isnet_cli.cli import app"),
    ("arrows", "isnet_cli.masks.x", "from isnet_cli.heatmap.dicom import region"),
    ("arrows", "isnet_cli.evaluate.x", "from isnet_cli.train.setup import build_net"),
    ("arrows", "isnet_cli.images.x", "import isnet_models"),
    ("arrows", "isnet_cli.cli.x", "from isnet_models.backbones import build_backbone"),
    ("arrows", "isnet_cli.core.x", "import tests"),
    ("arrows", "isnet_models.x", "from isnet_cli.errors import IsnetError"),
    ("arrows", "isnet_models.x", "import numpy"),
    ("arrows", "isnet_lrp.x", "import isnet_models"),
    ("arrows", "isnet_lrp.x", "def f():\n    import torchvision"),
    ("heavy", "isnet_cli.cli.x", "import torch"),
    ("heavy", "isnet_cli.cli.x", "import rich.progress"),
    ("heavy", "isnet_cli.images.x", "try:\n    import SimpleITK\nexcept ImportError:\n    pass"),
    ("foreign", "isnet_cli.images.x", "import pickle"),
    ("foreign", "isnet_cli.output.x", "from matplotlib import pyplot as plt"),
    ("foreign", "isnet_cli.images.x", "from urllib.request import urlopen"),
    ("foreign", "isnet_lrp.record.graph", "from pathlib import Path"),
    ("foreign", "isnet_models.x", "import zennit"),
    ("calls", "isnet_cli.x", "eval('1')"),
    ("calls", "isnet_cli.x", "import yaml\nyaml.load(text, Loader)"),
    ("calls", "isnet_cli.x", "torch.load(path)"),
    ("calls", "isnet_cli.x", "torch.load(path, weights_only=False)"),
    ("calls", "isnet_cli.x", "subprocess.run(words, shell=True)"),
    ("calls", "isnet_cli.x", "archive.extractall(folder)"),
    ("calls", "isnet_cli.x", "np.load(path, allow_pickle=True)"),
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
    ("arrows", "isnet_cli.train.x", "import isnet_models\nfrom isnet_cli.images import read"),
    ("arrows", "isnet_cli.cli.x", "from isnet_models.methods import registry"),
    ("heavy", "isnet_cli.core.runtime", "def f():\n    import torch"),
    (
        "heavy",
        "isnet_cli.images.x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
    ),
    ("calls", "isnet_cli.x", "torch.load(path, weights_only=True)\nre.compile('x')"),
    ("state", "isnet_cli.x", "TABLE = {'a': 1}\ndef f():\n    table = {}\n    table['a'] = 1"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_every_module_keeps_the_rule(check: str) -> None:
    assert [fault for module in modules() for fault in CHECKS[check](module)] == []


@pytest.mark.parametrize(("check", "name", "code"), BAD)
def test_every_rule_can_fail(check: str, name: str, code: str) -> None:
    assert CHECKS[check](parse(name, code))


@pytest.mark.parametrize(("check", "name", "code"), GOOD)
def test_rules_let_good_code_pass(check: str, name: str, code: str) -> None:
    assert CHECKS[check](parse(name, code)) == []


def test_every_folder_is_in_the_table() -> None:
    found = {folder(m.name) for m in modules() if m.name.startswith("isnet_cli.")}
    assert found - {"__init__"} == set(ARROWS)


def import_names(requirements: list[str], provided: Mapping[str, list[str]]) -> set[str]:
    """Names under which the distributions of `requirements` are imported, as installed here."""
    wanted = {
        re.split(r"[<>=!~\[; ]", entry)[0].lower().replace("_", "-") for entry in requirements
    }
    return {
        name
        for name, distributions in provided.items()
        if any(d.lower().replace("_", "-") in wanted for d in distributions)
    }


def test_every_imported_distribution_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    provided = importlib.metadata.packages_distributions()
    declared = import_names(project["dependencies"], provided)
    others = [entry for name, entries in extras.items() if name != "dev" for entry in entries]
    optional = import_names(others, provided)
    faults = [f for module in modules() for f in check_dependencies(module, declared, optional)]
    assert faults == []
    undeclared = parse("isnet_cli.x", "import pandas")
    assert check_dependencies(undeclared, declared, optional)
    at_the_top = parse("isnet_cli.x", "import highdicom")
    assert check_dependencies(at_the_top, declared - {"highdicom"}, {"highdicom"})
