"""What the JSON files of a run and of a model have to hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    ValidationError,
    model_validator,
)

from isnet_cli.config.schema import Data, Masks
from isnet_cli.core.records.read import Record, find_name_fault
from isnet_models.methods import registry

Number = StrictFloat | StrictInt
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Text = Annotated[str, Field(min_length=1, max_length=10_000)]
Bound = Positive | Annotated[list[Positive], Field(min_length=2, max_length=2)]


def _has_low(pair: list[Any]) -> list[Any]:
    if pair[0] is None:
        raise ValueError("found null, expected the lower end of a range")
    return pair


Range = Annotated[  # null: no upper end
    list[Bound | None], Field(min_length=2, max_length=2), AfterValidator(_has_low)
]


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise ValueError("found null, expected a value, or no such key")
    return value


def _refuse_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"found {str(value).lower()}, expected a number")
    return value


def _check_settings(schema: type[BaseModel], found: dict[str, Any], name: str) -> None:
    """The settings of a method; a fault is put in words, since it is one of another schema."""
    try:
        schema.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["settings", name, *map(str, first["loc"])])
        raise ValueError(f"{place}: {first['msg']}") from error


NotNull = BeforeValidator(_refuse_null)  # of keys that may be absent


def _inside(name: str) -> str:
    if fault := find_name_fault(name):
        raise ValueError(f"found {name!r:.60}, {fault}")
    return name


File = Annotated[str, AfterValidator(_inside)]


class StageRecord(Record):
    """A stage in ``run.json``."""

    status: Literal["running", "done"]
    fingerprint: Text
    outputs: Annotated[dict[File, Hash] | None, NotNull] = None
    summary: Annotated[dict[str, Any] | None, NotNull] = None
    products: Annotated[Hash | None, NotNull] = None
    settings: str | None = None
    made_from: dict[str, Hash] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> StageRecord:
        if self.status == "done" and (self.outputs is None or self.summary is None):
            raise ValueError("a finished stage without outputs or summary")
        if self.summary is not None and not isinstance(self.summary.get("skipped", 0), int):
            raise ValueError("summary.skipped: expected a whole number")
        return self


Ends = Annotated[list[Number], Field(min_length=2, max_length=2)]
Place = Annotated[list[str], Field(min_length=2, max_length=2)]


class Difference(Record):
    """Of a score between two tests, with its interval."""

    value: Number | None
    low: Number | None
    high: Number | None


class Shift(Record):
    """Scores of two tests, compared."""

    from_: Place = Field(alias="from")
    to: Place
    macro_f1: Difference
    macro_auc: Difference


class Background(Record):
    """Reliance on the background, or why it is not known."""

    n: Count = 0
    why: str = ""
    auc: dict[str, Number | None] = Field(default_factory=dict)
    flips: Number | None = None
    gap: Number | None = None


class SetSummary(Record):
    """Scores of one set and version, as they are printed."""

    n: Number | None = None
    macro_f1: Number | None = None
    macro_auc: Number | None = None
    outside: Number | None = None
    pointing: Number | None = None
    n_range: Ends | None = None
    macro_f1_range: Ends | None = None
    macro_auc_range: Ends | None = None
    outside_range: Ends | None = None
    pointing_range: Ends | None = None
    background: Background = Background()


class EvaluateSummary(Record):
    """Figures of the stage `evaluate`."""

    sets: dict[str, dict[str, SetSummary]] = Field(default_factory=dict)
    shift: list[Shift] = Field(default_factory=list)


class Flags(Record):
    """How many images are flagged for each reason; null: not known."""

    mask: Count | None
    ood: Count | None
    margin: Count | None


class PredictSummary(Record):
    """Figures of the stage `predict`."""

    images: Count
    expected_ood_share: Number | None
    predicted: dict[str, Count]
    uncertain: Count
    flags: Flags


class RunRecord(Record):
    """``run.json``."""

    schema_: int = Field(alias="schema")
    stages: dict[
        Literal["ingest", "masks", "train", "evaluate", "predict", "heatmap", "report"], StageRecord
    ]
    versions: dict[str, str] = Field(default_factory=dict)
    upstream: str = ""  # the run with the images, relative to this one

    @model_validator(mode="after")
    def _figures(self) -> RunRecord:
        for name, schema in (("evaluate", EvaluateSummary), ("predict", PredictSummary)):
            stage = next((found for key, found in self.stages.items() if key == name), None)
            if stage is None or stage.status != "done" or not stage.summary:
                continue
            try:
                schema.model_validate(stage.summary)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(["stages", name, "summary", *map(str, first["loc"])])
                raise ValueError(f"{place}: {first['msg']}") from error
        return self


class HeatmapRules(Record):
    """How a model's own maps are made."""

    family: Literal["flex", "block", "z+"]
    epsilon: NotNegative
    bounded_first_layer: bool
    relevance_range: dict[str, Range] | None = None


