"""What every training method offers: its network, its loss of a batch, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isnet_lrp.losses.relevance_range import Bound
from isnet_models.backbones import build_backbone
from isnet_models.methods.settings import MethodSettings, NoSettings
from isnet_models.normalise import Normalisation
from isnet_models.ranks import join_shares

Range = tuple[Bound, Bound]  # C1 and C2
EVERY_MAP = "every map"  # the key of a range that holds for all supervised maps


@dataclass(frozen=True)
class Batch:
    """One batch.

    Attributes:
        images: [B, C, H, W] in [0, 1].
        masks: Lungs, 0 or 1 [B, 1, H, W]; all zero where an image has no mask.
        labels: Class indices, int64 [B], or 0/1 with NaN for missing [B, K] (multi-label).
    """

    images: Tensor
    masks: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Losses:
    """Loss of one batch.

    Attributes:
        total: What is differentiated (0-d tensor).
        logits: Outputs of the forward pass [B, K].
        parts: Named figures for the log (0-d tensors without gradient).
    """

    total: Tensor
    logits: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class NetSpec:
    """The classifier that was asked for.

    Attributes:
        arch: Name of a backbone; a method with a network of its own does without.
        classes: Number of outputs K.
        channels: Channels of the input.
        dropout: Probability before the last layer.
        size: Rows and columns of the input, px.
        segmenter: Options of the lung U-Net's class, for methods that keep one in their network.
        settings: The method's settings, for those that the network depends on; None: the defaults.
        normalisation: What the network does with its input first; None: nothing.
    """

    arch: str
    classes: int
    channels: int = 1
    dropout: float = 0.0
    size: tuple[int, int] = (224, 224)
    segmenter: dict[str, Any] | None = None
    settings: Any = None
    normalisation: Normalisation | None = None


@dataclass(frozen=True)
class Context:
    """What a method may use besides its settings.

    Attributes:
        class_weights: [K], weights of the classification loss, or None for equal ones.
        autocast: Whether the network may run in bfloat16 where that does no harm.
        ranges: (C1, C2) of every supervised map by name, or of `EVERY_MAP`; empty where the map
            loss has none; None while they are not known.
        teacher: A trained classifier in eval mode; None where no method needs it.
        classes: K, or None while it is not known.
        exclusive: Whether each image has exactly one class.
    """

    class_weights: Tensor | None = None
    autocast: bool = False
    ranges: Mapping[str, Range] | None = None
    teacher: nn.Module | None = None
    classes: int | None = None
    exclusive: bool = True


class Method:
    """A way to train a classifier; every method inherits from it.

    What an epoch begins with and what it reports are empty by default, and the network is the
    backbone that was asked for.

    Args:
        settings: Record of the class's `Settings`.
        context: What it may use besides.
        inner: The method that an addition is added to; None for methods of their own.
    """

    Settings: ClassVar[type[MethodSettings]] = NoSettings  # the registry names it too
    form: ClassVar[int] = 1  # raised when the same settings give another model
    bounded: ClassVar[bool] = True  # whether the first layer reads the image itself (rule zB)
    shares: ClassVar[bool] = False  # whether processes that share a batch learn what one learns

    def __init__(
        self, settings: Any = None, context: Context | None = None, inner: Method | None = None
    ) -> None:
        self.settings: Any = self.Settings() if settings is None else settings
        self.context = context or Context()
        self.inner = inner

    @property
    def shared(self) -> bool:
        """Whether this method and what it is added to can share batches among processes."""
        return self.shares and (self.inner is None or self.inner.shared)

    @property
    def base(self) -> Method:
        """The method below all additions."""
        return self if self.inner is None else self.inner.base

    @classmethod
    def build(cls, spec: NetSpec) -> nn.Module:
        """The untrained network: [B, C, H, W] in [0, 1] -> logits [B, K].

        Raises:
            ValueError: Unknown backbone, or a network that cannot be made as asked for.
        """
        return build_backbone(
            spec.arch, spec.classes, channels=spec.channels, dropout=spec.dropout,
            normalisation=spec.normalisation, size=spec.size,
        )  # fmt: skip

    def prepare(self, net: nn.Module) -> None:
        """Changes the network before its training; a continued training calls it again."""
        if self.inner is not None:
            self.inner.prepare(net)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Prepares for `epoch` (counted from 0), before its first batch.

        A continued training begins here: what a method keeps from epoch to epoch must follow
        from its settings and these two arguments alone.

        Args:
            epoch: The epoch.
            generator: All of the method's chance in this epoch (on the CPU).
        """
        if self.inner is not None:
            self.inner.begin_epoch(epoch, generator)

    def figures(self, epoch: int) -> dict[str, float]:
        """What the history says of `epoch` beside the losses, by name; asked at its end."""
        return {} if self.inner is None else self.inner.figures(epoch)

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Loss of `batch` in `epoch` (counted from 0); `net` is in the mode of the caller.

        Without gradient mode (validation) images are taken as they are, and no chance is used.
        """
        raise NotImplementedError

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Inside, the network runs in bfloat16 where the context allows it."""
        if not self.context.autocast and not torch.amp.is_autocast_available(device.type):
            return nullcontext()  # the meta device
        return torch.autocast(device.type, torch.bfloat16, enabled=self.context.autocast)

    def logits(self, net: nn.Module, images: Tensor) -> Tensor:
        """Logits [B, K] of `images`, by autocast where the context allows it, as wide as they."""
        with self.autocast(images.device):
            found: Tensor = net(images)
        return found.to(images.dtype)

    def answer(self, net: nn.Module, batch: Batch) -> Tensor:
        """Logits [B, K] of a batch as it is, on the way that training takes."""
        return self.base.answer(net, batch) if self.inner else self.logits(net, batch.images)

    def lungs(self, net: nn.Module, images: Tensor) -> Tensor | None:
        """Masks [B, 1, H, W], 0 or 1, that `net` itself makes of `images`; None where it does not.

        They do not depend on what training changes: they may be made once and kept, and
        ``losses`` of a batch with these masks has the logits that ``net(images)`` would have.
        """
        return None if self.inner is None else self.inner.lungs(net, images)

    def classification(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`classification_loss` of all images of a batch, with the context's class weights."""
        return classification_loss(
            join_shares(logits), join_shares(labels), self.context.class_weights
        )


class Addition(Method):
    """A method that changes another one's training; chance comes from the epoch's generator.

    Args:
        settings: Record of the class's `Settings`.
        context: What it may use besides.
        inner: The method that it is added to.

    Raises:
        ValueError: No inner method.
    """

    def __init__(
        self, settings: Any = None, context: Context | None = None, inner: Method | None = None
    ) -> None:
        super().__init__(settings, context, inner)
        if inner is None:
            name = type(self).__name__
            raise ValueError(f"{name} is an addition and needs a method to be added to")
        self.trained: Method = inner
        self.generator: torch.Generator | None = None

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Takes the epoch's chance, which the inner method shares."""
        self.generator = generator
        super().begin_epoch(epoch, generator)


def classification_loss(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy, or mean binary cross-entropy over the labels that are known.

    Args:
        logits: [B, K].
        labels: int64 [B], or float [B, K] with NaN for missing.
        class_weights: [K]: weight of a class, or of its positives (multi-label); None: 1.
    """
    if labels.dim() == 1:
        return nn.functional.cross_entropy(logits, labels, weight=class_weights)
    known = ~torch.isnan(labels)
    each = nn.functional.binary_cross_entropy_with_logits(
        logits, torch.where(known, labels, torch.zeros_like(labels)),
        pos_weight=class_weights, reduction="none",
    )  # fmt: skip
    return torch.where(known, each, torch.zeros_like(each)).sum() / known.sum().clamp(min=1)
