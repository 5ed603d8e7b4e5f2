"""The registry of networks and methods comes without torch."""

from __future__ import annotations

import subprocess
import sys


def test_the_registry_needs_no_torch() -> None:
    code = "import sys, isnet_models.registry as r; r.names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
