"""What ``metrics.json`` has to hold, to the last figure that a page or a comparison reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from isnet_cli.core.records.read import Record
from isnet_cli.core.records.schemas import Count, File, Number, Place, Share, Text

Figure = Number | None


class Cell(Record):
    """One score: its value, the ends of its interval, and how they were found or why not."""

    value: Figure = None
    low: Figure = None
    high: Figure = None
    sd: Figure = None
    mean: Figure = None
    p: Figure = None
    method: str | None = None
    why: str | None = None


class Rates(Record):
    """Scores of a class, or means over classes, by name; and why some are missing."""

    __pydantic_extra__: dict[str, Figure | str]
    why: dict[str, str] | str | None = None


class Intervals(Record):
    """Cells of the scores, as the scores are arranged."""

    level: Figure = None
    why: str | None = None
    accuracy: Cell | None = None
    balanced_accuracy: Cell | None = None
    macro: dict[str, Cell] = Field(default_factory=dict)
    per_class: dict[str, dict[str, Cell]] = Field(default_factory=dict)
    calibration: dict[str, Cell] = Field(default_factory=dict)


class CurvePoint(Record):
    """Images of one range of probabilities."""

    n: Count
    low: Number
    high: Number
    predicted: Number
    observed: Number
    observed_low: Figure = None
    observed_high: Figure = None


class Calibration(Record):
    """How well probabilities agree with what was observed."""

    brier: Figure = None
    ece: Figure = None
    ece_if_calibrated: Cell | None = None
    curve: list[CurvePoint] = Field(default_factory=list)
    why: str | None = None
    per_class: dict[str, Calibration] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Calibration:
        if self.per_class and self.brier is not None and self.ece_if_calibrated is None:
            raise ValueError("ece_if_calibrated: missing")
        return self


class Outside(Record):
    """Share of relevance outside the lungs."""

    n: Count = 0
    mean: Figure = None
    p95: Figure = None
    why: str | None = None
    per_class: dict[str, Outside] = Field(default_factory=dict)


class Scored(Record):
    """Scores on one kind of images."""

    n: Count
    accuracy: Figure = None
    balanced_accuracy: Figure = None
    macro: Rates
    per_class: dict[str, Rates]
    intervals: Intervals | None = None
    why: dict[str, str] | str | None = None


class Variant(Scored):
    """Scores on images of which parts were replaced."""

    @model_validator(mode="after")
    def _means(self) -> Variant:
        means = self.macro.__pydantic_extra__
        for rate in ("f1", "auc"):
            if rate not in means or isinstance(means[rate], str):
                raise ValueError(f"macro.{rate}: expected a number or null")
        return self


class Flips(Cell):
    """Share of images whose prediction changes."""

    n: Count
    rate: Figure
    per_class: dict[str, Cell] = Field(default_factory=dict)


class Gap(Record):
    """Scores on backgrounds of the same class minus those on backgrounds of another."""

    f1: Cell
    auc: Cell


class Reliance(Record):
    """What cutting and pasting images does to predictions."""

    n: Count
    why: str | None = None
    variants: dict[str, Variant] | None = None
    background_auc: Cell | None = None
    flips: Flips | None = None
    gap: Gap | None = None

    @model_validator(mode="after")
    def _whole(self) -> Reliance:
        if not self.n:
            return self
        for name in ("variants", "background_auc", "flips", "gap"):
            if getattr(self, name) is None:
                raise ValueError(f"{name}: missing")
        lacking = {"lungs_removed", "full"} - set(self.variants or {})
        if lacking:
            raise ValueError(f"variants.{min(lacking)}: missing")
        return self


class Region(Cell):
    """How many predictions a change of one region's pixels changes."""

    rate: Figure
    mean_bound: Figure


class Attack(Record):
    """What changes of some pixels do to predictions."""

    n: Count
    why: str | None = None
    steps: Number | None = None
    bounds: list[Number] = Field(default_factory=list)
    background: Region | None = None
    lungs: Region | None = None

    @model_validator(mode="after")
    def _whole(self) -> Attack:
        needed = ("steps", "bounds", "background", "lungs")
        for name in needed if self.n else ():
            if getattr(self, name) in (None, []):
                raise ValueError(f"{name}: missing")
        return self


class FindingScores(Record):
    """What maps say of findings of one class, or of all."""

    n: Count
    images: Count = 0
    findings: Count = 0
    pointing: Cell | None = None
    chance: Figure = None
    inside_share: Cell | None = None
    lungs_share: Figure = None
    ratio: Cell | None = None
    why: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> FindingScores:
        for name in ("pointing", "inside_share", "ratio") if self.n else ():
            if getattr(self, name) is None:
                raise ValueError(f"{name}: missing")
        return self


class Localisation(FindingScores):
    """Maps against annotated findings."""

    map: str = ""
    per_class: dict[str, FindingScores] = Field(default_factory=dict)
    left_out: dict[str, Count] = Field(default_factory=dict)


class GapCell(Cell):
    """A group's score minus that of the rest, corrected for the number of such tests."""

    p_holm: Figure = None


class Subgroup(Scored):
    """Scores of one group of images, and its gaps to the rest."""

    patients: Count
    gaps: dict[str, GapCell]


class Suppressed(Record):
    """Groups that are too small to be shown."""

    groups: Count
    images: Count


class Subgroups(Record):
    """All groups by one column."""

    groups: dict[str, Subgroup]
    unknown: Count
    suppressed: Suppressed
    why: str | None = None


class TestScores(Scored):
    """One set and version."""

    files: Annotated[list[File], Field(min_length=1)]
    patients: Count | None = None
    calibration: Calibration | None = None
    relevance_outside: Outside | None = None
    background: Reliance | None = None
    attack: Attack | None = None
    localisation: Localisation | None = None
    subgroups: dict[str, Subgroups] = Field(default_factory=dict)


class Differences(Record):
    """Of the scores of two tests."""

    accuracy: Cell | None = None
    balanced_accuracy: Cell | None = None
    macro: dict[str, Cell]
    per_class: dict[str, dict[str, Cell]] = Field(default_factory=dict)


class Pair(Record):
    """Two tests of one model, compared."""

    from_: Place = Field(alias="from")
    to: Place
    paired: bool
    differences: Differences


class Metrics(Record):
    """``metrics.json``."""

    task: Literal["multiclass", "multilabel"]
    classes: Annotated[list[Text], Field(min_length=1)]
    thresholds: list[Share] | None = None
    adapt: Literal["none", "batch_norm"] = "none"
    sets: dict[str, dict[str, TestScores]]
    shift: list[Pair] = Field(default_factory=list)

    @model_validator(mode="after")
    def _same_classes(self) -> Metrics:
        for name, versions in self.sets.items():
            for version, found in versions.items():
                if set(found.per_class) != set(self.classes):
                    raise ValueError(
                        f"sets.{name}.{version}.per_class: expected the classes"
                        f" {', '.join(self.classes)}"
                    )
        return self
