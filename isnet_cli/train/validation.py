"""What is measured after each epoch: loss, ROC-AUC, and ROC-AUC with swapped backgrounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isnet_cli.core.parallel.processes import ALONE, Processes
from isnet_cli.core.runtime import derive_seed
from isnet_cli.dataset.background_swap import choose_partners
from isnet_cli.dataset.feed import Feed
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.stats.scores import choose_thresholds, scores
from isnet_cli.train.sharing import Sharing
from isnet_models.backgrounds import swap_backgrounds
from isnet_models.methods.base import Batch, Method

THIN = 4  # of the masks by which partners are chosen, every so many rows and columns count


class Validator:
    """Scores a network on the validation images.

    Args:
        dataset: The images, all with labels.
        version: With or without the synthetic bias, as the training images.
        batch_size: Images per forward pass.
        device: Of the network.
        processes: Those that share the batches; all of them get the figures of all images.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        version: Version,
        batch_size: int,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        self.sharing = Sharing(processes)
        self.dataset, self.version, self.device = dataset, version, device
        everything = np.arange(len(dataset))
        self.batches = [
            everything[i : i + batch_size] for i in range(0, len(everything), batch_size)
        ]
        thin = [masks[:, ::THIN, ::THIN] for masks in dataset.iterate_masks()]
        rng = np.random.default_rng(derive_seed(dataset.config.seed, "swap"))
        found = choose_partners(np.concatenate(thin), dataset.labels, rng, step=1)
        whole = dataset.has_mask().all() and (found >= 0).all()
        self.partners = found if whole else None
        self.swapped_lungs: dict[int, Tensor] = {}  # by batch; a network's own, the same each time

    def __call__(self, net: nn.Module, method: Method, epoch: int) -> dict[str, float]:
        """Figures after `epoch`: ``val_<part>`` losses, ``val_auc``, ``val_swapped_auc``.

        A figure that cannot be computed (one class only, images without masks) is NaN.
        The network's mode is restored.
        """
        losses, logits, swapped = self.collect(net, method, epoch)
        values, batches = torch.stack(list(losses.values())), self.batches
        if self.sharing.divides(batches):
            values = self.sharing.processes.sum(values)
            logits = self.sharing.spread(logits, batches)
            swapped = None if swapped is None else self.sharing.spread(swapped, batches)
        pairs = zip(losses, values.tolist(), strict=True)
        sums = {f"val_{name}": value for name, value in pairs}
        sums["val_auc"] = self._auc(logits)
        sums["val_swapped_auc"] = float("nan") if swapped is None else self._auc(swapped)
        return sums

    def collect(
        self, net: nn.Module, method: Method, epoch: int
    ) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
        """What `__call__` is computed from, on the device, for which the host does not wait.

        Of several processes, each has its batches alone.

        Returns:
            (mean of each loss over the images, 0-d; logits [N, K]; those with swapped backgrounds,
            None where there are none).
        """
        was_training = net.training
        net.eval()
        kind = torch.float32 if self.device.type == "mps" else torch.float64
        sums: dict[str, Tensor] = {}
        logits, swapped = [], []
        with torch.no_grad():
            for number, (batch, others) in enumerate(self._feed()):
                losses = method.losses(net, batch, epoch)
                logits.append(losses.logits)
                share = len(batch.images) / len(self.dataset)
                for name, value in {"loss": losses.total, **losses.parts}.items():
                    sums[name] = sums.get(name, 0.0) + value.to(kind) * share
                if others is not None:
                    mixed = swap_backgrounds(batch.images, batch.masks, others.images)
                    swapped.append(self._swapped(net, method, epoch, number, mixed, batch))
        net.train(was_training)
        return sums, torch.cat(logits), torch.cat(swapped) if swapped else None

    def _feed(self) -> Iterator[tuple[Batch, Batch | None]]:
        """All batches, and those of their partners where there are any."""
        batches = self.sharing.deal(self.batches)
        own = self._read(batches)
        if self.partners is None:
            yield from ((batch, None) for batch in own)
            return
        yield from zip(own, self._read([self.partners[b] for b in batches]), strict=True)

    def _read(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[Batch]:
        return Feed(self.dataset, [(b, None) for b in batches], self.version, self.device)

    def _swapped(
        self, net: nn.Module, method: Method, epoch: int, number: int, mixed: Tensor, batch: Batch
    ) -> Tensor:
        """Logits of images with swapped backgrounds; a segmenter sees them in one epoch only."""
        if number not in self.swapped_lungs:
            own = method.lungs(net, mixed)
            if own is None:
                logits: Tensor = net(mixed)
                return logits
            self.swapped_lungs[number] = own.bool()
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
            logits = torch.cat([net(batch.images) for batch in self._read(self.batches)])
        net.train(was_training)
        p = probabilities(logits, "multilabel")
        return choose_thresholds(p, self.dataset.labels, self.dataset.classes)

    def _auc(self, logits: Tensor) -> float:
        labels = self.dataset.labels
        found = scores(
            probabilities(logits, "multiclass" if labels.ndim == 1 else ""),
            labels.astype(int) if labels.ndim == 1 else labels,
            self.dataset.classes,
        )
        value = found["macro"]["auc"]
        return float(value) if isinstance(value, (int, float)) else float("nan")


def probabilities(logits: Tensor, task: str) -> NDArray[np.float64]:
    """Class probabilities [N, K] of logits: softmax for ``multiclass``, else sigmoid."""
    values = logits.cpu().double()
    values = values.softmax(1) if task == "multiclass" else values.sigmoid()
    return values.numpy()
