"""How the processes of a training share its batches; one process alone has all of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isnet_cli.core.parallel.processes import ALONE, Processes, explain_loss
from isnet_cli.dataset.feed import Part
from isnet_cli.errors import IsnetError
from isnet_models.methods.base import Method
from isnet_models.ranks import Ranks, SharedBatch, sum_gradients


@dataclass(frozen=True)
class Sharing:
    """What this process does of each batch.

    Attributes:
        processes: All of them.
    """

    processes: Processes = ALONE

    @property
    def ranks(self) -> Ranks:
        """The processes as methods know them."""
        return Ranks(self.processes.rank, self.processes.count)

    def cut(self, parts: Iterable[Part]) -> Iterator[Part]:
        """This process's share of batches whose chance was drawn for all of their images."""
        if self.processes.count == 1:
            yield from parts
            return
        for indices, changes in parts:
            own = self.ranks.share(len(indices))
            yield indices[own], None if changes is None else changes.of(own)

    def within(self, images: int) -> AbstractContextManager[Any]:
        """Inside, a loss is that of a whole batch of so many images."""
        return nullcontext() if self.processes.count == 1 else SharedBatch(self.ranks, images)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Makes gradients of the shares those of the whole batch."""
        if self.processes.count > 1:
            with explain_loss():
                sum_gradients(parameters, self.ranks)

    def divides(self, batches: Sequence[NDArray[np.int64]]) -> bool:
        """Whether there are batches of single images' work for each process; else all do all."""
        return 1 < self.processes.count <= len(batches)

    def deal(self, batches: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Whole batches for this process, of images that are looked at one by one."""
        step = self.processes.count if self.divides(batches) else 1
        return list(batches[self.processes.rank if step > 1 else 0 :: step])

    def spread(self, values: Tensor, batches: Sequence[NDArray[np.int64]]) -> Tensor:
        """Rows of the images of all batches [N, ...] from those of this process's, in order.

        Args:
            values: Of the images in `deal(batches)`.
            batches: Indices of each, which together are 0 to N - 1.
        """
        whole = values.new_zeros(sum(map(len, batches)), *values.shape[1:])
        at = torch.from_numpy(np.concatenate(self.deal(batches)))
        whole[at.to(values.device)] = values
        return self.processes.sum(whole)


def refuse_to_share(
    method: Method, name: str, batches: Sequence[NDArray[np.int64]], processes: Processes
) -> None:
    """Makes sure that processes which share batches learn what one would.

    Args:
        method: The training method.
        name: As the configuration has it.
        batches: Indices of each batch of an epoch.
        processes: All of them.

    Raises:
        IsnetError: Kind "config": the method does not say that its batches can be shared, or a
            process would be without an image of a batch.
    """
    if processes.count == 1:
        return
    if not method.shared:
        raise IsnetError(
            "config",
            f"train.method: {name} is not made for batches that processes share, expected one"
            f" process and not {processes.count}",
            fix="isnet train without torchrun, or train.method: isnet, standard, ...",
        )
    smallest = min(len(indices) for indices in batches)
    if smallest < processes.count:
        raise IsnetError(
            "config",
            f"train.batch_size: a batch of {smallest} images for {processes.count} processes,"
            " expected an image for each",
            fix=f"--nproc-per-node {smallest}, or another train.batch_size: the last batch of an"
            " epoch has what is left of the training images",
        )
