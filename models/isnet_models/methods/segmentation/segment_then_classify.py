"""Segmentation, then classification: a frozen lung U-Net decides what the classifier may see."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from isnet_lrp.losses.map_masks import disable_autocast
from isnet_models.backbones import build_backbone
from isnet_models.lung_unet import SIZE, LungUNet
from isnet_models.methods.base import Batch, Losses, Method, NetSpec
from isnet_models.methods.settings import MethodSettings, SegmentSettings

THRESHOLD = 0.5  # probability from which a pixel is lung
Seen = Literal["segment", "whole"]


class LungsOnly(nn.Module):
    """A classifier behind a lung U-Net that never learns.

    Where no lung is found the classifier sees a black image: image x mask, as for any mask. Giving
    it the whole image instead would show it backgrounds it was never trained on.

    Args:
        segmenter: Images [B, 1, 256, 256] -> probability of lung [B, 1, 256, 256]; frozen here.
        classifier: [B, C, H, W] -> logits [B, K].
        at_test: As in `SegmentSettings`.

    Attributes:
        at_test: May be changed at any time.
    """

    def __init__(self, segmenter: nn.Module, classifier: nn.Module, at_test: Seen) -> None:
        super().__init__()
        self.segmenter = segmenter.requires_grad_(False).eval()
        self.classifier = classifier
        self.at_test = at_test

    def train(self, mode: bool = True) -> LungsOnly:
        """Training mode of the classifier; the segmenter stays in evaluation mode."""
        super().train(mode)
        self.segmenter.eval()
        return self

    @torch.no_grad()
    def lungs(self, images: Tensor) -> Tensor:
        """Lung masks [B, 1, H, W], 0 or 1, of letterboxed images [B, C, H, W] of equal channels.

        The image is resized to the U-Net's input, its sides in proportion, black around it; the
        probabilities are resized back and cut at 0.5.
        """
        H, W = images.shape[-2:]
        scale = min(SIZE[0] / H, SIZE[1] / W)
        h, w = max(1, round(H * scale)), max(1, round(W * scale))
        boxed = images.detach()[:, :1].float()
        top, left = (SIZE[0] - h) // 2, (SIZE[1] - w) // 2
        if (h, w) != (H, W):
            boxed = interpolate(boxed, (h, w), mode="bilinear", antialias=True)
        boxed = pad(boxed, (left, SIZE[1] - w - left, top, SIZE[0] - h - top))
        with disable_autocast(images.device):
            found: Tensor = self.segmenter(boxed)
        found = found[..., top : top + h, left : left + w]
        if (h, w) != (H, W):
            found = interpolate(found, (H, W), mode="bilinear", antialias=True)
        return (found >= THRESHOLD).to(images.dtype)

    def classify(self, images: Tensor, masks: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W] that are black where `masks` [B, 1, H, W] is 0."""
        # a choice and no product: relevance passes it whole, without a stabiliser
        logits: Tensor = self.classifier(torch.where(masks > 0, images, 0.0))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W] in [0, 1], by the network's own masks."""
        if self.at_test == "whole":
            logits: Tensor = self.classifier(images)
            return logits
        return self.classify(images, self.lungs(images))


class SegmentThenClassify(Method):
    """Classification of the lungs alone (Bassi et al. 2024, "segmentation-classification").

    Trained and validated on the given masks, which costs no more than `Standard`; the segmenter
    runs where there are none: in evaluation and prediction.
    """

    Settings: ClassVar[type[MethodSettings]] = SegmentSettings
    shares: ClassVar[bool] = True
    bounded: ClassVar[bool] = False  # the bounds of a blackened pixel are 0 and 0

    @classmethod
    def build(cls, spec: NetSpec) -> nn.Module:
        """A random classifier behind a random lung U-Net of `spec.segmenter`'s options.

        Raises:
            ValueError: No segmenter, or as `Method.build`.
        """
        if spec.segmenter is None:
            raise ValueError("segment_then_classify: no lung U-Net is named")
        settings = spec.settings or SegmentSettings()
        options: dict[str, Any] = dict(spec.segmenter)
        if "decoder_channels" in options:
            options["decoder_channels"] = tuple(options["decoder_channels"])
        classifier = build_backbone(
            spec.arch, spec.classes, channels=spec.channels, dropout=spec.dropout,
            normalisation=spec.normalisation,
        )  # fmt: skip
        return LungsOnly(LungUNet(**options), classifier, settings.at_test)

    def lungs(self, net: nn.Module, images: Tensor) -> Tensor | None:
        """The segmenter's masks; None when the classifier gets whole images."""
        assert isinstance(net, LungsOnly)  # noqa: S101 - as `build` made it
        return net.lungs(images) if net.at_test == "segment" else None

    def answer(self, net: nn.Module, batch: Batch) -> Tensor:
        """Logits [B, K] of the images cut by the batch's masks."""
        assert isinstance(net, LungsOnly)  # noqa: S101 - as `build` made it
        with self.autocast(batch.images.device):
            found = net.classify(batch.images, batch.masks)
        return found.to(batch.images.dtype)

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Cross-entropy of the images cut by the batch's masks."""
        logits = self.answer(net, batch)
        loss = self.classification(logits, batch.labels)
        return Losses(loss, logits, {"classification": loss.detach()})
