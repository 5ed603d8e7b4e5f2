"""Batches on their way to the device: read ahead by threads, copied beside the work of a GPU."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli.config.schema import Augment
from isnet_cli.core.parallel.ahead import ahead
from isnet_cli.core.runtime import thread_count
from isnet_cli.dataset.augment import Changes, apply_changes, draw_changes
from isnet_cli.dataset.image_dataset import ImageDataset, RawBatch, Version
from isnet_models.methods.base import Batch

AHEAD = 2  # batches that each thread reads before they are asked for
Part = tuple[NDArray[np.int64], Changes | None]  # indices of a batch, and what is done to it
Found = tuple[RawBatch, Changes | None]  # what was read of it


class Feed(Iterator[Batch]):
    """Batches on `device`, in order; closing it ends its threads.

    Threads only read; what is computed of a batch is computed on the device, for the whole batch.
    With ``machine.workers: 0`` there are no threads.

    Args:
        dataset: The images.
        parts: What the batches are made of; asked for in order, in this thread.
        version: Synthetic bias of the images.
        device: Of the network.

    Attributes:
        waited: Seconds that this thread has waited for images.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        parts: Iterable[Part],
        version: Version,
        device: torch.device,
    ) -> None:
        self.waited = 0.0
        self._dataset, self._version, self._device = dataset, version, device
        self._pinned = device.type == "cuda"
        self._batches = self._make(parts)

    def __next__(self) -> Batch:
        """The next batch; raises as `ImageDataset.read`."""
        return next(self._batches)

    def close(self) -> None:
        """Ends the threads, whether or not there are batches left."""
        self._batches.close()

    def _make(self, parts: Iterable[Part]) -> Generator[Batch]:
        threads = thread_count(self._dataset.config.machine.workers)
        if not threads:
            for raw, changes in self._wait(map(self._read, parts)):
                yield make_batch(self._dataset, *_move(raw, changes, self._device))
            return
        with ThreadPoolExecutor(threads) as pool:
            found = ahead(pool, self._read, parts, depth=AHEAD * threads)
            try:
                for raw, changes in self._moved(self._wait(found)):
                    yield make_batch(self._dataset, raw, changes)
            finally:
                found.close()
                pool.shutdown(cancel_futures=True)

    def _read(self, part: Part) -> Found:
        return self._dataset.read(part[0], self._version, pinned=self._pinned), part[1]

    def _wait(self, found: Iterator[Found]) -> Iterator[Found]:
        while True:
            began = time.perf_counter()
            one = next(found, None)
            self.waited += time.perf_counter() - began
            if one is None:
                return
            yield one

    def _moved(self, found: Iterator[Found]) -> Iterator[Found]:
        if self._pinned:
            return _copy_ahead(found, self._device)
        return (_move(raw, changes, self._device) for raw, changes in found)


def draw_parts(
    batches: Iterable[NDArray[np.int64]],
    size: tuple[int, int],
    settings: Augment,
    generator: torch.Generator,
) -> Iterator[Part]:
    """Batches with the changes of their images, drawn batch by batch.

    Args:
        batches: Indices of each.
        size: Rows and columns of the images.
        settings: As in `draw_changes`.
        generator: See there.
    """
    for indices in batches:
        yield indices, draw_changes(len(indices), size, settings, generator)


def make_batch(dataset: ImageDataset, raw: RawBatch, changes: Changes | None) -> Batch:
    """Images with marks and changes, in the network's channels, where `raw` is."""
    images, masks = dataset.unpack(raw)
    if changes is not None:
        images, masks = apply_changes(images, masks, changes)
    return Batch(dataset.spread(images), masks, raw.labels)


def _move(raw: RawBatch, changes: Changes | None, device: torch.device) -> Found:
    return raw.to(device), None if changes is None else changes.to(device)


def _copy_ahead(found: Iterator[Found], device: torch.device) -> Iterator[Found]:
    """Batches on a GPU, each copied on a stream of its own while the one before is computed."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    here = torch.cuda.current_stream(device)
    waiting: Found | None = None
    for raw, changes in found:
        with torch.cuda.stream(side):
            coming = _move(raw, changes, device)
        if waiting is not None:
            yield waiting
        here.wait_stream(side)
        for tensor in (coming[0].records, coming[0].labels, coming[0].corners):
            tensor.record_stream(here)
        if coming[1] is not None:
            coming[1].table.record_stream(here)
        waiting = coming
    if waiting is not None:
        yield waiting
