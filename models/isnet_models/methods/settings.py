"""Settings of every training method, as `train.settings.NAME` has them; importable without torch.

A record checks itself when it is made: unknown names, wrong types and values out of range are
refused, and lists may stand for tuples.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
# a model's card is JSON, whose keys are text
Epoch = Annotated[
    int,
    Field(ge=0),
    BeforeValidator(lambda key: int(key) if isinstance(key, str) and key.isdecimal() else key),
]
Range = tuple[Positive, Positive | Literal["none"]]
Seam = Annotated[float, Field(ge=0.0, le=0.25)]

Variant = Literal["auto", "original", "flex", "selective", "stochastic", "dual"]
Fill = Literal["image", "black", "noise", "blur"]
Partner = Literal["any", "same", "other"]
FEATHER = 1 / 64  # of the shorter side: width of the seam's blur


class MethodSettings(BaseModel):
    """Base of all records: frozen, strict about names and types, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, values: Any) -> Any:
        return as_tuples(values)


def as_tuples(values: Any) -> Any:
    """`values` with a tuple for each list, inside of dicts too."""
    if isinstance(values, dict):
        return {name: as_tuples(value) for name, value in values.items()}
    return tuple(map(as_tuples, values)) if isinstance(values, list) else values


class NoSettings(MethodSettings):
    """Of a method without settings."""


PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "heatmap_weight": 0.7,
        "warmup_epochs": 0,
        "layers": "none",
        "layer_decay": 0.8,
        "loss": "isnet",
        "background_weight": 1.0,
        "foreground_weight": 1.0,
        "pooling_decay": 0.9,
        "margin": 0.0,
        "saturation": 1.0,
        "relevance_range": "estimate",
        "range_epochs": 3,
        "foreground": "hybrid",
        # of the ISNet alone
        "variant": "selective",
        "epsilon": 0.01,
        "bounded_first_layer": True,
        "selective_offset": 0.01,
        "predicted_probability": 0.5,
    }
)  # fmt: skip - Faster ISNet, IEEE Access 12:155151 (2024), and its authors' scripts for LRP-Flex


