"""What sections are made from: the contents of runs' files, read by the report's stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from isnet_cli.output.curves import PrecisionRecall
from isnet_cli.output.figures import Roc, number
from isnet_cli.report.document import Picture

Cells = Mapping[str, str]
VERSIONS = ("biased", "standard", "deceiving")
METRICS = "evaluate/metrics.json"


@dataclass(frozen=True)
class Cohort:
    """The images and masks that one or more runs share.

    Attributes:
        name: Run folder that holds them.
        users: Names of the runs that use them.
        rows: ``ingest/manifest.csv``; empty when ingest is not finished.
        qc: ``masks/qc.csv``; empty when masks is not finished.
        tiles: Images with the outline of their masks, the most doubtful first.
        task: ``multiclass`` or ``multilabel``.
        on_suspect: What happens to images with doubtful masks (``masks.on_suspect``).
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
    def images(self) -> list[Cells]:
        """Rows of usable images."""
        return [row for row in self.rows if row["status"] == "ok"]

    @property
    def outside_area(self) -> float | None:
        """Mean share of an image's area outside its lung mask, over sound masks."""
        areas = [number(row["area"]) for row in self.qc if row["verdict"] == "ok"]
        known = [area for area in areas if area is not None]
        return 1 - sum(known) / len(known) if known else None


@dataclass(frozen=True)
class MapFacts:
    """One relevance map of the heatmap stage.

    Attributes:
        group: Named set, and version where there are several.
        key: XRay.
        target: Class that the map explains.
        label: True class, or empty.
        predicted: Predicted class.
        probability: Of the explained class, or None.
        outside: Share of absolute relevance outside the lungs, or None.
        picture: The overlay.
        note: What else is known of the image, such as its prediction on another background.
    """

    group: str
    key: str
    target: str
    label: str
    predicted: str
    probability: float | None
    outside: float | None
    picture: Picture
    note: str = ""


@dataclass(frozen=True)
class Pick:
    """Images of one set and version that stand out.

    Attributes:
        group: As in `MapFacts`.
        kind: ``most`` or ``least`` relevance outside the lungs; ``wrong`` predictions, the surest
            first; ``right`` ones, the surest first.
        maps: The images, at least one.
        among: Number of images that they are the first of: those with a share, or the wrong ones,
            or the right ones.
        sources: Files that the choice was made from.
    """

    group: str
    kind: Literal["most", "least", "wrong", "right"]
    maps: Sequence[MapFacts]
    among: int
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Cover:
    """How many images of one set and version have a map, and why others have none.

    Attributes:
        group: As in `MapFacts`.
        tested: Images with predictions.
        mapped: Those with a map.
        limit: ``heatmap.limit``, when there are more images than that; else None.
        errors: (reason, images): those without a map, or with one that could not be measured.
    """

    group: str
    tested: int
    mapped: int
    limit: int | None = None
    errors: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class FileFacts:
    """A file that the report was made from.

    Attributes:
        name: Relative to the run folder.
        sha256: Of its content when the report was made.
        recorded: The same as the stage noted it in ``run.json``, or empty.
    """

    name: str
    sha256: str
    recorded: str = ""


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
        prs: (set, version) -> precision-recall curves, one a class.
        picks: Images that stand out, set by set.
        covers: How many images have maps, set by set.
        files: What the report was made from, pictures apart.
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
    prs: Mapping[tuple[str, str], Sequence[PrecisionRecall]] = field(default_factory=dict)
    picks: Sequence[Pick] = ()
    covers: Sequence[Cover] = ()
    files: Sequence[FileFacts] = ()

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

    def cell(self, test: tuple[str, str], *path: str) -> Mapping[str, Any]:
        """The cell of ``intervals`` at `path`; empty where there is none."""
        return cell_at(self.scores(test), "intervals", *path)

    def background(self, test: tuple[str, str]) -> Mapping[str, Any]:
        """Predictions on cut and pasted images of one (set, version); empty where not asked for."""
        found: Mapping[str, Any] = self.scores(test).get("background") or {}
        return found

    def made_from(self, test: tuple[str, str], *names: str) -> list[str]:
        """Those of the test's files that are called `names`, relative to the run folder."""
        files = [str(name) for name in self.scores(test).get("files", ())]
        return [f"evaluate/{file}" for file in files if PurePosixPath(file).name in names]

    def macro(self, test: tuple[str, str], rate: str) -> float | None:
        """A macro mean on one (set, version)."""
        return number(self.scores(test).get("macro", {}).get(rate))

    def outside(self, test: tuple[str, str], figure: str = "mean") -> float | None:
        """Share of relevance outside the lungs on one (set, version): ``mean`` or ``p95``."""
        return number((self.scores(test).get("relevance_outside") or {}).get(figure))


def cell_at(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """What stands at `path` of nested mappings; empty where nothing does."""
    found: Any = tree
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def origins(runs: Sequence[RunFacts], test: tuple[str, str], *names: str) -> list[str]:
    """The files of one test that are called `names`, of each run; with its name when several."""
    several = len(runs) > 1
    return [
        f"{run.name}/{file}" if several else file
        for run in runs
        for file in run.made_from(test, *names)
    ]


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


def heads_of_runs(runs: Sequence[RunFacts]) -> tuple[str, ...]:
    """Head of the column that names the run; a run by itself needs none."""
    return ("run",) if len(runs) > 1 else ()


def cells_of_run(runs: Sequence[RunFacts], run: RunFacts) -> tuple[str, ...]:
    """The run in that column."""
    return (run.name,) if len(runs) > 1 else ()


def figure_of(value: float | None, digits: int = 3) -> str:
    """A score as text; ``n/a`` for none."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as per cent; ``n/a`` for none."""
    return "n/a" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
