"""What every stage looks like from outside, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder


@dataclass(frozen=True)
class StageResult:
    """Result of one stage.

    Attributes:
        outputs: Main files, inside the stage's folder; the record keeps their hashes.
        summary: JSON-able figures to print and for scripts; key ``skipped`` counts lost inputs.
        complete: False when the stage stopped early in good order; the same call continues it.
    """

    outputs: list[Path]
    summary: dict[str, Any]
    complete: bool = True


class Stage(Protocol):
    """A stage module: ``ingest``, ``masks``, ``train``, ``evaluate`` or ``heatmap``.

    It may have a ``preflight(config)``, which refuses before any stage begins, and a
    ``prepare(config)``, whose result its fingerprint and its run then both get as ``prepared``.
    """

    NAME: str

    def fingerprint(self, config: Config, folder: RunFolder) -> str:
        """Hash of everything the result depends on: settings, inputs, earlier stages, weights.

        Raises:
            IsnetError: When an input or an earlier stage is missing.
        """
        ...

    def run(self, config: Config, folder: RunFolder, context: RunContext) -> StageResult:
        """Does the work inside ``folder.stage_dir(NAME)`` and nowhere else.

        Continues what a killed run left, where that is provably safe.

        Raises:
            IsnetError: When the stage cannot reach its result.
        """
        ...
