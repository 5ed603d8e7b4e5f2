"""What a training begins with: the method with its settings, and the network that suits it."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from isnet_cli.config.schema import Config
from isnet_cli.core.runtime import derive_seed
from isnet_cli.errors import IsnetError
from isnet_cli.train.start import find_normalisation
from isnet_lrp import RelevanceError, relevance
from isnet_lrp.losses.relevance_range import Bound
from isnet_models.explanations.explanation import MethodError
from isnet_models.explanations.gradcam import feature_map, watched
from isnet_models.lung_unet import LungUNet, unfolded
from isnet_models.methods import registry
from isnet_models.methods.base import Context, Method, NetSpec, Range
from isnet_models.methods.guided.isnet import MapLossMethod
from isnet_models.methods.settings import MethodSettings
from isnet_models.registry import Card, WeightsError, find_card

SIZES = (224, 256, 299, 384, 512, 448, 336, 240, 128, 96, 64)  # px that are tried as a fix
Ranges = dict[str, Range]  # supervised map ("input" is the image's own) -> (low, high)


def read_method_settings(config: Config) -> dict[str, MethodSettings]:
    """Settings records of the configured method and its additions, by name.

    Raises:
        IsnetError: Kind "config", for an unknown method.
    """
    try:
        entries = registry.parts(config.train.method)
    except ValueError as error:
        raise IsnetError(
            "config", f"train.method: {error}", fix="isnet train --list-methods"
        ) from error
    return {entry.name: config.train.settings_of(entry.name) for entry in entries}


def build_method(
    config: Config,
    ranges: Ranges | None,
    class_weights: Tensor | None,
    teacher: nn.Module | None = None,
    classes: int | None = None,
) -> Method:
    """The training method with its settings.

    Args:
        config: The configuration.
        ranges: Relevance range of every supervised map; None while it is not known.
        class_weights: [K] or None, on the training's device.
        teacher: Network of the run that is learnt from, for methods that need one.
        classes: K; None while it is not known.

    Raises:
        IsnetError: As `read_method_settings`.
    """
    context = Context(
        class_weights=class_weights,
        autocast=config.train.precision == "mixed",
        ranges=ranges,
        teacher=teacher,
        classes=classes,
        exclusive=config.data.labels.task == "multiclass",
    )
    return registry.make(config.train.method, context, read_method_settings(config))


def build_map_method(config: Config, classes: int | None = None) -> MapLossMethod:
    """The method whose maps are penalised, before its range is known; as `build_method`.

    Raises:
        TypeError: The configured method has no such maps.
    """
    method = build_method(config, None, None, classes=classes).base
    if not isinstance(method, MapLossMethod):
        raise TypeError(f"{config.train.method} needs a range and has no map loss")
    return method


def has_no_end(high: Bound) -> bool:
    """Whether a range's upper end is infinite: any amount of relevance is free."""
    return high == math.inf


def write_ranges(ranges: Ranges) -> dict[str, Any]:
    """Ranges as JSON keeps them: None where there is no upper end."""
    return {name: (low, None if has_no_end(high) else high) for name, (low, high) in ranges.items()}


def build_net(config: Config, classes: int) -> nn.Module:
    """The untrained classifier of the configuration; its segmenter, if it has one, is trained.

    Raises:
        IsnetError: Kind "config", for an unknown architecture or one that cannot be made for
            these images; "weights", when the segmenter is missing or damaged.
    """
    card = find_segmenter(config)
    net = build_untrained(config, classes, card)
    if card is not None:
        net.get_submodule("segmenter").load_state_dict(load_segmenter(card).state_dict())
    return net


