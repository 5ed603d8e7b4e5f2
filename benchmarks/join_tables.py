"""How long it takes to read large label tables and to join them to the images.

Usage:
    python benchmarks/join_tables.py [--share 1.0] [--only NAME] [--json FILE]

Tables are written as well-known collections lay them out, with as many rows, and with far fewer
images than rows, as when a part of the collection is looked at. `read` is the time to read the
table and to find the meaning of each row, `join` the time to find the row of each image; neither
opens an image. Seconds of one core, other
programs left out; the peak of memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.labels.join import join_labels
from isnet_cli.labels.join_keys import ImageName
from isnet_cli.labels.tables import read_labels

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema")


@dataclass(frozen=True)
class Case:
    """A table, and which of the files it names there are.

    Attributes:
        name: Short name of the collection.
        rows: Rows of the whole table.
        images: Files in the folder.
        header: First line.
        write_row: Gives the line of a row, and the path of its file below the folder of images.
    """

    name: str
    rows: int
    images: int
    header: str
    write_row: Callable[[int, random.Random], tuple[str, str]]


@dataclass(frozen=True)
class Timing:
    """What a table took."""

    name: str
    rows: int
    images: int
    matched: int
    read_s: float
    join_s: float
    peak_mb: float


def _write_chestxray14(row: int, rng: random.Random) -> tuple[str, str]:
    file = f"{row // 4:08d}_{row % 4:03d}.png"
    names = "|".join(rng.sample(FINDINGS, rng.randint(1, 3))) if row % 2 else "No Finding"
    rest = f"{row % 4},{row // 4},{rng.randint(20, 90)},M,PA,2682,2749,0.143,0.143"
    return f"{file},{names},{rest},", f"images/{file}"


def _write_chexpert(row: int, rng: random.Random) -> tuple[str, str]:
    path = f"train/patient{row // 4 + 1:05d}/study{row % 4 + 1}/view1_frontal.jpg"
    cells = ",".join(rng.choice(("", "0.0", "1.0", "-1.0")) for _ in range(14))
    where = f"CheXpert-v1.0-small/{path}"
    return f"{where},Male,{rng.randint(20, 90)},Frontal,AP,{cells}", path


def _write_mimic(row: int, rng: random.Random) -> tuple[str, str]:
    subject, study = 10_000_000 + row // 4, 50_000_000 + row // 2
    parts = [f"{rng.getrandbits(32):08x}" for _ in range(5)]
    dicom = "-".join(parts)
    cells = ",".join(rng.choice(("", "0.0", "1.0", "-1.0")) for _ in range(14))
    folder = f"files/p{subject // 1_000_000}/p{subject}/s{study}"
    return f"{dicom},{subject},{study},PA,{cells}", f"{folder}/{dicom}.jpg"


CHEXPERT = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)
CASES = (
    Case(
        "chestxray14",
        112_120,
        1000,
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],",
        _write_chestxray14,
    ),
    Case(
        "chexpert",
        223_648,
        2000,
        f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT}",
        _write_chexpert,
    ),
    Case(
        "mimic",
        377_110,
        2000,
        f"dicom_id,subject_id,study_id,ViewPosition,{CHEXPERT}",
        _write_mimic,
    ),
)


def measure(case: Case, folder: Path, share: float) -> Timing:
    """Writes the table below `folder`, and measures how long reading and joining take."""
    rng = random.Random(0)  # noqa: S311
    rows, count = int(case.rows * share), int(case.images * share) or 1
    lines: list[str] = [case.header]
    paths: list[str] = []
    step = rows // count
    root = folder / f"{case.name}-images"
    for row in range(rows):
        line, path = case.write_row(row, rng)
        lines.append(line)
        if row % step == 0 and len(paths) < count:
            paths.append(path)
    file = folder / f"{case.name}.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    images = [ImageName(root / path, path) for path in paths]
    labels = Labels(file=str(file), task="multilabel")
    start = time.process_time()
    table = read_labels(labels, Columns())
    middle = time.process_time()
    found = join_labels(images, table, labels, [root])
    end = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Timing(
        case.name, rows, len(images), found.chosen.images, middle - start, end - middle, peak
    )


def main() -> None:
    """Prints one line per table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the rows and images, 0 to 1")
    parser.add_argument("--only", choices=[case.name for case in CASES], help="one table alone")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()
    found = []
    print(f"{'table':<12} {'rows':>8} {'images':>7} {'matched':>7} {'read s':>7} {'join s':>7}  MB")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if args.only not in (None, case.name):
                continue
            one = measure(case, Path(folder), args.share)
            found.append(one)
            print(
                f"{one.name:<12} {one.rows:>8} {one.images:>7} {one.matched:>7}"
                f" {one.read_s:>7.2f} {one.join_s:>7.2f}  {one.peak_mb:.0f}",
                flush=True,
            )
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
