"""Images and masks of a run in one file at the network's size, read in any order.

The file is a plain NumPy array of `RecordForm` records, which ``numpy.load(..., mmap_mode="r")``
opens; a card beside it says what it was made from. Records are read by position, not through a
memory map: the memory of the process stays as it is however large the file, and a file that is cut
short while it is read is an error, not a signal that ends the process. Each record has a check sum
that begins with the file's identity and the record's place.
"""

from __future__ import annotations

import os
import shutil
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from isnet_cli.core.files import atomic_path
from isnet_cli.core.records.schemas import PackedCard
from isnet_cli.core.records.sealed import read_sealed, write_sealed
from isnet_cli.dataset.records import Bytes, RecordForm, check_sum
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import format_bytes, open_regular

FILE, CARD = "images.npy", "images.json"
_TURN = threading.Lock()  # of threads that read where a file has one position for all


@dataclass(frozen=True)
class PackedRecords:
    """An open packed file.

    Attributes:
        form: Layout of its records.
        path: The file.
        handle: File descriptor, closed with this object.
        start: Bytes before the first record.
        count: Number of records.
        identity: Hash of what the content follows from.
    """

    form: RecordForm
    path: Path
    handle: int
    start: int
    count: int
    identity: str

    def read(self, places: NDArray[np.int64], into: Bytes) -> None:
        """As `isnet_cli.dataset.records.Records.read`."""
        size = self.form.size
        for place, record in zip(places.tolist(), into, strict=True):
            if _read_at(self.handle, record, self.start + place * size) != size:
                raise _refuse(self.path, f"ends at image {place} of {self.count}, expected all")
            given = int(record[-4:].view("<u4")[0])
            if check_sum(record, seed_of(self.identity, place)) != given:
                raise _refuse(
                    self.path, f"image {place} is not the one that was written (check sum)"
                )


def _read_at(handle: int, into: Bytes, position: int) -> int:
    """Reads bytes at a position of a file; returns how many there were."""
    if hasattr(os, "preadv"):
        return os.preadv(handle, [into.data], position)
    with _TURN:
        os.lseek(handle, position, os.SEEK_SET)
        found = os.read(handle, len(into))
    into[: len(found)] = np.frombuffer(found, np.uint8)
    return len(found)


def seed_of(identity: str, place: int) -> int:
    """What the check sum of a record begins with: whose file it is, and where in it."""
    return zlib.crc32(f"{identity} {place}".encode())


def write_packed(
    folder: Path,
    identity: str,
    form: RecordForm,
    count: int,
    images: Iterable[tuple[NDArray[np.uint16], NDArray[np.bool_]]],
) -> None:
    """Writes `FILE` and `CARD` into `folder`, each by rename, the card last.

    Args:
        folder: Of the stage.
        identity: Hash of what the content follows from.
        form: Layout of the records.
        count: Number of images.
        images: Image uint16 [h, w] and mask bool [h, w], `count` of them; memory holds one.

    Raises:
        IsnetError: Kind "machine", when the disk has no room for it.
    """
    needed, path = count * form.size, folder / FILE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    path.unlink(missing_ok=True)  # it is another's, and its room may be needed
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise IsnetError(
            "machine",
            f"{path}: {format_bytes(needed)} for {count} images, and the disk has"
            f" {format_bytes(free)} left",
            fix="-o DIR on another disk, or a smaller model.input",
        )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        header = {"descr": npy.dtype_to_descr(form.dtype), "fortran_order": False,
                  "shape": (count,)}  # fmt: skip
        npy.write_array_header_1_0(file, header)
        for place, (image, mask) in enumerate(images):
            record = form.make(image[None], mask[None])[0]
            record[-4:].view("<u4")[0] = check_sum(record, seed_of(identity, place))
            file.write(record.tobytes())
    card = {"identity": identity, "images": count, "bytes": path.stat().st_size,
            "height": form.height, "width": form.width}  # fmt: skip
    write_sealed(folder / CARD, card)


def open_packed(folder: Path, identity: str, form: RecordForm, count: int) -> PackedRecords | None:
    """The packed file of `folder`; None when there is none, or it was made from something else.

    Args:
        folder: Of the stage.
        identity: Hash of what the content has to follow from.
        form: Layout of the records.
        count: Number of images.

    Raises:
        IsnetError: Kind "data", when the file is not the one that its card describes.
    """
    path, card = folder / FILE, folder / CARD
    if not card.is_file():
        return None
    said = read_sealed(card, PackedCard, what="a card of packed images", fix=_fix(path))
    if said["identity"] != identity:
        return None
    try:
        file = open_regular(path)
    except OSError as error:
        why = "is gone" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise _refuse(path, f"{why}, expected the file that {CARD} describes") from error
    with file:
        length = os.fstat(file.fileno()).st_size
        if length != said["bytes"]:
            raise _refuse(
                path, f"{format_bytes(length)}, expected {format_bytes(said['bytes'])}"
                + (": it was cut short" if length < said["bytes"] else "")
            )  # fmt: skip
        try:
            if npy.read_magic(file) != (1, 0):
                raise ValueError("version")
            shape, _, dtype = npy.read_array_header_1_0(file)
        except ValueError as error:
            raise _refuse(path, "not an array that NumPy wrote") from error
        if shape != (count,) or dtype != form.dtype:
            raise _refuse(path, f"{shape} records of {dtype.itemsize} bytes, expected ({count},)"
                          f" of {form.size}")  # fmt: skip
        handle = os.dup(file.fileno())
        found = PackedRecords(form, path, handle, file.tell(), count, identity)
    weakref.finalize(found, os.close, handle)
    return found


def pack(
    folder: Path,
    identity: str,
    form: RecordForm,
    count: int,
    images: Callable[[], Iterable[tuple[NDArray[np.uint16], NDArray[np.bool_]]]],
) -> PackedRecords:
    """The packed file of `folder`, written where there is none of this identity.

    Args:
        folder: As in `write_packed`, and so all others.
        identity: See there.
        form: See there.
        count: See there.
        images: Called where it has to be written.

    Raises:
        IsnetError: As `write_packed` and `open_packed`.
    """
    found = open_packed(folder, identity, form, count)
    if found is not None:
        return found
    write_packed(folder, identity, form, count, images())
    made = open_packed(folder, identity, form, count)
    assert made is not None  # noqa: S101 - it was written now
    return made


def _refuse(path: Path, found: str) -> IsnetError:
    return IsnetError("data", f"{path}: {found}", fix=_fix(path))


def _fix(path: Path) -> str:
    return f"remove {path} and {CARD} beside it: they are made again"
