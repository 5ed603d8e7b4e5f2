"""Makes lung masks chunk by chunk, in worker threads: from given files or with the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.core.files import atomic_path
from isnet_cli.errors import UnreadableImage
from isnet_cli.images.kept import load_image
from isnet_cli.images.mask_files import load_mask, save_mask
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from isnet_cli.masks.postprocess import mask_on_original
from isnet_cli.masks.quality import MaskQuality, assess, missing
from isnet_cli.masks.viewer_files import MaskFiles
from isnet_models.registry import find_shipped

if TYPE_CHECKING:
    import torch

    from isnet_models.lung_unet import LungUNet

Line = dict[str, Any]


@dataclass(frozen=True)
class Maker:
    """Writes masks and judges them; safe to call from several threads.

    Attributes:
        config: The configuration.
        ingest: Folder of the ingest stage.
        root: Folder that the masks go into.
        sources: Given mask file of each key, empty for the network's.
        network: The lung U-Net, or None when all masks are given.
        device: Where the network is.
        further: Writes the other formats, or None.
    """

    config: Config
    ingest: Path
    root: Path
    sources: dict[str, str]
    network: LungUNet | None = None
    device: torch.device | None = None
    further: MaskFiles | None = None

    def given_only(self, row: Row) -> GivenMask:
        """The task of one image that has a given mask; goes to another process."""
        alone = replace(self, sources={row.key: self.sources[row.key]}, network=None, device=None)
        return GivenMask(alone, row)

    def note_lost(self, row: Row, reason: str) -> Line:
        """The line of an image whose given mask could not be read to the end."""
        return self._note(row, None, missing(f"mask_unreadable: {reason}"), "file")

    def path(self, key: str) -> Path:
        """The mask file of an image."""
        return self.root / f"{key}.png"

    def make(self, rows: list[Row]) -> list[Line]:
        """Masks of one chunk, none of them given; returns their lines of ``qc.csv``."""
        if self.network is None:
            why = missing("mask_missing: no mask is given for this image")
            return [self._note(row, None, why, "none") for row in rows]
        return self._predicted(rows)

    def take_given(self, row: Row) -> Line:
        """The mask from the file that is given for an image; returns its line of ``qc.csv``."""
        try:
            mask = load_mask(self.sources[row.key], self.config.limits)
            if mask.shape != (row.height, row.width):
                raise UnreadableImage(
                    "mask_size",
                    f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels,"
                    f" expected the image's {row.width} x {row.height}",
                )
        except UnreadableImage as fault:
            return self._note(row, None, missing(f"{fault.reason}: {fault.detail}"), "file")
        return self._note(row, mask, assess(mask), "file")

    def _predicted(self, rows: list[Row]) -> list[Line]:
        import torch

        from isnet_models.lung_unet import SIZE

        frames = [Frame((row.height, row.width), SIZE) for row in rows]
        images = [
            frame.to_network(load_image(self.ingest / row.image_file))
            for row, frame in zip(rows, frames, strict=True)
        ]
        assert self.network is not None  # noqa: S101 - `make` checked it
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(images))[:, None].to(self.device)
            found = self.network(batch)
            if self.config.masks.flip:
                found = (found + self.network(batch.flip(-1)).flip(-1)) / 2
            probabilities = found[:, 0].cpu().numpy()
        lines = []
        for row, frame, probability in zip(rows, frames, probabilities, strict=True):
            options = self.config.masks
            mask = mask_on_original(
                probability, frame, options.threshold, options.postprocess, row.pixel_spacing
            )
            top, left, height, width = frame.inner
            seen = probability[top : top + height, left : left + width]
            quality = assess(mask, seen)
            if row.view == "lateral":
                quality = missing("lateral: the image is known to be lateral, expected frontal")
            lines.append(self._note(row, mask, quality, find_shipped(options.model)))
        return lines

    def _note(
        self, row: Row, mask: NDArray[np.bool_] | None, quality: MaskQuality, origin: str
    ) -> Line:
        """Writes the mask unless there is none; returns the image's line."""
        if mask is not None and quality.verdict != "missing":
            with atomic_path(self.path(row.key)) as temporary:
                save_mask(temporary, mask)
            if self.further is not None:
                self.further.write(row, mask)
        return quality.cells(row.key, origin)


@dataclass(frozen=True)
class GivenMask:
    """An image with a given mask, and what takes it."""

    maker: Maker
    row: Row


def take_given_mask(task: GivenMask) -> Line:
    """Runs in worker processes: `Maker.take_given` of one image."""
    return task.maker.take_given(task.row)
