"""What `isnet_lrp` offers, and that importing it loads torch and nothing else of this project."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import isnet_lrp

LOADED = """
import sys
import torch
before = set(sys.modules)
import isnet_lrp
print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))
"""


def test_every_public_name_can_be_imported() -> None:
    for name in isnet_lrp.__all__:
        assert getattr(isnet_lrp, name) is not None
    assert {"relevance", "heatmap_loss", "HeatmapLossSettings"} <= set(isnet_lrp.__all__)


def test_no_module_hides_a_name_of_its_package() -> None:
    """After all modules were imported, every public name is still what it was."""
    public = {name: getattr(isnet_lrp, name) for name in isnet_lrp.__all__}
    found = list(pkgutil.walk_packages(isnet_lrp.__path__, "isnet_lrp."))
    assert len(found) > 30
    for module in found:
        importlib.import_module(module.name)
    for name, value in public.items():
        assert getattr(isnet_lrp, name) is value
        assert not isinstance(value, ModuleType), name


def test_importing_it_loads_torch_alone(child_environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        capture_output=True, text=True, check=True, env=child_environment,
    )  # fmt: skip
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names)
    others = {"torchvision", "segmentation_models_pytorch", "isnet_cli", "isnet_models", "numpy"}
    assert "isnet_lrp" in loaded
    assert not loaded & others
