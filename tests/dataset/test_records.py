"""Records hold image and mask to the last bit, and a device makes of them what the host would."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isnet_cli.dataset.records import KeptRecords, RecordForm, check_sum, read_levels


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (9, 8), (1, 1)])
def test_images_and_masks_come_back(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 65536, (3, *size)).astype(np.uint16)
    masks = rng.random((3, *size)) < 0.5
    form = RecordForm(*size)
    assert form.size % 8 == 0
    records = form.make(images, masks)
    assert np.array_equal(form.lungs(records), masks)
    found, lungs = form.decode(torch.from_numpy(records))
    assert np.array_equal(found[:, 0].numpy(), images.astype(np.float32) / np.float32(65535))
    assert np.array_equal(lungs[:, 0].numpy(), masks.astype(np.float32))
    pairs = torch.from_numpy(records)[:, : 2 * size[0] * size[1]]
    assert torch.equal(read_levels(pairs, typed=False), read_levels(pairs, typed=True))


def test_records_in_memory_are_read_in_any_order() -> None:
    form = RecordForm(4, 4)
    kept = form.make(np.arange(48, dtype=np.uint16).reshape(3, 4, 4), np.ones((3, 4, 4), bool))
    into = np.empty((4, form.size), np.uint8)
    KeptRecords(form, kept).read(np.array([2, 0, 2, 1]), into)
    assert np.array_equal(into, kept[[2, 0, 2, 1]])


def test_the_check_sum_sees_every_bit_and_its_beginning() -> None:
    record = RecordForm(4, 4).make(np.ones((1, 4, 4), np.uint16), np.ones((1, 4, 4), bool))[0]
    own = check_sum(record, 1)
    assert own != check_sum(record, 2)
    for place in range(len(record) - 4):
        other = record.copy()
        other[place] ^= 1
        assert check_sum(other, 1) != own
