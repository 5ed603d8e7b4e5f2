"""The maps of one image and of one set: measured, written as files, listed, and on a sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isnet_cli.annotations.findings import Finding
from isnet_cli.core import files
from isnet_cli.core.journal import name_part
from isnet_cli.core.names import SEPARATOR, make_names
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.guard.opening import open_regular
from isnet_cli.heatmap.dicom import map_to_dicom
from isnet_cli.heatmap.files import (
    ImageMap,
    nifti_map,
    npz_bytes,
    panel_png,
    paste_shape,
)
from isnet_cli.images.dicom.header import MIRRORED
from isnet_cli.images.kept import load_image
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.resize import Frame, resize_mask
from isnet_cli.images.types import Row
from isnet_cli.inference.explainers import Method, describe_method, read_method
from isnet_cli.inference.predictor import Predictor
from isnet_cli.output.dicom.writer import KINDS, REFERRING, DicomWriter, open_dicom
from isnet_cli.output.images import SheetStyle, contact_sheet, panel_parts, png_bytes
from isnet_cli.stats.reliance import NO_MASK, NOT_FINITE, measure_reliance

COLUMNS = (
    "set", "version", "key", "target", "method", "label", "predicted", "probability",
    "outside_share", "conservation_error", "png", "npz", "nifti", "dicom-sc", "dicom-seg",
    "dicom-sr", "dicom-pm", "dicom-image", "error",
)  # fmt: skip
FILES = ("png", "npz", "nifti", *KINDS, "dicom-image")  # columns that name files
SUFFIX = {
    "nifti": "nii.gz", "dicom-sc": "sc.dcm", "dicom-seg": "seg.dcm", "dicom-sr": "sr.dcm",
    "dicom-pm": "pm.dcm",
}  # fmt: skip
NO_LABEL = "no label, so no true class"
SUSPECT = "lung mask is suspect"

Line = dict[str, str]
SHEET = "contact_sheet.png"
TILES = 60  # maps on the sheet
SHEET_COLUMNS = 6
CELL = 240  # side of one picture, px


@dataclass(frozen=True)
class Explained:
    """What the model says about one image.

    Attributes:
        logits: K.
        probabilities: K.
        maps: Explained class -> map [C, h, w].
        mask: Trusted lungs [h, w], empty where there are none.
        totals: Explained class -> what its map should sum to, where the method promises that.
        findings: Annotated findings: label as written, mask at the kept image's size.
    """

    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    maps: Mapping[int, NDArray[np.float32]]
    mask: NDArray[np.bool_]
    totals: Mapping[int, float] = field(default_factory=dict)
    findings: Sequence[tuple[str, NDArray[np.bool_]]] = ()


@dataclass(frozen=True)
class MapWriter:
    """Writes the maps of one set in one version.

    Attributes:
        predictor: The model, the run and its settings.
        root: Folder of the stage.
        set: Name of the set.
        version: Of the images.
        place: Folder of the set in `root`.
        limit: Colour limit of all maps, per pixel of the network's input; None: of each its own.
        annotations: Key of an image -> findings to draw in it.
    """

    predictor: Predictor
    root: Path
    set: str
    version: Version
    place: str
    limit: float | None = None
    annotations: Mapping[str, Sequence[Finding]] = field(default_factory=dict)

    @property
    def biased(self) -> bool:
        """Whether versions are told apart in the files' names."""
        return self.predictor.config.bias.kind == "shapes"

    @property
    def folder(self) -> Path:
        """Where the set's files go, relative to the stage's folder."""
        return Path(self.place) / (self.version if self.biased else "")

    def frame(self, row: Row) -> Frame:
        """Where an image lies in the network's input."""
        return Frame((row.height, row.width), self.predictor.config.model.input)

    def part(self, row: Row) -> str:
        """Name of an image's part in the journal."""
        return name_part(self.set, self.version, row.key)

    def write(
        self, dataset: ImageDataset, index: int, found: Explained
    ) -> tuple[list[Line], list[Path]]:
        """Writes all maps of one image in the formats asked for.

        Returns:
            Lines of the index, at least one, and the files.
        """
        row = dataset.rows[index]
        if not found.maps:
            return [self._line(row, error=NO_LABEL)], []
        image, lungs = self._picture(dataset, index)
        dicom = self._dicom(row)
        shared, paths = self._image_file(row, image, dicom)
        lines = []
        for target, maps in found.maps.items():
            measured = measure_reliance(maps[None], found.mask[None])
            image_map = ImageMap(
                maps.sum(axis=0),
                self.frame(row),
                image,
                lungs,
                self.predictor.classes,
                target,
                found.logits,
                found.probabilities,
                float(measured.outside_share[0]),
                found.totals.get(target, float("nan")),
                read_method(self.predictor),
                self.limit,
                row.pixel_spacing,
                self._choose_findings(found, target),
            )
            line, written = self._write_map(row, image_map, str(measured.why[0]), dicom)
            lines.append(line if line["error"] == NOT_FINITE else {**line, **shared})
            paths += written
        return lines, paths

    def _choose_findings(self, found: Explained, target: int) -> tuple[NDArray[np.bool_], ...]:
        """Findings to draw over the map of a class; of several labels, not those of others."""
        several = self.predictor.task == "multilabel"
        name = self.predictor.classes[target].casefold()
        return tuple(
            mask
            for label, mask in found.findings
            if mask.any() and (not several or label.casefold() in ("", name))
        )

    def _picture(
        self, dataset: ImageDataset, index: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """The image to draw, at the kept image's size, and its trusted lungs on the same grid."""
        row, folder = dataset.rows[index], self.predictor.folder
        image = load_image(folder.stage_dir("ingest") / row.image_file)
        if self.version != "standard":
            plain, biased = dataset.image(index), dataset.image(index, self.version)
            image = paste_shape(image, plain, biased, self.frame(row))
        if not self.predictor.trusted(row):
            return image, None
        mask = load_mask(folder.stage_dir("masks") / f"{row.key}.png")
        return image, resize_mask(mask, (image.shape[0], image.shape[1]))

    def _dicom(self, row: Row) -> DicomWriter | None:
        heat = self.predictor.config.heatmap
        if not set(KINDS) & set(heat.formats):
            return None
        return open_dicom(
            row, self.part(row), self.root, keep=heat.identity == "keep",
            series=describe_method(self.predictor),
            model=str(self.predictor.model.card.get("sha256", ""))[:16],
        )  # fmt: skip

    def _image_file(
        self, row: Row, image: NDArray[np.float32], dicom: DicomWriter | None
    ) -> tuple[Line, list[Path]]:
        """The image that anonymous objects refer to, and its cell in the index."""
        asked = bool(REFERRING & set(self.predictor.config.heatmap.formats))
        if dicom is None or dicom.filing.kept or not asked:
            return {}, []
        path = self.folder / f"{row.key}.image.dcm"
        files.write_bytes(self.root / path, dicom.image(image, (row.height, row.width)))
        return {"dicom-image": path.as_posix()}, [self.root / path]

    def _write_map(
        self, row: Row, found: ImageMap, why: str, dicom: DicomWriter | None
    ) -> tuple[Line, list[Path]]:
        if why == NO_MASK and self.predictor.qc.get(row.key) == "suspect":
            why = SUSPECT
        decided = self.predictor.decisions(found.probabilities[None])[0]
        cells = {
            "target": found.classes[found.target],
            "method": describe_method(self.predictor),
            "predicted": ";".join(decided),
            "probability": _text(found.probabilities[found.target]),
            "error": why,
        }
        if why == NOT_FINITE:
            return self._line(row, **cells), []
        name = make_names(found.classes)[cells["target"]]
        stem = self.folder / f"{row.key}{SEPARATOR}{name}"
        paths = []
        for kind in self.predictor.config.heatmap.formats:
            path = Path(f"{stem}.{SUFFIX.get(kind, kind)}")
            files.write_bytes(self.root / path, self._content(kind, row, found, decided, dicom))
            cells[kind] = path.as_posix()
            paths.append(self.root / path)
        cells["outside_share"] = _text(found.outside)
        cells["conservation_error"] = _text(found.conservation_error)
        return self._line(row, **cells), paths

    def _content(
        self, kind: str, row: Row, found: ImageMap, decided: list[str], dicom: DicomWriter | None
    ) -> bytes:
        if dicom is not None and kind in KINDS:
            return map_to_dicom(dicom, kind, found, self.predictor.config.heatmap.region)
        if kind == "npz":
            return npz_bytes(found)
        if kind == "nifti":
            return nifti_map(found, row.view, self.root, mirrored=MIRRORED in row.notes)
        return self._panel(row, found, decided)

    def _panel(self, row: Row, found: ImageMap, decided: list[str]) -> bytes:
        title = f"{row.key} · {self.set}" + (f" · {self.version}" if self.biased else "")
        facts = [f"predicted: {', '.join(decided) or 'none'}", f"label: {row.label or 'none'}"]
        return panel_png(found, title, facts)

    def _line(self, row: Row, **cells: str) -> Line:
        known = {"set": self.set, "version": self.version, "key": row.key, "label": row.label}
        return {name: {**known, **cells}.get(name, "") for name in COLUMNS}


def has_map(line: Mapping[str, str]) -> bool:
    """Whether a line of the index stands for a map that was made."""
    return bool(line["target"]) and line["error"] != NOT_FINITE


def _text(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"


def write_sheet(writer: MapWriter, lines: Sequence[Line]) -> None:
    """Writes the sheet of a set in one version from its pictures; without pictures, nothing.

    Args:
        writer: What the maps were written by.
        lines: Their lines of the index.
    """
    pictured = sorted((line for line in lines if line["png"]), key=reliance_first)
    if not pictured:
        return
    images = {line["key"]: line for line in pictured}
    tiles = [_tile(writer, line) for line in pictured[:TILES]]
    captions = [_caption(line) for line in pictured[:TILES]]
    many = len(pictured) if len(pictured) <= TILES else f"{TILES} of {len(pictured)}"
    method = read_method(writer.predictor)
    drawn = " Cyan: annotated findings." if writer.annotations else ""
    version = f" ({writer.version})" if writer.biased else ""
    heading = [
        f"{method.title}, set {writer.set}{version}: {many} maps of "
        f"{len(images)} image{'s'[: len(images) > 1]}",
        f"Sorted by the share of {method.amount} outside the lungs, largest first. Below each map: "
        f"{'its' if method.of_class else 'the predicted'} class, the probability of the class, the "
        f"share outside. {_colours(method)}{drawn}",
    ]
    columns = min(SHEET_COLUMNS, max(3, len(tiles)))
    sheet = contact_sheet(tiles, captions, columns, style=SheetStyle(CELL, 13, 2), heading=heading)
    files.write_bytes(writer.root / writer.folder / SHEET, png_bytes(sheet))


def reliance_first(line: Line) -> tuple[bool, float, str, str]:
    """Sorting key: largest share outside the lungs first, maps without a share last, by name."""
    share = line["outside_share"]
    return not share, -float(share or 0), line["key"], line["target"]


def list_sheets(lines: Iterable[Line]) -> set[str]:
    """Sheets that belong to an index, relative to the stage's folder."""
    pictures = ((line["png"], f"{line['key']}{SEPARATOR}") for line in lines)
    return {png.rpartition(start)[0] + SHEET for png, start in pictures if start in png}


def _tile(writer: MapWriter, line: Line) -> np.ndarray:
    """The overlay of a panel."""
    image = writer.predictor.folder.stage_dir("ingest") / "images" / f"{line['key']}.png"
    with (
        open_regular(image) as image_file, Image.open(image_file, formats=("PNG",)) as kept,
        open_regular(writer.root / Path(line["png"])) as panel_file,
        Image.open(panel_file, formats=("PNG",)) as panel,
    ):  # fmt: skip
        size = (kept.height, kept.width)
        return panel_parts(np.asarray(panel.convert("RGB")), size)[1]


def _caption(line: Line) -> str:
    share = line["outside_share"]
    where = f"{100 * float(share):.0f} % outside" if share else line["error"]
    return f"{line['key']}\n{line['target']} {float(line['probability']):.2f}, {where}"


def _colours(method: Method) -> str:
    red = "red: for the class, blue: against it" if method.signed else "red: where the map is high"
    return f"Yellow: lungs; {red}."
