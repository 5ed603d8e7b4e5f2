"""The bytes of an image with its mask, and what a device makes of a batch of them.

A record is the image as little-endian uint16, its mask one bit a pixel, and a check sum. It lies in
files and in memory alike, goes to the device as it is, and becomes floating point there.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DEPTH = 65535  # white: 16-bit depth reaches the network
TYPED = ("cpu", "cuda", "meta")  # kinds of devices that know the type uint16
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class RecordForm:
    """How records of one size of images are laid out.

    Attributes:
        height: Rows of the images, px.
        width: Columns, px.
    """

    height: int
    width: int

    @property
    def dtype(self) -> np.dtype[np.void]:
        """``image`` <u2 [h, w], ``lungs`` u1 (bits, first pixel highest), ``check`` <u4.

        The size is a multiple of 8 bytes, so that every image can be read as uint16 in place.
        """
        pixels = self.height * self.width
        bits = -(-pixels // 8)
        bits += -(2 * pixels + bits + 4) % 8
        return np.dtype(
            [("image", "<u2", (self.height, self.width)), ("lungs", "u1", (bits,)),
             ("check", "<u4")]
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Bytes of a record."""
        return self.dtype.itemsize

    def make(self, images: NDArray[np.uint16], masks: NDArray[np.bool_]) -> Bytes:
        """Records [N, size] of images and masks [N, h, w]; the check sums are 0."""
        found = np.zeros(len(images), self.dtype)
        found["image"] = images
        bits = np.packbits(masks.reshape(len(masks), self.height * self.width), axis=1)
        found["lungs"][:, : bits.shape[1]] = bits
        return found.view(np.uint8).reshape(len(found), self.size)

    def lungs(self, records: Bytes) -> NDArray[np.bool_]:
        """Masks [N, h, w] of records."""
        bits = np.ascontiguousarray(records).view(self.dtype)["lungs"][:, 0]
        found = np.unpackbits(bits, axis=1, count=self.height * self.width)
        return found.view(np.bool_).reshape(len(records), self.height, self.width)

    def decode(self, records: Tensor) -> tuple[Tensor, Tensor]:
        """What networks take, on the device of `records` (uint8 [B, size]).

        Returns:
            (images float32 [B, 1, h, w] in [0, 1], masks float32 [B, 1, h, w], 0 or 1).
        """
        B, pixels, device = len(records), self.height * self.width, records.device
        shape = (B, 1, self.height, self.width)
        levels = read_levels(records[:, : 2 * pixels], typed=device.type in TYPED)
        bits = records[:, 2 * pixels : 2 * pixels + -(-pixels // 8), None]
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
        masks = (bits >> shifts).bitwise_and_(1).view(B, -1)[:, :pixels].to(torch.float32)
        return levels.div_(DEPTH).view(shape), masks.view(shape)


def read_levels(pairs: Tensor, *, typed: bool) -> Tensor:
    """Little-endian 16-bit numbers as float32 [B, n].

    Args:
        pairs: Their bytes [B, 2n].
        typed: Whether the device knows the type uint16.
    """
    if typed:
        return pairs.view(torch.uint16).to(torch.float32)
    low, high = pairs.to(torch.float32).view(len(pairs), -1, 2).unbind(2)
    return high * 256 + low


def check_sum(record: Bytes, seed: int) -> int:
    """CRC-32 of a record without its check sum, begun at `seed`."""
    return zlib.crc32(record[:-4].data, seed)


class Records(Protocol):
    """Where the records of a dataset come from; may be read by several threads at once."""

    @property
    def form(self) -> RecordForm:
        """Layout of the records."""
        ...

    def read(self, places: NDArray[np.int64], into: Bytes) -> None:
        """Reads the records at `places` [B] into `into` [B, size], which is contiguous.

        Raises:
            IsnetError: Kind "data", when they cannot be read, or are not as they were written.
        """
        ...


@dataclass(frozen=True)
class KeptRecords:
    """Records in memory.

    Attributes:
        form: Their layout.
        kept: All of them [N, size].
    """

    form: RecordForm
    kept: Bytes

    def read(self, places: NDArray[np.int64], into: Bytes) -> None:
        """As `Records.read`."""
        np.take(self.kept, places, axis=0, out=into)
