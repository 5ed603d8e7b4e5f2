"""C1 and C2 of the heat-map loss, estimated from a short plain training.

Source: docs/lrp.md, section 4.1.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_json
from isnet_cli.core.parallel.processes import ALONE, Processes
from isnet_cli.core.records.read import read_record
from isnet_cli.core.records.schemas import RangeRecord
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.runtime import derive_seed, make_generator
from isnet_cli.core.training_loop import LoopSettings, StepLosses, TrainingLoop
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.errors import IsnetError
from isnet_cli.train.classifier_training import (
    build_optimizer,
    feed_training,
    split_into_batches,
)
from isnet_cli.train.setup import Ranges, build_map_method, build_net, has_no_end, write_ranges
from isnet_cli.train.sharing import Sharing
from isnet_cli.train.start import load_start
from isnet_lrp.losses.relevance_range import Bound, RangeEstimator
from isnet_lrp.targets import draw_chances
from isnet_models.methods import registry
from isnet_models.methods.base import EVERY_MAP, Batch, Range, classification_loss
from isnet_models.methods.guided.isnet import MapLossMethod
from isnet_models.methods.settings import RelevanceLossSettings
from isnet_models.ranks import join_shares, take_share


def find_ranges(
    config: Config,
    dataset: ImageDataset,
    version: Version,
    device: torch.device,
    path: Path,
    identity: str,
    context: RunContext,
    trained: nn.Module | None = None,
) -> Ranges | None:
    """C1 and C2 as given, as estimated by an interrupted run, or estimated now.

    Args:
        config: The configuration.
        dataset: Training images with labels.
        version: Synthetic bias of the dataset.
        device: Where to work.
        path: JSON file in which estimates are kept.
        identity: Hash of what the training depends on; estimates of another are not used.
        context: Side effects.
        trained: The network that training goes on from, as a part of the training before left it;
            its own maps are measured. None: those of a throw-away one.

    Returns:
        Empty for the energy loss, which has no such range; None when a stop was asked for.

    Raises:
        IsnetError: As `estimate_ranges`.
    """
    s: RelevanceLossSettings = build_map_method(config).settings
    if s.loss == "energy":
        return {}
    if isinstance(s.relevance_range, dict):
        return {name: _open_range(pair) for name, pair in s.relevance_range.items()}
    if not isinstance(s.relevance_range, str):
        return {EVERY_MAP: _open_range(s.relevance_range)}
    if path.is_file():
        with contextlib.suppress(IsnetError):  # not ours: measured anew
            kept = read_record(path, RangeRecord, what="a relevance range", fix="")
            if kept["identity"] == identity:
                return {name: _read_range(pair) for name, pair in kept["ranges"].items()}
    if trained is None:
        ranges = estimate_ranges(config, dataset, version, device, context)
    else:
        ranges = measure_ranges(config, trained, dataset, version, context)
    if ranges is not None and context.processes.leads:
        write_json(path, {"identity": identity, "ranges": write_ranges(ranges)})
    return ranges


def _open_range(given: tuple[float, float | Literal["none"]]) -> Range:
    """A range of the settings as the loss takes it: without upper end up to infinity."""
    low, high = given
    return low, math.inf if high == "none" else high


def describe_ranges(ranges: Ranges) -> list[str]:
    """A line per supervised layer that says its relevance range."""

    def write(bound: Bound) -> str:
        return " and ".join(f"{c:.3g}" for c in (bound if isinstance(bound, tuple) else (bound,)))

    return [
        f"heat-map loss, {name}: relevance range {write(low)} "
        + ("and more" if has_no_end(high) else f"to {write(high)}")
        for name, (low, high) in ranges.items()
    ]


def _read_range(value: list[Any]) -> Range:
    """A range as JSON keeps it; of Dual ISNet each end is a pair again."""
    low, high = (tuple(v) if isinstance(v, list) else v for v in value)
    return low, math.inf if high is None else high


def estimate_ranges(
    config: Config,
    dataset: ImageDataset,
    version: Version,
    device: torch.device,
    context: RunContext,
) -> Ranges | None:
    """Trains a throw-away network without map loss and measures its maps in the last epoch.

    Args:
        config: The configuration; the method's `range_epochs` are trained.
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
    training = RangeTraining(config, dataset, version, device, context.processes)
    if not training.run(context):
        return None
    return _read_values(config, training.method, training.estimator)


