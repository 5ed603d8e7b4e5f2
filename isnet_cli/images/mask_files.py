"""Mask files: reading them strictly, writing them, and finding the one that belongs to an image."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from isnet_cli.config.schema import Limits
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.guard.opening import NotAFile
from isnet_cli.guard.sizes import check_pixels
from isnet_cli.images.find import IMAGE_SUFFIXES, normalise_path, strip_suffix
from isnet_cli.images.pictures.decoders import check_png, decode_jpeg, read_whole
from isnet_cli.images.pictures.directories import check_directories
from isnet_cli.images.pictures.strips import decode_strips, has_checked_strips
from isnet_cli.images.raster import open_picture

Mask = NDArray[np.bool_]
Levels = NDArray[np.integer[Any] | np.floating[Any] | np.bool_]
PAIR = "|"  # joins the left and the right lung's file in one field
OWN = ("PNG",)
FORMATS = (*OWN, "TIFF", "JPEG", "BMP", "GIF", "PPM", "WEBP")
NOISE = 0.15  # of the highest value: how far compression noise may lie from either end
MIN_BIMODAL = 0.95  # share of pixels that must lie that close to an end
LABEL_MAP = 32  # whole values below, three or more of them: numbered regions, not noise
MASK_SUFFIXES = ("_mask", "-mask", ".mask", " mask", "_lungs", "_lung", "_seg")
SIDES = {
    "left": ("_left", "-left", "_l", "_leftmask", "_left_mask", "_mask_left"),
    "right": ("_right", "-right", "_r", "_rightmask", "_right_mask", "_mask_right"),
}
SIDE_FOLDERS = {"left": {"left", "leftmask"}, "right": {"right", "rightmask"}}


def load_mask(
    path: Path | str, limits: Limits | None = None, formats: tuple[str, ...] = FORMATS
) -> Mask:
    """Reads a lung mask, or the union of a left and a right one.

    Args:
        limits: What a file may be and take; None: the defaults.
        formats: Pillow's names of the formats that are tried; `OWN` for masks that a run wrote.
        path: A picture whose pixels are {0, 1}, {0, 255}, {0, n} or one of these with compression
            noise; or two such files joined by ``|``.

    Returns:
        Array [H, W], bool; all False for an empty mask.

    Raises:
        UnreadableImage: ``mask_missing``, ``mask_unreadable``, ``mask_values`` or ``mask_size``;
            the sentence names the values found.
    """
    parts = [Path(part) for part in str(path).split(PAIR)]
    masks = [_load_one(part, limits or Limits(), formats) for part in parts]
    if any(mask.shape != masks[0].shape for mask in masks):
        sizes = " and ".join(f"{mask.shape[1]} x {mask.shape[0]}" for mask in masks)
        raise UnreadableImage("mask_size", f"left and right masks of {sizes} pixels, expected one")
    return np.asarray(np.logical_or.reduce(masks), np.bool_)


def save_mask(path: Path, mask: Mask) -> None:
    """Writes [H, W] as an 8-bit grey PNG of 0 and 255 without metadata."""
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"{mask.dtype} {mask.shape}: expected bool [H, W]")
    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(path, format="PNG")


def binarise(values: Levels) -> Mask:
    """Foreground of an array [H, W] that must hold two levels, background being 0.

    Raises:
        UnreadableImage: ``mask_values``, naming what was found.
    """
    found = _find_distinct(values)
    top = float(found[-1])
    if float(found[0]) < 0 or not np.isfinite(found.astype(np.float64)).all():
        raise _make_values_fault(found)
    if len(found) == 1 and top not in {0.0, 1.0, 255.0, 65535.0}:
        raise _make_values_fault(found)
    if len(found) <= 2:
        if len(found) == 2 and float(found[0]) != 0.0:
            raise _make_values_fault(found)
        return np.asarray(values > 0)
    if top < LABEL_MAP and np.array_equal(found, np.rint(found.astype(np.float64))):
        raise _make_values_fault(found)
    low, high = values <= NOISE * top, values >= (1.0 - NOISE) * top
    if not low.any() or np.count_nonzero(low | high) < MIN_BIMODAL * values.size:
        raise _make_values_fault(found)
    return np.asarray(values >= 0.5 * top)


def _find_distinct(values: Levels) -> NDArray[Any]:
    """The values that occur, ascending; counted where there are 256 at most, which is quicker."""
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=1))
    return np.unique(values)


def find_masks(folder: Path, names: Sequence[str]) -> list[str]:
    """The mask file of each image in a folder of masks, empty where there is none.

    A mask belongs to an image when its path below `folder` ends like the image's key, with or
    without a suffix such as ``_mask``; failing that, when only the file names agree and no other
    image or mask has that name. Pairs in folders or with endings ``left`` and ``right`` are joined
    by ``|``.

    Args:
        folder: Folder of masks, searched to any depth.
        names: Keys of the images (POSIX separators, no image suffix).

    Returns:
        Absolute paths, one entry per image.

    Raises:
        IsnetError: Kind "data": the folder does not exist, holds no picture, or two masks claim one
            image.
    """
    by_name = _index_masks(folder)
    count: dict[str, int] = defaultdict(int)
    for name in names:
        count[take_last_part(name)] += 1
    found = []
    for name in names:
        masks = by_name.get(take_last_part(name), [])
        exact = [mask for mask in masks if has_same_end(mask[0], name)]
        if not exact and count[take_last_part(name)] == 1:
            exact = masks
        found.append(_join_pair(folder, name, exact))
    return found


def _load_one(path: Path, limits: Limits, formats: tuple[str, ...]) -> Mask:
    try:
        with open_picture(path, formats, limits) as image:
            cost = 10 + 2 * len(image.getbands())  # bytes: channels twice, counting their levels
            check_pixels(image.width, image.height, 1, cost, limits)
            if formats != OWN:
                _refuse_damage(path, image, limits)
            return binarise(
                _pick_channel(np.asarray(_drop_palette(ImageOps.exif_transpose(image))))
            )
    except FileNotFoundError as error:
        raise UnreadableImage("mask_missing", f"{path.name}: no such file") from error
    except UnreadableImage as fault:
        reason = fault.reason if fault.reason.startswith("mask_") else "mask_unreadable"
        raise UnreadableImage(reason, f"{path.name}: {fault.detail}") from fault
    except NotAFile as error:
        raise UnreadableImage(
            "mask_unreadable", f"{path.name}: {error.strerror}, expected a picture"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImage(
            "mask_unreadable", f"{path.name}: not a picture that can be read, expected PNG or TIFF"
        ) from error


def _refuse_damage(path: Path, image: Any, limits: Limits) -> None:
    """Raises where a checksum or a decoder says that the pixels are not those that were saved."""
    doubts: tuple[str, ...] = ()
    if image.format == "PNG":
        doubts = check_png(read_whole(path, limits))
    elif image.format == "JPEG" and image.mode in ("L", "RGB"):
        doubts = decode_jpeg(read_whole(path, limits), 1)[1]
    elif image.format == "TIFF":
        doubts = check_directories(path, limits.frames)
        if has_checked_strips(image):
            doubts = (*doubts, *decode_strips(read_whole(path, limits), image)[1])
    damage = [words for words in doubts if words.startswith("damaged")]
    if damage:
        raise UnreadableImage("mask_unreadable", damage[0])


def _drop_palette(image: Image.Image) -> Image.Image:
    """The picture without palette, indexed transparency and printing colours."""
    if image.mode in {"P", "PA"}:
        return image.convert("RGBA")
    return image.convert("RGB") if image.mode in {"CMYK", "YCbCr", "LAB", "HSV"} else image


def _pick_channel(values: Levels) -> Levels:
    """One channel: the brightest of the colours, or the alpha channel when only that varies."""
    if values.ndim == 2:
        return values
    channels = values.shape[-1]
    if channels in {2, 4} and np.ptp(values[..., -1]) > 0:
        if np.ptp(values[..., :-1]) > 0:
            raise UnreadableImage("mask_values", "colours and transparency vary, expected one")
        return np.asarray(values[..., -1])
    colours = values[..., :-1] if channels in {2, 4} else values
    return np.asarray(colours.max(axis=-1))


def _make_values_fault(found: Levels) -> UnreadableImage:
    shown = [f"{float(value):g}" for value in found]
    text = ", ".join(shown) if len(shown) <= 6 else f"{', '.join(shown[:4])}, ..., {shown[-1]}"
    return UnreadableImage(
        "mask_values",
        f"{len(found)} values ({text}), expected two, of which one is 0, such as 0 and 255",
    )


def _index_masks(folder: Path) -> dict[str, list[tuple[str, str, Path]]]:
    """Masks by the name of the image they seem to belong to: (path without suffix, side, file)."""
    if not folder.is_dir():
        raise IsnetError(
            "data", f"{folder}: no such folder, expected lung masks", fix="check masks.files"
        )
    by_name: dict[str, list[tuple[str, str, Path]]] = defaultdict(list)
    for path in list_pictures(folder):
        relative = PurePosixPath(normalise_path(path.relative_to(folder).as_posix()))
        whole = relative.with_name(strip_suffix(relative.name)).as_posix()
        for name, side in _list_meanings(whole):
            by_name[take_last_part(name)].append((name, side, path))
    if not by_name:
        raise IsnetError(
            "data", f"{folder}: no picture found, expected lung masks", fix="check masks.files"
        )
    return by_name


def list_pictures(folder: Path) -> Iterator[Path]:
    """Absolute paths of the pictures below `folder`, by their endings, in order."""
    suffixes = frozenset(IMAGE_SUFFIXES) | {".bmp", ".gif", ".webp", ".pgm", ".ppm"}
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(os.path.abspath(os.path.join(top, name)))


def _list_meanings(whole: str) -> Iterator[tuple[str, str]]:
    """Paths of images that a mask's path may stand for, with the side of the body or ''."""
    parts = PurePosixPath(whole).parts
    for side, folders in SIDE_FOLDERS.items():
        inner = [part for part in parts[:-1] if part.lower() not in folders]
        if len(inner) < len(parts) - 1:
            yield "/".join([*inner, parts[-1]]), side
            return
    yield whole, ""
    low = whole.lower()
    for side, endings in SIDES.items():
        for ending in sorted(endings, key=len, reverse=True):
            if low.endswith(ending):
                yield whole[: -len(ending)], side
                return
    for ending in MASK_SUFFIXES:
        if low.endswith(ending):
            yield whole[: -len(ending)], ""


def take_last_part(name: str) -> str:
    """The last part of a key or path, in the form in which names are compared."""
    return name.rpartition("/")[2].casefold()


def has_same_end(mask: str, key: str) -> bool:
    """Whether the shorter of two paths is the end of the longer, folder by folder."""
    a, b = mask.casefold().split("/"), key.casefold().split("/")
    size = min(len(a), len(b))
    return a == b or (size > 1 and a[-size:] == b[-size:])


def _join_pair(folder: Path, name: str, masks: Sequence[tuple[str, str, Path]]) -> str:
    sides = {side: path for _, side, path in masks}
    if not masks:
        return ""
    if len(sides) == len(masks) and set(sides) in ({""}, {"left", "right"}):
        return PAIR.join(str(sides[side]) for side in ("", "left", "right") if side in sides)
    shown = ", ".join(str(path.relative_to(folder.absolute())) for _, _, path in masks[:5])
    raise IsnetError(
        "data",
        f"{folder}: {len(masks)} masks may belong to image {name} ({shown}), expected one, or one"
        " left and one right",
        fix="name each mask like its image, or give a mask column: data.columns.mask",
    )
