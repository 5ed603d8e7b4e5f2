"""The network a training begins with: its first weights, and whether it suits its method."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_cli.train.setup import map_method
from isnet_lrp import RelevanceError, relevance
from isnet_models.explanations.explanation import MethodError
from isnet_models.explanations.gradcam import feature_map, watched
from isnet_models.methods import registry
from isnet_models.methods.base import Method
from isnet_models.registry import WeightsError
from isnet_models.weights import load_weights


def start_from(net: nn.Module, config: Config) -> None:
    """Loads ``model.weights`` into `net`, if there are any; another number of classes starts anew.

    Raises:
        IsnetError: Kind "weights": they cannot be read or are another network's.
    """
    if config.model.weights is None:
        return
    try:
        state = load_weights(Path(config.model.weights))
        own = net.state_dict()
        last = list(own)[-1].rpartition(".")[0]
        if "segmenter" in registry.needs(config.train.method):  # it is the one of masks.model
            state = {k: v for k, v in state.items() if not k.startswith("segmenter.")}
            state |= {k: v for k, v in own.items() if k.startswith("segmenter.")}
        keep = {
            k: v
            for k, v in state.items()
            if not (k.startswith(last) and k in own and own[k].shape != v.shape)
        }  # fmt: skip - another number of classes: the last layer starts anew
        missing, unexpected = net.load_state_dict(keep, strict=False)
        wrong = [k for k in (*missing, *unexpected) if not k.startswith(last)]
        if wrong:
            raise WeightsError(f"{config.model.weights}: does not fit, first at '{wrong[0]}'")
    except (WeightsError, RuntimeError) as error:
        raise IsnetError(
            "weights",
            f"model.weights: {str(error).splitlines()[0]}",
            fix="model.weights: train/model.safetensors of a run with the same train.method,"
            " model.arch and channels",
        ) from error


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
        with _blank(net, config, device) as x:
            if "range" in registry.needs(config.train.method):
                map_method(config).maps(net, x, create_graph=False)
            else:
                relevance(net, x, "predicted", family="flex")
    except RelevanceError as error:
        hint = "train.heatmap_loss.zb: false" if "zB" in str(error) else (
            "train.heatmap_loss.layers: auto" if "layer" in str(error)
            else "train.heatmap_loss.variant: selective, or train.method: standard"
        )  # fmt: skip
        raise IsnetError("config", f"model.arch {config.model.arch}: {error}", fix=hint) from error


def _check_feature_map(net: nn.Module, config: Config, device: torch.device) -> None:
    try:
        with _blank(net, config, device) as x, watched(net) as seen:
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
def _blank(net: nn.Module, config: Config, device: torch.device) -> Iterator[torch.Tensor]:
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


def prepare(method: Method, net: nn.Module) -> None:
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
