"""Vision transformer, of torchvision or a small one for laptops."""

from __future__ import annotations

from typing import ClassVar

from torch import nn
from torchvision import models as zoo
from torchvision.models import VisionTransformer

from isnet_models.backbones import adapt_channels, add_dropout
from isnet_models.methods.base import NetSpec
from isnet_models.methods.settings import MethodSettings, ViTSettings
from isnet_models.methods.standard import Standard
from isnet_models.normalise import Normalised

PATCH = {"vit_b_16": 16, "vit_b_32": 32, "vit_l_16": 16}  # side, px
SMALL_PATCH = 16
LAYERS, HEADS, WIDTH = 6, 3, 192  # of the small one: half as deep as ViT-Ti


class ViT(Standard):
    """Classification loss alone on a vision transformer (Dosovitskiy et al., ICLR 2021)."""

    Settings: ClassVar[type[MethodSettings]] = ViTSettings

    @classmethod
    def build(cls, spec: NetSpec) -> nn.Module:
        """The untrained transformer for images of `spec.size`.

        Raises:
            ValueError: The image is no square, or its patches do not fill it.
        """
        settings = spec.settings or ViTSettings()
        small = SMALL_PATCH if settings.patch == "auto" else settings.patch
        patch = PATCH.get(settings.arch, small)
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
        if spec.normalisation is None:
            return net
        return Normalised(net, spec.normalisation.of_channels(spec.channels))
