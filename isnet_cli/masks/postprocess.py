"""From the lung U-Net's probabilities to a clean mask on the image's own pixels."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's usual short name
from numpy.typing import NDArray

from isnet_cli.config.schema import Postprocess
from isnet_cli.images.resize import Frame, resize

MIN_SHARE = 0.003  # of the image: smaller pieces are no lung (the smallest of 644 true ones: 0.018)
DILATION_SIDE = 1024  # longest side, px, at which distances for the dilation are computed


def mask_on_original(
    probability: NDArray[np.float32],
    frame: Frame,
    threshold: float,
    options: Postprocess,
    spacing: tuple[float, float] | None = None,
) -> NDArray[np.bool_]:
    """The image's lung mask [H, W] from the network's probabilities [h, w].

    Pieces and holes are judged at the network's resolution, where it is quick; the outline is then
    interpolated between the network's pixels, so that the mask is smooth on the image's own pixels.

    Args:
        probability: [h, w], 0 to 1, on the network's letterboxed pixels.
        frame: The letterbox.
        threshold: Probability from which a pixel is lung.
        options: Number of pieces kept, filling of holes, dilation.
        spacing: Of the image's pixels (row, column), mm; needed for a dilation in mm.
    """
    cleaned = clean_probability(probability, threshold, options)
    radii = dilation_radii(frame.original[1], options, spacing)
    if radii is None:
        return frame.to_original(cleaned) >= threshold
    return _dilated(cleaned, frame, threshold, radii)


def dilation_radii(
    width: int, options: Postprocess, spacing: tuple[float, float] | None
) -> tuple[float, float] | None:
    """How far a mask grows along rows and columns, px of the image; None: not at all.

    Args:
        width: Of the image, px.
        options: The dilation, in one unit.
        spacing: (row, column) in mm, or None.

    Raises:
        ValueError: For a dilation in mm without spacing.
    """
    if options.dilate_mm > 0:
        if spacing is None:
            raise ValueError("a dilation in mm needs the pixel spacing")
        return options.dilate_mm / spacing[0], options.dilate_mm / spacing[1]
    radius = options.dilate_px or width * options.dilate_percent / 100
    return (radius, radius) if radius > 0 else None


def clean_probability(
    probability: NDArray[np.float32], threshold: float, options: Postprocess
) -> NDArray[np.float32]:
    """Sets small pieces to 0 and holes to 1, at the resolution given; the rest is unchanged.

    Args:
        probability: [h, w], 0 to 1.
        threshold: Probability from which a pixel is lung.
        options: `keep` pieces at most stay, none below `MIN_SHARE` of the image.
    """
    lung = probability >= threshold
    pieces = sitk.ConnectedComponent(sitk.GetImageFromArray(lung.astype(np.uint8)), True)
    labels = sitk.GetArrayFromImage(pieces)
    areas = np.bincount(labels.ravel(), minlength=1)
    areas[0] = 0
    largest = np.argsort(-areas, kind="stable")[: options.keep]
    kept = np.isin(labels, [i for i in largest if areas[i] >= MIN_SHARE * lung.size])
    cleaned = np.where(lung & ~kept, np.float32(0), probability)
    if options.fill_holes:
        solid = sitk.BinaryFillhole(sitk.GetImageFromArray(kept.astype(np.uint8)), True)
        holes = (sitk.GetArrayViewFromImage(solid) > 0) & ~kept
        cleaned = np.where(holes, np.float32(1), cleaned)
    return cleaned.astype(np.float32)


def _dilated(
    probability: NDArray[np.float32], frame: Frame, threshold: float, radii: tuple[float, float]
) -> NDArray[np.bool_]:
    """The mask grown by an ellipse of `radii` (down, across), px, by distance from its outline."""
    height, width = frame.original
    shrink = min(1.0, DILATION_SIDE / max(height, width))
    work = max(1, round(height * shrink)), max(1, round(width * shrink))
    mask = frame.to_original(probability, work) >= threshold
    if not mask.any():
        return np.zeros(frame.original, bool)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing((width / work[1] / radii[1], height / work[0] / radii[0]))  # radius 1
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    outside = sitk.GetArrayFromImage(distance).astype(np.float32)
    return resize(outside, frame.original) <= 1
