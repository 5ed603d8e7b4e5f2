"""From the configuration to the parts of a training: method, optimiser, rates, order of images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isnet_cli.config.method_settings import SettingError, settings_record
from isnet_cli.config.schema import Config, Optimizer, Schedule
from isnet_cli.core.runtime import derive_seed
from isnet_cli.dataset.image_dataset import ImageDataset
from isnet_cli.errors import IsnetError
from isnet_lrp.losses.deep_supervision import MapLossSettings
from isnet_lrp.losses.energy import EnergyLossSettings
from isnet_lrp.losses.heatmap import HeatmapLossSettings
from isnet_lrp.losses.relevance_range import Bound
from isnet_models.lung_unet import LungUNet, unfolded
from isnet_models.methods import registry
from isnet_models.methods.base import Context, Method, NetSpec
from isnet_models.methods.guided.isnet import ISNet, ISNetSettings
from isnet_models.methods.guided.variants import Explanation
from isnet_models.registry import Card, WeightsError, find_card

Cuts = dict[str, tuple[Bound, Bound]]  # layer ("input" is the image) -> (C1, C2)
EVERY = "every layer"  # the key of a pair that holds for all


def build_net(config: Config, classes: int) -> nn.Module:
    """The untrained classifier of the configuration; its segmenter, if it has one, is trained.

    Raises:
        IsnetError: Kind "config", for an unknown architecture or one that cannot be made for
            these images; "weights", when the segmenter is missing or damaged.
    """
    card = segmenter(config)
    net = untrained(config, classes, card)
    if card is not None:
        net.get_submodule("segmenter").load_state_dict(load_segmenter(card).state_dict())
    return net


def untrained(config: Config, classes: int, card: Card | None) -> nn.Module:
    """As `build_net`, all weights at random.

    Args:
        config: The configuration.
        classes: K.
        card: Of the segmenter, for methods that need one.
    """
    model, settings = config.model, check_method(config)
    entry = registry.parts(config.train.method)[0]
    options = None if card is None else segmenter_options(card)
    spec = NetSpec(
        model.arch, classes, model.channels, model.dropout, model.input, options,
        settings[entry.name],
    )  # fmt: skip
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.seed, "weights"))
            return entry.load().build(spec)
    except ValueError as error:
        key, fix = "model.arch", "model.arch: densenet121, resnet18, small, ..."
        if entry.own_network:
            key, fix = f"train.method {entry.name}", "model.input: 224"
        raise IsnetError("config", f"{key}: {error}", fix=fix) from error


def segmenter(config: Config) -> Card | None:
    """Card of the lung U-Net that becomes part of the classifier; None where none does.

    Raises:
        IsnetError: Kind "weights", when there is no such card.
    """
    if "segmenter" not in registry.needs(config.train.method):
        return None
    with _segmenter_faults():
        return find_card(config.masks.model)


def load_segmenter(card: Card) -> LungUNet:
    """The lung U-Net of a card, as it was trained.

    Raises:
        IsnetError: Kind "weights", when it is missing, damaged or no lung U-Net.
    """
    with _segmenter_faults():
        return unfolded(card)


@contextmanager
def _segmenter_faults() -> Iterator[None]:
    try:
        yield
    except WeightsError as error:
        raise IsnetError(
            "weights",
            f"masks.model: {error}",
            fix="masks.model: lung-unet, or the .safetensors file of isnet masks train",
        ) from error


def segmenter_options(card: Card) -> dict[str, Any]:
    """Arguments of `isnet_models.lung_unet.LungUNet` for the network of a card."""
    return {name: value for name, value in card.architecture.items() if name != "class"}


def check_method(config: Config) -> dict[str, Any]:
    """Settings records of the configured method and its additions, by name.

    Raises:
        IsnetError: Kind "config", for an unknown method or setting, or a value of another type.
    """
    try:
        entries = registry.parts(config.train.method)
    except ValueError as error:
        raise IsnetError(
            "config", f"train.method: {error}", fix="isnet train --list-methods"
        ) from error
    found = {}
    for entry in entries:
        given = config.train.settings.get(entry.name, {})
        try:
            found[entry.name] = settings_record(entry.load().Settings, given)
        except SettingError as error:
            raise IsnetError(
                "config",
                f"train.settings.{entry.name}.{error}",
                fix="isnet train --list-methods names the settings of each method",
            ) from error
    return found


def build_method(
    config: Config,
    cuts: Cuts | None,
    class_weights: Tensor | None,
    teacher: nn.Module | None = None,
) -> Method:
    """The training method with its settings.

    Args:
        config: The configuration.
        cuts: C1 and C2 of every supervised layer; needed by the ISNet's own loss.
        class_weights: [K] or None, on the training's device.
        teacher: Network of the run that is learnt from, for methods that need one.

    Raises:
        IsnetError: As `check_method`.
    """
    context = Context(
        class_weights=class_weights,
        autocast=config.train.precision == "mixed",
        isnet=_isnet(config, cuts),
        teacher=teacher,
    )
    return registry.make(config.train.method, context, check_method(config))


def map_method(config: Config) -> ISNet:
    """The method whose maps are penalised, before its range is known; as `build_method`.

    Raises:
        TypeError: The configured method has no such maps.
    """
    method = build_method(config, None, None).base
    if not isinstance(method, ISNet):
        raise TypeError(f"{config.train.method} needs a range and is no ISNet")
    return method


def _isnet(config: Config, cuts: Cuts | None) -> ISNetSettings:
    h = config.train.heatmap_loss
    loss: MapLossSettings | dict[str, MapLossSettings] = EnergyLossSettings()
    if h.loss == "isnet":
        each: dict[str, MapLossSettings] = {
            name: HeatmapLossSettings(
                background_weight=h.w1,
                foreground_weight=h.w2,
                decay=h.decay,
                saturation=h.e,
                low=C1,
                high=C2,
                foreground=h.foreground,
            )
            for name, (C1, C2) in (cuts or {EVERY: (1.0, 25.0)}).items()
        }
        loss = each.get(EVERY, each)
    weight = h.weight if isinstance(h.weight, dict) else {0: h.weight}
    return ISNetSettings(
        weight=weight, explanation=explanation(config), loss=loss, layer_decay=h.layer_decay,
        every=h.every, share=h.share,
    )  # fmt: skip


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


def class_weights(config: Config, store: ImageDataset) -> Tensor | None:
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


def epoch_order(config: Config, store: ImageDataset, epoch: int) -> NDArray[np.int64]:
    """Indices of the images in the order of `epoch`; a pure function of seed and epoch.

    The balanced sampler draws as many images as there are, with equal chance per class.
    """
    rng = np.random.default_rng(derive_seed(config.seed, "order", epoch))
    N = len(store)
    if config.train.sampler == "shuffle" or store.labels.ndim != 1:
        return rng.permutation(N)
    labels = store.labels.astype(int)
    chance = 1 / np.bincount(labels)[labels]
    return rng.choice(N, N, p=chance / chance.sum())


def epoch_batches(config: Config, store: ImageDataset, epoch: int) -> list[NDArray[np.int64]]:
    """The images of `epoch` in batches; a last image alone joins the batch before.

    BatchNorm cannot train on one image whose map has shrunk to one pixel.
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
