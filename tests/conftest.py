"""What holds for every test: no network, no colours, no settings of the user's shell.

Random examples (Hypothesis) come in two profiles, chosen by the environment variable
ISNET_TEST_PROFILE: both try the same examples each time, `thorough` four times as many.
"""

from __future__ import annotations

import gc
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.network import guard, refuse
from tests.support.trained import (  # noqa: F401 - fixtures for every folder
    finished_run,
    finished_standard_run,
    isnet_run,
    multilabel_run,
    shapes_run,
    standard_run,
)

ROOT = Path(__file__).resolve().parents[1]
settings.register_profile(
    "default", max_examples=50, deadline=None, derandomize=True, database=None,
    suppress_health_check=(HealthCheck.too_slow,),  # a busy machine is no fault of the test
)  # fmt: skip
settings.register_profile("thorough", settings.get_profile("default"), max_examples=200)
settings.load_profile(os.environ.get("ISNET_TEST_PROFILE", "default"))
CLEARED = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONWARNINGS", "CUBLAS_WORKSPACE_CONFIG")


def pytest_collection_finish() -> None:
    """Leaves what is loaded by now out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, method, guard(method))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CLEARED:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def child_environment() -> dict[str, str]:
    """Environment of a process that runs this checkout and that cannot use the network."""
    paths = (ROOT / "tests" / "offline", ROOT, ROOT / "models")
    return {
        **{k: v for k, v in os.environ.items() if k not in CLEARED},
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
    }
