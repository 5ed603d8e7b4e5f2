"""Sound files of every format that is read, small, made by code and always the same."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isnet_cli.cli.app import main
from tests.images.dicom.factory import (
    SYNTAXES,
    dicom_bytes,
    image_values,
    lut_item,
)
from tests.images.factory import PNG_GREY_ALPHA, PNG_RGB, png_bytes, saved, tiff_bytes
from tests.support.runs import lungs
from tests.trust.kill.inputs import write_all

SIZE = (64, 72)
EIGHT_BIT = {"jpeg"}  # transfer syntaxes that are made with 8 bits


@dataclass(frozen=True)
class Source:
    """One sound file.

    Attributes:
        name: Unique; seeds the mutations of it.
        family: How it is mutated: ``dicom``, ``png``, ``jpeg``, ``tiff``, ``text``, ``yaml``,
            ``json``, ``safetensors`` or ``checkpoint``.
        reader: Name of a function in `tests.trust.fuzz.readers`.
        share: Of all mutants, relative to the others.
        content: The bytes.
    """

    name: str
    family: str
    reader: str
    share: float
    content: bytes


def make_sources(home: Path) -> dict[str, Source]:
    """Every sound file by its name.

    Args:
        home: As `make_home` leaves it; its records are sources too.
    """
    found = [
        *_dicoms(), *_pictures(), *_masks(), *_tables(), *_settings(home), *_records(home),
        *_weights(),
    ]  # fmt: skip
    return {source.name: source for source in found}


def _dicoms() -> list[Source]:
    grey8, grey12 = image_values(8, size=SIZE), image_values(12, size=SIZE)
    frames = np.stack([grey12, grey12[::-1]])
    lut = lut_item(0, np.arange(0, 4096, 16), 12)
    window = {"WindowCenter": 2000, "WindowWidth": 1500, "PixelPaddingValue": 0}
    made = {}
    for name in SYNTAXES:
        if name == "extended":
            continue  # no encoder at hand
        eight = name in EIGHT_BIT
        pixels, bits = (grey8, 8) if eight else (grey12, 12)
        made[name] = dicom_bytes(pixels, bits=bits, syntax=name, **({} if eight else window))
    made |= {
        "bare": dicom_bytes(grey12, preamble=False),
        "bare implicit": dicom_bytes(grey12, preamble=False, syntax="implicit"),
        "luts": dicom_bytes(grey12, VOILUTSequence=[lut], ModalityLUTSequence=[lut]),
        "frames": dicom_bytes(frames, syntax="jpegls", extended_offsets=True),
        "rgb": dicom_bytes(np.stack([grey8] * 3, -1), bits=8, photometric="RGB"),
        "signed": dicom_bytes(image_values(12, signed=True, size=SIZE), signed=True,
                              RescaleSlope=1, RescaleIntercept=-1024),
        "inverse": dicom_bytes(grey12, photometric="MONOCHROME1", syntax="rle"),
    }  # fmt: skip
    return [Source(f"dicom {n}", "dicom", "image", 40 / len(made), c) for n, c in made.items()]


def _pictures() -> list[Source]:
    grey8, grey12 = image_values(8, size=SIZE), image_values(12, size=SIZE)
    image = Image.fromarray(grey8.astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    pngs = {
        "8": png_bytes(grey8, 8),
        "16": png_bytes(image_values(16, size=SIZE), 16),
        "la": png_bytes(np.stack([grey8] * 2, -1), 8, PNG_GREY_ALPHA),
        "rgb": png_bytes(np.stack([grey8] * 3, -1), 8, PNG_RGB),
        "p": saved(image.convert("P"), "PNG", transparency=3),
        "text": png_bytes(grey8, 8, chunks=((b"gAMA", b"\0\0\xb1\x8f"), (b"tEXt", b"a\0b" * 20))),
    }
    jpegs = {
        "grey": saved(image, "JPEG", exif=exif),
        "rgb": saved(image.convert("RGB"), "JPEG", progressive=True),
        "restart": saved(image, "JPEG", restart_marker_blocks=4),
    }
    tiffs = {
        "16": tiff_bytes(grey12, bits=16),
        "12": tiff_bytes(grey12, bits=12),
        "float": tiff_bytes(grey12 / 4095, bits=32, sample_format=3),
        "big": tiff_bytes(grey12, bits=16, order=">"),
        "lzw": saved(image, "TIFF", compression="tiff_lzw"),
        "deflate": saved(image, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg": saved(image, "TIFF", compression="jpeg"),
        "packbits": saved(image, "TIFF", compression="packbits"),
        "g4": saved(image.convert("1"), "TIFF", compression="group4"),
        "pages": saved(image, "TIFF", save_all=True, append_images=[image, image]),
    }
    return [
        Source(f"{kind} {name}", kind, "image", share / len(made), content)
        for kind, share, made in (("png", 10, pngs), ("jpeg", 8, jpegs), ("tiff", 10, tiffs))
        for name, content in made.items()
    ]


def _masks() -> list[Source]:
    mask = Image.fromarray(lungs(64).astype(np.uint8) * 255)
    made = {
        "png": ("png", saved(mask, "PNG")),
        "bits": ("png", saved(mask.convert("1"), "PNG")),
        "jpeg": ("jpeg", saved(mask, "JPEG", quality=95)),
        "tiff": ("tiff", saved(mask, "TIFF", compression="tiff_lzw")),
    }
    return [Source(f"mask {n}", kind, "mask", 1.25, c) for n, (kind, c) in made.items()]


CLASSES = ("normal", "ill")


def _tables() -> list[Source]:
    rows = [(f"a/image_{n:02}.png", f"p{n // 2}", "AB"[n % 2], CLASSES[n % 2]) for n in range(20)]
    labels = "file,patient,source,label\n" + "".join(f"{','.join(row)}\n" for row in rows)
    quoted = "file;patient;finding\n" + "".join(
        f'"{row[0]}";{row[1]};"nodule{"|effusion" if n % 3 else ""}"\n'
        for n, row in enumerate(rows)
    )
    hot = "image\tpneumonia\teffusion\n" + "".join(
        f"{row[0]}\t{n % 2}\t{n // 2 % 2}.0\n" for n, row in enumerate(rows)
    )
    listed = "# images\n" + "".join(f"{row[0]}\n" for row in rows)
    return [
        Source("csv labels", "text", "labels", 3, labels.encode()),
        Source("csv lists", "text", "findings", 2, quoted.encode()),
        Source("csv one-hot utf-16", "text", "findings", 1.5, hot.encode("utf-16")),
        Source("csv boxes", "text", "boxes", 1.5, BOXES.encode()),
        Source("csv of images", "text", "image_table", 1.5, labels.encode()),
        Source("txt of images", "text", "image_list", 1.5, listed.encode()),
    ]


def make_home(home: Path) -> None:
    """Inputs, configurations and a finished run in an empty folder."""
    write_all(home, light=True)
    words = ("run", str(home / "c.yaml"), "-o", str(home / "run"), "-q")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(words) == 0


def _settings(home: Path) -> list[Source]:
    files = {"yaml run": ("c.yaml", "settings", 3), "yaml benchmark": ("b.yaml", "benchmark", 1),
             "yaml segmenter": ("lung.yaml", "segmenter", 1)}  # fmt: skip
    return [
        Source(name, "yaml", reader, share, (home / file).read_bytes())
        for name, (file, reader, share) in files.items()
    ]


BOXES = """\
image_id,class_name,x_min,y_min,x_max,y_max,width,height
a.png,Nodule,10.5,20,30,44.25,48,40
a.png,Nodule,1,2,30,4,48,40
b.png,No finding,,,,,30,20
"""
COCO = {
    "images": [
        {"id": 1, "file_name": "a.png", "height": 48, "width": 40},
        {"id": 2, "file_name": "b.png", "height": 20, "width": 30},
    ],
    "categories": [{"id": 1, "name": "left lung"}, {"id": 2, "name": "heart"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1,
         "segmentation": [[1, 1, 20.5, 3, 18, 30, 2, 25]]},
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]]},
        {"id": 3, "image_id": 2, "category_id": 1,
         "segmentation": {"size": [20, 30], "counts": [100, 200, 300]}},
        {"id": 4, "image_id": 2, "category_id": 1,
         "segmentation": {"size": [20, 30], "counts": "T3X6\\9"}},
    ],
}  # fmt: skip


def _records(home: Path) -> list[Source]:
    found = [Source("json coco", "json", "coco", 4, json.dumps(COCO).encode())]
    for name, (family, share) in RECORDS.items():
        content = (home / "run" / name).read_bytes()
        found.append(Source(f"run {name}", family, "record", share, content))
    return found


RECORDS: Mapping[str, tuple[str, float]] = {
    "run.json": ("json", 1.5),
    "train/model.json": ("json", 1.5),
    "evaluate/metrics.json": ("json", 1),
    "ingest/manifest.csv": ("text", 1),
    "masks/qc.csv": ("text", 0.4),
    "train/history.csv": ("text", 0.4),
    "heatmap/index.csv": ("text", 0.4),
    "evaluate/test/standard/predictions.csv": ("text", 0.4),
    "ingest/.unfinished.jsonl": ("text", 0.4),
    "train/model.safetensors": ("safetensors", 0.4),
    "train/last.ckpt": ("checkpoint", 0.1),
}  # relative to the run


def _weights() -> list[Source]:
    import safetensors.torch
    import torch

    generator = torch.Generator().manual_seed(3)
    state = {
        name: torch.randn(shape, generator=generator)
        for name, shape in {"a.weight": (4, 3), "a.bias": (4,), "b": (1, 2, 2, 2)}.items()
    }
    checkpoint: dict[str, Any] = {
        "identity": "x", "net": state, "optimizer": {"state": {0: {"step": torch.tensor(2.0)}},
        "param_groups": [{"lr": 0.1, "params": [0, 1, 2]}]},
        "progress": {"epoch": 1, "history": [{"epoch": 1.0, "loss": 0.5}], "best": None},
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return [
        Source("safetensors", "safetensors", "weights", 3, safetensors.torch.save(state)),
        Source("checkpoint", "checkpoint", "checkpoint", 1.5, buffer.getvalue()),
    ]
