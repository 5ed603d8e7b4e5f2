"""The package's public name, and lists of networks, methods and settings without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import isnet_models
from isnet_models.backbones import build_backbone

TORCH_FREE = "registry methods.registry methods.settings"


def test_the_public_name_is_loaded_when_it_is_asked_for() -> None:
    assert isnet_models.build_backbone is build_backbone
    with pytest.raises(AttributeError, match="no attribute 'build_backbon'"):
        _ = isnet_models.build_backbon


def test_names_and_settings_need_no_torch() -> None:
    code = "import sys\n" + "".join(f"import isnet_models.{m}\n" for m in TORCH_FREE.split())
    code += "isnet_models.registry.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