class RelevanceLossSettings(MethodSettings):
    """What all methods with the ISNet's loss share.

    The loss of a batch is (1 - P) · classification + P · (w1 · background + w2 · foreground) with
    P = `heatmap_weight`, w1 = `background_weight` and w2 = `foreground_weight`.

    Attributes:
        preset: ``paper``: settings that are not given have the papers' constants instead of the
            defaults (``default``).
        heatmap_weight: P, 0 to 1, or {first epoch: P} with an entry for epoch 0.
        warmup_epochs: P rises to `heatmap_weight` in so many epochs, in equal steps from the first
            epoch on; 0: at once.
        layers: Deep supervision: ``none``: the image's maps alone; ``auto``: also those of the last
            activation of every size; or names of modules.
        layer_decay: Of the ranked mean over layers, 0 (the worst alone) to 1 (mean).
        loss: ``isnet``: background and foreground loss; ``energy``: minus the logarithm of the
            share of relevance inside the lungs, which has no constants.
        background_weight: w1, weight of the background loss, >= 0.
        foreground_weight: w2, weight of the foreground loss, >= 0.
        pooling_share: Share of the background's pixels on which the ranked pooling has its weight,
            above 0 to 1, whatever the size of image and lungs: d = 1 - 1/(share · pixels).
        pooling_decay: d of the ranked pooling, 0 (maximum) to 1 (mean), of all images alike;
            ``share``: by `pooling_share`.
        margin: Width of the margin round the lungs that is no background, as a share of the
            image's shorter side, 0 to 0.25, rounded up to whole pixels.
        saturation: E, > 0: the background relevance, in units of the lungs' mean relevance, at
            which the background loss is half saturated.
        relevance_range: C1 and C2: between them the sum of relevance inside the lungs is free.
            ``estimate`` measures them, ``estimate_low`` C1 alone: any larger sum is free; [low,
            high] or [low, none], or {map: [low, high]} where ``input`` is the image's map and
            others are layers.
        range_epochs: Epochs of plain training in the last of which the range is measured.
        foreground: Form of the loss above the range: ``l2``, ``l1``, or ``hybrid`` of both.
        batch_norm_gradient: BatchNorm's batch statistics in the maps: ``constant``, or ``full``:
            differentiated through, so that the images of a batch mix, as in the authors' code.
        every_steps: The map loss is taken in every n-th training step, n >= 1.
        batch_share: Part of each batch whose maps are made, above 0 to 1; the others pass through
            the network apart, so that BatchNorm sees two batches.
        memory_gb: GB that the maps made at once may take, >= 0; maps of all classes are then made
            in series. ``unlimited``: all at once.
        recompute_maps: Make maps a second time in the backward pass instead of keeping them.
    """

    preset: Literal["default", "paper"] = "default"
    heatmap_weight: Share | dict[Epoch, Share] = 0.5
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    layers: Literal["none", "auto"] | tuple[str, ...] = "auto"
    layer_decay: Share = 0.8
    loss: Literal["isnet", "energy"] = "isnet"
    background_weight: Weight = 1.0
    foreground_weight: Weight = 1.0
    pooling_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.04
    pooling_decay: Literal["share"] | Share = "share"
    margin: Annotated[float, Field(ge=0.0, le=0.25)] = 0.0
    saturation: Positive = 1.0
    relevance_range: Literal["estimate", "estimate_low"] | Range | dict[str, Range] = "estimate_low"
    range_epochs: Count = 3
    foreground: Literal["l2", "hybrid", "l1"] = "hybrid"
    batch_norm_gradient: Literal["constant", "full"] = "constant"
    every_steps: Count = 1
    batch_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    memory_gb: Literal["unlimited"] | Weight = "unlimited"
    recompute_maps: bool = False

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("preset") != "paper":
            return values
        preset = {name: value for name, value in PAPER.items() if name in cls.model_fields}
        return {**preset, **values}

    @model_validator(mode="after")
    def _check(self) -> RelevanceLossSettings:
        if isinstance(self.heatmap_weight, dict) and 0 not in self.heatmap_weight:
            raise ValueError("heatmap_weight: a schedule {epoch: P} needs an entry for epoch 0")
        if self.background_weight == self.foreground_weight == 0:
            raise ValueError("background_weight and foreground_weight must not both be 0")
        given = self.relevance_range
        ranges = given.values() if isinstance(given, dict) else [given]
        for one in ranges:
            if not isinstance(one, str) and one[1] != "none" and one[0] > one[1]:
                raise ValueError("relevance_range: expected the lower end first")
        return self


class ISNetSettings(RelevanceLossSettings):
    """Of the ISNet.

    Attributes:
        variant: Which maps the loss looks at. ``auto``: ``selective`` for two exclusive classes,
            else ``stochastic``. ``original``: LRP Block maps of all logits;
            ``flex``: LRP-Flex maps of all logits; ``selective``: one LRP-Flex map of the least
            likely class against the others; ``stochastic``: one LRP-Flex map of a class drawn at
            random; ``dual``: a z+ map and an LRP Block map of all logits together.
        epsilon: LRP's stabiliser, >= 0.
        bounded_first_layer: Whether the first layer follows the rule for pixels in [0, 1] (zB).
        selective_offset: delta, added to probabilities in ``selective``, >= 0.
        predicted_probability: Chance of the predicted class in ``stochastic``, 0 to 1.
    """

    variant: Variant = "auto"
    epsilon: Weight = 0.01
    bounded_first_layer: bool = True
    selective_offset: Weight = 0.01
    predicted_probability: Share = 0.5


class GradInputSettings(RelevanceLossSettings):
    """Of the ISNet with gradient x input maps, which have neither stabiliser nor pixel rule."""


