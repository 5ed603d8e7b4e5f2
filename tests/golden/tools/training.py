"""Losses of golden cases from their stated constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.losses.deep_supervision import deep_supervision_loss
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss
from tests.golden.tools.folder import Array, UnknownFormError

NORMS = {
    "absRoIMean": "absolute", "True": "absolute", "RoIMean": "signed", "none": "none",
    "None": "none", "False": "none",
}  # fmt: skip
_CONSTANTS = {"d", "E", "C1", "C2", "w1", "w2", "right", "norm", "chan_d", "rule"}
_WORDS = {"w1": "background_weight", "w2": "foreground_weight", "d": "decay", "E": "saturation"}
_BESIDE = {
    *("P", "dLoss", "delta", "per_layer_loss", "CE", "heat_loss", "total"),
    *("provenance", "note", "independent_total", "independent_gradient_check"),
}


def settings(constants: Mapping[str, Any]) -> HeatmapLossSettings:
    """Settings of the heat-map loss; absent ones as the golden files define their defaults.

    Raises:
        UnknownFormError: For a constant or a value without a reading.
    """
    c = dict(constants)
    if set(c) - _CONSTANTS:
        raise UnknownFormError(f"constants of the heat-map loss: {sorted(set(c) - _CONSTANTS)}")
    rule = c.pop("rule", "e")
    ends = {
        word: _end(c[name], rule) for name, word in (("C1", "low"), ("C2", "high")) if name in c
    }
    norm = str(c.get("norm", "absRoIMean"))
    if norm not in NORMS or rule not in ("e", "z+e"):
        raise UnknownFormError(f"heat-map loss with norm {norm}, rule {rule}")
    right = str(c.get("right", "L2")).lower()
    plain = {word: float(c[name]) for name, word in _WORDS.items() if name in c}
    return HeatmapLossSettings(
        **plain, **ends, foreground=right, norm=NORMS[norm], keep_degenerate=True,  # type: ignore[arg-type]
        channel_decay=float(c.get("chan_d", 1.0)),
    )  # fmt: skip


def _end(value: Any, rule: str) -> Any:
    """A number, or [z+, epsilon]; the epsilon rule alone takes the first of a list."""
    if not isinstance(value, (list, tuple)):
        return float(value)
    pair = tuple(float(v) for v in value)
    return pair if rule == "z+e" and len(pair) == 2 else pair[0]


def of_mode(hyper: Mapping[str, Any], dual: bool) -> HeatmapLossSettings | dict[str, Any]:
    """Settings of a training case's mode: one set, or one for each map of deep supervision."""
    if unread := set(hyper) - _CONSTANTS - _BESIDE:
        raise UnknownFormError(f"constants of a training case: {sorted(unread)}")
    c = {name: value for name, value in hyper.items() if name in _CONSTANTS}
    if dual:
        c["rule"] = "z+e"
    if not isinstance(c["C1"], dict):
        return settings(c)
    return {name: settings({**c, "C1": c["C1"][name], "C2": c["C2"][name]}) for name in c["C1"]}


def heat(
    maps: Mapping[str, Tensor], mask: Tensor, hyper: Mapping[str, Any], dual: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """The map loss of a training case, and each layer's own under deep supervision.

    Args:
        maps: "input" and the layers by the case's own names.
        mask: [B, C, H, W].
        hyper: The mode's constants.
        dual: Whether the class axis holds z+ and epsilon maps.
    """
    wanted = of_mode(hyper, dual)
    if isinstance(wanted, HeatmapLossSettings):
        total = heatmap_loss(maps["input"], mask, wanted).total
        return total, {}
    chosen = {name: maps[name] for name in wanted}
    result = deep_supervision_loss(chosen, mask, wanted, float(hyper.get("dLoss", 1.0)))
    return result.total, result.per_layer


def mask_of(stored: Array) -> Tensor:
    """A stored mask [B, C, H, W]; channels that differ have no reading.

    Raises:
        UnknownFormError: For channels that differ.
    """
    mask = torch.from_numpy(stored)
    if not bool((mask == mask[:, :1]).all()):
        raise UnknownFormError("a mask whose channels differ")
    return mask


def classification(logits: Tensor, labels: Array) -> Tensor:
    """Mean cross-entropy, or mean binary cross-entropy for labels [B, K]."""
    known = torch.from_numpy(labels)
    if known.dim() == 2 and known.shape[1] == 1:
        known = known[:, 0]
    if known.dim() == 2:
        return F.binary_cross_entropy_with_logits(logits, known.to(logits.dtype))
    return F.cross_entropy(logits, known.long())
