"""What sections are made from: the contents of runs' files, read by the report's stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isnet_cli.export.document import Picture
from isnet_cli.export.figures import Roc, number

Cells = Mapping[str, str]
VERSIONS = ("biased", "standard", "deceiving")


@dataclass(frozen=True)
class Cohort:
    """The films and masks that one or more runs share.

    Attributes:
        name: Run folder that holds them.
        users: Names of the runs that use them.
        rows: ``ingest/manifest.csv``; empty when ingest is not finished.
        qc: ``masks/qc.csv``; empty when masks is not finished.
        tiles: Films with the outline of their masks, the most doubtful first.
        task: ``multiclass`` or ``multilabel``.
        on_suspect: What happens to films with doubtful masks (``masks.on_suspect``).
        missing: Stage -> how to make it, for stages that are not finished.
    """

    name: str
    users: Sequence[str]
    rows: Sequence[Cells] = ()
    qc: Sequence[Cells] = ()
    tiles: Sequence[Picture] = ()
    task: str = "multiclass"
    on_suspect: str = "exclude"
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def films(self) -> list[Cells]:
        """Rows of usable films."""
        return [row for row in self.rows if row["status"] == "ok"]

    @property
    def outside_area(self) -> float | None:
        """Mean share of a film's area outside its lung mask, over sound masks."""
        areas = [number(row["area"]) for row in self.qc if row["verdict"] == "ok"]
        known = [area for area in areas if area is not None]
        return 1 - sum(known) / len(known) if known else None


@dataclass(frozen=True)
class MapFacts:
    """One relevance map of the heatmap stage.

    Attributes:
        group: Named set, and version where there are several.
        key: Film.
        target: Class that the map explains.
        label: True class, or empty.
        predicted: Predicted class.
        probability: Of the explained class, or None.
        outside: Share of absolute relevance outside the lungs, or None.
        picture: The overlay.
    """

    group: str
    key: str
    target: str
    label: str
    predicted: str
    probability: float | None
    outside: float | None
    picture: Picture


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Attributes:
        name: Short name, unlike those of the other runs in the report.
        config: The resolved configuration as plain data; empty when it is missing.
        config_text: The same as YAML, without folders of the machine it ran on.
        record: ``run.json``.
        history: ``train/history.csv``.
        card: ``train/model.json``; empty when training is not finished.
        metrics: ``evaluate/metrics.json``; empty when evaluate is not finished.
        rocs: (set, version) -> curves, one a class.
        maps: Maps to show.
        missing: Stage -> how to make it, for stages that are not finished.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    config_text: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Cells] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    rocs: Mapping[tuple[str, str], Sequence[Roc]] = field(default_factory=dict)
    maps: Sequence[MapFacts] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, Any]:
        """Method, network, input size and seed of the model that was evaluated, or was trained."""
        settings = {
            "method": self.setting("train.method"),
            "arch": self.setting("model.arch"),
            "input": self.config.get("model", {}).get("input"),
            "seed": self.setting("seed"),
        }
        used = self.metrics.get("model") or self.card
        return {name: used.get(name) or value for name, value in settings.items()}

    def setting(self, path: str, default: str = "unknown") -> str:
        """A setting by its dotted name as text, `default` where it is not there."""
        value: Any = self.config
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return default if value is None else str(value)

    def scores(self, test: tuple[str, str]) -> Mapping[str, Any]:
        """Scores on one (set, version); empty where there are none."""
        found: Mapping[str, Any] = self.metrics.get("sets", {}).get(test[0], {}).get(test[1], {})
        return found

    def macro(self, test: tuple[str, str], rate: str) -> float | None:
        """A macro mean on one (set, version)."""
        return number(self.scores(test).get("macro", {}).get(rate))

    def outside(self, test: tuple[str, str], figure: str = "mean") -> float | None:
        """Share of relevance outside the lungs on one (set, version): ``mean`` or ``p95``."""
        return number((self.scores(test).get("relevance_outside") or {}).get(figure))


def all_tests(runs: Sequence[RunFacts]) -> list[tuple[str, str]]:
    """All (set, version) of the runs: sets as first met; biased, standard, deceiving."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, versions in run.metrics.get("sets", {}).items():
            found.setdefault(name, set()).update(versions)
    return [
        (name, version)
        for name, versions in found.items()
        for version in sorted(versions, key=lambda v: VERSIONS.index(v) if v in VERSIONS else 9)
    ]


def versioned(tests: Sequence[tuple[str, str]]) -> bool:
    """Whether some set was tested in more than one version."""
    return len({name for name, _ in tests}) < len(tests)


def names_of_tests(tests: Sequence[tuple[str, str]]) -> list[str]:
    """What each test is called on one line: the version is named where sets have more than one."""
    several = versioned(tests)
    return [f"{name} · {version}" if several else name for name, version in tests]


def heads_of_tests(tests: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Heads of the columns that `cells_of_tests` fills."""
    return ("test set", "version") if versioned(tests) else ("test set",)


def cells_of_tests(tests: Sequence[tuple[str, str]]) -> list[tuple[str, ...]]:
    """What each test is called in the first columns of a table."""
    return [test if versioned(tests) else test[:1] for test in tests]


def figure_of(value: float | None, digits: int = 3) -> str:
    """A score as text; ``n/a`` for none."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as per cent; ``n/a`` for none."""
    return "n/a" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
