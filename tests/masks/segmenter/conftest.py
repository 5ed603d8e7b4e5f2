"""Phantoms of a segmenter's training are small in its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isnet_cli.masks.segmenter import examples
from isnet_cli.phantoms.phantom import Phantom, make_phantoms

SIZE = 192


@pytest.fixture(scope="package", autouse=True)
def _small_phantoms() -> Iterator[None]:
    def small(count: int, seed: int) -> Iterator[Phantom]:
        return make_phantoms(count, seed, SIZE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples, "make_phantoms", small)
        yield
