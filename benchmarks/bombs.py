"""Peak memory and time of commands that are given small files which claim to be huge.

Usage:
    python benchmarks/bombs.py [--root TREE] [--only NAME]

Each bomb lies beside two sound images; ``isnet ingest`` reads them (``isnet masks`` for masks).
Printed are the highest memory of any one process of the command, its duration, its exit code and
what became of the file. `--root` measures the program in another folder, such as an older version.
Everything is made by code in a temporary folder; nothing takes more than some MB of the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

TIMEOUT = 120.0  # seconds after which a command is ended
ROOT = Path(__file__).resolve().parent.parent
UIDS = {"native": "1.2.840.10008.1.2.1", "deflated": "1.2.840.10008.1.2.1.99"}
RLE = "1.2.840.10008.1.2.5"


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One data element in explicit little endian."""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in {"OB", "OW", "SQ", "UN"}:
        return head + struct.pack("<HI", 0, len(value)) + value
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return head + struct.pack("<H", len(value)) + value


def dicom(
    rows: int, columns: int, pixels: bytes, *, frames: int = 1, syntax: str = "native",
    before: bytes = b"", wrong_length: bool = False,
) -> bytes:  # fmt: skip
    """A DICOM file of 16-bit grey, or of what `before` adds in front of its pixel module."""
    uid = UIDS.get(syntax, syntax)
    meta = element(0x00020010, "UI", uid.encode())
    length = struct.pack("<I", 4000 if wrong_length else len(meta))
    head = bytes(128) + b"DICM" + element(0x00020000, "UL", length) + meta
    us = "US"
    body = b"".join([
        element(0x00080060, "CS", b"DX"), before, element(0x00280002, us, struct.pack("<H", 1)),
        element(0x00280004, "CS", b"MONOCHROME2"),
        element(0x00280008, "IS", str(frames).encode()),
        element(0x00280010, us, struct.pack("<H", rows)),
        element(0x00280011, us, struct.pack("<H", columns)),
        *(element(0x00280100 + n, us, struct.pack("<H", v)) for n, v in enumerate((16, 16, 15, 0))),
    ])  # fmt: skip
    if syntax == RLE:
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(pixels)) + pixels
        body += b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0" + bytes(4)
        body += item + b"\xfe\xff\xdd\xe0" + bytes(4)
    else:
        body += element(0x7FE00010, "OW", pixels)
    if syntax == "deflated":
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = squeeze.compress(body) + squeeze.flush()
    return head + body


def deflated(size: int, **options: bool) -> bytes:
    """A deflated data set that inflates to `size` bytes of a private element and more."""
    empty = dicom(64, 64, b"", syntax="deflated", **options)
    at = 132 + 12 + 8 + 22
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = element(0x00080060, "CS", b"DX")
    start += b"\x09\x00\x10\x10UN\0\0" + struct.pack("<I", size)
    parts = [squeeze.compress(start)]
    parts += [squeeze.compress(bytes(1 << 24)) for _ in range(size >> 24)]
    return empty[:at] + b"".join(parts) + squeeze.flush()


