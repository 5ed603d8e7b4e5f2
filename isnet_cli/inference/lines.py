"""The lines of ``predictions.csv`` and their counts, whatever computed the answers; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.inference.uncertainty import COLUMNS, FLAGS, Flagger, Limits
from isnet_cli.stats.scores import decide

NONE = "(none)"  # in counts: images of a multi-label model without any predicted label
PREDICTIONS = "predictions.csv"

Line = dict[str, str]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LineMaker:
    """Makes lines of one model's answers.

    Attributes:
        classes: Names, K.
        thresholds: Multi-label: [K]; else None.
        limits: Of the flags.
    """

    classes: Sequence[str]
    thresholds: Sequence[float] | None
    limits: Limits

    @property
    def columns(self) -> list[str]:
        """Of the table, in order."""
        return ["key", "predicted", *self._names, *COLUMNS]

    @property
    def _names(self) -> list[str]:
        return [f"p_{name}" for name in self.classes]

    def decide(self, probabilities: Floats) -> list[list[str]]:
        """Names of the predicted classes of each image [N, K]; multi-class: exactly one."""
        if self.thresholds is None:
            return [[self.classes[k]] for k in probabilities.argmax(axis=1)]
        chosen = decide(probabilities, self.thresholds, len(self.classes))
        return [[c for c, yes in zip(self.classes, row, strict=True) if yes] for row in chosen]

    def make(
        self,
        keys: Sequence[str],
        logits: Floats,
        probabilities: Floats,
        distances: Floats,
        masks: Sequence[tuple[str, str]],
    ) -> list[Line]:
        """A line for each of N images.

        Args:
            keys: Names of the images [N].
            logits: [N, K].
            probabilities: [N, K].
            distances: From the training images [N]; NaN where they are not known.
            masks: Verdict on each image's mask, and why [N].
        """
        flagger = Flagger(self.limits, self.classes, self.thresholds)
        decided = self.decide(probabilities)
        found = []
        for i, key in enumerate(keys):
            line: Line = {"key": key}
            if np.isfinite(logits[i]).all():
                line["predicted"] = ";".join(decided[i])
                line |= {
                    name: f"{value:.9g}"
                    for name, value in zip(self._names, probabilities[i], strict=True)
                }
            flags = flagger.flag_prediction(
                logits[i], probabilities[i], float(distances[i]), masks[i]
            )
            found.append(line | flags)
        return found

    def is_answered(self, line: Mapping[str, str]) -> bool:
        """Whether the model's answer was a number."""
        return bool(line.get(self._names[0]))

    def summarise(self, lines: Sequence[Line], *, masks: bool = True) -> dict[str, Any]:
        """Counts of the lines.

        Args:
            lines: All.
            masks: Whether masks were looked at.

        Returns:
            ``images``, ``uncertain``, ``skipped``, ``predicted`` (images of each class), ``flags``
            (images with each flag; None: it cannot be given), ``expected_ood_share``.
        """
        answered = [line for line in lines if self.is_answered(line)]
        said = [
            name
            for line in answered
            for name in (
                [line["predicted"]] if self.thresholds is None else line["predicted"].split(";")
            )
        ]
        counted = Counter(name or NONE for name in said)
        names = [*self.classes, *([NONE] if counted[NONE] else [])]
        limits = self.limits
        known = {
            "mask": masks,
            "ood": limits.ood_limit is not None,
            "margin": limits.margin_limit is not None,
        }
        return {
            "images": len(lines),
            "uncertain": sum(line["uncertain"] == "1" for line in lines),
            "skipped": len(lines) - len(answered),
            "predicted": {name: counted[name] for name in names},
            "flags": {
                flag: sum(line[f"flag_{flag}"] == "1" for line in lines) if known[flag] else None
                for flag in FLAGS
            },
            "expected_ood_share": limits.ood_share,
        }
