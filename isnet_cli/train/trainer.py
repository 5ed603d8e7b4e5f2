"""The training loop: epochs, validation, best and last state, exact continuation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isnet_cli.config.schema import Config
from isnet_cli.core.checkpoint import own_checkpoint, save_checkpoint
from isnet_cli.core.files import without_nan
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.core.runtime import derive_seed, generator
from isnet_cli.dataset.augment import augment
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.errors import IsnetError
from isnet_cli.train.setup import build_optimizer, epoch_batches, learning_rate
from isnet_cli.train.validation import Validator
from isnet_models.methods.base import Batch, Method

CHECKPOINT = "last.ckpt"
SELECT = {"loss": ("val_loss", -1), "auc": ("val_auc", 1), "swapped": ("val_swapped_auc", 1)}


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: Number of finished epochs.
        history: One row per finished epoch.
        best: Value of the selecting figure at its best, and its epoch; None before the first.
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None


class Trainer:
    """Trains one network; after every epoch its whole state is on disk.

    Chance (order, augmentation, dropout, stochastic targets) is drawn from generators that depend
    on the seed and the epoch alone: a training continued after any interruption is equal, bit for
    bit, to an uninterrupted one on the same machine and versions.

    Args:
        config: The configuration.
        net: The network on its device.
        method: The training method.
        dataset: Training images, all with labels.
        validator: Scores after each epoch.
        version: Synthetic bias of the training images.
        directory: Where the checkpoint is kept.
        identity: Hash of what the training depends on; a checkpoint of another is not continued.
        on_best: Called with the network and the epoch's figures when it is the best so far.
    """

    def __init__(
        self,
        config: Config,
        net: nn.Module,
        method: Method,
        dataset: ImageDataset,
        validator: Validator,
        version: Version,
        directory: Path,
        identity: str,
        on_best: Callable[[nn.Module, dict[str, float]], None],
    ) -> None:
        self.config, self.net, self.method = config, net, method
        self.dataset, self.validator, self.version = dataset, validator, version
        self.path, self.identity, self.on_best = directory / CHECKPOINT, identity, on_best
        self.optimizer = build_optimizer(config.train.optimizer, net)
        self.device = next(net.parameters()).device
        self.progress = Progress()

    def restore(self) -> bool:
        """Continues from the checkpoint if there is one of this very training; tells whether."""
        state = own_checkpoint(self.path, self.identity)
        if state is None:
            return False
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        return True

    def run(self, context: RunContext) -> bool:
        """Trains to the end; False when a stop was asked for (the last whole epoch is kept)."""
        train = self.config.train
        steps = len(epoch_batches(self.config, self.dataset, 0))
        total = train.epochs * steps
        with (
            torch.random.fork_rng(devices=[]),
            context.progress.bar("training", total) as bar,
        ):
            bar.advance(self.progress.epoch * steps)
            while self.progress.epoch < train.epochs and not self._exhausted():
                if not self._epoch(bar, context):
                    return False
        return True

    def _exhausted(self) -> bool:
        patience, best = self.config.train.early_stop.patience, self.progress.best
        return bool(
            patience and best is not None and self.progress.epoch - best["epoch"] > patience
        )

    def _epoch(self, bar: Bar, context: RunContext) -> bool:
        epoch, began = self.progress.epoch, time.monotonic()
        torch.manual_seed(derive_seed(self.config.seed, "dropout", epoch))
        changes = generator(self.config.seed, "augment", epoch)
        self.method.begin_epoch(epoch, generator(self.config.seed, "target", epoch))
        batches = epoch_batches(self.config, self.dataset, epoch)
        sums: dict[str, float] = {}
        seen: dict[str, int] = {}
        self.net.train()
        for step, indices in enumerate(batches):
            if context.stop_requested():
                return False
            rate = learning_rate(
                self.config.train.optimizer.lr, self.config.train.schedule,
                epoch + step / len(batches), self.config.train.epochs,
            )  # fmt: skip
            parts = self._step(self._batch(indices, changes), rate, epoch)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value * len(indices)
                seen[name] = seen.get(name, 0) + len(indices)
            shown = {k: v for k, v in parts.items() if k in ("classification", "heatmap")}
            bar.advance(1, epoch=f"{epoch + 1}/{self.config.train.epochs}", **shown)
        means = {name: value / seen[name] for name, value in sums.items()}
        self._after(epoch, means, time.monotonic() - began, bar, context)
        return True

    def _batch(self, indices: Any, changes: torch.Generator) -> Batch:
        images, masks = self.dataset.batch(indices, version=self.version)
        images, masks = augment(images, masks, self.config.train.augment, changes)
        labels = self.dataset.targets(indices)
        return Batch(*(t.to(self.device) for t in (images, masks, labels)))

    def _step(self, batch: Batch, rate: float, epoch: int) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = self.method.losses(self.net, batch, epoch)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(
            self.net.parameters(), self.config.train.clip_norm or math.inf
        )
        values: dict[str, Tensor] = {"loss": losses.total.detach(), **losses.parts, "norm": norm}
        figures = {name: float(value) for name, value in values.items()}
        if not all(math.isfinite(v) for v in figures.values()):
            raise IsnetError(
                "weights",
                f"training diverged in epoch {epoch + 1}: loss {figures['loss']:g}, "
                f"gradient norm {figures['norm']:g}",
                fix="lower train.optimizer.lr, or set train.clip_norm: 1.0",
            )
        self.optimizer.step()
        return figures

    def _after(
        self, epoch: int, means: dict[str, float], seconds: float, bar: Bar, context: RunContext
    ) -> None:
        scored = self.validator(self.net, self.method, epoch)
        row = {
            "epoch": epoch + 1.0,
            "lr": self.optimizer.param_groups[0]["lr"],
            **{f"train_{name}": value for name, value in means.items()},
            **scored,
            **self.method.figures(epoch),
        }
        name, sign = SELECT[self.config.train.select]
        best = self.progress.best
        value = row[name]
        if best is None or sign * value > sign * best["value"] or math.isnan(best["value"]):
            self.progress.best = {"value": value, "epoch": epoch + 1.0}
            self.on_best(self.net, row)
        row["seconds"], row["images_per_second"] = seconds, len(self.dataset) / seconds
        self.progress.history.append(row)
        self.progress.epoch = epoch + 1
        self._save()
        bar.advance(0, val_auc=scored["val_auc"], rate=f"{row['images_per_second']:.1f} images/s")
        context.event("epoch", **without_nan(row))

    def _save(self) -> None:
        progress = self.progress
        save_checkpoint(
            self.path,
            {
                "identity": self.identity,
                "net": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": {
                    "epoch": progress.epoch, "history": progress.history, "best": progress.best,
                },
            },
        )  # fmt: skip
