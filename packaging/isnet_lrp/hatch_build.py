"""Finds the package: beside this file in a source distribution, in `models` in the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
NAME = "isnet_lrp"
INSIDE = (HERE / NAME).is_dir()
PACKAGE = HERE / NAME if INSIDE else HERE.parents[1] / "models" / NAME


def read_version() -> str:
    """What the package says."""
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    return re.findall(r'__version__ = "(.+)"', text)[0]


class PackageHook(BuildHookInterface):
    """Puts the package into what is built in the repository."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Names its folder."""
        if not INSIDE:
            build_data["force_include"][str(PACKAGE)] = NAME
