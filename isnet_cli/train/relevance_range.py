"""C1 and C2 of the heat-map loss, estimated from a short plain training (LRP_SPEC 4.1)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import torch

from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_json
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.runtime import derive_seed, generator
from isnet_cli.dataset.augment import augment
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.errors import IsnetError
from isnet_cli.train.setup import (
    EVERY,
    Cuts,
    build_net,
    build_optimizer,
    epoch_batches,
    map_method,
)
from isnet_lrp.losses.relevance_range import Bound, RangeEstimator
from isnet_models.methods.base import classification_loss


def find_ranges(
    config: Config,
    dataset: ImageDataset,
    version: Version,
    device: torch.device,
    path: Path,
    identity: str,
    context: RunContext,
) -> Cuts | None:
    """C1 and C2 as given, as estimated by an interrupted run, or estimated now.

    Args:
        config: The configuration.
        dataset: Training images with labels.
        version: Synthetic bias of the dataset.
        device: Where to work.
        path: JSON file in which estimates are kept.
        identity: Hash of what the training depends on; estimates of another are not used.
        context: Side effects.

    Returns:
        Empty for the energy loss, which has no such range; None when a stop was asked for.

    Raises:
        IsnetError: As `estimate_ranges`.
    """
    h = config.train.heatmap_loss
    if h.loss == "energy":
        return {}
    if isinstance(h.cuts, dict):
        return dict(h.cuts)
    if not isinstance(h.cuts, str):
        return {EVERY: h.cuts}
    if path.is_file():
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # not ours
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["identity"] == identity:
                return {name: _pair(pair) for name, pair in kept["cuts"].items()}
    cuts = estimate_ranges(config, dataset, version, device, context)
    if cuts is not None:
        write_json(path, {"identity": identity, "cuts": cuts})
    return cuts


def describe_ranges(cuts: Cuts) -> list[str]:
    """A line per supervised layer that says its C1 and C2."""

    def shown(cut: Bound) -> str:
        return " and ".join(f"{c:.3g}" for c in (cut if isinstance(cut, tuple) else (cut,)))

    return [f"heat-map loss, {n}: C1 {shown(C1)}, C2 {shown(C2)}" for n, (C1, C2) in cuts.items()]


def _pair(value: list[Any]) -> tuple[Bound, Bound]:
    """C1 and C2 as JSON keeps them; of Dual ISNet each is a pair again."""
    low, high = (tuple(v) if isinstance(v, list) else float(v) for v in value)
    return low, high


def estimate_ranges(
    config: Config,
    dataset: ImageDataset,
    version: Version,
    device: torch.device,
    context: RunContext,
) -> Cuts | None:
    """Trains a throw-away network without map loss and measures its maps in the last epoch.

    Args:
        config: The configuration; `train.heatmap_loss.cut_epochs` epochs are trained.
        dataset: Training images with labels.
        version: Synthetic bias of the dataset.
        device: Where to work.
        context: Side effects.

    Returns:
        (C1, C2) of the image's maps and of every supervised layer's, or None when a stop was
        asked for.

    Raises:
        IsnetError: Kind "data", when the maps hold no relevance to measure.
    """
    h = config.train.heatmap_loss
    steps = len(epoch_batches(config, dataset, 0))
    net = build_net(config, len(dataset.classes)).to(device).train()
    optimizer = build_optimizer(config.train.optimizer, net)
    method = map_method(config)
    measured = RangeEstimator(dual=method.loss.explanation.variant == "dual")
    with (
        torch.random.fork_rng(devices=[]),
        context.progress.bar("relevance range", h.cut_epochs * steps) as bar,
    ):
        for epoch in range(h.cut_epochs):
            torch.manual_seed(derive_seed(config.seed, "cuts", epoch))
            changes = generator(config.seed, "cuts augment", epoch)
            targets = generator(config.seed, "cuts target", epoch)
            for indices in epoch_batches(config, dataset, epoch):
                if context.stop_requested():
                    return None
                images, masks = dataset.batch(indices, version=version)
                images, _ = augment(images, masks, config.train.augment, changes)
                images, labels = images.to(device), dataset.targets(indices).to(device)
                if epoch == h.cut_epochs - 1:
                    net.eval()  # maps of the running statistics; the step below trains on
                    maps, _ = method.maps(net, images, create_graph=False, generator=targets)
                    measured.update(maps)
                    net.train()
                loss = classification_loss(net(images), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                bar.advance()
    try:
        return measured.values()
    except ValueError as error:
        raise IsnetError(
            "data", f"range of relevance: {error}", fix="train.heatmap_loss.cuts: [1.0, 25.0]"
        ) from error
