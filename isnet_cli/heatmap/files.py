"""What pictures show of a map, and one map as files: a picture, an ``.npz``, a NIfTI."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isnet_cli.images.resize import Frame, resize
from isnet_cli.inference.explainers import METHODS, Method
from isnet_cli.output.colours import relevance_limit, smooth
from isnet_cli.output.images import compose_panel, png_bytes
from isnet_cli.output.nifti import nifti_bytes

SHARED_PERCENTILE = 95.0  # of the maps' own limits: one odd map does not make all others pale
SMOOTHING = 0.7  # px of the network's input: display only; takes the pixel noise off the picture

FloatImage = NDArray[np.float32]
SCALE = f"the same for all images of the set ({SHARED_PERCENTILE:g}th percentile of their own)"
EVEN = "the value of an even map, or more; shown is what exceeds an even map"
PANEL_SIDE = (384, 1024)  # px: least height, so that words are readable, and the most
SIGNIFICANT_BITS = 11  # of the values on the image's grid, so that they compress
_SEEN = 1e-3  # a difference of grey that belongs to a shape
_DROPPED = 23 - SIGNIFICANT_BITS  # of float32's mantissa


def smoothing(method: Method) -> float:
    """Of the display, px of the network's input."""
    return SMOOTHING if method.smoothed else 0.0


def shown_part(values: FloatImage, frame: Frame, method: Method) -> FloatImage:
    """The part of a map [h, w] that shows the image, as pictures show it before smoothing."""
    top, left, height, width = frame.inner
    part = values[top : top + height, left : left + width]
    if method.above_even:
        part = np.maximum(part - part.mean(dtype=np.float64), 0.0)
    return np.asarray(part, np.float32)


def own_limit(values: FloatImage, frame: Frame, method: Method) -> float:
    """The colour limit that a map would take alone.

    For a method shown above an even map at least the even map's value, so that a map without
    preferences looks like one.

    Args:
        values: Map [h, w] at the network's size.
        frame: Where the image lies in it.
        method: How it was made.
    """
    limit = relevance_limit(smooth(shown_part(values, frame, method), smoothing(method)))
    if method.above_even:
        top, left, height, width = frame.inner
        limit = max(limit, float(values[top : top + height, left : left + width].mean()))
    return limit


def shared_limit(limits: Sequence[float]) -> float | None:
    """The limit for all maps of a set; None when there is none."""
    return float(np.percentile(limits, SHARED_PERCENTILE)) if limits else None


@dataclass(frozen=True)
class ImageMap:
    """A map and what it explains.

    Attributes:
        map: Values at the network's size [h, w], summed over channels.
        frame: Where the image lies in the network's input.
        image: The image it was made from [H, W], 0 to 1, on the kept image's grid.
        lungs: Mask on the same grid, or None.
        classes: Names of the outputs.
        target: Index of the explained class.
        logits: The network's outputs, K.
        probabilities: K.
        outside: Share of absolute relevance outside the lungs; NaN when unknown.
        total: What the map should sum to; NaN where the method promises nothing.
        method: How it was made.
        limit: Colour limit shared with other images; None: the map's own.
        spacing: Pixel spacing of the original image (row, column), mm, or None.
        findings: Annotated findings, each a mask on the image's grid.
    """

    map: FloatImage
    frame: Frame
    image: FloatImage
    lungs: NDArray[np.bool_] | None
    classes: list[str]
    target: int
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    outside: float
    total: float
    method: Method = METHODS["lrp"]
    limit: float | None = None
    spacing: tuple[float, float] | None = None
    findings: tuple[NDArray[np.bool_], ...] = ()

    @property
    def conservation_error(self) -> float:
        """|sum R - total| / |total|: what biases and the stabiliser took; NaN for a total of 0."""
        found = float(self.map.sum(dtype=np.float64))
        return abs(found - self.total) / abs(self.total) if self.total else float("nan")

    @property
    def colour_limit(self) -> float | None:
        """The limit of the pictures where it is not a plain percentile of what they show."""
        if self.limit is None and self.method.above_even:
            return own_limit(self.map, self.frame, self.method)
        return self.limit


def map_on_image(values: FloatImage, frame: Frame, size: tuple[int, int]) -> FloatImage:
    """A map [h, w] on the image's own pixels [H, W]; its sum over the image stays the same."""
    _, _, height, width = frame.inner
    share = height * width / (size[0] * size[1])
    return frame.to_original(values, size) * np.float32(share)


