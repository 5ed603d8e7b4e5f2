"""Sizes that a picture declares, checked before anything is allocated for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isnet_cli.errors import UnreadableImage
from isnet_cli.guard.opening import format_bytes

if TYPE_CHECKING:
    from isnet_cli.config.schema import Limits


def check_frames(count: int, limits: Limits) -> None:
    """Refuses a file of too many frames or pages.

    Raises:
        UnreadableImage: ``too_large``.
    """
    if count > limits.frames:
        raise UnreadableImage(
            "too_large",
            f"more than {limits.frames} frames or pages, expected one X-ray (limits.frames)",
        )


def check_pixels(width: int, height: int, frames: int, cost: int, limits: Limits) -> None:
    """Refuses a picture that is too large by itself, or too large for the memory.

    Args:
        width: Columns, px.
        height: Rows, px.
        frames: How many such frames or pages are read together.
        cost: Bytes that reading takes per pixel at its peak.
        limits: What is allowed.

    Raises:
        UnreadableImage: ``too_large``.
    """
    pixels = width * height * frames
    shown = f"{width} x {height} pixels" + (f" in {frames} frames" if frames > 1 else "")
    if pixels > limits.pixels:
        raise UnreadableImage(
            "too_large",
            f"{shown}, at most {limits.megapixels} million are read (limits.megapixels)",
        )
    if pixels * cost > limits.memory_bytes:
        raise UnreadableImage(
            "too_large",
            f"{shown} take about {format_bytes(pixels * cost)} of memory to read, at most"
            f" {limits.memory_mb} MB are used (limits.memory_mb)",
        )
