"""Dice of a lung U-Net on a table of images with masks, by source.

Usage:
    python benchmarks/masks_dice.py TABLE [--model NAME ...] [--mask COLUMN] [--by COLUMN]
                                    [--least COLUMN=NUMBER] [--held-out NAME] [--worst N]

TABLE is a CSV with the column ``file`` and one with masks, paths relative to it; rows without a
mask are left out. Masks are made and cleaned as `isnet masks` does and compared at the images' own
size. `--least` adds a line for the rows whose number in a column is not below the given one.
`--held-out` takes only the images that a shipped network's card names as held out.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch

from isnet_cli.config.segmenter import Pairs, Segmenter
from isnet_cli.core.run_context import RunContext
from isnet_cli.images.find import strip_suffix
from isnet_cli.masks.segmenter.examples import read_examples
from isnet_cli.masks.segmenter.measure import measure, summary
from isnet_cli.masks.segmenter.pairs import Pair
from isnet_models.lung_unet import lung_unet
from isnet_models.registry import find_card


def main() -> None:
    """Prints one line per network and group of images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", nargs="+", default=["lung-unet", "lung-unet-open"])
    parser.add_argument("--mask", default="mask")
    parser.add_argument("--by", default="source")
    parser.add_argument("--least", default="")
    parser.add_argument("--held-out")
    parser.add_argument("--worst", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with options.table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row[options.mask]]
    if options.held_out:
        names = set(find_card(options.held_out).content["held_out"])
        rows = [row for row in rows if Path(row["file"]).stem in names]
    pairs = [_pair(options.table.parent, row, options.mask, options.by) for row in rows]
    config = Segmenter(data=Pairs(table=str(options.table)))
    examples, skipped = read_examples(pairs, config.data, RunContext())
    print(f"{len(pairs)} images with masks, {len(skipped)} unreadable")
    column, _, least = options.least.partition("=")
    enough = {
        strip_suffix(row["file"]) for row in rows if column and float(row[column]) >= float(least)
    }
    for name in options.model:
        found = measure(lung_unet(name), examples, config, RunContext())
        groups = {group: [row for row in found if row["source"] == group]
                  for group in sorted({row["source"] for row in found})}  # fmt: skip
        groups = {"all": found, **groups} if len(groups) > 1 else groups
        if column:
            groups[f"{options.least} or more"] = [r for r in found if r["image"] in enough]
        for group, chosen in groups.items():
            print(f"{Path(name).stem:18s} {group:28s} {_line([row['dice'] for row in chosen])}")
        for row in sorted(found, key=lambda row: float(row["dice"]))[: options.worst]:
            print(f"    {row['dice']:.4f}  {row['image']}")


def _pair(root: Path, row: dict[str, str], mask: str, by: str) -> Pair:
    name = strip_suffix(row["file"])
    return Pair(name, root / row["file"], str(root / row[mask]), name, row.get(by) or "none")


def _line(scores: list[float]) -> str:
    figures = summary(scores)
    names = ("dice_mean", "dice_sd", "dice_p5", "dice_min")
    return f"{figures['images']:5d}  " + "  ".join(f"{figures[name]:.4f}" for name in names)


if __name__ == "__main__":
    main()