class RRRSettings(MethodSettings):
    """Of RRR.

    Attributes:
        gradient_weight: Of the penalty, >= 0. Both terms should be of one order of magnitude (the
            paper's advice): images of 32 to 224 px had penalties of 20 to 600 once they were
            learnt.
        per_batch: Differentiate the mean over the batch instead of every image's own value, as the
            authors of the ISNet did for comparison: the penalty shrinks by the batch size squared.
    """

    gradient_weight: Weight = 0.01
    per_batch: bool = False


class GAINSettings(MethodSettings):
    """Of extended GAIN.

    Attributes:
        mining_weight: alpha, weight of attention mining, >= 0.
        attention_weight: w, weight of the maps' distance to the lungs, >= 0.
        sharpness: omega, steepness of the soft threshold that hides what the map shows, > 0.
        threshold: sigma, value of the map that is half hidden.
        signed: Keep negative values of the maps instead of cutting them off.
        every_class: Hold the maps of all classes to the lungs instead of those that are present.
    """

    mining_weight: Weight = 1.0
    attention_weight: Weight = 10.0
    sharpness: Positive = 10.0
    threshold: float = 0.5
    signed: bool = False
    every_class: bool = False


class HAMSettings(MethodSettings):
    """Of hierarchical attention mining.

    Attributes:
        abnormality_weight: Of the abnormality's cross-entropy, >= 0.
        bound_weight: Of class maps outside the abnormality's map, >= 0.
        union_weight: Of the abnormality's map outside the union of class maps, >= 0.
        mask_weight: Of the class maps' distance to the lungs, >= 0.
        sharpness: Steepness of the soft mask sigmoid(sharpness·(map - threshold)), > 0.
        threshold: Where the soft mask is 1/2.
        normal_class: Index of the class that means nothing is found, from 0: it has no map, and
            its images are the negatives of the abnormality. ``none``: every class has a map.
    """

    abnormality_weight: Weight = 0.01
    bound_weight: Weight = 0.001
    union_weight: Weight = 0.001
    mask_weight: Weight = 0.5
    sharpness: Positive = 100.0
    threshold: float = 0.4
    normal_class: Literal["none"] | Annotated[int, Field(ge=0)] = "none"


class SegmentSettings(MethodSettings):
    """Of segmentation before classification.

    Attributes:
        at_test: What the classifier gets where no masks are given. ``segment``: the image cut by
            the network's own lung mask; ``whole``: the whole image, which shows what the
            classifier is worth without its segmenter.
    """

    at_test: Literal["segment", "whole"] = "segment"


class MultitaskSettings(MethodSettings):
    """Of the multi-task U-Net: its size, and the share of the masks in the loss.

    Attributes:
        segmentation_weight: P, 0 to 1: (1 - P) classification + P segmentation.
        width: Channels of the finest level, >= 1; each coarser level has twice as many.
        depth: Levels, >= 2; the image is halved between them.
        hidden: Width of the head's two hidden layers, >= 1.
        dropout: Probability in the head, 0 to below 1.
    """

    segmentation_weight: Share = 0.5
    width: Count = 64
    depth: Annotated[int, Field(ge=2)] = 5
    hidden: Count = 4096
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5


class SononetSettings(MethodSettings):
    """Of AG-Sononet.

    Attributes:
        feature_scale: What 64, 128, 256 and 512 channels are divided by, 1 to 64.
    """

    feature_scale: Annotated[int, Field(ge=1, le=64)] = 4


class ViTSettings(MethodSettings):
    """Which vision transformer.

    Attributes:
        arch: torchvision's name, or ``small`` (6 layers of width 192, 2.8 M parameters).
        patch: Side of the patches of ``small``, px; ``auto``: 16. The others have their own.
    """

    arch: Literal["vit_b_16", "vit_b_32", "vit_l_16", "small"] = "vit_b_16"
    patch: Literal["auto"] | Count = "auto"

    @model_validator(mode="after")
    def _check(self) -> ViTSettings:
        if self.patch != "auto" and self.arch != "small":
            raise ValueError(f"patch: belongs to arch small, {self.arch} has its own")
        return self


