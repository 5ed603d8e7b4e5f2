"""DICOM Parametric Maps: the values of a map on the original image's pixels, written by highdicom.

The standard wants pixel measures, and positions in the patient where there is a frame of reference
(PS3.3, A.75.5). A projection has none. The map gets a frame of reference of its own, in which the
film lies in a plane through the origin, the usual way up: distances within it are those of the
film, where its spacing is known, and positions say nothing about the patient.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isnet_cli import __version__
from isnet_cli.output.colours import relevance_limit
from isnet_cli.output.dicom.derived import (
    SCHEME,
    finish,
    make_source,
    name_instance,
    refer_to_frame,
)
from isnet_cli.output.dicom.filing import CHEST, MAKER, Filing
from isnet_cli.text.forms import for_dicom

QUANTITY = ("relevance", "Relevance of a pixel for a class")
NO_SPACING = (1.0, 1.0)  # mm, where the film states none: pixels, so to speak
ROWS = {"L": (1.0, 0.0, 0.0), "R": (-1.0, 0.0, 0.0)}  # where rows run, by PatientOrientation
SIDE = (0.0, 1.0, 0.0)  # rows of a lateral film
DOWN = (0.0, 0.0, -1.0)  # columns of every film
LEAST = 1e-30  # of a window


def parametric_map(
    values: NDArray[np.float32],
    filing: Filing,
    *,
    series: str,
    target: str,
    number: int,
    meaning: str,
    model: str,
    signed: bool,
) -> bytes:
    """A map as a DICOM file of float32 values, one frame.

    Args:
        values: [H, W] on the original image's pixels, finite.
        filing: Patient, study, and the image that the map was made from.
        series: Name of the method; the description of the series.
        target: The explained class.
        number: Instance number, from 1.
        meaning: What the values are, in a sentence.
        model: Serial number of the device: which weights.
        signed: Whether values below zero are evidence against the class: the window is then even.
    """
    import highdicom
    from pydicom.sr.coding import Code

    source = make_source(filing, values.shape)
    source.FrameOfReferenceUID, source.PositionReferenceIndicator = filing.uid("frame"), ""
    source.ImagePositionPatient = [0.0, 0.0, 0.0]
    across = ROWS.get(filing.orientation[0] if filing.orientation else "", SIDE)
    source.ImageOrientationPatient = [*across, *DOWN]
    source.PixelSpacing, source.SliceThickness = list(filing.spacing or NO_SPACING), 1.0
    limit = max(float(relevance_limit(values)), LEAST)
    window = (0.0, 2 * limit) if signed else (limit / 2, limit)
    low, high = float(values.min()), float(values.max())
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label="RELEVANCE",
        lut_explanation=for_dicom(meaning),
        unit=Code("1", "UCUM", "no units"),
        value_range=(low, high if high > low else low + LEAST),
        slope=1.0,
        intercept=0.0,
        quantity_definition=highdicom.sr.CodedConcept(QUANTITY[0], SCHEME, QUANTITY[1]),
    )
    ds = highdicom.pm.ParametricMap(
        source_images=[source],
        pixel_array=np.ascontiguousarray(values, np.float32),
        **name_instance(filing, "pm", series, target, number),
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        device_serial_number=model or "unknown",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[highdicom.VOILUTTransformation(*window)],
        content_label="RELEVANCE",
        content_description=for_dicom(f"{target}: {meaning}"),
    )
    ds.SeriesDescription = for_dicom(f"isnet: {series}")
    ds.BodyPartExamined = CHEST
    refer_to_frame(ds, filing)
    return finish(ds, filing)
