"""The training loop of the lung U-Net: epochs, averaged weights, validation, exact continuation."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_cli.config.segmenter import NO_START, Segmenter
from isnet_cli.core.checkpoint import own_checkpoint, save_checkpoint
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.core.runtime import derive_seed
from isnet_cli.errors import IsnetError
from isnet_cli.masks.segmenter.augment import augment
from isnet_cli.masks.segmenter.examples import Example, chances
from isnet_models.dice_loss import dice, dice_cross_entropy
from isnet_models.lung_unet import LungUNet

CHECKPOINT = "last.ckpt"
RISE = 0.05  # part of the steps in which the rate rises
CLIP = 1.0  # norm of the gradient
State = dict[str, Tensor]


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: Number of finished epochs.
        history: One row per finished epoch.
        best: Epoch (from 1) whose averaged weights are kept; 0 before the first.
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: int = 0


class SegmenterTrainer:
    """Trains one lung U-Net; after every epoch its whole state is on disk.

    All chance of an epoch is drawn from generators that depend on the seed and the epoch alone, so
    a training continued after any interruption equals an uninterrupted one bit for bit, on the same
    machine and versions. Kept are exponentially averaged weights (Polyak and Juditsky 1992) of the
    epoch with the best Dice on the validation images; of the last epoch where there are none.

    Args:
        config: The configuration.
        net: The network to start from, on its device.
        examples: Images, with their parts.
        folder: Where the checkpoint is kept.
        identity: Hash of what the training depends on; a checkpoint of another is not continued.
    """

    def __init__(
        self, config: Segmenter, net: LungUNet, examples: Sequence[Example], folder: Path,
        identity: str,
    ) -> None:  # fmt: skip
        self.config, self.net, self.identity = config, net, identity
        self.device = next(net.parameters()).device
        self.path = folder / CHECKPOINT
        self.fresh = config.network.start == NO_START  # trained weights would forget at other sizes
        self.train = [e for e in examples if e.part == "train"]
        self.validation = [e for e in examples if e.part == "validation"]
        self.chances = chances([e.pair.source for e in self.train], config.train.drawn)
        self.average = LungUNet(net.encoder, net.decoder_channels).to(self.device)
        self.average.load_state_dict(net.state_dict())
        self.optimizer = torch.optim.AdamW(
            net.parameters(), lr=config.train.lr, weight_decay=config.train.weight_decay
        )
        self.batch = min(config.train.batch_size, len(self.train))
        self.steps = math.ceil(len(self.train) / self.batch)  # per epoch
        self.progress = Progress()
        self.best: State = {}

    def restore(self) -> bool:
        """Continues from the checkpoint if there is one of this very training; tells whether."""
        state = own_checkpoint(self.path, self.identity)
        if state is None:
            return False
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress, self.best = Progress(**state["progress"]), state["best"]
        return True

    def run(self, context: RunContext) -> bool:
        """Trains to the end; False when a stop was asked for (the last whole epoch is kept)."""
        epochs = self.config.train.epochs
        with (
            torch.random.fork_rng(devices=[]),
            context.progress.bar("training", epochs * self.steps) as bar,
        ):
            bar.advance(self.progress.epoch * self.steps)
            while self.progress.epoch < epochs:
                if not self._epoch(bar, context):
                    return False
        return True

    def _epoch(self, bar: Bar, context: RunContext) -> bool:
        epoch, began = self.progress.epoch, time.monotonic()
        torch.manual_seed(derive_seed(self.config.seed, "network", epoch))
        rng = np.random.default_rng(derive_seed(self.config.seed, "films", epoch))
        losses = []
        self.net.train()
        for step in range(self.steps):
            if context.stop_requested():
                return False
            images, masks = self._batch(rng, epoch)
            losses.append(self._step(images, masks, epoch * self.steps + step))
            bar.advance(1, epoch=f"{epoch + 1}/{self.config.train.epochs}", loss=losses[-1])
        row = {
            "epoch": epoch + 1.0,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": float(np.mean(losses)),
            **self._validate(),
        }
        self._keep_best(row)
        row["seconds"] = time.monotonic() - began
        self.progress.history.append(row)
        self.progress.epoch = epoch + 1
        self._save()
        if "val_dice" in row:
            bar.advance(0, val_dice=row["val_dice"])
        context.event("epoch", **row)
        return True

    def _batch(self, rng: np.random.Generator, epoch: int) -> tuple[Tensor, Tensor]:
        chosen = rng.choice(len(self.train), self.batch, replace=False, p=self.chances)
        images, masks = as_tensors([self.train[i] for i in chosen])
        coarse, train = self.config.train.coarse, self.config.train
        if self.fresh and epoch < coarse.share * train.epochs:
            images, masks = (_shrink(values, coarse.size) for values in (images, masks))
        if train.augment:
            images, masks = augment(images, masks, rng)
        return images.to(self.device), masks.to(self.device)

    def _step(self, images: Tensor, masks: Tensor, step: int) -> float:
        train = self.config.train
        for group in self.optimizer.param_groups:
            group["lr"] = train.lr * rate((step + 1) / (train.epochs * self.steps))
        mixed = train.precision == "mixed"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            logits = self.net.logits(images)
        loss = dice_cross_entropy(logits.float(), masks)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise IsnetError("weights", f"training diverged: loss {value:g}", fix="lower train.lr")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimizer.step()
        early = (1 + step) / (10 + step) if self.fresh else 1.0  # random weights are soon forgotten
        follow(self.average, self.net, min(train.average, early))
        return value

    def _validate(self) -> dict[str, float]:
        """Dice of the averaged weights on the network's pixels."""
        if not self.validation:
            return {}
        scores: list[float] = []
        self.average.eval()
        for start in range(0, len(self.validation), self.batch):
            images, masks = as_tensors(self.validation[start : start + self.batch])
            with torch.inference_mode():
                found = self.average(images.to(self.device)).cpu() >= 0.5
            scores += dice(found, masks >= 0.5).tolist()
        return {"val_dice": float(np.mean(scores)), "val_dice_p5": float(np.percentile(scores, 5))}

    def _keep_best(self, row: dict[str, float]) -> None:
        history, best = self.progress.history, self.progress.best
        if best and "val_dice" in row and row["val_dice"] <= history[best - 1]["val_dice"]:
            return
        self.progress.best = self.progress.epoch + 1
        self.best = {name: value.clone() for name, value in self.average.state_dict().items()}

    def _save(self) -> None:
        content: dict[str, Any] = {
            "identity": self.identity,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
            "best": self.best,
        }
        save_checkpoint(self.path, content)


def rate(done: float) -> float:
    """Share of the highest learning rate: a straight rise, then half a cosine down to 0.

    Args:
        done: Part of all steps, 0 to 1.
    """
    if done < RISE:
        return done / RISE
    return 0.5 * (1 + math.cos(math.pi * (done - RISE) / (1 - RISE)))


@torch.no_grad()
def follow(average: LungUNet, net: LungUNet, decay: float) -> None:
    """Moves the averaged weights and statistics towards the current ones, by 1 - `decay`."""
    for kept, now in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


def as_tensors(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Images and shares of lung, each [B, 1, 256, 256] float32 in [0, 1]."""
    images = torch.from_numpy(np.stack([e.image for e in examples]).astype(np.float32))
    masks = torch.from_numpy(np.stack([e.share for e in examples]).astype(np.float32) / 255)
    return images[:, None], masks[:, None]


def _shrink(batch: Tensor, size: int) -> Tensor:
    shrunk = F.interpolate(batch, [size, size], mode="bilinear", antialias=True)
    return shrunk.clamp(0, 1)
