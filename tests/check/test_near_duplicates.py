"""Copies are found whatever was done to them; different images are not; names in order."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from isnet_cli.check.near_duplicates import BITS, LIMIT, SIDE, find_near_duplicates, hash_image
from isnet_cli.images.resize import resize
from tests.support.runs import lungs

Floats = np.ndarray


def chest(seed: int, size: int = 192) -> Floats:
    """An image with structure at many scales."""
    rng = np.random.default_rng(seed)
    pixels = 0.6 - 0.3 * lungs(size)
    for cells in (4, 8, 16):
        waves = rng.normal(0, 0.12, (cells, cells)).astype(np.float32)
        pixels = pixels + resize(waves, (size, size))
    return np.clip(pixels, 0, 1).astype(np.float32)


def jpeg(pixels: Floats, quality: int = 30) -> Floats:
    file = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255


def half(pixels: Floats) -> Floats:
    return resize(pixels, (pixels.shape[0] // 2, pixels.shape[1] // 2))


CHANGES = {
    "same": lambda x: x,
    "half": half,
    "stretched": lambda x: resize(x, (150, 260)),
    "jpeg": jpeg,
    "small jpeg": lambda x: jpeg(half(x)),
    "flat": lambda x: 0.2 + 0.6 * x,
    "bright": lambda x: np.clip(1.15 * x, 0, 1),
    "gamma": lambda x: x**0.8,
    "8 bits": lambda x: np.rint(x * 255) / 255,
}


def distance(a: Floats, b: Floats) -> int:
    return int((hash_image(a) != hash_image(b)).sum())


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(change: str) -> None:
    for seed in range(4):
        image = chest(seed)
        assert distance(image, np.asarray(CHANGES[change](image), np.float32)) <= LIMIT


def test_different_images_are_not_alike() -> None:
    hashes = np.array([hash_image(chest(seed)) for seed in range(60)])
    assert list(find_near_duplicates(hashes)) == []


def test_hash_equals_its_transcription() -> None:
    image = chest(5, 80)
    small = resize(image, (SIDE, SIDE)).astype(float)
    terms = []
    for u in range(16):
        for v in range(16):
            total = 0.0
            for y in range(SIDE):
                row = np.cos(np.pi * v * (np.arange(SIDE) + 0.5) / SIDE)
                total += np.cos(np.pi * u * (y + 0.5) / SIDE) * (small[y] * row).sum()
            terms.append(total)
    middle = sorted(terms[1:])[BITS // 2]
    assert hash_image(image).tolist() == [term > middle for term in terms[1:]]


def test_pairs_equal_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isnet_cli.check.near_duplicates._BLOCK", 7)
    rng = np.random.default_rng(0)
    hashes = rng.random((40, BITS)) < 0.5
    for copy, origin, bits in ((3, 1, 0), (20, 1, LIMIT), (39, 8, LIMIT + 1), (12, 11, 5)):
        hashes[copy] = hashes[origin]
        hashes[copy, :bits] ^= True
    expected = [
        (i, j, bits)
        for i in range(40)
        for j in range(i + 1, 40)
        if (bits := int((hashes[i] != hashes[j]).sum())) <= LIMIT
    ]
    assert list(find_near_duplicates(hashes)) == expected
    assert (1, 3, 0) in expected
    assert not any(j == 39 for _, j, _ in expected)


def test_a_blank_image_has_a_hash() -> None:
    assert not hash_image(np.zeros((70, 90), np.float32)).any()


def test_the_index_finds_what_each_with_each_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hashes = rng.random((400, BITS)) < 0.5
    for copy in range(200, 400):  # 200 copies, from 0 to 31 bits away
        hashes[copy] = hashes[copy - 200]
        hashes[copy, rng.choice(BITS, copy % 32, replace=False)] ^= True
    hashes[7] = hashes[9] = hashes[11]
    expected = list(find_near_duplicates(hashes))
    assert len(expected) >= 200
    monkeypatch.setattr("isnet_cli.check.near_duplicates.EXACT", 10)
    monkeypatch.setattr("isnet_cli.check.near_duplicates._PAIRS", 16)
    assert list(find_near_duplicates(hashes)) == expected