def squeezed(line: bytes, count: int) -> bytes:
    """`count` times `line`, compressed by zlib, never held whole."""
    squeeze = zlib.compressobj(9)
    return b"".join(squeeze.compress(line) for _ in range(count)) + squeeze.flush()


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(side: int, *, colour: int = 0, channels: int = 1, extra: bytes = b"") -> bytes:
    """A black PNG of `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0)
    pixels = squeezed(bytes(1 + side * channels), side)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def jpeg(path: Path) -> None:
    """A small JPEG that declares 65535 x 65535 pixels."""
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path, "JPEG")
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(content)


def tiff(pages: int, *, width: int = 64, height: int = 1, tile: int = 0) -> bytes:
    """Pages of 8-bit grey that share one strip or tile, packed by deflate."""
    data = zlib.compress(bytes(min(1 << 26, width * height)), 9)
    offset, parts = 8 + len(data) + len(data) % 2, []
    tags = [(256, width), (257, height), (258, 8), (259, 8), (262, 1)]
    tags += [(322, tile), (323, tile), (324, 8), (325, len(data))] if tile else [
        (273, 8), (277, 1), (278, height), (279, len(data))]  # fmt: skip
    size = 2 + 12 * len(tags) + 4
    for page in range(pages):
        following = offset + size * (page + 1) if page + 1 < pages else 0
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
        parts.append(struct.pack("<H", len(tags)) + entries + struct.pack("<I", following))
    head = b"II*\0" + struct.pack("<I", offset) + data + bytes(len(data) % 2)
    return head + b"".join(parts)


def items(count: int) -> bytes:
    """A sequence of undefined length with empty items."""
    each = b"\xfe\xff\x00\xe0" + bytes(4)
    end = b"\xfe\xff\xdd\xe0" + bytes(4)
    return b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + each * count + end


def nested(depth: int) -> bytes:
    """Sequences in sequences, all of undefined length and never closed."""
    return (b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth


def rle(side: int) -> bytes:
    """Two byte planes of zeros, packed."""
    plane = b"\x81\x00" * (side * side // 128 + 1)
    plane += bytes(len(plane) % 2)
    return struct.pack("<16I", 2, 64, 64 + len(plane), *([0] * 13)) + plane * 2


Write = Callable[[Path], None]


def content(make: Callable[[], bytes]) -> Write:
    """Writes what `make` gives."""
    return lambda path: path.write_bytes(make()) and None  # type: ignore[func-returns-value]


BOMBS: dict[str, tuple[str, Write]] = {
    "dicom deflated, 2 GB": ("x.dcm", content(lambda: deflated(2 << 30))),
    "dicom deflated, wrong length": (
        "x.dcm", content(lambda: deflated(2 << 30, wrong_length=True))),
    "dicom of 100,000 frames": (
        "x.dcm", content(lambda: dicom(1, 1, bytes(200_000), frames=100_000))),
    "dicom of 65535 x 65535": ("x.dcm", content(lambda: dicom(65535, 65535, bytes(100)))),
    "dicom, 4 million empty items": (
        "x.dcm", content(lambda: dicom(64, 64, bytes(8192), before=items(4_000_000)))),
    "dicom, 100,000 nested sequences": (
        "x.dcm", content(lambda: dicom(64, 64, bytes(8192), before=nested(100_000)))),
    "dicom RLE, 9000 x 9000": (
        "x.dcm", content(lambda: dicom(9000, 9000, rle(9000), syntax=RLE))),
    "png RGBA 9990 x 9990": ("x.png", content(lambda: png(9990, colour=6, channels=4))),
    "png grey 30000 x 30000": ("x.png", content(lambda: png(30_000))),
    "png, text of 1 GB": ("x.png", content(lambda: png(
        64, extra=chunk(b"zTXt", b"k\0\0" + squeezed(bytes(1 << 20), 1 << 10))))),
    "png, profile of 1 GB": ("x.png", content(lambda: png(
        64, extra=chunk(b"iCCP", b"k\0\0" + squeezed(bytes(1 << 20), 1 << 10))))),
    "png, 4 million chunks": (
        "x.png", content(lambda: png(64, extra=chunk(b"abCd", b"") * 4_000_000))),
    "jpeg of 65535 x 65535": ("x.jpg", jpeg),
    "tiff of 50,000 pages": ("x.tif", content(lambda: tiff(50_000))),
    "tiff of 20000 x 20000": ("x.tif", content(lambda: tiff(1, width=20_000, height=20_000))),
    "tiff, tile of 40000 x 40000": ("x.tif", content(lambda: tiff(1, height=64, tile=40_000))),
    "table, cell of 120 MB": ("labels.csv", content(
        lambda: b"file,label\na.png,x\nb.png," + b"y" * 120_000_000 + b"\n")),
    "table, 2 million columns": ("labels.csv", content(lambda: b"file,label," + b",".join(
        b"%x" % n for n in range(2_000_000)) + b"\na.png,x\nb.png,y" * 60 + b"\n")),
    "mask RGBA 9990 x 9990": ("masks/a.png", content(lambda: png(9990, colour=6, channels=4))),
}  # fmt: skip


@contextlib.contextmanager
def watch_memory(group: int) -> Iterator[dict[int, int]]:
    """Highest resident memory in kB of each process of a session, by number."""
    peaks: dict[int, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            for name in os.listdir("/proc"):
                if not name.isdigit():
                    continue
                with contextlib.suppress(OSError, ValueError, IndexError):
                    stat = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                    if int(stat[3]) == group:
                        status = Path("/proc", name, "status").read_text()
                        peak = int(status.partition("VmHWM:")[2].split()[0])
                        peaks[int(name)] = max(peak, peaks.get(int(name), 0))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        over.set()
        watcher.join()


def measure(name: str, write: Write, root: Path) -> str:
    """One line: memory, time, exit code, and what became of the file."""
    with tempfile.TemporaryDirectory() as place:
        folder, run = Path(place, "images"), Path(place, "run")
        folder.mkdir()
        for seed, stem in enumerate(("a", "b")):
            pixels = np.random.default_rng(seed).integers(0, 256, (256, 256), np.uint8)
            Image.fromarray(pixels).save(folder / f"{stem}.png")
        masks = name.startswith("masks/")
        path = Path(place, name) if masks or name == "labels.csv" else folder / name
        path.parent.mkdir(exist_ok=True)
        write(path)
        if masks:
            Image.fromarray(np.eye(256, dtype=np.uint8) * 255).save(path.with_name("b.png"))
        size = path.stat().st_size
        verb = "masks" if masks else "ingest"
        words = [sys.executable, "-m", "isnet_cli.cli.app", verb, str(folder), "-o", str(run)]
        words += ["--json", "--no-progress"]
        words += ["--files", str(path.parent)] if masks else []
        words += ["--labels", str(path)] if name == "labels.csv" else []
        environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'models'}"}
        began = time.monotonic()
        process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd=place,
        )  # fmt: skip
        with watch_memory(process.pid) as peaks:
            try:
                output, _ = process.communicate(timeout=TIMEOUT)
                code = str(process.returncode)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                code = "hangs"
        seconds = time.monotonic() - began
        peak = max(peaks.values(), default=0) / 1e6
        return (
            f"{size / 1e6:7.1f} MB {peak:6.2f} GB {seconds:6.1f} s {code:>5}"
            f"  {find_fate(run, path.stem, output)}"
        )


def find_fate(run: Path, key: str, output: bytes) -> str:
    """What the tables or the error say about the file."""
    for table in ("ingest/skipped.csv", "masks/qc.csv"):
        with contextlib.suppress(OSError), (run / table).open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["key"] == key and row["reason"]:
                    return row["reason"]
    with contextlib.suppress(ValueError):
        fault = json.loads(output).get("error")
        return str(fault["message"]).rpartition("/")[2] if fault else "read"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    for title, (name, write) in BOMBS.items():
        if options.only in title:
            print(f"{title:32} {measure(name, write, options.root.resolve())}", flush=True)


if __name__ == "__main__":
    main()
