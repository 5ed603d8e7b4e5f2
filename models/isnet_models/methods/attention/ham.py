"""Hierarchical attention mining: class maps inside an abnormality map, both held to the lungs.

Source: Ouyang et al., IEEE Transactions on Medical Imaging 40:2698 (2021), arXiv 2112.12349.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from isnet_lrp.losses.map_masks import find_usable_masks
from isnet_models.backbones import build_backbone
from isnet_models.divergence import average_where
from isnet_models.methods.attention.ham_net import Attention, HAMNet, feature_extractor
from isnet_models.methods.base import Batch, Losses, Method, NetSpec
from isnet_models.methods.guided.gain import present_classes
from isnet_models.methods.settings import HAMSettings
from isnet_models.normalise import Normalised
from isnet_models.ranks import join_shares

TINY = 1e-5


class HAM(Method):
    """L = L_class + .01·L_abnormality + .001·L_bound + .001·L_union + .5·L_mask."""

    Settings = HAMSettings
    shares = True

    @classmethod
    def build(cls, spec: NetSpec) -> nn.Module:
        """A `HAMNet` around the backbone: ``small``, ResNets and DenseNets.

        Raises:
            ValueError: Another backbone, or images so small that its map has one position.
        """
        backbone = build_backbone(spec.arch, spec.classes, channels=spec.channels)
        found = feature_extractor(backbone)
        if found is None:
            raise ValueError(
                f"{spec.arch}: ham is built around small, resnet... or densenet...; "
                "type model.arch: resnet50"
            )
        features, channels = found
        if spec.normalisation is not None:
            features = Normalised(features, spec.normalisation.of_channels(spec.channels))
        with torch.no_grad():
            shape = features.eval()(torch.zeros(1, spec.channels, *spec.size)).shape
        features.train()
        if shape[2] * shape[3] == 1:
            raise ValueError(
                f"{spec.arch}: of {spec.size[0]} x {spec.size[1]} px one position is left, which "
                f"is no map; type model.input: {4 * max(spec.size)}"
            )
        return HAMNet(features, channels, spec.classes, spec.dropout)

    def prepare(self, net: nn.Module) -> None:
        """Looks whether `normal_class` is one, before any training.

        Raises:
            ValueError: It is none.
        """
        K = cast(HAMNet, net).classes.out_features
        with_maps(torch.zeros(1, K, dtype=torch.bool), self.settings.normal_class)

    def losses(self, net: nn.Module, batch: Batch, epoch: int) -> Losses:
        """Loss of the batch.

        Images whose mask is empty or full take no part in L_mask; "mapped" is the others' share.

        Raises:
            ValueError: `normal_class` is none.
        """
        s: HAMSettings = self.settings
        with self.autocast(batch.images.device):
            seen = cast(HAMNet, net).attention(batch.images)
        logits = seen.logits.to(batch.images.dtype)
        mapped = with_maps(present_classes(logits, batch.labels), s.normal_class)
        counts = find_usable_masks(batch.masks)
        found = {
            "classification": self.classification(logits, batch.labels),
            "abnormality": abnormality_loss(
                seen.abnormality.to(logits.dtype), batch.labels, mapped, s.normal_class
            ),
            "bound": self.bound(seen, mapped),
            "union": self.union(seen, mapped),
            "mask": self.distance(seen, batch.masks, mapped & counts[:, None]),
        }
        total = found["classification"] + sum(
            getattr(s, f"{name}_weight") * found[name]
            for name in ("abnormality", "bound", "union", "mask")
        )
        parts = {name: value.detach() for name, value in found.items()}
        return Losses(total, logits, {**parts, "mapped": join_shares(counts.float()).mean()})

    def soft_mask(self, maps: Tensor) -> Tensor:
        """sigmoid(sharpness·(map - threshold)), of any shape."""
        s: HAMSettings = self.settings
        return torch.sigmoid(s.sharpness * (maps - s.threshold))

    def bound(self, seen: Attention, mapped: Tensor) -> Tensor:
        """Share of each class map outside the abnormality's, mean over images, then classes.

        Args:
            seen: Maps.
            mapped: Bool [B, K], the maps that count.
        """
        A = seen.abnormality_map * mapped.any(1)[:, None, None, None]
        each = join_shares(torch.where(mapped, self._outside(seen.class_maps, A), 0.0))
        number = join_shares(mapped).sum(0)
        per_class = each.sum(0) / number.clamp(min=1)
        return per_class.sum() / (number > 0).sum().clamp(min=1)

    def union(self, seen: Attention, mapped: Tensor) -> Tensor:
        """Share of the abnormality's map outside the union of class maps, mean over images."""
        C = (seen.class_maps * mapped[:, :, None, None]).amax(1, keepdim=True)
        each = self._outside(seen.abnormality_map, C)[:, 0]
        return average_where(join_shares(each), join_shares(mapped.any(1)))

    def _outside(self, maps: Tensor, bounds: Tensor) -> Tensor:
        """1 - sum min(map, bound)·softmask(map) / sum map, [B, K]; 0 for a map of zeros."""
        total = maps.sum(dim=(2, 3))
        inside = (torch.minimum(maps, bounds) * self.soft_mask(maps)).sum(dim=(2, 3))
        return (total - inside) / total.clamp(min=TINY)

    def distance(self, seen: Attention, masks: Tensor, held: Tensor) -> Tensor:
        """L_mask: sum (Ĉ - M)² / (sum Ĉ + sum M) over images, mean over the classes that have any.

        Ĉ is the class map at the image's size, from 0 to 1, behind the soft mask.

        Args:
            seen: Maps.
            masks: Lungs, 0 or 1 [B, 1, H, W].
            held: Bool [B, K].
        """
        size = (masks.shape[2], masks.shape[3])
        maps = interpolate(seen.class_maps, size, mode="bilinear", align_corners=True)
        low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        span = torch.where(high > low, high - low, TINY)
        C, M = self.soft_mask((maps - low) / span), masks.to(maps.dtype)
        off = torch.where(held, (C - M).square().sum(dim=(2, 3)), 0.0)
        mass = torch.where(held, (C + M).sum(dim=(2, 3)), 0.0)
        off, mass, held = (join_shares(t) for t in (off, mass, held))
        each = off.sum(0) / mass.sum(0).clamp(min=TINY)
        return each.sum() / held.any(0).sum().clamp(min=1)


def with_maps(present: Tensor, normal: int | Literal["none"]) -> Tensor:
    """The classes of each image that have a map, bool [B, K]: all but `normal`.

    Raises:
        ValueError: `normal` is no class.
    """
    if normal == "none":
        return present
    K = present.shape[1]
    if normal >= K:
        raise ValueError(f"normal_class = {normal}: there are {K} classes, expected 0 to {K - 1}")
    return present & (torch.arange(K, device=present.device) != normal)


def abnormality_loss(
    abnormality: Tensor, labels: Tensor, mapped: Tensor, normal: int | Literal["none"]
) -> Tensor:
    """Mean cross-entropy of "a class with a map is there"; without images of which it is unknown.

    Args:
        abnormality: Logits [B].
        labels: int64 [B], or float [B, K] with NaN for missing.
        mapped: Bool [B, K].
        normal: Index of the class that means nothing, whose label is not asked.
    """
    some = mapped.any(1)
    known = torch.ones_like(some)
    if labels.dim() == 2:
        missing = torch.isnan(labels)
        if normal != "none":
            missing[:, normal] = False
        known = some | ~missing.any(1)
    there = some.to(abnormality.dtype)
    each = binary_cross_entropy_with_logits(abnormality, there, reduction="none")
    return average_where(join_shares(each), join_shares(known))
