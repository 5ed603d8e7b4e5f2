"""The trials' figures: `make test-trust` prints them at its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.trust.figures import Figures

_KEY = pytest.StashKey[Figures]()


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where a trial puts its figures."""
    return pytestconfig.stash.setdefault(_KEY, Figures())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash.get(_KEY, None)
    if found is None:
        return
    terminalreporter.section("figures")
    terminalreporter.write("\n".join(found.lines) + "\n")
    if place := os.environ.get("ISNET_TRUST_FIGURES"):
        Path(place).write_text("\n".join(found.lines) + "\n", encoding="utf-8")
