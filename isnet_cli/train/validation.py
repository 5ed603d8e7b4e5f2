"""What is measured after each epoch: loss, ROC-AUC, and ROC-AUC with swapped backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isnet_cli.core.runtime import derive_seed
from isnet_cli.dataset.background_swap import choose_partners
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.stats.scores import choose_thresholds, scores
from isnet_models.backgrounds import swap_backgrounds
from isnet_models.methods.base import Batch, Method


class Validator:
    """Scores a network on the validation images.

    Args:
        dataset: The images, all with labels.
        version: With or without the synthetic bias, as the training images.
        batch_size: Images per forward pass.
        device: Of the network.
    """

    def __init__(
        self, dataset: ImageDataset, version: Version, batch_size: int, device: torch.device
    ) -> None:
        self.dataset, self.version, self.device = dataset, version, device
        everything = np.arange(len(dataset))
        self.batches = [
            everything[i : i + batch_size] for i in range(0, len(everything), batch_size)
        ]
        rng = np.random.default_rng(derive_seed(dataset.config.seed, "swap"))
        found = choose_partners(dataset.masks, dataset.labels, rng)
        self.partners = found if dataset.has_mask.all() and (found >= 0).all() else None
        self.swapped_lungs: dict[int, Tensor] = {}  # by batch; a network's own, the same each time

    def __call__(self, net: nn.Module, method: Method, epoch: int) -> dict[str, float]:
        """Figures after `epoch`: ``val_<part>`` losses, ``val_auc``, ``val_swapped_auc``.

        A figure that cannot be computed (one class only, images without masks) is NaN.
        The network's mode is restored.
        """
        was_training = net.training
        net.eval()
        sums: dict[str, float] = {}
        logits, swapped = [], []
        with torch.no_grad():
            for number, indices in enumerate(self.batches):
                images, masks = self.dataset.batch(indices, version=self.version)
                labels = self.dataset.targets(indices)
                batch = Batch(images.to(self.device), masks.to(self.device), labels.to(self.device))
                losses = method.losses(net, batch, epoch)
                logits.append(losses.logits.cpu())
                for name, value in {"loss": losses.total, **losses.parts}.items():
                    share = len(indices) / len(self.dataset)
                    sums[f"val_{name}"] = sums.get(f"val_{name}", 0.0) + value.item() * share
                if self.partners is not None:
                    others, _ = self.dataset.batch(self.partners[indices], version=self.version)
                    mixed = swap_backgrounds(images, masks, others).to(self.device)
                    swapped.append(self._swapped(net, method, epoch, number, mixed, batch).cpu())
        net.train(was_training)
        sums["val_auc"] = self._auc(logits)
        sums["val_swapped_auc"] = self._auc(swapped) if swapped else float("nan")
        return sums

    def _swapped(
        self, net: nn.Module, method: Method, epoch: int, number: int, mixed: Tensor, batch: Batch
    ) -> Tensor:
        """Logits of images with swapped backgrounds; a segmenter sees them in one epoch only."""
        if number not in self.swapped_lungs:
            own = method.lungs(net, mixed)
            if own is None:
                logits: Tensor = net(mixed)
                return logits
            self.swapped_lungs[number] = own.bool().cpu()
        lungs = self.swapped_lungs[number].to(mixed)
        return method.losses(net, Batch(mixed, lungs, batch.labels), epoch).logits

    def thresholds(self, net: nn.Module) -> dict[str, Any]:
        """Entries of a model's card: several labels' thresholds by F1 on the validation images.

        Empty for exclusive classes. The network's mode is restored.
        """
        if self.dataset.labels.ndim == 1:
            return {}
        was_training = net.training
        net.eval()
        with torch.no_grad():
            images = (self.dataset.batch(part, version=self.version)[0] for part in self.batches)
            logits = torch.cat([net(x.to(self.device)).cpu() for x in images])
        net.train(was_training)
        p = probabilities(logits, "multilabel")
        return choose_thresholds(p, self.dataset.labels, self.dataset.classes)

    def _auc(self, logits: Sequence[Tensor]) -> float:
        labels = self.dataset.labels
        found = scores(
            probabilities(torch.cat(list(logits)), "multiclass" if labels.ndim == 1 else ""),
            labels.astype(int) if labels.ndim == 1 else labels,
            self.dataset.classes,
        )
        value = found["macro"]["auc"]
        return float(value) if isinstance(value, (int, float)) else float("nan")


def probabilities(logits: Tensor, task: str) -> NDArray[np.float64]:
    """Class probabilities [N, K] of logits: softmax for ``multiclass``, else sigmoid."""
    values = logits.double()
    values = values.softmax(1) if task == "multiclass" else values.sigmoid()
    return values.numpy()