def build_untrained(config: Config, classes: int, card: Card | None) -> nn.Module:
    """As `build_net`, all weights at random.

    Args:
        config: The configuration.
        classes: K.
        card: Of the segmenter, for methods that need one.
    """
    model, settings = config.model, read_method_settings(config)
    entry = registry.parts(config.train.method)[0]
    options = None if card is None else read_segmenter_options(card)
    spec = NetSpec(
        model.arch, classes, model.channels, model.dropout, model.input, options,
        settings[entry.name], find_normalisation(config),
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


def find_segmenter(config: Config) -> Card | None:
    """Card of the lung U-Net that becomes part of the classifier; None where none does.

    Raises:
        IsnetError: Kind "weights", when there is no such card.
    """
    if "segmenter" not in registry.needs(config.train.method):
        return None
    with _report_segmenter():
        return find_card(config.masks.model)


def load_segmenter(card: Card) -> LungUNet:
    """The lung U-Net of a card, as it was trained.

    Raises:
        IsnetError: Kind "weights", when it is missing, damaged or no lung U-Net.
    """
    with _report_segmenter():
        return unfolded(card)


@contextmanager
def _report_segmenter() -> Iterator[None]:
    try:
        yield
    except WeightsError as error:
        raise IsnetError(
            "weights",
            f"masks.model: {error}",
            fix="masks.model: lung-unet, or the .safetensors file of isnet masks train",
        ) from error


def read_segmenter_options(card: Card) -> dict[str, Any]:
    """Arguments of `isnet_models.lung_unet.LungUNet` for the network of a card."""
    return {name: value for name, value in card.architecture.items() if name != "class"}


def check_size(config: Config) -> None:
    """Runs the network of the configuration on shapes alone, before any image is read.

    Raises:
        IsnetError: Kind "config": the network does not take images of this size; the fix names a
            size that was tried.
    """
    fault = _try_size(config, config.model.input)
    if fault is None:
        return
    fits = (n for n in SIZES if _try_size(config, (n, n)) is None)
    size = next(fits, None)
    H, W = config.model.input
    name = registry.parts(config.train.method)[0]
    arch = name.name if name.own_network else config.model.arch
    raise IsnetError(
        "config",
        f"model.input: {arch} does not take images of {H} x {W} px: {fault}",
        fix="another model.arch" if size is None else f"--set model.input={size}",
    )


def _try_size(config: Config, size: tuple[int, int]) -> str | None:
    """Why the network does not take images of `size`; None when it does, or when no one can say."""
    model = config.model.model_copy(update={"input": size})
    tried = config.model_copy(update={"model": model})
    images = max(min(config.train.batch_size, 2), 1)
    try:
        with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = build_untrained(tried, 2, find_segmenter(config))
            net(torch.empty(images, model.channels, *size))
    except IsnetError as error:
        if not re.search(r"\bsize\b|model\.input", error.message):
            raise  # an unknown network, or one that cannot be made at all
        return error.message.partition(": ")[2].splitlines()[0]
    except NotImplementedError:  # an operation that cannot say its shape
        return None
    except (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError) as error:
        if "more than 1 value per channel" in str(error):
            return (
                f"train.batch_size {config.train.batch_size} gives BatchNorm one value per channel"
            )
        return None if "meta" in str(error) else describe(error)
    return None


def describe(error: BaseException) -> str:
    """The first line of what a network says."""
    return (str(error).splitlines() or ["no reason given"])[0].strip()


def check_network(net: nn.Module, config: Config, device: torch.device) -> None:
    """Asks `net` on `device`, before any training, for what the method needs of it.

    Raises:
        IsnetError: Kind "config": an operation without relevance rule, no feature map, or images
            of a size that it does not take.
    """
    needs = registry.needs(config.train.method)
    if "rules" in needs:
        _check_relevance(net, config, device)
    if "feature map" in needs:
        _check_feature_map(net, config, device)


def _check_relevance(net: nn.Module, config: Config, device: torch.device) -> None:
    try:
        with _grey_images(net, config, device) as x:
            if "range" in registry.needs(config.train.method):
                chance = torch.Generator().manual_seed(0)
                build_map_method(config).maps(net, x, create_graph=False, generator=chance)
            else:
                relevance(net, x, "predicted", family="flex")
    except RelevanceError as error:
        own = f"train.settings.{registry.parts(config.train.method)[0].name}"
        hint = f"{own}.bounded_first_layer: false" if "zB" in str(error) else (
            f"{own}.layers: auto" if "layer" in str(error)
            else "train.settings.isnet.variant: selective, or train.method: standard"
        )  # fmt: skip
        raise IsnetError("config", f"model.arch {config.model.arch}: {error}", fix=hint) from error


def _check_feature_map(net: nn.Module, config: Config, device: torch.device) -> None:
    try:
        with _grey_images(net, config, device) as x, watched(net) as seen:
            net(x)
            feature_map(seen)
    except MethodError as error:
        raise IsnetError(
            "config",
            f"model.arch {config.model.arch}: {config.train.method} needs "
            f"{registry.NEEDS['feature map']}: {error}",
            fix="model.arch: densenet121, resnet18, small, ..., or train.method: standard",
        ) from error


@contextmanager
def _grey_images(net: nn.Module, config: Config, device: torch.device) -> Iterator[torch.Tensor]:
    """Two grey images; inside, `net` is in evaluation mode, and what it cannot take is refused."""
    training = net.training
    net.eval()
    try:
        yield torch.full((2, config.model.channels, *config.model.input), 0.5, device=device)
    except (RelevanceError, MethodError):
        raise
    except (RuntimeError, ValueError) as error:
        raise IsnetError(
            "config",
            f"model: {config.model.arch} does not take {config.model.input} px: "
            f"{str(error).splitlines()[0]}",
            fix="model.input: 224",
        ) from error
    finally:
        net.train(training)


def prepare_network(method: Method, net: nn.Module) -> None:
    """Lets the method change the network before its training.

    Raises:
        IsnetError: Kind "config": it cannot.
    """
    try:
        method.prepare(net)
    except ValueError as error:
        raise IsnetError(
            "config", f"train.method: {error}", fix="isnet train --list-methods says what it needs"
        ) from error
