"""From the configuration to the parts of a training: method, optimiser, rates, order of films."""

from __future__ import annotations

import difflib
import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isnet_cli.config.schema import Config, Optimizer, Schedule
from isnet_cli.data.dataset import FilmStore
from isnet_cli.errors import IsnetError
from isnet_cli.runs.runtime import derive_seed
from isnet_models.backbones import seeded_backbone
from isnet_models.cut_estimation import Cut
from isnet_models.deep_supervision import MapLossSettings
from isnet_models.energy_loss import EnergyLossSettings
from isnet_models.heatmap_loss import HeatmapLossSettings
from isnet_models.methods import METHODS, Explanation, ISNet, ISNetSettings, Method, Standard

Cuts = dict[str, tuple[Cut, Cut]]  # layer ("input" is the image) -> (C1, C2)
EVERY = "every layer"  # the key of a pair that holds for all


def build_net(config: Config, classes: int) -> nn.Module:
    """The untrained classifier of the configuration.

    Raises:
        IsnetError: Kind "config", for an unknown architecture.
    """
    model = config.model
    try:
        return seeded_backbone(
            model.arch, classes, channels=model.channels, dropout=model.dropout,
            seed=derive_seed(config.seed, "weights"),
        )  # fmt: skip
    except ValueError as error:
        raise IsnetError(
            "config", f"model.arch: {error}", fix="model.arch: densenet121, resnet18, small, ..."
        ) from error


def check_method(config: Config) -> type[Method]:
    """The class of the configured method.

    Raises:
        IsnetError: Kind "config", for an unknown method.
    """
    name = config.train.method
    if name not in METHODS:
        close = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise IsnetError(
            "config",
            f"train.method: '{name}' is unknown, expected {' or '.join(METHODS)}{hint}",
            fix=f"train.method: {close[0] if close else 'isnet'}",
        )
    return METHODS[name]


def build_method(config: Config, cuts: Cuts | None, class_weights: Tensor | None) -> Method:
    """The training method with its settings.

    Args:
        config: The configuration.
        cuts: C1 and C2 of every supervised layer; needed by the ISNet's own loss.
        class_weights: [K] or None, on the training's device.
    """
    if check_method(config) is Standard:
        return Standard(class_weights, autocast=config.train.precision == "mixed")
    h = config.train.heatmap_loss
    loss: MapLossSettings | dict[str, MapLossSettings] = EnergyLossSettings()
    if h.loss == "isnet":
        each: dict[str, MapLossSettings] = {
            name: HeatmapLossSettings(
                w1=h.w1, w2=h.w2, d=h.decay, E=h.e, C1=C1, C2=C2, foreground=h.foreground
            )
            for name, (C1, C2) in (cuts or {EVERY: (1.0, 25.0)}).items()
        }
        loss = each.get(EVERY, each)
    weight = h.weight if isinstance(h.weight, dict) else {0: h.weight}
    settings = ISNetSettings(
        weight=weight, explanation=explanation(config), loss=loss, layer_decay=h.layer_decay,
        every=h.every, share=h.share,
    )  # fmt: skip
    return ISNet(settings, class_weights)


def explanation(config: Config) -> Explanation:
    """How the maps of the configured variant are made."""
    h = config.train.heatmap_loss
    layers: tuple[str, ...] | Literal["auto"] = ()
    if h.layers != "none":
        layers = "auto" if isinstance(h.layers, str) else tuple(h.layers)
    return Explanation(
        variant=h.variant, epsilon=h.epsilon, zb=h.zb, delta=h.delta, probability=h.probability,
        layers=layers, batch_norm=h.batch_norm, precision=config.train.precision,
        memory=None if h.map_memory is None else int(h.map_memory * 1e9), checkpoint=h.checkpoint,
    )  # fmt: skip


def class_weights(config: Config, store: FilmStore) -> Tensor | None:
    """Weights of the classification loss [K], or None for equal ones.

    Balanced: N/(K·n_k); multi-label: negatives/positives of each label.

    Raises:
        IsnetError: Kind "config", when the given weights are not one per class.
    """
    asked, K = config.train.class_weights, len(store.classes)
    if asked == "none":
        return None
    if isinstance(asked, list):
        if len(asked) != K:
            raise IsnetError(
                "config",
                f"train.class_weights: {len(asked)} weights, expected {K} "
                f"({', '.join(store.classes)})",
                fix="give one weight per class, or balanced",
            )
        return torch.tensor(asked, dtype=torch.float32)
    if store.labels.ndim == 1:
        counts = np.bincount(store.labels.astype(int), minlength=K)
        return torch.from_numpy((len(store) / (K * np.maximum(counts, 1))).astype(np.float32))
    positives = np.nansum(store.labels, axis=0)
    negatives = np.nansum(1 - store.labels, axis=0)
    return torch.from_numpy((negatives / np.maximum(positives, 1)).astype(np.float32))


def epoch_order(config: Config, store: FilmStore, epoch: int) -> NDArray[np.int64]:
    """Indices of the films in the order of `epoch`; a pure function of seed and epoch.

    The balanced sampler draws as many films as there are, with equal chance per class.
    """
    rng = np.random.default_rng(derive_seed(config.seed, "order", epoch))
    N = len(store)
    if config.train.sampler == "shuffle" or store.labels.ndim != 1:
        return rng.permutation(N)
    labels = store.labels.astype(int)
    chance = 1 / np.bincount(labels)[labels]
    return rng.choice(N, N, p=chance / chance.sum())


def epoch_batches(config: Config, store: FilmStore, epoch: int) -> list[NDArray[np.int64]]:
    """The films of `epoch` in batches; a last film alone joins the batch before.

    BatchNorm cannot train on one film whose map has shrunk to one pixel.
    """
    order, size = epoch_order(config, store, epoch), config.train.batch_size
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    return [order[a:b] for a, b in zip(starts, [*starts[1:], len(order)], strict=True)]


def build_optimizer(settings: Optimizer, net: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over all parameters of `net`."""
    if settings.name == "adamw":
        return torch.optim.AdamW(
            net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        net.parameters(), lr=settings.lr, momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )  # fmt: skip


def learning_rate(base: float, schedule: Schedule, progress: float, epochs: int) -> float:
    """The rate at `progress` epochs (0 to `epochs`, in fractions), warm-up included."""
    if schedule.warmup_epochs and progress < schedule.warmup_epochs:
        return base * (progress + 0.01) / (schedule.warmup_epochs + 0.01)
    if schedule.name == "constant":
        return base
    if schedule.name == "step":
        return base * schedule.gamma ** sum(progress >= m for m in schedule.milestones)
    share = (progress - schedule.warmup_epochs) / max(epochs - schedule.warmup_epochs, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return base * (schedule.final + (1 - schedule.final) * cosine)