def paste_shape(
    image: FloatImage, plain: FloatImage, biased: FloatImage, frame: Frame
) -> FloatImage:
    """The kept image with the shape that the model saw, which exists at the network's size only.

    Args:
        image: Kept image [H, W].
        plain: The network's input without the shape [h, w].
        biased: With it.
        frame: Where the image lies in the network's input.
    """
    size = (image.shape[0], image.shape[1])
    changed = (np.abs(biased - plain) > _SEEN).astype(np.float32)
    cover = frame.to_original(changed, size)
    shape: FloatImage = image + cover * (frame.to_original(biased, size) - image)
    return shape


def npz_bytes(found: ImageMap) -> bytes:
    """The map as a compressed ``.npz`` without pickles; the same map gives the same bytes.

    ``map`` [h, w]: relevance at the network's size, float32. ``relevance`` [H, W]: the same on the
    kept image's pixels (bilinear, scaled so that the sum stays), float32 rounded to 11 significant
    bits. ``original``, ``image``, ``network``: (height, width) of the image on disk, of the kept
    image, of the input. ``inner``: (top, left, height, width) of the image in the input.
    ``spacing``: (row, column) of the original image in mm, NaN when unknown. ``method``,
    ``target`` (class name), ``logit``, ``probability``, ``outside_share``, ``conservation_error``.
    ``findings`` [N, H, W]: annotated findings on the kept image's pixels, where there are any.
    """
    size = found.image.shape
    arrays = {
        "map": found.map.astype(np.float32),
        "relevance": _rounded(map_on_image(found.map, found.frame, (size[0], size[1]))),
        "original": np.array(found.frame.original),
        "image": np.array(size),
        "network": np.array(found.frame.network),
        "inner": np.array(found.frame.inner),
        "spacing": np.array(found.spacing or (np.nan, np.nan)),
        "method": np.array(found.method.title),
        "target": np.array(found.classes[found.target]),
        "logit": np.array(found.logits[found.target]),
        "probability": np.array(found.probabilities[found.target]),
        "outside_share": np.array(found.outside),
        "conservation_error": np.array(found.conservation_error),
    }
    if found.findings:
        arrays["findings"] = np.stack(found.findings)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def panel_png(found: ImageMap, title: str, facts: list[str]) -> bytes:
    """The picture: image, relevance over it, colour bar, and a caption of the map's `facts`."""
    size = (found.image.shape[0], found.image.shape[1])
    height = min(max(size[0], PANEL_SIDE[0]), PANEL_SIDE[1])
    picture = compose_panel(
        found.image,
        shown_on_image(found, size),
        found.lungs,
        title=title,
        caption=" · ".join([*describe_map(found), *facts]),
        limit=found.colour_limit,
        smoothing=round(smoothing(found.method) * height / found.frame.inner[2], 1),
        height=height,
        signed=found.method.signed,
        amount=found.method.amount,
        scale=SCALE if found.limit else EVEN,
        findings=found.findings,
    )
    return png_bytes(picture)


def nifti_map(found: ImageMap, view: str, folder: Path, *, mirrored: bool) -> bytes:
    """``.nii.gz`` of the map on the original image's pixels (the ``relevance`` of `npz_bytes`).

    Args:
        found: The map.
        view: Of the image, as `XRay.view`.
        folder: Where the file goes.
        mirrored: Whether the file says that its columns run to the patient's right.
    """
    values = _rounded(map_on_image(found.map, found.frame, found.frame.original))
    return nifti_bytes(values, found.spacing, view, folder, mirrored=mirrored)


def shown_on_image(found: ImageMap, size: tuple[int, int]) -> FloatImage:
    """What pictures show: values per pixel of the network's input, alike for images of any size."""
    return resize(shown_part(found.map, found.frame, found.method), size)


def describe_map(found: ImageMap) -> list[str]:
    """What a map shows, and its share in the lungs where there is one."""
    name, p = found.classes[found.target], found.probabilities[found.target]
    facts = [f"{found.method.title} for {name} (probability {p:.2f})"]
    if not found.method.of_class:
        facts = [f"{found.method.title}, of no class in particular"]
    if not np.isnan(found.outside):
        facts.append(f"{100 * (1 - found.outside):.0f} % of {found.method.amount} in the lungs")
    return facts


def _rounded(values: FloatImage) -> FloatImage:
    """Float32 rounded to `SIGNIFICANT_BITS` of its mantissa; the dropped bits are zero."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32(1 << (_DROPPED - 1))
    keep = np.uint32(0xFFFFFFFF << _DROPPED & 0xFFFFFFFF)
    return ((bits + half) & keep).view(np.float32)
