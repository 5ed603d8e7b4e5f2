"""The tests that several runs share: the same classes, images, labels and synthetic marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.report.results import (
    Predictions,
    RunResults,
    TestKey,
    encode_labels,
    read_predictions,
)
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from isnet_cli.stats.shift import Test

ABSENT, DIFFERS = "absent", "differs"
EXAMPLES = 3  # images that a reason names
SHARE = "isnet run CONFIG with upstream: RUN gives runs the same images"


@dataclass(frozen=True)
class LeftOut:
    """A test that cannot be compared.

    Attributes:
        test: Set and version.
        kind: ``absent``: some runs were not evaluated on it; ``differs``: they were, but not on
            the same.
        why: One sentence.
    """

    test: TestKey
    kind: Literal["absent", "differs"]
    why: str


@dataclass(frozen=True)
class CommonTests:
    """What can be compared.

    Attributes:
        tables: Test -> predictions of each run.
        left_out: The other tests.
    """

    tables: Mapping[TestKey, list[Predictions]]
    left_out: list[LeftOut]


def check_runs(runs: Sequence[RunResults]) -> None:
    """Makes sure that models of the same classes are compared.

    Raises:
        IsnetError: Kind "data", when they differ.
    """
    first = runs[0]
    for run in runs[1:]:
        if (run.task, set(run.classes)) != (first.task, set(first.classes)):
            raise IsnetError(
                "data",
                f"{run.name}: {run.task} with the classes {', '.join(run.classes)}, expected "
                f"those of {first.name}: {first.task} with {', '.join(first.classes)}",
                fix="compare runs of the same classes; isnet report RUN RUN -o FILE shows any runs "
                "side by side, without tests",
            )


def find_common_tests(runs: Sequence[RunResults]) -> CommonTests:
    """The tests that all runs share, in the order of the first run, and why others are left out.

    Raises:
        IsnetError: Kind "data", when there is none, or a file is damaged; "weights", when
            probabilities are not finite.
    """
    tables: dict[TestKey, list[Predictions]] = {}
    left_out = []
    for test in dict.fromkeys(test for run in runs for test in run.tests):
        lacking = [run.name for run in runs if test not in run.tests]
        if lacking:
            why = f"not evaluated by {', '.join(lacking)}"
            left_out.append(LeftOut(test, "absent", why))
            continue
        found = [read_predictions(run, test, runs[0].classes) for run in runs]
        why = _describe_difference(runs, test, found)
        if why:
            left_out.append(LeftOut(test, "differs", why))
        else:
            tables[test] = found
    if not tables:
        raise IsnetError(
            "data",
            "no test that all runs have in common, expected runs evaluated on the same images",
            details=tuple(f"{' / '.join(one.test)}: {one.why}" for one in left_out),
            fix=f"{SHARE}; isnet evaluate --model RUN --test NAME=PATH scores any run on a set",
        )
    return CommonTests(tables, left_out)


def pair_tests(runs: Sequence[RunResults], tables: Sequence[Predictions]) -> list[Test]:
    """Scores and samples of all runs on one test, images in the order of the first run's table.

    Args:
        runs: The runs, of the same classes and task.
        tables: Predictions of each, of the same images and labels, columns as the first's classes.
    """
    first = runs[0]
    keys, classes = list(tables[0].labels), first.classes
    labels = _encode_truth(list(tables[0].labels.values()), classes, first.task)
    patients = _find_patients(runs, keys)
    found = []
    for run, table in zip(runs, tables, strict=True):
        thresholds = _order_thresholds(run, classes)
        p = table.reorder(keys)
        metrics = scores(p, labels, classes, thresholds)
        found.append(Test(metrics, make_sample(p, labels, classes, thresholds, patients)))
    return found


def _encode_truth(labels: Sequence[str], classes: Sequence[str], task: str) -> NDArray[Any]:
    """Labels as `scores` takes them: class numbers and -1, or 1, 0 and NaN."""
    table = encode_labels(labels, classes, task)
    if task == "multilabel":
        return table
    return np.where(np.isnan(table).any(axis=1), -1, table.argmax(axis=1)).astype(np.int64)


def _find_patients(runs: Sequence[RunResults], keys: Sequence[str]) -> list[str]:
    """Patients of the images, from the first run that knows any."""
    for run in runs:
        found = [run.images[key].patient for key in keys]
        if any(found):
            return found
    return [""] * len(keys)


def _order_thresholds(run: RunResults, classes: Sequence[str]) -> list[float] | None:
    given = run.metrics.get("thresholds")
    if given is None or run.task != "multilabel":
        return None
    return [given[run.classes.index(name)] for name in classes]


def _describe_difference(
    runs: Sequence[RunResults], test: TestKey, tables: Sequence[Predictions]
) -> str:
    """How a run's images differ from the first run's, or ""."""
    first, start = runs[0], tables[0]
    for run, table in zip(runs[1:], tables[1:], strict=True):
        who = f"of {run.name} and {first.name}"
        other = start.labels.keys() ^ table.labels.keys()
        if other:
            return f"the images {who} differ: {_name_some(other)} in one of them only"
        other = {
            key for key in start.labels if not _is_same_image(first.images[key], run.images[key])
        }
        if other:
            return f"the images {who} differ: not the same file behind {_name_some(other)}"
        other = {key for key, label in start.labels.items() if table.labels[key] != label}
        if other:
            return f"the labels {who} differ: of {_name_some(other)}"
        if test[1] != "standard" and _describe_marks(run) != _describe_marks(first):
            return f"the synthetic marks {who} differ (configuration, section bias)"
    return ""


def _is_same_image(one: Row, other: Row) -> bool:
    """Whether two lines are of the same image: the same bytes, as far as both know their hash."""
    known = bool(one.sha256 and other.sha256)
    if (one.frame, known and one.sha256) != (other.frame, known and other.sha256):
        return False
    return known or (one.height, one.width) == (other.height, other.width)


def _describe_marks(run: RunResults) -> dict[str, Any]:
    """What the marks of a biased version look like; whether they were trained on is no part."""
    return run.config.bias.model_dump(exclude={"train"})


def _name_some(keys: set[str]) -> str:
    shown = ", ".join(f"'{key}'" for key in sorted(keys)[:EXAMPLES])
    return shown if len(keys) <= EXAMPLES else f"{shown} and {len(keys) - EXAMPLES} more"
