"""Batches come in order, the same with and without threads, and their threads end."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from isnet_cli.config.schema import Augment, Machine
from isnet_cli.dataset.augment import apply_changes, augment, draw_changes
from isnet_cli.dataset.feed import Feed, draw_parts
from isnet_cli.dataset.image_dataset import ImageDataset
from isnet_cli.errors import IsnetError
from isnet_models.methods.base import Batch
from tests.support.datasets import make_dataset

CPU = torch.device("cpu")
CHANGES = Augment(gamma=0.5, spectrum=0.5)
BATCHES = [np.array(some) for some in ([3, 1, 0, 8], [2, 4], [5, 6, 7])]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    found, _ = make_dataset(
        tmp_path_factory.mktemp("feed"), bias={"kind": "shapes"},
        model={"arch": "small", "input": [32, 40], "channels": 3},
    )  # fmt: skip
    return found


def feed_all(dataset: ImageDataset, workers: int) -> list[Batch]:
    machine = Machine(workers=workers, device="cpu")
    config = dataset.config.model_copy(update={"machine": machine})
    parts = draw_parts(BATCHES, (32, 40), CHANGES, torch.Generator().manual_seed(4))
    return list(Feed(replace(dataset, config=config), parts, "biased", CPU))


def test_batches_are_those_that_are_made_one_by_one(dataset: ImageDataset) -> None:
    generator = torch.Generator().manual_seed(4)
    threads = threading.active_count()
    for workers in (0, 3):
        found = feed_all(dataset, workers)
        generator.manual_seed(4)
        for batch, indices in zip(found, BATCHES, strict=True):
            images, masks = dataset.batch(indices, version="biased")
            images, masks = augment(images, masks, CHANGES, generator)
            assert torch.equal(batch.images, images)
            assert torch.equal(batch.masks, masks)
            assert torch.equal(batch.labels, dataset.targets(indices))
    assert threading.active_count() == threads


def test_shares_of_changes_are_those_of_the_whole(dataset: ImageDataset) -> None:
    generator = torch.Generator().manual_seed(1)
    changes = draw_changes(4, (32, 40), CHANGES, generator)
    images, masks = dataset.batch(BATCHES[0])
    whole = apply_changes(images, masks, changes)
    own = slice(1, 4, 2)
    part = apply_changes(images[own], masks[own], changes.of(own))
    for ours, theirs in zip(part, whole, strict=True):
        assert torch.allclose(ours, theirs[own], atol=1e-6)


def test_a_feed_that_is_left_ends_its_threads(dataset: ImageDataset) -> None:
    threads = threading.active_count()
    config = dataset.config.model_copy(update={"machine": Machine(workers=2, device="cpu")})
    going = Feed(
        replace(dataset, config=config), ((some, None) for some in BATCHES * 9), "standard", CPU
    )
    next(going)
    assert threading.active_count() > threads
    going.close()
    assert threading.active_count() == threads


def test_a_fault_of_reading_comes_at_its_turn(dataset: ImageDataset) -> None:
    unknown = replace(dataset, labels=np.where(np.arange(9) == 5, -1, dataset.labels))
    config = dataset.config.model_copy(update={"machine": Machine(workers=2, device="cpu")})
    going = Feed(replace(unknown, config=config), ((some, None) for some in BATCHES), "biased", CPU)
    assert len(next(going).images) == 4
    assert len(next(going).images) == 2
    with pytest.raises(IsnetError, match="has no label"):
        next(going)