class SegmenterOptions(Record):
    """The lung U-Net inside a classifier."""

    model_config = ConfigDict(**{**Record.model_config, "extra": "forbid"})

    encoder: Text
    decoder_channels: Annotated[
        list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=8)
    ]


class Segmenter(Record):
    """What a card says of the lung U-Net inside."""

    options: SegmenterOptions


class Reading(BaseModel):
    """How images are read and masked: parts of the configuration's sections."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    data: Data = Data()
    masks: Masks = Masks()


Row = Annotated[list[Number], Field(min_length=1, max_length=3)]
Normalisation = Annotated[list[Row], Field(min_length=2, max_length=2)]


class ModelCard(Record):
    """``model.json``."""

    schema_: int = Field(alias="schema")
    classes: Annotated[list[Text], Field(min_length=1, max_length=10_000)]
    task: Literal["multiclass", "multilabel"]
    arch: Text
    method: Text
    input: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=2, max_length=2)]
    channels: Annotated[Literal[1, 3], BeforeValidator(_refuse_truth)]
    dropout: Annotated[Number, Field(ge=0, lt=1)]
    standardise: Literal["none", "lungs", "bands"] = "none"
    heatmap: HeatmapRules
    thresholds: list[Share] | None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    segmenter: Annotated[Segmenter | None, NotNull] = None
    reading: Annotated[Reading | None, NotNull] = None
    seed: int = 0
    epoch: Count = 0
    validation: dict[str, Number | None] = Field(default_factory=dict)
    normalisation: Normalisation | None = None
    sha256: Hash

    @model_validator(mode="after")
    def _together(self) -> ModelCard:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a name twice, expected each once")
        several = self.task == "multilabel"
        if several and any(set(name) & {";", "="} for name in self.classes):
            raise ValueError("classes: a name with ';' or '=', which part findings in tables")
        if several != (self.thresholds is not None):
            expected = "one per class" if several else "null"
            raise ValueError(f"thresholds: expected {expected} for the task {self.task}")
        if self.thresholds is not None and len(self.thresholds) != len(self.classes):
            raise ValueError(
                f"thresholds: {len(self.thresholds)}, expected one for each of"
                f" {len(self.classes)} classes"
            )
        try:
            entries = registry.parts(self.method)
        except ValueError as error:
            raise ValueError(f"method: {error}") from error
        for entry in entries:
            _check_settings(entry.settings_class(), self.settings.get(entry.name, {}), entry.name)
        return self


class CardHead(Record):
    """Of ``model.json`` what the command line needs; the whole is checked when it is loaded."""

    classes: Annotated[list[Text], Field(min_length=1, max_length=10_000)]
    task: Literal["multiclass", "multilabel"] | None = None
    method: Annotated[Text | None, NotNull] = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    reading: Annotated[Reading | None, NotNull] = None


class RangeRecord(Record):
    """``relevance_range.json``."""

    identity: Text
    ranges: dict[Text, Range]


class PackedCard(Record):
    """``images.json``, beside the packed images of a training."""

    identity: Hash
    images: Count
    bytes: Count
    height: Count
    width: Count
    content_sha256: Hash
