"""Mutated files of every format: a reason or sound images, nothing else, and nothing printed."""

from __future__ import annotations

import struct
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.read import REASONS, read_images
from isnet_cli.images.types import XRay
from tests.images.dicom.factory import EXACT, dicom_bytes, image_values, lut_item
from tests.images.factory import PNG_GREY_ALPHA, PNG_RGB, png_bytes, saved, tiff_bytes

SIZE = (24, 30)
SLOWEST = 5.0  # seconds for one file; generous, machines are shared


def seeds() -> dict[str, bytes]:
    """One sound file of each kind."""
    grey8, grey12 = image_values(8, size=SIZE), image_values(12, size=SIZE)
    frames = np.stack([grey12, grey12[::-1]])
    lut = lut_item(0, np.arange(0, 4096, 16), 12)
    window = {"WindowCenter": 2000, "WindowWidth": 1500, "PixelPaddingValue": 0}
    found = {f"dicom {syntax}": dicom_bytes(grey12, syntax=syntax, **window) for syntax in EXACT}
    found |= {
        "dicom jpeg": dicom_bytes(grey8, bits=8, syntax="jpeg"),
        "dicom j2k": dicom_bytes(grey12, syntax="j2k"),
        "dicom bare": dicom_bytes(grey12, preamble=False),
        "dicom luts": dicom_bytes(grey12, VOILUTSequence=[lut], ModalityLUTSequence=[lut]),
        "dicom frames": dicom_bytes(frames, syntax="jpegls", extended_offsets=True),
        "dicom rgb": dicom_bytes(np.stack([grey8] * 3, -1), bits=8, photometric="RGB"),
        "png 8": png_bytes(grey8, 8),
        "png 16": png_bytes(grey12, 16),
        "png la": png_bytes(np.stack([grey8] * 2, -1), 8, PNG_GREY_ALPHA),
        "png rgb": png_bytes(np.stack([grey8] * 3, -1), 8, PNG_RGB),
        "tiff 16": tiff_bytes(grey12, bits=16),
        "tiff float": tiff_bytes(grey12 / 4095, bits=32, sample_format=3),
    }
    image = Image.fromarray(grey8.astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    found |= {
        "png p": saved(image.convert("P"), "PNG", transparency=3),
        "jpeg": saved(image, "JPEG", exif=exif),
        "jpeg rgb": saved(image.convert("RGB"), "JPEG", progressive=True),
        "tiff lzw": saved(image, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": saved(image, "TIFF", compression="jpeg"),
        "tiff pages": saved(image, "TIFF", save_all=True, append_images=[image, image]),
    }
    return found


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """`content` with one kind of damage; headers are hit as often as pixels."""
    if not content:
        return content
    data = bytearray(content)
    at = int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 1000)))
    kind = rng.integers(6)
    if kind == 0:
        for _ in range(int(rng.integers(1, 9))):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        number = (0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000)[int(rng.integers(6))]
        data[at : at + 4] = struct.pack("<I", number)
    elif kind == 3:
        del data[at : at + int(rng.integers(1, 40))]
    elif kind == 4:
        data[at:at] = data[: int(rng.integers(1, 300))]
    else:
        data[at : at + 2] = rng.bytes(2)
    return bytes(data)


def attempt(path: Path) -> UnreadableImage | list[XRay]:
    try:
        return read_images(path)
    except UnreadableImage as fault:
        return fault


def outcome(path: Path) -> str:
    """Reads one file and checks the promise."""
    start = time.monotonic()
    result = attempt(path)
    assert time.monotonic() - start < SLOWEST
    if isinstance(result, UnreadableImage):
        assert result.reason in REASONS
        assert 0 < len(result.detail) < 300
        return result.reason
    assert result
    for image in result:
        assert image.pixels.dtype == np.float32
        assert image.pixels.ndim == 2
        assert image.pixels.size
        assert np.isfinite(image.pixels).all()
        assert image.pixels.min() >= 0.0
        assert image.pixels.max() <= 1.0
        assert 1 <= image.bits <= 16
        assert image.view in ("frontal", "lateral", "unknown")
    return "read"


def fuzz(folder: Path, cases: int, seed: int) -> Counter[str]:
    rng = np.random.default_rng(seed)
    sources = list(seeds().items())
    outcomes: Counter[str] = Counter()
    path = folder / "fuzzed"
    for case in range(cases):
        name, content = sources[case % len(sources)]
        damaged = mutated(content, rng)
        if rng.random() < 0.3:
            damaged = mutated(damaged, rng)
        path.write_bytes(damaged)
        try:
            outcomes[outcome(path)] += 1
        except Exception as error:  # names the case, so that it can be repeated
            raise AssertionError(f"case {case} ({name}), seed {seed}") from error
    return outcomes


def test_the_sound_files_are_read(tmp_path: Path) -> None:
    for name, content in seeds().items():
        (tmp_path / "image").write_bytes(content)
        assert outcome(tmp_path / "image") == "read", name


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_every_prefix_of_a_file_is_survived(tmp_path: Path, step: int) -> None:
    for content in seeds().values():
        for sixteenth in range(0, 16, step):
            (tmp_path / "image").write_bytes(content[: len(content) * sixteenth // 16])
            outcome(tmp_path / "image")


@pytest.mark.parametrize("cases", [240, pytest.param(960, marks=pytest.mark.slow)])
def test_mutated_files(tmp_path: Path, monkeypatch, capfd, cases: int) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    outcomes = fuzz(tmp_path, cases, seed=0)
    assert outcomes["read"] > cases // 5
    assert outcomes["unreadable"] > cases // 50
    assert len(outcomes) >= 8
    assert list(scratch.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_mutated_files(tmp_path: Path, seed: int) -> None:
    assert sum(fuzz(tmp_path, 10_000, seed).values()) == 10_000
