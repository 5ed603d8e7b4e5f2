"""One relevance map as files: a picture for people, an ``.npz`` for programs."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isnet_cli.data.geometry import Frame, resize
from isnet_cli.export.images import compose_panel, png_bytes

PANEL_SIDE = (384, 1024)  # px: least height, so that words are readable, and the most
SIGNIFICANT_BITS = 11  # of the values on the film's grid, so that they compress
SMOOTHING = 0.7  # px of the network's input: display only; takes the pixel noise off the picture
_SEEN = 1e-3  # a difference of grey that belongs to a shape
_DROPPED = 23 - SIGNIFICANT_BITS  # of float32's mantissa

FloatImage = NDArray[np.float32]


@dataclass(frozen=True)
class FilmMap:
    """A map and what it explains.

    Attributes:
        map: Signed relevance at the network's size [h, w], summed over channels.
        frame: Where the film lies in the network's input.
        film: The film it was made from [H, W], 0 to 1, on the kept film's grid.
        lungs: Mask on the same grid, or None.
        classes: Names of the outputs.
        target: Index of the explained class.
        logits: The network's outputs, K.
        probabilities: K.
        outside: Share of absolute relevance outside the lungs; NaN when unknown.
    """

    map: FloatImage
    frame: Frame
    film: FloatImage
    lungs: NDArray[np.bool_] | None
    classes: list[str]
    target: int
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    outside: float

    @property
    def conservation_error(self) -> float:
        """|sum R - logit| / |logit|: what biases and the stabiliser took; NaN for a logit of 0."""
        logit = float(self.logits[self.target])
        total = float(self.map.sum(dtype=np.float64))
        return abs(total - logit) / abs(logit) if logit else float("nan")


def on_film(values: FloatImage, frame: Frame, size: tuple[int, int]) -> FloatImage:
    """A map [h, w] on the film's own pixels [H, W]; its sum over the film stays the same."""
    _, _, height, width = frame.inner
    share = height * width / (size[0] * size[1])
    return frame.to_original(values, size) * np.float32(share)


def with_shape(film: FloatImage, plain: FloatImage, biased: FloatImage, frame: Frame) -> FloatImage:
    """The kept film with the shape that the model saw, which exists at the network's size only.

    Args:
        film: Kept film [H, W].
        plain: The network's input without the shape [h, w].
        biased: With it.
        frame: Where the film lies in the network's input.
    """
    size = (film.shape[0], film.shape[1])
    changed = (np.abs(biased - plain) > _SEEN).astype(np.float32)
    cover = frame.to_original(changed, size)
    shape: FloatImage = film + cover * (frame.to_original(biased, size) - film)
    return shape


def lungs_on_film(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask of the original film's size on the kept film's grid."""
    lungs: NDArray[np.bool_] = resize(mask.astype(np.float32), size) >= 0.5
    return lungs


def npz_bytes(found: FilmMap) -> bytes:
    """The map as a compressed ``.npz`` without pickles; the same map gives the same bytes.

    ``map`` [h, w]: relevance at the network's size, float32. ``relevance`` [H, W]: the same on the
    kept film's pixels (bilinear, scaled so that the sum stays), float32 rounded to 11 significant
    bits. ``original``, ``film``, ``network``: (height, width) of the film on disk, of the kept
    film, of the input. ``inner``: (top, left, height, width) of the film in the input. ``target``
    (class name), ``logit``, ``probability``, ``outside_share``, ``conservation_error``.
    """
    size = found.film.shape
    arrays = {
        "map": found.map.astype(np.float32),
        "relevance": _rounded(on_film(found.map, found.frame, (size[0], size[1]))),
        "original": np.array(found.frame.original),
        "film": np.array(size),
        "network": np.array(found.frame.network),
        "inner": np.array(found.frame.inner),
        "target": np.array(found.classes[found.target]),
        "logit": np.array(found.logits[found.target]),
        "probability": np.array(found.probabilities[found.target]),
        "outside_share": np.array(found.outside),
        "conservation_error": np.array(found.conservation_error),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def panel_png(found: FilmMap, title: str, facts: list[str]) -> bytes:
    """The picture: film, relevance over it, colour bar, and a caption of the map's `facts`."""
    size = (found.film.shape[0], found.film.shape[1])
    height = min(max(size[0], PANEL_SIDE[0]), PANEL_SIDE[1])
    picture = compose_panel(
        found.film,
        on_film(found.map, found.frame, size),
        found.lungs,
        title=title,
        caption=" · ".join([*_facts(found), *facts]),
        smoothing=round(SMOOTHING * height / found.frame.inner[2], 1),
        height=height,
    )
    return png_bytes(picture)


def _facts(found: FilmMap) -> list[str]:
    name, p = found.classes[found.target], found.probabilities[found.target]
    facts = [f"Relevance for {name} (probability {p:.2f})"]
    if not np.isnan(found.outside):
        facts.append(f"{100 * (1 - found.outside):.0f} % of |relevance| in the lungs")
    return facts


def _rounded(values: FloatImage) -> FloatImage:
    """Float32 rounded to `SIGNIFICANT_BITS` of its mantissa; the dropped bits are zero."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32(1 << (_DROPPED - 1))
    keep = np.uint32(0xFFFFFFFF << _DROPPED & 0xFFFFFFFF)
    return ((bits + half) & keep).view(np.float32)
