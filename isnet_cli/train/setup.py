"""From the configuration to the training method with its settings."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from isnet_cli.config.method_settings import SettingError, settings_record
from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_lrp.losses.deep_supervision import MapLossSettings
from isnet_lrp.losses.energy import EnergyLossSettings
from isnet_lrp.losses.heatmap import HeatmapLossSettings
from isnet_lrp.losses.relevance_range import Bound
from isnet_models.methods import registry
from isnet_models.methods.base import Context, Method
from isnet_models.methods.guided.isnet import ISNet, ISNetSettings
from isnet_models.methods.guided.variants import Explanation

Ranges = dict[str, tuple[Bound, Bound]]  # layer ("input" is the image) -> (C1, C2)
EVERY = "every layer"  # the key of a pair that holds for all


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
    ranges: Ranges | None,
    class_weights: Tensor | None,
    teacher: nn.Module | None = None,
) -> Method:
    """The training method with its settings.

    Args:
        config: The configuration.
        ranges: Relevance range of every supervised layer; needed by the ISNet's own loss.
        class_weights: [K] or None, on the training's device.
        teacher: Network of the run that is learnt from, for methods that need one.

    Raises:
        IsnetError: As `check_method`.
    """
    context = Context(
        class_weights=class_weights,
        autocast=config.train.precision == "mixed",
        isnet=_isnet(config, ranges),
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


def _isnet(config: Config, ranges: Ranges | None) -> ISNetSettings:
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
            for name, (C1, C2) in (ranges or {EVERY: (1.0, 25.0)}).items()
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