class BackgroundMixSettings(MethodSettings):
    """Of mixed backgrounds.

    Attributes:
        share: Chance of each image with a mask to be changed in a step, 0 to 1.
        fill: What takes the background's place: another image's (``image``), ``black``, ``noise``
            (uniform in [0, 1]), or its own, blurred (``blur``).
        partner: Whose background: of ``any`` other image of the batch, one of the ``same`` class,
            or one of an``other``.
        feather: Width of the seam as a share of the shorter side, 0 to 0.25.
        brightness: Whether the partner's image is made as bright as the image beside the seam.
    """

    share: Share = 1.0
    fill: Fill = "image"
    partner: Partner = "any"
    feather: Seam = FEATHER
    brightness: bool = True


class MaskedMixSettings(MethodSettings):
    """Of mixed masking.

    Attributes:
        removed: Chance of each image to lose its background in a step, 0 to 1.
        replaced: Chance of each image to get another image's background, 0 to 1; both together at
            most 1, the others stay whole.
        fill: What is left of a removed background: ``black``, ``noise`` (uniform in [0, 1]), or
            ``blur``, its own blurred.
        consistency_weight: Of the distance between the answers to a whole image and to its changed
            view, >= 0; with 0 there is no second forward pass.
        feather: Width of the seam as a share of the shorter side, 0 to 0.25.
    """

    removed: Share = 0.5
    replaced: Share = 0.5
    fill: Literal["black", "noise", "blur"] = "black"
    consistency_weight: Weight = 1.0
    feather: Seam = FEATHER

    @model_validator(mode="after")
    def _check(self) -> MaskedMixSettings:
        if self.removed + self.replaced > 1:
            total = self.removed + self.replaced
            raise ValueError(f"replaced: with removed {total:g}, expected at most 1")
        return self


class DistillationSettings(MethodSettings):
    """Of explanation distillation; the defaults are the paper's: maps alone, last layer copied.

    Attributes:
        teacher: Folder of the trained run that is learnt from; read by the program. null: not set,
            and refused when training starts.
        map_weight: Of the distance between the LRP-Flex maps of student and teacher, >= 0.
        feature_weight: Of the mean squared difference of the last layer's inputs, >= 0.
        logit_weight: Of T²·KL(teacher || student) of the answers at temperature T, >= 0.
        label_weight: Of the classification loss, >= 0.
        temperature: T, > 0.
        masked: Whether the teacher sees the lungs alone; false: the whole image, for a teacher
            that was trained to look at the lungs by itself.
        fill: Around the lungs that the teacher sees: ``black``, or ``blur``: background, blurred.
        epsilon: LRP's stabiliser is drawn for each batch, log-uniformly between these two; (0, 0):
            gradient x input.
        bounded_first_layer: Whether the first layer follows the rule for pixels in [0, 1] (zB).
        predicted_probability: Chance that the map of the teacher's first choice is compared, 0 to
            1; else that of another class. The student explains the same class.
        pyramid: Whether maps are compared at several resolutions.
        freeze_last: Whether the student's last layer is the teacher's and stays so, where their
            shapes agree.
    """

    teacher: str | None = None
    map_weight: Weight = 1.0
    feature_weight: Weight = 0.0
    logit_weight: Weight = 0.0
    label_weight: Weight = 0.0
    temperature: Positive = 3.0
    masked: bool = True
    fill: Literal["black", "blur"] = "black"
    epsilon: tuple[float, float] = (0.01, 0.1)
    bounded_first_layer: bool = False
    predicted_probability: Share = 0.5
    pyramid: bool = True
    freeze_last: bool = True

    @model_validator(mode="after")
    def _check(self) -> DistillationSettings:
        weights = ("map_weight", "feature_weight", "logit_weight", "label_weight")
        if not any(getattr(self, name) for name in weights):
            raise ValueError(
                f"map_weight: 0 like {', '.join(weights[1:])}: nothing would be learnt"
            )
        low, high = self.epsilon
        if not (0 < low <= high or low == high == 0):
            raise ValueError(f"epsilon: found ({low:g}, {high:g}), expected 0 < low <= high")
        return self
