"""What a network starts from: weights of a file, and the normalisation that belongs to them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from isnet_cli.config.schema import Config
from isnet_cli.core.files import sha256_file
from isnet_cli.core.records.cards import CARD, read_card
from isnet_cli.errors import IsnetError
from isnet_cli.inference.model_files import WEIGHTS, read_normalisation
from isnet_models.backbones import SMALL, TIMM, read_timm_normalisation
from isnet_models.methods import registry
from isnet_models.normalise import NAMED, Normalisation
from isnet_models.pretrained import Fit, load_pretrained
from isnet_models.registry import WeightsError

# methods whose own network takes images as they are
UNNORMALISED = ("multitask_unet", "ag_sononet")


def find_normalisation(config: Config) -> Normalisation | None:
    """The network's first step as `model.normalisation` has it; None: images as they are.

    ``auto`` is that of the pretrained file: as its card says beside a model of an earlier run, else
    as timm says of its networks, else ImageNet's for those of torchvision.

    Raises:
        IsnetError: Kind "config": the method's own network takes none, or channels differ.
    """
    given, entry = config.model.normalisation, registry.parts(config.train.method)[0]
    found = (
        _of_file(config) if given == "auto"
        else None if given == "none"
        else NAMED[given] if isinstance(given, str)
        else Normalisation(*given)
    )  # fmt: skip
    if found is None:
        return None
    if entry.name in UNNORMALISED:
        if given == "auto":
            return None
        raise IsnetError(
            "config",
            f"model.normalisation: {entry.name} brings a network that takes images as they are",
            fix="model.normalisation: none",
        )
    try:
        found.of_channels(config.model.channels)
    except ValueError as error:
        raise IsnetError(
            "config", f"model.normalisation: {error}", fix="model.channels: 3"
        ) from error
    return found


def _of_file(config: Config) -> Normalisation | None:
    """What images the network of `model.pretrained` was trained on, as far as is known."""
    arch, file = config.model.arch, config.model.pretrained
    if file is None:
        return None
    card = Path(file).with_name(CARD)
    if Path(file).name == WEIGHTS and card.is_file():
        try:
            return read_normalisation(read_card(card))
        except (IsnetError, ValueError, TypeError) as error:
            raise IsnetError(
                "weights",
                f"{card}: not the card of a model, and model.normalisation is auto: {error}",
                fix="model.normalisation: none, imagenet, half, txv, or [means, sds]",
            ) from error
    if arch == SMALL or registry.parts(config.train.method)[0].name in UNNORMALISED:
        return None
    return read_timm_normalisation(arch) if arch.startswith(TIMM) else NAMED["imagenet"]


def load_start(net: nn.Module, config: Config) -> Fit | None:
    """Loads ``model.pretrained`` into `net`; None where there is none.

    Raises:
        IsnetError: Kind "weights": it cannot be read, or is another network's; kind "config", as
            `find_normalisation`.
    """
    if config.model.pretrained is None:
        return None
    try:
        return load_pretrained(net, Path(config.model.pretrained), find_normalisation(config))
    except WeightsError as error:
        raise IsnetError(
            "weights",
            f"model.pretrained: {error}",
            fix=f"weights of {config.model.arch}, or the model.arch of the file, or"
            " model.pretrained: none",
        ) from error


def describe_start(config: Config, fit: Fit, normalisation: Normalisation | None) -> list[str]:
    """Lines for people: what was loaded, what was not and why, and how images are normalised."""
    first, *rest = fit.lines()
    name = Path(config.model.pretrained or "").name
    if normalisation is None:
        step = "images are not normalised"
    else:
        means, sds = (
            ", ".join(f"{value:.4g}" for value in row)
            for row in (normalisation.means, normalisation.sds)
        )
        step = f"images are normalised by mean {means} and standard deviation {sds}"
    return [f"{name}: {first}", *(f"  {line}" for line in rest), f"  {step}"]


def check_start(config: Config) -> None:
    """Refuses a start that cannot be one; the file is not read.

    Raises:
        IsnetError: Kind "weights", when the file is missing; as `find_normalisation`.
    """
    file = config.model.pretrained
    find_normalisation(config)
    if file is not None and not Path(file).is_file():
        raise IsnetError(
            "weights",
            f"model.pretrained: {file}: no such file",
            fix="the path of a .safetensors, .pth, .pt or .bin file, or none",
        )


def hash_start(config: Config) -> list[Any]:
    """What a training's fingerprint has to say of its start; empty when it is random.

    Raises:
        IsnetError: As `check_start`.
    """
    check_start(config)
    file, normalisation = config.model.pretrained, find_normalisation(config)
    said: list[Any] = [] if normalisation is None else [asdict(normalisation)]
    return said if file is None else [sha256_file(Path(file)), *said]
