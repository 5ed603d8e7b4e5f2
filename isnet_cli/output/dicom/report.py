"""DICOM Structured Reports: what a model says of an image, by the template of measurement reports.

TID 1500 (PS3.16) in an Enhanced SR, written by highdicom: a group for each class, with its
probability, and for the explained class the share of its relevance that lies in the lungs. Names of
measurements have codes of our own (scheme `SCHEME`), since the standard's vocabularies have none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from isnet_cli import __version__
from isnet_cli.output.dicom.derived import SCHEME, finish, make_source, name_instance
from isnet_cli.output.dicom.filing import MAKER, Filing
from isnet_cli.text.forms import for_dicom

PROBABILITY = ("probability", "Probability by the classifier")
IN_LUNGS = ("in_lungs", "Share of relevance inside the lungs")
DIGITS = 6  # of a figure


def measurement_report(
    classes: Sequence[str],
    probabilities: Sequence[float],
    filing: Filing,
    *,
    size: tuple[int, int],
    target: str,
    in_lungs: float,
    series: str,
    number: int,
    model: str,
) -> bytes:
    """The model's answer as a DICOM file.

    Args:
        classes: K names.
        probabilities: [K].
        filing: Patient, study, and the image that the report refers to.
        size: Rows and columns of the image, px.
        target: The explained class, one of `classes`.
        in_lungs: Share of its relevance inside the lungs; NaN: unknown, and left out.
        series: Name of the method; the description of the series.
        number: Instance number, from 1.
        model: Serial number of the device: which weights.
    """
    from highdicom import sr
    from pydicom.sr.coding import Code

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=filing.uid("device", model), name=MAKER, manufacturer_name=MAKER, model_name=MAKER,
        serial_number=model or "unknown",
    )  # fmt: skip
    observer = sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=device,
    )
    groups = [
        _describe_class(
            name, float(p), filing, in_lungs if name == target else math.nan, series, model
        )
        for name, p in zip(classes, probabilities, strict=True)
    ]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=Code("399208008", "SCT", "Plain chest X-ray"),
        imaging_measurements=groups,
        title=Code("126000", "DCM", "Imaging Measurement Report"),
    )
    ds = sr.EnhancedSR(
        evidence=[make_source(filing, size)],
        content=content[0],
        **name_instance(filing, "sr", series, target, number),
        is_complete=True,
    )
    ds.SeriesDescription = for_dicom(f"isnet: {series}")
    ds.ManufacturerModelName, ds.SoftwareVersions = MAKER, __version__
    return finish(ds, filing)


def _describe_class(
    name: str, probability: float, filing: Filing, in_lungs: float, series: str, model: str
) -> Any:
    """The measurements of one class."""
    from highdicom import sr
    from pydicom.sr.coding import Code

    figures = {PROBABILITY: probability}
    if not math.isnan(in_lungs):
        figures[IN_LUNGS] = in_lungs
    instance = filing.reference[1]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=filing.uid("finding", series, name), identifier=for_dicom(name)
        ),
        finding_type=sr.CodedConcept(_code(name), SCHEME, for_dicom(name)),
        algorithm_id=sr.AlgorithmIdentification(
            name=MAKER, version=__version__, parameters=[f"weights SHA-256 {model}"],
            family=Code("123109", "DCM", "Artificial Intelligence"),
        ),
        measurements=[
            sr.Measurement(
                name=sr.CodedConcept(code, SCHEME, meaning),
                value=round(value, DIGITS),
                unit=Code("1", "UCUM", "no units"),
            )
            for (code, meaning), value in figures.items()
        ],
        source_images=[
            sr.SourceImageForMeasurementGroup(
                filing.reference[0], instance, [filing.frame] if filing.frame else None
            )
        ],
    )  # fmt: skip


def _code(name: str) -> str:
    """A code value of at most 16 characters for a class, the same for the same name."""
    import hashlib

    return "C" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
