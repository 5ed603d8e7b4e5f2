"""Paired tests between pairs of models on the same images, corrected for their number.

A family is all comparisons of one score: every pair that is tested, on every test. Holm's
correction holds the chance of any false difference in it at 5 %. Scores are not corrected for each
other, so the score that decides has to be chosen before looking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.sample import Path
from isnet_cli.stats.shift import Test, all_paired_differences

SCORES: Mapping[str, Path] = {
    "macro_f1": ("macro", "f1"),
    "macro_auc": ("macro", "auc"),
    "macro_ap": ("macro", "ap"),
    "accuracy": ("accuracy",),
    "balanced_accuracy": ("balanced_accuracy",),
    "brier": ("calibration", "brier"),
}
ALPHA = 0.05
DRAWS = 10_000  # of patients, at least
FAMILY = (
    "all comparisons of one score: every pair of runs on every set and version that has labels; "
    "a comparison without p-value counts and is never significant"
)


@dataclass(frozen=True)
class Comparison:
    """One pair of models on one test.

    Attributes:
        test: Name of the test.
        first: Number of the first model.
        second: Number of the second model.
        differences: `SCORES` -> ``{value, low, high, sd, p, p_holm, method}``, second minus first;
            ``why`` where there is no p-value.
    """

    test: tuple[str, str]
    first: int
    second: int
    differences: Mapping[str, Mapping[str, Any]]


def choose_draws(family: int) -> int:
    """Draws of patients, so that the smallest p of a bootstrap can pass a family of this size.

    Of D draws the smallest p is 2 / (D + 1); times the family it has to stay below `ALPHA`.
    """
    return max(DRAWS, 100 * family)


def compare_models(
    test: tuple[str, str],
    models: Sequence[Test],
    draws: int,
    seed: int,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> list[Comparison]:
    """Pairs of models on one test, not yet corrected.

    Args:
        test: Its name.
        models: Scores and predictions of each model for the same images in the same order.
        draws: Of patients.
        seed: Of the draws.
        pairs: Numbers of the first and the second model of each; None: all pairs.

    Raises:
        ValueError: When the images, labels or classes are not the same.
    """
    found = all_paired_differences(models, Intervals(bootstrap=draws), seed, pairs)
    return [
        Comparison(test, i, j, {name: _at(tree, path) for name, path in SCORES.items()})
        for (i, j), tree in found.items()
    ]


def _at(tree: Mapping[str, Any], path: Path) -> dict[str, Any]:
    place: Any = tree
    for name in path:
        place = place[name]
    return {**dict.fromkeys(("value", "low", "high", "sd", "p")), **place}


def correct_comparisons(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same with ``p_holm`` in every cell; each score is one family."""
    adjusted = {
        name: adjust_by_holm([c.differences[name]["p"] for c in comparisons]) for name in SCORES
    }
    return [
        Comparison(
            c.test,
            c.first,
            c.second,
            {
                name: {**cell, "p_holm": adjusted[name][place]}
                for name, cell in c.differences.items()
            },
        )
        for place, c in enumerate(comparisons)
    ]


def adjust_by_holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values of one family of tests.

    Rejecting where the adjusted value is at most a keeps the chance of even one false rejection in
    the family at most a, however the tests depend on each other: with the m values in rising order
    p_(1) <= ... <= p_(m), the i-th becomes max over j <= i of min(1, (m - j + 1) p_(j)) (Holm, A
    simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6,
    1979).

    Args:
        p: In [0, 1]; None where a test has no result. Such a test stays in the family (m is fixed
            before anything is looked at) and is never rejected.

    Returns:
        As many values, in the order of `p`; None where `p` is None.

    Raises:
        ValueError: When a value is outside [0, 1] or NaN.
    """
    if any(value is not None and not 0 <= value <= 1 for value in p):
        raise ValueError("p-values lie in [0, 1]")
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for place, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(p) - place) * value))
        adjusted[i] = largest
    return adjusted
