"""The trained model on disk: weights as safetensors, everything else as a JSON card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from isnet_cli.config.reading import READING
from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_json
from isnet_cli.core.records.cards import CARD, CARD_SCHEMA, read_card
from isnet_cli.errors import IsnetError, explain_error
from isnet_models.methods import registry
from isnet_models.methods.base import NetSpec
from isnet_models.methods.settings import MethodSettings
from isnet_models.normalise import Normalisation
from isnet_models.registry import WeightsError
from isnet_models.weights import load_state, load_weights, save_weights

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class TrainedModel:
    """A classifier and its card.

    Attributes:
        net: The network on its device, in eval mode.
        card: ``classes``, ``task``, ``arch``, ``input`` [h, w], ``channels``, ``dropout``,
            ``standardise``, ``normalisation`` ([means, sds] of the network's first step, or null),
            ``pretrained`` (file that training started from: ``file``, ``sha256``, what was taken;
            or null), ``method``, ``settings`` (of the method and its additions, by name),
            ``segmenter`` (where there is one: its ``options``, ``name``, ``sha256``, ``licence``),
            ``teacher`` (where there was one: ``sha256`` of its weights),
            ``heatmap`` {``family``, ``epsilon``, ``bounded_first_layer``, ``relevance_range``},
            ``thresholds`` (multi-label: one per class, else null),
            ``threshold_rule`` (multi-label: how they were chosen), ``seed``, ``epoch``,
            ``selected_by``, ``validation``, ``reading`` (see `reading`), ``uncertainty``
            (limits of `isnet_cli.inference.uncertainty`), ``sha256``.
    """

    net: nn.Module
    card: dict[str, Any]


def save_model(directory: Path, net: nn.Module, card: dict[str, Any]) -> None:
    """Writes weights and card into `directory`, the card last and with the weights' hash."""
    digest = save_weights(net.state_dict(), directory / WEIGHTS)
    write_json(directory / CARD, {"schema": CARD_SCHEMA, **card, "sha256": digest})


def reading(config: Config) -> dict[str, Any]:
    """How images are read and masked, for users of the model who do not have its run.

    A lung network from a file of the user's own is not named.
    """
    data = config.data.model_dump(mode="json", include=set(READING["data"]))
    masks = config.masks.model_dump(mode="json", include=set(READING["masks"]))
    if masks["model"].endswith(".safetensors"):
        del masks["model"]
    return {"data": data, "masks": masks}


def load_model(place: Path, device: torch.device) -> TrainedModel:
    """Loads a trained model, checking its hash.

    Args:
        place: A run folder, or the folder that holds the two files.
        device: Where the network goes.

    Raises:
        IsnetError: Kind "weights": missing, damaged, or of another architecture or version.
    """
    directory = place / "train" if (place / "train" / CARD).is_file() else place
    path = directory / CARD
    if not path.is_file():
        raise IsnetError(
            "weights",
            f"{place}: no {CARD}, expected the folder of a finished training",
            fix="isnet train CONFIG -o RUN, then --model RUN",
        )
    card = read_card(path)
    try:
        net = _network(card)
        load_state(net, load_weights(directory / WEIGHTS, card["sha256"]), WEIGHTS)
    except (KeyError, TypeError, ValueError, RuntimeError, WeightsError) as error:
        words = explain_error(error, (ValueError, WeightsError))
        raise IsnetError(
            "weights",
            f"{directory}: model cannot be loaded: {words}",
            fix="copy both model.safetensors and model.json from the training run",
        ) from error
    return TrainedModel(net.to(device).eval(), card)


def _network(card: dict[str, Any]) -> nn.Module:
    """The network that a card describes, with weights that are replaced at once."""
    entry = registry.parts(card["method"])[0]
    method = entry.load()
    spec = NetSpec(
        arch=card["arch"],
        classes=len(card["classes"]),
        channels=card["channels"],
        dropout=card["dropout"],
        size=tuple(card["input"]),
        segmenter=card.get("segmenter", {}).get("options"),
        settings=_read_settings(entry, card),
        normalisation=read_normalisation(card),
    )
    with torch.random.fork_rng(devices=[]):
        return method.build(spec)


def read_normalisation(card: dict[str, Any]) -> Normalisation | None:
    """The first step of a card's network; None: images as they are.

    Raises:
        ValueError: It is none.
    """
    given = card.get("normalisation")
    return None if given is None else Normalisation(*(tuple(map(float, row)) for row in given))


def _read_settings(entry: registry.Entry, card: dict[str, Any]) -> MethodSettings:
    given = card.get("settings", {}).get(entry.name, {})
    try:
        return entry.settings_class().model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["settings", entry.name, *map(str, first["loc"])])
        raise ValueError(f"{CARD}: {key}: {first['msg']}") from error
