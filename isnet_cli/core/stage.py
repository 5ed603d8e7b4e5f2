"""What every stage looks like from outside, and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
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
        outputs: Main files, inside the stage's folder; the record keeps their hashes, on which the
            later stages depend.
        summary: JSON-able figures to print and for scripts; key ``skipped`` counts lost inputs.
        complete: False when the stage stopped early in good order; the same call continues it.
        products: All other files that belong to the result, inside the stage's folder: when one is
            gone or changed, the stage is out of date.
    """

    outputs: list[Path]
    summary: dict[str, Any]
    complete: bool = True
    products: Sequence[Path] = ()


class Stage(Protocol):
    """A stage module: ``ingest``, ``masks``, ``train``, ``evaluate`` or ``heatmap``.

    It may have more:

    * ``preflight(config)`` refuses before any stage begins.
    * ``prepare(config)``: its result is given to the functions below as ``prepared``.
    * ``settings(config)``: what of the configuration the result depends on.
    * ``find_lost(config, folder, prepared)``: what the result was made from outside the run and is
      not there any more, in words, or "". A finished result with the same settings then stays.
    * ``remind(folder, context)`` warns again of what holds for a result that is up to date.
    * ``TOGETHER = True``: several processes run it at once, and it tells them what to do.
    * ``SHARES = True``: it does the share of the images that its context names, and what a share
      has done need not be done again.
    * ``LATE = True``: inputs are hashed while they are read, so that the fingerprint of a first run
      is asked for after it.
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
