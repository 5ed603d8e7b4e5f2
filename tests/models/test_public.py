"""The public names of the mathematics exist, and the registry comes without torch."""

from __future__ import annotations

import subprocess
import sys

import isnet_models


def test_every_public_name_can_be_imported() -> None:
    assert set(isnet_models.__all__) == set(isnet_models._HOMES)
    for name in isnet_models.__all__:
        assert callable(getattr(isnet_models, name)), name


def test_the_registry_needs_no_torch() -> None:
    code = "import sys, isnet_models.registry as r; r.names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
