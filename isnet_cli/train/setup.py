"""From the configuration to the training method with its settings."""

from __future__ import annotations

from torch import Tensor, nn

from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_models.methods import registry
from isnet_models.methods.base import Context, Method, Range
from isnet_models.methods.guided.isnet import MapLossMethod
from isnet_models.methods.settings import MethodSettings

Ranges = dict[str, Range]  # supervised map ("input" is the image's own) -> (low, high)


def method_settings(config: Config) -> dict[str, MethodSettings]:
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
) -> Method:
    """The training method with its settings.

    Args:
        config: The configuration.
        ranges: Relevance range of every supervised map; None while it is not known.
        class_weights: [K] or None, on the training's device.
        teacher: Network of the run that is learnt from, for methods that need one.

    Raises:
        IsnetError: As `method_settings`.
    """
    context = Context(
        class_weights=class_weights,
        autocast=config.train.precision == "mixed",
        ranges=ranges,
        teacher=teacher,
    )
    return registry.make(config.train.method, context, method_settings(config))


def map_method(config: Config) -> MapLossMethod:
    """The method whose maps are penalised, before its range is known; as `build_method`.

    Raises:
        TypeError: The configured method has no such maps.
    """
    method = build_method(config, None, None).base
    if not isinstance(method, MapLossMethod):
        raise TypeError(f"{config.train.method} needs a range and has no map loss")
    return method
