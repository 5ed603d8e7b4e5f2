"""Training of the lung U-Net: its batches, its loss, its rate, its averaged weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_cli.config.segmenter import NO_START, Segmenter
from isnet_cli.core.records.checkpoints import check_tensors
from isnet_cli.core.runtime import derive_seed
from isnet_cli.core.training_loop import CHECKPOINT, LoopSettings, StepLosses, TrainingLoop
from isnet_cli.masks.segmenter.augment import augment
from isnet_cli.masks.segmenter.examples import Example, weigh_images
from isnet_models.dice_loss import dice, dice_cross_entropy
from isnet_models.lung_unet import LungUNet

RISE = 0.05  # part of the steps in which the rate rises
CLIP = 1.0  # norm of the gradient
Tensors = tuple[Tensor, Tensor]


class UNetTraining(TrainingLoop[Tensors]):
    """Trains one lung U-Net; see `TrainingLoop`.

    Kept are exponentially averaged weights (Polyak and Juditsky 1992) of the epoch with the best
    Dice on the validation images; of the last epoch where there are none.

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
        self.config, self.unet = config, net
        self.fresh = config.model.weights == NO_START  # trained weights would forget at other sizes
        self.train = [e for e in examples if e.part == "train"]
        self.validation = [e for e in examples if e.part == "validation"]
        self.chances = weigh_images(
            [e.pair.source for e in self.train],
            config.train.phantom_share,
            config.train.unlabelled_share,
        )
        self.batch = min(config.train.batch_size, len(self.train))
        steps = math.ceil(len(self.train) / self.batch)
        settings = LoopSettings(
            epochs=config.train.epochs,
            steps=steps,
            images=self.batch * steps,
            clip_norm=CLIP,
            select=("val_dice", 1) if self.validation else None,
            shown=("loss", "val_dice"),
            advice="lower train.optimizer.lr",
        )
        optimizer = torch.optim.AdamW(
            net.parameters(),
            lr=config.train.optimizer.lr,
            weight_decay=config.train.optimizer.weight_decay,
        )
        super().__init__(net, optimizer, settings, folder / CHECKPOINT, identity)
        self.average = LungUNet(net.encoder, net.decoder_channels).to(self.device)
        self.average.load_state_dict(net.state_dict())
        self.best: dict[str, Tensor] = {}

    def begin_epoch(self, epoch: int) -> None:
        """Seeds the network, the choice of images and their augmentation."""
        torch.manual_seed(derive_seed(self.config.seed, "network", epoch))
        self.rng = np.random.default_rng(derive_seed(self.config.seed, "films", epoch))

    def make_batch(self, epoch: int, step: int) -> Tensors:
        """Images and masks; small ones in the first epochs of a network of random weights."""
        chosen = self.rng.choice(len(self.train), self.batch, replace=False, p=self.chances)
        images, masks = as_tensors([self.train[i] for i in chosen])
        coarse, train = self.config.train.coarse, self.config.train
        if self.fresh and epoch < coarse.share * train.epochs:
            images, masks = (_shrink(values, coarse.size) for values in (images, masks))
        if train.augment:
            images, masks = augment(images, masks, self.rng, train.warp)
        return images.to(self.device), masks.to(self.device)

    def compute_loss(self, batch: Tensors, epoch: int) -> StepLosses:
        """Dice and cross-entropy."""
        images, masks = batch
        mixed = self.config.train.precision == "mixed"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            logits = self.unet.logits(images)
        return StepLosses(dice_cross_entropy(logits.float(), masks), len(images))

    def learning_rate(self, epoch: int, step: int) -> float:
        """A straight rise, then half a cosine down to 0 over all steps."""
        train, steps = self.config.train, self.settings.steps
        return train.optimizer.lr * scheduled_rate(
            (epoch * steps + step + 1) / (train.epochs * steps)
        )

    def after_step(self, epoch: int, step: int) -> None:
        """Moves the averaged weights; random weights are soon forgotten."""
        done = epoch * self.settings.steps + step
        early = (1 + done) / (10 + done) if self.fresh else 1.0
        move_average(self.average, self.unet, min(self.config.train.average, early))

    def validate(self, epoch: int) -> dict[str, float]:
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

    def keep_best(self, row: dict[str, float]) -> None:
        """Copies the averaged weights."""
        self.best = {name: value.clone() for name, value in self.average.state_dict().items()}

    @property
    def best_epoch(self) -> int:
        """Epoch (from 1) whose averaged weights are kept; 0 before the first."""
        best = self.progress.best
        return int(best["epoch"]) if best else 0

    def extra_state(self) -> dict[str, Any]:
        """The averaged weights and the best of them."""
        return {"average": self.average.state_dict(), "best": self.best}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Takes them back."""
        check_tensors(state["average"], self.average.state_dict(), "average")
        check_tensors(state["best"], self.average.state_dict(), "best")
        self.average.load_state_dict(state["average"])
        self.best = state["best"]


def scheduled_rate(done: float) -> float:
    """Share of the highest learning rate: a straight rise, then half a cosine down to 0.

    Args:
        done: Part of all steps, 0 to 1.
    """
    if done < RISE:
        return done / RISE
    return 0.5 * (1 + math.cos(math.pi * (done - RISE) / (1 - RISE)))


@torch.no_grad()
def move_average(average: LungUNet, net: LungUNet, decay: float) -> None:
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
