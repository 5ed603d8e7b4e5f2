"""Vision transformer, of torchvision or a small one for laptops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn
from torchvision import models as zoo
from torchvision.models import VisionTransformer

from isnet_models.backbones import adapt_channels, add_dropout
from isnet_models.methods.base import NetSpec
from isnet_models.methods.standard import Standard

PATCH = {"vit_b_16": 16, "vit_b_32": 32, "vit_l_16": 16}  # side, px
SMALL_PATCH = 16
LAYERS, HEADS, WIDTH = 6, 3, 192  # of the small one: half as deep as ViT-Ti


@dataclass(frozen=True)
class ViTSettings:
    """Which transformer.

    Attributes:
        arch: torchvision's name, or ``small`` (6 layers of width 192, 2.8 M parameters).
        patch: Side of the patches of ``small``, px; None: 16. The others have their own.
    """

    arch: Literal["vit_b_16", "vit_b_32", "vit_l_16", "small"] = "vit_b_16"
    patch: int | None = None

    def __post_init__(self) -> None:
        if self.patch is not None and self.arch != "small":
            raise ValueError(f"patch: belongs to arch small, {self.arch} has {PATCH[self.arch]} px")
        if self.patch is not None and self.patch < 1:
            raise ValueError(f"patch: found {self.patch}, expected 1 or more")


class ViT(Standard):
    """Classification loss alone on a vision transformer (Dosovitskiy et al., ICLR 2021)."""

    Settings: ClassVar[type] = ViTSettings

    @classmethod
    def build(cls, spec: NetSpec) -> nn.Module:
        """The untrained transformer for images of `spec.size`.

        Raises:
            ValueError: The image is no square, or its patches do not fill it.
        """
        settings = spec.settings or ViTSettings()
        patch = PATCH.get(settings.arch, settings.patch or SMALL_PATCH)
        H, W = spec.size
        if H != W or H % patch:
            raise ValueError(
                f"patches of {patch} px ({settings.arch}) do not fill images of {H} x {W} px "
                f"(model.input): expected a square whose side is a multiple of {patch}"
            )
        if settings.arch == "small":
            net: nn.Module = VisionTransformer(
                H, patch, LAYERS, HEADS, WIDTH, 4 * WIDTH, num_classes=spec.classes
            )
        else:
            net = zoo.get_model(settings.arch, weights=None, num_classes=spec.classes, image_size=H)
        if spec.channels != 3:
            adapt_channels(net, spec.channels)
        if spec.dropout:
            add_dropout(net, spec.dropout)
        return net
