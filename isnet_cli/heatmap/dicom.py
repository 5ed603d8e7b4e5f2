"""Maps as DICOM objects for the viewer: the overlay, and the region that matters most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isnet_cli.heatmap.files import ImageMap, describe_map, map_on_image, shown_part, smoothing
from isnet_cli.images.resize import resize, resize_mask
from isnet_cli.output.captures import compose_capture
from isnet_cli.output.colours import smooth
from isnet_cli.output.dicom.capture import overlay_capture
from isnet_cli.output.dicom.parametric import parametric_map
from isnet_cli.output.dicom.report import measurement_report
from isnet_cli.output.dicom.segmentation import REGION
from isnet_cli.output.dicom.writer import DicomWriter

REGION_SMOOTHING = 1.5  # px of the network's input: a region in one piece, not a cloud of pixels


def map_to_dicom(writer: DicomWriter, kind: str, found: ImageMap, share: float) -> bytes:
    """One map as a DICOM file.

    Args:
        writer: Where the outputs about the image belong.
        kind: ``dicom-sc``, ``dicom-seg``, ``dicom-sr`` or ``dicom-pm``.
        found: The map.
        share: Of positive values that a region holds, above 0 to below 1.

    Raises:
        IsnetError: Kind "data": the source's header does not allow a segmentation.
    """
    target, number = found.classes[found.target], found.target + 1
    if kind == "dicom-sc":
        facts = describe_map(found)
        return overlay_capture(
            _overlay(found, facts), writer.filing, series=writer.series, target=target,
            number=number, facts=facts,
        )  # fmt: skip
    if kind == "dicom-sr":
        return measurement_report(
            found.classes, found.probabilities.tolist(), writer.filing,
            size=found.frame.original, target=target, in_lungs=1 - found.outside,
            series=writer.series, number=number, model=writer.model,
        )  # fmt: skip
    if kind == "dicom-pm":
        return parametric_map(
            map_on_image(found.map, found.frame, found.frame.original), writer.filing,
            series=writer.series, target=target, number=number, meaning=found.method.title,
            model=writer.model, signed=found.method.signed,
        )  # fmt: skip
    meaning = f"smallest region with {100 * share:.0f} % of what speaks for it"
    return writer.segment(
        find_region(found, share), REGION, target=target, number=number, meaning=meaning,
        instead="dicom-sc alone",
    )  # fmt: skip


def find_region(found: ImageMap, share: float) -> NDArray[np.bool_]:
    """The smallest region [H, W] of the original image that holds `share` of the positive map."""
    sigma = REGION_SMOOTHING if found.method.smoothed else 0.0
    values = _smoothed(found, sigma)
    inside: NDArray[np.bool_] = resize(values, found.frame.original) >= region_threshold(
        values, share
    )
    return inside


def _overlay(found: ImageMap, facts: list[str]) -> NDArray[np.uint8]:
    size = found.frame.original
    return compose_capture(
        resize(found.image, size),
        resize(_smoothed(found, smoothing(found.method)), size),
        None if found.lungs is None else resize_mask(found.lungs, size),
        facts,
        limit=found.colour_limit,
        signed=found.method.signed,
        findings=[resize_mask(one, size) for one in found.findings],
    )


def _smoothed(found: ImageMap, sigma: float) -> NDArray[np.float32]:
    """What pictures show, smoothed at the network's size (sigma in its px), not enlarged."""
    return smooth(shown_part(found.map, found.frame, found.method), sigma)


def region_threshold(values: NDArray[np.float32], share: float) -> float:
    """The value from which on pixels belong to the region.

    Args:
        values: A map of any shape, finite; negative values do not count.
        share: Of the sum of positive values, above 0 to below 1.

    Returns:
        The largest threshold t with sum(values >= t) >= share · sum(values > 0); infinity where
        nothing is positive, so that the region is empty.
    """
    positive = np.sort(values[values > 0].astype(np.float64))[::-1]
    if not len(positive):
        return float("inf")
    reached = np.cumsum(positive) >= share * positive.sum()
    return float(positive[int(np.argmax(reached))])