def measure_ranges(
    config: Config, net: nn.Module, dataset: ImageDataset, version: Version, context: RunContext
) -> Ranges | None:
    """Measures the maps of a trained network on all training images; it is not changed.

    Args:
        config: The configuration.
        net: The network on its device.
        dataset: Training images with labels.
        version: Synthetic bias of the dataset.
        context: Side effects.

    Returns:
        As `estimate_ranges`.

    Raises:
        IsnetError: As `estimate_ranges`.
    """
    method = build_map_method(config, len(dataset.classes))
    seed, was_training = config.seed, net.training
    estimator = RangeEstimator(dual=method.rule.family == "dual")
    changes, targets = (make_generator(seed, name, 0) for name in ("cuts augment", "cuts target"))
    batches = split_into_batches(config, dataset, 0)
    device, sharing = next(net.parameters()).device, Sharing(context.processes)
    feed = feed_training(config, dataset, batches, version, changes, device, sharing)
    net.eval()
    try:
        pairs = zip(batches, feed, strict=True)
        for indices, batch in context.progress.track(pairs, "relevance range", len(batches)):
            if context.processes.any(context.stop_requested()):
                return None
            with sharing.within(len(indices)):
                _add_maps(estimator, method, net, batch, len(indices), targets)
    finally:
        feed.close()
        net.train(was_training)
    return _read_values(config, method, estimator)


def _add_maps(
    estimator: RangeEstimator,
    method: MapLossMethod,
    net: nn.Module,
    batch: Batch,
    images: int,
    targets: torch.Generator,
) -> None:
    """Shows the maps of a batch of so many images, of all processes, to the estimator."""
    draws = take_share(draw_chances(images, targets), dim=1)
    maps, _ = method.maps(net, batch.images, create_graph=False, draws=draws)
    estimator.update({name: join_shares(part) for name, part in maps.items()})


def _read_values(config: Config, method: MapLossMethod, estimator: RangeEstimator) -> Ranges:
    try:
        found = estimator.values()
    except ValueError as error:
        name = registry.parts(config.train.method)[0].name
        raise IsnetError(
            "data",
            f"range of relevance: {error}",
            fix=f"train.settings.{name}.relevance_range: [1.0, 25.0]",
        ) from error
    if method.settings.relevance_range == "estimate":
        return found
    return {name: (low, math.inf) for name, (low, _) in found.items()}


class RangeTraining(TrainingLoop[Batch]):
    """Trains a throw-away classifier; `estimator` sees its maps in the last epoch.

    Args:
        config: The configuration.
        dataset: Training images with labels.
        version: Synthetic bias of the dataset.
        device: Where to work.
        processes: Those that share each batch.
    """

    def __init__(
        self,
        config: Config,
        dataset: ImageDataset,
        version: Version,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        self.sharing = Sharing(processes)
        self.method = build_map_method(config, len(dataset.classes))
        settings = LoopSettings(
            epochs=self.method.settings.range_epochs,
            steps=len(split_into_batches(config, dataset, 0)),
            images=len(dataset),
            title="relevance range",
            advice="lower train.optimizer.lr",
        )
        net = build_net(config, len(dataset.classes))
        load_start(net, config)
        net.to(device)
        optimizer = build_optimizer(config.train.optimizer, net)
        super().__init__(net, optimizer, settings, processes=processes)
        self.config, self.dataset, self.version = config, dataset, version
        self.estimator = RangeEstimator(dual=self.method.rule.family == "dual")

    def begin_epoch(self, epoch: int) -> None:
        """Seeds dropout, augmentation and the stochastic target, and orders the images."""
        seed = self.config.seed
        torch.manual_seed(derive_seed(seed, "cuts", epoch))
        changes = make_generator(seed, "cuts augment", epoch)
        self.targets = make_generator(seed, "cuts target", epoch)
        self.batches = split_into_batches(self.config, self.dataset, epoch)
        self.feed = feed_training(
            self.config, self.dataset, self.batches, self.version, changes, self.device,
            self.sharing,
        )  # fmt: skip

    def make_batch(self, epoch: int, step: int) -> Batch:
        """Augmented images with labels."""
        self.whole = len(self.batches[step])
        return next(self.feed)

    def end_epoch(self) -> None:
        """Ends the threads that read ahead."""
        self.feed.close()

    def compute_loss(self, batch: Batch, epoch: int) -> StepLosses:
        """The classification loss alone; in the last epoch the maps are measured first."""
        with self.sharing.within(self.whole):
            if epoch == self.settings.epochs - 1:
                self.net.eval()  # maps of the running statistics; the step below trains on
                _add_maps(self.estimator, self.method, self.net, batch, self.whole, self.targets)
                self.net.train()
            logits, labels = join_shares(self.net(batch.images)), join_shares(batch.labels)
            return StepLosses(classification_loss(logits, labels), self.whole)

    def join_gradients(self) -> None:
        """Sums those of the processes."""
        self.sharing.sum_gradients(self.net.parameters())
