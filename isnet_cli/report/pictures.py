"""Pictures of a report: tiles of masks to check, and the same images' maps for each run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import open_archive, read_bytes
from isnet_cli.images.kept import load_image
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.resize import resize, resize_mask
from isnet_cli.masks.contact_sheet import rank_by_verdict
from isnet_cli.output.figures import number
from isnet_cli.output.images import image_tile, jpeg_bytes, overlay, panel_parts
from isnet_cli.output.overlays import RGB
from isnet_cli.output.plotting import data_uri
from isnet_cli.report.blocks import Picture
from isnet_cli.report.results import Cells, find_faults, read_table

MASK_TILES = 24  # half of them the most doubtful, half taken evenly from the others
TILE_SIDE = 200  # px
MAP_SIDE = 360  # px
MAPS = 48  # pictures of maps in one report
IMAGES = (2, 12)  # images of one set and version: at least, at most
SMOOTHING = 1.0  # px of a map's picture; see `NOTE`
NOTE = (
    f"For display only, maps are smoothed (Gaussian, standard deviation {SMOOTHING:g} px of a "
    f"picture of {MAP_SIDE} px); each has its own colour limit, the 99.5th percentile of its "
    "magnitudes. The raw maps are in the .npz files."
)


@dataclass(frozen=True)
class MapPicture:
    """One relevance map of the heatmap stage.

    Attributes:
        group: Named set, and version where there are several.
        key: The image.
        target: Class that the map explains.
        label: True class, or empty.
        predicted: Predicted class.
        probability: Of the explained class, or None.
        outside: Share of absolute relevance outside the lungs, or None.
        picture: The overlay.
        note: What else is known of the image, such as its prediction on another background.
    """

    group: str
    key: str
    target: str
    label: str
    predicted: str
    probability: float | None
    outside: float | None
    picture: Picture
    note: str = ""


@dataclass(frozen=True)
class Pick:
    """Images of one set and version that stand out.

    Attributes:
        group: As in `MapPicture`.
        kind: ``most`` or ``least`` relevance outside the lungs; ``wrong``
            predictions, the most certain first; ``right`` ones, the most certain first.
        maps: The images, at least one.
        among: Number of images that they are the first of: those with a share, or the wrong ones,
            or the right ones.
        sources: Files that the choice was made from.
    """

    group: str
    kind: Literal["most", "least", "wrong", "right"]
    maps: Sequence[MapPicture]
    among: int
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class MapCoverage:
    """How many images of one set and version have a map, and why others have none.

    Attributes:
        group: As in `MapPicture`.
        tested: Images with predictions.
        mapped: Those with a map.
        limit: ``heatmap.limit``, when there are more images than that; else None.
        errors: (reason, images): those without a map, or with one that could not be measured.
    """

    group: str
    tested: int
    mapped: int
    limit: int | None = None
    errors: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class ChosenImages:
    """The images of one run that stand out, and how many images have a map.

    Attributes:
        picks: Images that stand out, set by set.
        coverage: How many images have maps, set by set.
    """

    picks: Sequence[Pick] = ()
    coverage: Sequence[MapCoverage] = ()


@dataclass(frozen=True)
class ReportPictures:
    """All pictures of images in a report.

    Attributes:
        maps: Of each run, maps of the same images as far as it has them.
        chosen: Of each run, images that stand out.
        tiles: Of each cohort, images with the outline of their masks, the most doubtful first.
        note: How the maps were made.
    """

    maps: Sequence[Sequence[MapPicture]]
    chosen: Sequence[ChosenImages]
    tiles: Sequence[Sequence[Picture]] = ()
    note: str = ""


def draw_mask_tiles(folder: RunFolder, rows: Sequence[Cells], qc: Sequence[Cells]) -> list[Picture]:
    """Images with their lungs outlined: the most doubtful first, then some of the others."""
    images = {row["key"]: row["image_file"] for row in rows if row["status"] == "ok"}
    ordered = [line for line in sorted(qc, key=rank_by_verdict) if line["key"] in images]
    head = ordered[: MASK_TILES // 2]
    rest = ordered[MASK_TILES // 2 :]
    step = max(1, -(-len(rest) // (MASK_TILES - len(head))))
    pictures = []
    for line in [*head, *rest[::step]]:
        image = load_image(folder.stage_dir("ingest") / images[line["key"]])
        tile = image_tile(image, _read_lungs(folder, line["key"], image, line), side=TILE_SIDE)
        codes = [part.partition(":")[0].replace("_", " ") for part in line["reason"].split("; ")]
        words = ", ".join(filter(None, [line["verdict"], *codes]))
        pictures.append(
            Picture(
                data_uri(jpeg_bytes(tile), "image/jpeg"),
                f"Image {line['key']} with the outline of its lung mask",
                f"{line['key']}: {words}",
                photo=True,
            )
        )
    return pictures


def draw_run_maps(folders: Sequence[RunFolder]) -> list[list[MapPicture]]:
    """Maps to show for each run: the same images in each, as far as the runs have them.

    Raises:
        IsnetError: Kind "data", when a map that an index names is missing or damaged.
    """
    sources = [open_source(folder) for folder in folders]
    groups = list(dict.fromkeys(group for source in sources for group in source.index))
    pictures = max(1, len(groups) * sum(bool(source.index) for source in sources))
    count = min(IMAGES[1], max(IMAGES[0], MAPS // pictures // 2 * 2))
    found: list[list[MapPicture]] = [[] for _ in folders]
    for group in groups:
        for key in choose_keys([source.index.get(group, {}) for source in sources], count):
            for maps, source in zip(found, sources, strict=True):
                line = source.index.get(group, {}).get(key)
                if line is not None:
                    maps.append(read_map(source, line, name_group(group, groups)))
    return found


def choose_keys(indices: Sequence[Mapping[str, Cells]], count: int) -> list[str]:
    """Up to `count` images: those that most runs have first, then evenly over the labels.

    Args:
        indices: For each run: image -> line of its index.
        count: Number of images.
    """
    keys = dict.fromkeys(key for index in indices for key in index)
    lines = {key: next(index[key] for index in indices if key in index) for key in keys}
    turns: dict[tuple[int, str], int] = {}
    order = []
    for position, key in enumerate(keys):
        absent = sum(key not in index for index in indices if index)
        place = absent, lines[key]["label"]
        turns[place] = turns.get(place, 0) + 1
        order.append((absent, turns[place], position, key))
    chosen = {key for *_, key in sorted(order)[:count]}
    return sorted(chosen, key=lambda key: (lines[key]["label"], list(keys).index(key)))


@dataclass(frozen=True)
class MapGroup:
    """A set in one version."""

    set: str
    version: str


def name_group(group: MapGroup, groups: Sequence[MapGroup]) -> str:
    """What a group is called among all `groups`; the version is named where there are several."""
    alone = len({g.version for g in groups}) == 1
    return f"Set {group.set}" + ("" if alone else f", {group.version} images")


@dataclass(frozen=True)
class MapSource:
    """Where the pictures of one run come from.

    Attributes:
        folder: The run.
        index: Set and version -> image -> its line of ``heatmap/index.csv``.
        images: Image -> path of the kept image in the ingest folder.
        qc: Image -> its line of ``masks/qc.csv``.
    """

    folder: RunFolder
    index: Mapping[MapGroup, Mapping[str, Cells]]
    images: Mapping[str, str]
    qc: Mapping[str, Cells]


def open_source(folder: RunFolder) -> MapSource:
    """The maps of a run; no index where a stage before them is not finished."""
    faults = find_faults(folder)
    if any(stage in faults for stage in ("ingest", "masks", "heatmap")):
        return MapSource(folder, {}, {}, {})
    rows = read_table(folder.stage_dir("ingest") / "manifest.csv")
    qc = read_table(folder.stage_dir("masks") / "qc.csv")
    return MapSource(
        folder,
        _index_maps(read_table(folder.stage_dir("heatmap") / "index.csv")),
        {row["key"]: row["image_file"] for row in rows},
        {line["key"]: line for line in qc},
    )


def _index_maps(lines: Sequence[Cells]) -> dict[MapGroup, dict[str, Cells]]:
    """One line for each set, version and image: of the predicted class, else the true, else any."""
    found: dict[MapGroup, dict[str, Cells]] = {}
    for line in lines:
        if not (line["png"] or line["npz"]):
            continue
        images = found.setdefault(MapGroup(line["set"], line.get("version", "")), {})
        old = images.get(line["key"])
        if old is None or _rate_target(line) > _rate_target(old):
            images[line["key"]] = line
    return found


def _rate_target(line: Cells) -> tuple[bool, bool]:
    return line["target"] == line["predicted"], line["target"] == line["label"]


def read_map(source: MapSource, line: Cells, group: str, side: int = MAP_SIDE) -> MapPicture:
    """The map of one line of ``heatmap/index.csv`` as a picture with a long side of `side` px.

    Raises:
        IsnetError: Kind "data", when the map is missing or damaged.
    """
    try:
        picture = jpeg_bytes(_draw_overlay(source, line, side))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise IsnetError(
            "data",
            f"{source.folder.stage_dir('heatmap')}: the map of '{line['key']}' is missing or "
            "damaged, expected the files that index.csv names",
            fix="isnet heatmap CONFIG --overwrite",
        ) from error
    return MapPicture(
        group,
        line["key"],
        line["target"],
        line["label"],
        line["predicted"],
        number(line["probability"]),
        number(line["outside_share"]),
        Picture(data_uri(picture, "image/jpeg"), "", photo=True),
    )


def _draw_overlay(source: MapSource, line: Cells, side: int) -> RGB:
    """The overlay, from the raw map where there is one, else from the panel."""
    key, root = line["key"], source.folder.stage_dir("heatmap")
    kept = load_image(source.folder.stage_dir("ingest") / source.images[key])
    seen = None
    if line["png"]:
        with Image.open(io.BytesIO(read_bytes(root / line["png"]))) as opened:
            panel = np.asarray(opened.convert("RGB"))
        outlined_image, coloured = panel_parts(panel, (kept.shape[0], kept.shape[1]))
        if not line["npz"]:
            return _shrink(coloured, side)
        seen = outlined_image
    with open_archive(root / line["npz"]) as file, np.load(file, allow_pickle=False) as arrays:
        relevance = np.asarray(arrays["relevance"], np.float32)
        drawn = np.asarray(arrays["findings"], bool) if "findings" in arrays else ()
    lungs = _read_lungs(source.folder, key, kept, source.qc[key])
    size = _fit_size(kept.shape, side)
    image = resize(kept, size)
    if seen is not None and line.get("version", "standard") != "standard":
        # The kept image has no synthetic mark; the panel shows the image that the model saw.
        grey = Image.fromarray(_shrink(seen, side)).convert("L")
        image = np.asarray(grey, np.float32) / np.float32(255)
    small = None if lungs is None else resize_mask(lungs, size)
    findings = [resize_mask(one, size) for one in drawn]
    return overlay(image, resize(relevance, size), small, smoothing=SMOOTHING, findings=findings)


def _read_lungs(
    folder: RunFolder, key: str, image: NDArray[np.float32], line: Cells
) -> NDArray[np.bool_] | None:
    """The mask on the kept image's grid, None where there is none."""
    if line["verdict"] == "missing":
        return None
    whole = load_mask(str(folder.stage_dir("masks") / f"{key}.png"))
    return resize_mask(whole, (image.shape[0], image.shape[1]))


def _fit_size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    scale = side / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _shrink(picture: RGB, side: int) -> RGB:
    height, width = _fit_size(picture.shape[:2], side)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
