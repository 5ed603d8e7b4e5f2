"""The configuration: one frozen, typed tree; unknown keys and impossible values are refused.

Paths are kept as written; `isnet_cli.config.load` makes them absolute (relative to the YAML file).
Defaults here are the product's defaults; the resolved tree is written into each run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    model_validator,
)

from isnet_models.methods import registry
from isnet_models.methods.settings import MethodSettings

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
ShapeName = Annotated[
    str, Field(pattern=r"^(triangle|circle|square|cross|diamond|ring|text:[A-Z0-9 .+-]{1,16})$")
]  # a filled shape, or a word


DEFAULT_METHOD = "isnet"


class Section(BaseModel):
    """Base of all sections: frozen, strict about unknown keys and types, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Word:
    """A word of the file for what is None in the program: null itself only means "not set".

    Attributes:
        word: As users write it.
        default: Whether it is the default, so that null, a key that is not set, means it too.
    """

    word: str
    default: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """The type itself, with the word in place of None in files."""
        return handler.generate_schema(
            Annotated[source, BeforeValidator(self._read), PlainSerializer(self._write)]
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> Any:
        """For editors: the word as one of the choices."""
        found = handler(schema)
        rest = [one for one in found.get("anyOf", [found]) if one != {"type": "null"}]
        return {"anyOf": [{"const": self.word}, *rest]}

    def _read(self, value: Any) -> Any:
        if value is None and not self.default:
            raise ValueError(f"found null, expected a value, or {self.word}")
        return None if value == self.word else value

    def _write(self, value: Any) -> Any:
        return self.word if value is None else value


class Labels(Section):
    """Where the labels are and what they mean.

    ``file: folders`` reads the folder-per-class layout (`root/class/image.png`).
    """

    file: Annotated[str | None, Word("folders")] = None
    key: str = "auto"  # auto | file | stem | uid | accession | patient, or "column:NAME"
    # auto: by their usual names; one column: class names; several: multi-label 0/1
    columns: Annotated[list[str] | None, Word("auto")] = None
    task: Literal["multiclass", "multilabel"] = "multiclass"
    # order and choice of classes; auto: sorted as found
    classes: Annotated[list[str] | None, Word("auto")] = None
    uncertain: Literal["ignore", "zero", "one"] = "ignore"
    delimiter: Literal["auto", ",", ";", "\t", "|"] = "auto"
    min_match: Fraction = 0.5  # share of images that must find a label, or the join is refused


ColumnName = Annotated[str | None, Word("none", default=False)]


class Columns(Section):
    """Names of optional columns in the label file; ``auto`` finds the usual names, or ``none``.

    ``path:PATTERN`` reads patient or source from the image's path instead.
    """

    patient: ColumnName = "auto"
    source: ColumnName = "auto"
    view: ColumnName = "auto"
    modality: ColumnName = "auto"
    body_part: ColumnName = "auto"
    mask: ColumnName = "auto"
    set: ColumnName = "auto"
    sex: ColumnName = "auto"
    age: ColumnName = "auto"
    manufacturer: ColumnName = "auto"
    model: ColumnName = "auto"
    groups: list[str] = []  # further columns that evaluate.subgroups may name


COLLECTIONS = "collections."  # before the name of a collection, where names of sets stand, too


class ImageCollection(Section):
    """Further main images, with a label file of their own."""

    images: str | list[str]
    labels: Labels | None = None  # task, classes and uncertain are those of data.labels
    columns: Columns | None = None


class ImageSet(Section):
    """One named set: a share of the main images, filtered by source, or images of its own."""

    source: str | list[str] | None = None
    only: dict[str, list[str]] | None = None  # source -> classes: such images alone
    fraction: Fraction | None = None
    images: str | None = None
    labels: Labels | None = None
    columns: Columns | None = None


Choice = tuple[str, str | None]  # source and class; None: every class of it


def chosen_images(entry: ImageSet) -> list[Choice]:
    """Which of the main images a set draws from, sorted; empty: those that no other set names."""
    if entry.only is not None:
        return sorted({(source, c) for source, classes in entry.only.items() for c in classes})
    named = [entry.source] if isinstance(entry.source, str) else entry.source or []
    return [(source, None) for source in sorted(set(named))]


class Split(Section):
    """How the main images are split into the sets."""

    group: Literal["patient", "none"] = "patient"
    ids: Literal["global", "source"] = "global"  # source: each hospital numbers its patients anew
    stratify: bool = True
    allow_overlap: bool = False


class Dicom(Section):
    """How DICOM pixels become intensities."""

    voi: Literal["auto", "none", "lut", "window"] = "auto"
    photometric: Literal["auto", "monochrome1", "monochrome2"] = "auto"


class Privacy(Section):
    """What may appear in outputs: by default neither names nor ids."""

    rename: bool = False  # true: keys are salted hashes instead of the input tree's names
    salt_file: str | None = None  # same salt, same hashes across runs; default: a salt per run
    facts: bool = True  # keep sex, decade of age, projection and device of each image


class Data(Section):
    """The images, their labels, and the named sets."""

    images: str | list[str] | None = None  # folder | file | list of files | .txt | .csv
    collections: dict[str, ImageCollection] = {}  # more main images, by the name of their source
    labels: Labels = Labels()
    columns: Columns = Columns()
    # rows of one image that differ in their label
    repeated: Literal["refuse", "any", "majority", "all"] = "refuse"
    sets: dict[str, ImageSet] = {}
    split: Split = Split()
    view: Literal["frontal", "any"] = "frontal"
    dicom: Dicom = Dicom()
    scale: Literal["bits", "range", "percentile"] = "bits"
    max_side: Annotated[int, Field(ge=64, le=8192)] = 1024  # longest side of the kept images, px
    privacy: Privacy = Privacy()


class Postprocess(Section):
    """Cleaning of predicted lung masks."""

    keep: Annotated[int, Field(ge=1, le=10)] = 2
    fill_holes: bool = True
    dilate_percent: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0  # of the image's width
    dilate_mm: Annotated[float, Field(ge=0.0, le=50.0)] = 0.0  # where the pixel spacing is known
    dilate_px: Annotated[float, Field(ge=0.0, le=500.0)] = 0.0  # of the image's own pixels

    @model_validator(mode="after")
    def _one_unit(self) -> Postprocess:
        if sum(value > 0 for value in (self.dilate_percent, self.dilate_mm, self.dilate_px)) > 1:
            raise ValueError("dilate_percent, dilate_mm, dilate_px: expected one of them at most")
        return self


class Masks(Section):
    """Lung masks: given files or the lung U-Net."""

    # folder of masks; auto: those of the mask column, if there is one
    files: Annotated[str | None, Word("auto")] = None
    model: str = "lung-unet"
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    postprocess: Postprocess = Postprocess()
    on_suspect: Literal["exclude", "keep", "fail"] = "exclude"
    flip: bool = False  # average over the image and its mirror image; twice the network's time
    formats: list[Literal["png", "nifti", "dicom-seg"]] = ["png"]  # png is always written
    identity: Literal["remove", "keep"] = "remove"  # of DICOM output
    batch_size: Count = 8


class Model(Section):
    """The classifier."""

    arch: str = "densenet121"
    input: tuple[Annotated[int, Field(ge=32, le=2048)], Annotated[int, Field(ge=32, le=2048)]] = (
        224,
        224,
    )
    channels: Literal[1, 3] = 1
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    # file of weights to start from: .safetensors, .pth, .pt, .bin; none: random weights
    pretrained: Annotated[str | None, Word("none")] = None
    # first step of the network, on grey levels 0 to 1: [means, sds] of one or three channels, or
    # those of a kind of weights; auto: of the pretrained file's network
    normalisation: (
        Literal["auto", "none", "imagenet", "half", "txv"]
        | tuple[tuple[float, ...], tuple[float, ...]]
    ) = "auto"
    standardise: Literal["none", "lungs", "bands"] = "none"  # grey levels, by those of the lungs

    @model_validator(mode="before")
    @classmethod
    def _square(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("input"), (int, list)):
            size = values["input"]
            values = {**values, "input": (size, size) if isinstance(size, int) else tuple(size)}
        return values

    @model_validator(mode="before")
    @classmethod
    def _constants(cls, values: Any) -> Any:
        given = values.get("normalisation") if isinstance(values, dict) else None
        if not isinstance(given, list):
            return values
        rows = tuple(tuple(row) if isinstance(row, list) else (row,) for row in given)
        return {**values, "normalisation": rows}

    @model_validator(mode="after")
    def _channels(self) -> Model:
        given = self.normalisation
        if isinstance(given, str):
            return self
        lengths = [len(row) for row in given]
        if lengths not in ([1, 1], [3, 3]):
            raise ValueError(
                f"normalisation: found {lengths[0]} means and {lengths[1]} standard deviations,"
                " expected one or three of each"
            )
        if min(given[1]) <= 0:
            raise ValueError(
                f"normalisation: found the standard deviation {min(given[1]):g}, expected > 0"
            )
        return self


class Bias(Section):
    """Synthetic bias: a shape per class, drawn into the background (ISNet paper's protocol)."""

    kind: Literal["none", "shapes"] = "none"
    train: bool = True  # draw into training and validation images
    size: Annotated[float, Field(gt=0.0, le=0.5)] = 0.15  # of the shorter side, rim not counted
    intensity: Fraction = 1.0
    # one per class; auto: in the order of ShapeName
    shapes: Annotated[list[ShapeName] | None, Word("auto")] = None


class Optimizer(Section):
    """The optimiser."""

    name: Literal["sgd", "adamw"] = "adamw"
    lr: Positive = 1e-3
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01


class Schedule(Section):
    """The learning-rate schedule, per epoch."""

    name: Literal["constant", "cosine", "step"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    milestones: list[int] = []
    gamma: Fraction = 0.1
    final: Fraction = 0.01  # cosine: last rate as a share of the first


class PerMethod:
    """Marks `Train.settings`: a record of its own class for each training method."""

    @staticmethod
    def classes() -> Mapping[str, type[MethodSettings]]:
        """The class of each method's settings, by the method's name."""
        return {entry.name: entry.settings_class() for entry in registry.ENTRIES}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """A typed dict whose keys may be absent, as pydantic's core describes one."""
        fields = {
            name: {
                "type": "typed-dict-field",
                "schema": handler.generate_schema(kind),
                "required": False,
            }
            for name, kind in self.classes().items()
        }
        return {"type": "typed-dict", "fields": fields, "extra_behavior": "forbid"}


class Augment(Section):
    """Random changes of training images, the same for image and mask."""

    rotate: Annotated[float, Field(ge=0.0, le=180.0)] = 10.0  # degrees, either way
    translate: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05  # of the side
    scale: Annotated[float, Field(ge=0.0, le=0.9)] = 0.1  # either way
    flip: bool = True
    contrast: Annotated[float, Field(ge=0.0, le=0.9)] = 0.2
    brightness: Annotated[float, Field(ge=0.0, le=0.9)] = 0.1
    gamma: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0  # exponent 2**(-x) to 2**x
    spectrum: Annotated[float, Field(ge=0.0, le=3.0)] = 0.0  # octaves' gains 2**(-x) to 2**x


class EarlyStop(Section):
    """When to stop before the last epoch."""

    patience: Annotated[int, Field(ge=0)] = 0  # epochs without improvement; 0: never


class Before(Section):
    """A part of the training that comes first: the same network by another method."""

    method: str  # a name, or name+addition; its settings are in train.settings
    share: Annotated[float, Field(gt=0.0, lt=1.0)]  # of train.epochs
    lr_factor: Positive = 1.0  # times train.optimizer.lr


START = Before(method="background_mix", share=0.6, lr_factor=2.0)  # of an ISNet


def _needs_start(method: str, isnet: Any) -> bool:
    """Whether `START` comes before `method` where nothing is said.

    Args:
        method: A method of the registry.
        isnet: Settings of the ISNet, as given or checked; None: the defaults.
    """
    preset = isnet.get("preset") if isinstance(isnet, dict) else getattr(isnet, "preset", None)
    return preset != "paper" and "isnet" in method.split("+")


class Train(Section):
    """Training of the classifier."""

    # what comes first, in order; its epochs count among `epochs`; auto: see `parts_before`
    before: Annotated[list[Before] | None, Word("auto")] = None
    method: str = DEFAULT_METHOD  # a name, or name+addition
    settings: Annotated[dict[str, MethodSettings], PerMethod()] = {}  # of methods, by name
    epochs: Count = 60
    batch_size: Count = 16
    accumulate: Count = 1  # batches whose gradients make one step of the optimiser
    # the exponential mean of the weights over about so many epochs is what is validated and kept;
    # 0: the weights themselves
    average_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    precision: Literal["float32", "mixed"] = "float32"
    clip_norm: Annotated[float, Field(ge=0.0)] = 1.0  # 0: no clipping
    class_weights: Literal["none", "balanced"] | list[Positive] = "none"
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    augment: Augment = Augment()
    select: Literal["last", "loss", "auc", "swapped"] = (
        "last"  # the last epoch, or that of the best
    )
    # validation loss, AUC, or AUC on validation images with swapped backgrounds
    early_stop: EarlyStop = EarlyStop()

    @model_validator(mode="before")
    @classmethod
    def _used_settings(cls, values: Any) -> Any:
        """Writes the settings of the methods in use down, whether any are given or not."""
        given = values.get("settings", {}) if isinstance(values, dict) else None
        if not isinstance(given, dict):
            return values
        try:
            methods = [values.get("method", DEFAULT_METHOD)]
            before = values.get("before", "auto")
            if before in (None, "auto"):
                mixed = _needs_start(methods[0], given.get("isnet"))
                before = [{"method": START.method}] if mixed else []
            methods += [part["method"] for part in before]
            used = [entry for method in methods for entry in registry.parts(method)]
        except (AttributeError, KeyError, TypeError, ValueError):  # faults of their own
            return values
        return {**values, "settings": {**{entry.name: {} for entry in used}, **given}}

    @property
    def parts_before(self) -> list[Before]:
        """What comes before `method`.

        ``auto``: before an ISNet with its default settings, `START`; before others and before an
        ISNet with the papers' constants, nothing.
        """
        if self.before is not None:
            return self.before
        return [START] if _needs_start(self.method, self.settings.get("isnet")) else []

    def settings_of(self, method: str) -> Any:
        """The settings record of a method of the registry, by its name."""
        return self.settings.get(method) or PerMethod.classes()[method]()


class Intervals(Section):
    """95 % intervals of scores."""

    method: Literal["auto", "closed", "bootstrap"] = "auto"  # auto: closed form where images are
    # independent, else a bootstrap by patient
    prior: Literal["jeffreys", "uniform"] = "jeffreys"  # of the confusion matrix
    shape: Literal["densest", "equal_tails"] = "densest"  # of the posterior's interval
    draws: Annotated[int, Field(ge=1000, le=10_000_000)] = 100_000  # of the posterior
    bootstrap: Annotated[int, Field(ge=200, le=1_000_000)] = 2000  # draws of patients


# run folder whose trained model is used; own: this run's
TrainedFrom = Annotated[str | None, Word("own")]
Sets = Annotated[list[str] | None, Word("auto")]  # auto: every set but train and val


class Evaluate(Section):
    """What is measured on which sets."""

    model: TrainedFrom = None
    sets: Sets = None
    batch_size: Count = 32
    relevance: bool = True
    segmenter: bool = True  # false: a model that cuts out the lungs gets the whole image
    background: bool = True  # also images without lungs, lungs alone, swapped backgrounds
    # batch_norm: statistics of BatchNorm layers anew for each set, from its images without labels
    adapt: Literal["none", "batch_norm"] = "none"
    attack: bool = False  # also how far background pixels must change to change the prediction
    # findings drawn into test images: a .csv of boxes, a COCO .json or a folder of masks; of all
    # sets, or {set: path}
    annotations: Annotated[str | dict[str, str] | None, Word("none")] = None
    # sex, age, view, manufacturer, model, source, or columns of data.columns.groups
    subgroups: list[str] = []
    subgroup_least: Annotated[int, Field(ge=2)] = 20  # labelled images of a group that is shown
    # set that the others are compared with
    reference: Annotated[str | None, Word("first")] = None
    intervals: Intervals = Intervals()


class Predict(Section):
    """Predictions on images, labelled or not."""

    model: TrainedFrom = None  # or folder of the two model files


class Heatmap(Section):
    """Which maps are exported."""

    model: TrainedFrom = None
    sets: Sets = None
    method: Literal[
        "own", "lrp", "gradcam", "grad_input", "integrated_gradients", "attention_rollout"
    ] = "own"  # own: the explanation that belongs to the model's training method
    # of lrp; own: the one the model was trained with
    family: Annotated[Literal["flex", "block", "z+"] | None, Word("own")] = None
    target: str = "predicted"  # predicted | true | all | a class name
    formats: list[
        Literal["png", "npz", "nifti", "dicom-sc", "dicom-seg", "dicom-sr", "dicom-pm"]
    ] = [
        "png",
        "npz",
    ]
    scale: Literal["image", "set"] = "image"  # what shares one colour scale
    region: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5  # of dicom-seg: share of the relevance
    identity: Literal["remove", "keep"] = "remove"  # of DICOM outputs
    limit: Annotated[Count | None, Word("all", default=False)] = 50  # images per set
    check: bool = False  # also sanity checks of the maps: shuffled weights, deletion, insertion


class Limits(Section):
    """What one input file may be and take; checked before anything is allocated for it."""

    file_mb: Count = 256  # an image or mask file, deflated data inflated
    megapixels: Count = 100  # all frames or pages of a file together
    frames: Count = 500  # frames of a DICOM file, pages of a TIFF
    elements: Count = 100_000  # data elements, chunks or tags before the pixels
    table_mb: Count = 128  # a label table or an annotation file
    cells: Count = 20_000_000  # of a table
    memory_mb: Annotated[int, Field(ge=256)] = 1000  # of the process that reads a file
    seconds: Positive = 20.0  # to read a file

    @property
    def file_bytes(self) -> int:
        """`file_mb` in bytes."""
        return self.file_mb * 1_000_000

    @property
    def table_bytes(self) -> int:
        """`table_mb` in bytes."""
        return self.table_mb * 1_000_000

    @property
    def memory_bytes(self) -> int:
        """`memory_mb` in bytes."""
        return self.memory_mb * 1_000_000

    @property
    def pixels(self) -> int:
        """`megapixels` in pixels."""
        return self.megapixels * 1_000_000


class Machine(Section):
    """The machine's part: device, worker processes, determinism."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    # auto: min(4, cores)
    workers: Annotated[Annotated[int, Field(ge=0)] | None, Word("auto")] = None
    deterministic: bool = True


class Config(Section):
    """A whole pipeline."""

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "isnet"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    upstream: str | None = None  # another run folder whose ingest and masks stages are used
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = []  # local files of these, in the run
    track_maps: Annotated[int, Field(ge=0)] = 0  # epochs between sheets of sample maps; 0: none
    data: Data = Data()
    masks: Masks = Masks()
    model: Model = Model()
    bias: Bias = Bias()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    predict: Predict = Predict()
    heatmap: Heatmap = Heatmap()
    limits: Limits = Limits()
    machine: Machine = Machine()
