"""The configuration of the lung U-Net's training: its own small file, as strict as the main one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from isnet_cli.config.load import WEIGHTS, Form, Option, load_form
from isnet_cli.config.schema import Count, Dicom, Fraction, Limits, Machine, Positive, Section
from isnet_cli.config.yaml_tree import Key

NO_START = "none"  # model.weights: random ones
ENCODER, DECODER = "tu-mobilenetv3_small_100", (128, 64, 32, 16, 16)  # of the shipped network
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class Pairs(Section):
    """Images and their masks, and which are kept out of training.

    Either `table`, a CSV with the columns `file` and `mask` (and `patient`, `source`, `label` where
    known; paths relative to it), or `images` with `masks`: a folder with one picture per image or a
    left and a right one, or a COCO ``.json``.
    """

    table: str | None = None
    images: str | list[str] | None = None
    masks: str | None = None
    exclude: list[str] = Field(default_factory=list)  # names of images that are not used at all
    phantoms: Annotated[int, Field(ge=0, le=100_000)] = 0  # synthetic images with exact masks
    unlabelled: dict[str, str | list[str]] = Field(default_factory=dict)  # images of each source
    teacher: str | None = None  # network that makes the masks of these
    agreement: Fraction = 0.95  # least Dice between its views of an image, for the image to be used
    validation: Share = 0.1  # of each source's patients: choose the best epoch
    held_out: Share = 0.15  # of each source's patients: measured once, at the end
    held_out_sources: list[str] = Field(default_factory=list)  # whole sources that are held out
    scale: Literal["bits", "range", "percentile"] = "bits"
    dicom: Dicom = Dicom()


class UNet(Section):
    """The segmentation-models-pytorch U-Net; its input is 256 x 256 px."""

    encoder: str = ENCODER
    decoder_channels: tuple[Count, Count, Count, Count, Count] = DECODER
    weights: str = (
        NO_START  # a shipped network, or a .safetensors file with its card, to go on from
    )

    @model_validator(mode="before")
    @classmethod
    def _tuple(cls, values: Any) -> Any:
        given = values.get("decoder_channels") if isinstance(values, dict) else None
        return {**values, "decoder_channels": tuple(given)} if isinstance(given, list) else values


class Coarse(Section):
    """Images are shrunk in the first epochs, which saves time; not where training goes on."""

    size: Annotated[int, Field(ge=64, le=256, multiple_of=32)] = 192  # px
    share: Fraction = 0.7  # of the epochs


class UNetOptimizer(Section):
    """AdamW, by the names of `isnet_cli.config.schema.Optimizer`."""

    lr: Positive = 2e-3  # highest rate: a rise over a twentieth of the steps, then half a cosine
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-3


class Fit(Section):
    """The training itself."""

    epochs: Count = 60
    batch_size: Annotated[int, Field(ge=2)] = 8
    optimizer: UNetOptimizer = UNetOptimizer()
    average: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995  # decay of the averaged weights kept
    precision: Literal["float32", "mixed"] = "float32"
    augment: bool = True
    warp: Annotated[float, Field(ge=0.0, le=0.2)] = 0.0  # largest smooth displacement, of the side
    phantom_share: Share = 0.12  # of the images that training takes, where there are phantoms
    unlabelled_share: Share = 0.5  # likewise, of images with a teacher's masks
    coarse: Coarse = Coarse()


class About(Section):
    """What the card says besides figures."""

    version: Annotated[str, Field(min_length=1)] = "1.0"
    licence: Annotated[str, Field(min_length=1)] = "not stated"
    licence_reason: str = ""
    data: list[dict[str, str]] = Field(default_factory=list)
    limits: list[str] = Field(default_factory=list)
    names: bool = False  # list the held-out images by name


class Segmenter(Section):
    """A whole training of the lung U-Net."""

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "lung-unet"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Pairs = Pairs()
    model: UNet = UNet()
    train: Fit = Fit()
    card: About = About()
    limits: Limits = Limits()
    machine: Machine = Machine()


def check(config: Segmenter) -> list[tuple[Key, str]]:
    """All faults of a configuration whose single keys are valid; empty when it is good."""
    data, faults = config.data, list[tuple[Key, str]]()
    if (data.table is None) == (data.images is None):
        faults.append((("data",), "expected either table, or images with masks"))
    if (data.images is None) != (data.masks is None):
        faults.append((("data",), "images and masks stand together"))
    if data.validation + data.held_out >= 1:
        faults.append((("data", "held_out"), "with validation it leaves no image for training"))
    if bool(data.unlabelled) != (data.teacher is not None):
        faults.append((("data",), "unlabelled and teacher stand together"))
    if config.train.phantom_share + config.train.unlabelled_share >= 1:
        message = "with phantom_share it leaves no image with a given mask"
        faults.append((("train", "unlabelled_share"), message))
    start = config.model.weights
    changed = {"encoder", "decoder_channels"} & config.model.model_fields_set
    if start != NO_START and changed:
        faults.append(
            (("model", "weights"), f"the architecture is that of {start}: leave {min(changed)} out")
        )
    return faults


FORM = Form(
    Segmenter,
    (
        ("data", "table"),
        ("data", "images"),
        ("data", "masks"),
        ("data", "unlabelled", "*"),
        ("data", "teacher"),
        ("model", "weights"),  # a shipped network's name, or a file that ends in WEIGHTS
    ),
    (("version",),),
    check,
    "isnet masks train",
    names=(("data", "teacher"), ("model", "weights")),
)


def load_segmenter(
    path: Path, overrides: Sequence[str] = (), options: Iterable[Option] = ()
) -> Segmenter:
    """Reads a training's configuration, as `isnet_cli.config.load.load` reads the main one.

    Raises:
        IsnetError: Kind "config", with every fault as ``file:line: key: message``.
    """
    return load_form(FORM, path, overrides, options)


def starts_from_file(config: Segmenter) -> bool:
    """Whether training goes on from weights of the user's own."""
    return config.model.weights.endswith(WEIGHTS)
