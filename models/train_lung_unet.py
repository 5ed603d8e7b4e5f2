"""Trains the lung U-Net on films with masks, measures it on held-out films, writes its card.

    python models/train_lung_unet.py --data FOLDER --output DIR

FOLDER holds labels.csv with the columns file, mask, source (paths relative to the folder; a column
patient keeps films of one patient together). One run with the same arguments on the same machine
gives the same weights.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lung_unet_augment import augment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # isnet_cli, from a plain checkout

from isnet_cli.config.schema import Dicom, Postprocess
from isnet_cli.data.geometry import Frame
from isnet_cli.data.maskfiles import load_mask
from isnet_cli.data.phantoms import phantoms
from isnet_cli.data.read import read_films
from isnet_cli.stages.masks_post import mask_on_original
from isnet_models.lung_unet import DECODER_CHANNELS, ENCODER, SIZE, LungUNet
from isnet_models.weights import save_weights

EMA = 0.995  # decay of the averaged weights, which are the ones kept
PHANTOM_SEED = 1_000_003  # of no demonstration and no test
DRAWN = 0.12  # share of phantoms among the films of a batch, when there are any
SMALL = 192  # px, size of the films in the first epochs: half the time of 256
SMALL_SHARE = 0.7  # of the epochs


@dataclass(frozen=True)
class Example:
    """One film with its mask; the mask is kept at the film's own size for honest figures."""

    name: str
    source: str
    group: str
    film: NDArray[np.float32]  # [256, 256]
    share: NDArray[np.float32]  # [256, 256], share of lung per pixel
    mask: NDArray[np.bool_]  # [H, W]


def read_examples(folder: Path) -> list[Example]:
    """All films of ``labels.csv`` with their masks, letterboxed for the network."""
    examples = []
    with (folder / "labels.csv").open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            (film,) = read_films(folder / row["file"], Dicom(), "bits")
            mask = load_mask(folder / row["mask"]).astype(np.float32)
            name, source = Path(row["file"]).stem, row["source"]
            examples.append(example(name, source, row.get("patient") or name, film.pixels, mask))
    return examples


def drawn_examples(count: int) -> list[Example]:
    """Chest phantoms with their exact masks, as two further sources."""
    return [
        example(
            f"phantom_{p.patient}", f"phantom-{p.hospital}", f"phantom_{p.patient}",
            p.pixels, p.lungs.astype(np.float32),
        )
        for p in phantoms(count, PHANTOM_SEED)
    ]  # fmt: skip


def example(
    name: str, source: str, group: str, film: NDArray[np.float32], mask: NDArray[np.float32]
) -> Example:
    """One example from a film and its mask [H, W] in [0, 1]."""
    if film.shape != mask.shape:
        raise SystemExit(f"{name}: film is {film.shape}, mask is {mask.shape}")
    height, width = film.shape
    frame = Frame((height, width), SIZE)
    return Example(name, source, group, frame.to_network(film), frame.to_network(mask), mask >= 0.5)


def hold_out(examples: list[Example], share: float, seed: int) -> set[str]:
    """Groups (patients) that are never trained on: `share` of each source, by hash of the name."""
    held: set[str] = set()
    for source in sorted({e.source for e in examples}):
        groups = {e.group for e in examples if e.source == source}
        order = sorted(groups, key=lambda g: hashlib.sha256(f"{seed}/{g}".encode()).hexdigest())
        held.update(order[: round(share * len(order))])
    return held


def loss_of(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice loss, mean over the batch; `target` is a share [0, 1]."""
    bce = F.binary_cross_entropy_with_logits(logits, target)
    p = torch.sigmoid(logits)
    overlap = (p * target).flatten(1).sum(1)
    total = (p + target).flatten(1).sum(1)
    return bce + (1 - (2 * overlap + 1) / (total + 1)).mean()


def train(examples: list[Example], args: argparse.Namespace) -> LungUNet:
    """Trains from random weights; returns the exponential average of the weights."""
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    films = torch.from_numpy(np.stack([e.film for e in examples]))[:, None]
    masks = torch.from_numpy(np.stack([e.share for e in examples]))[:, None]
    chances = source_balance([e.source for e in examples])
    net, average = LungUNet(), LungUNet()
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-3)
    steps_per_epoch = math.ceil(len(examples) / args.batch_size)
    steps = args.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, steps, pct_start=0.15)
    started, net = time.monotonic(), net.train()
    for epoch in range(args.epochs):
        losses = []
        for _ in range(steps_per_epoch):
            chosen = rng.choice(len(examples), args.batch_size, replace=False, p=chances)
            film, mask = films[chosen], masks[chosen]
            if epoch < SMALL_SHARE * args.epochs:
                film, mask = shrink(film), shrink(mask)
            film, mask = augment(film, mask, rng)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
                logits = net.logits(film)
            loss = loss_of(logits.float(), mask)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            follow(average, net, EMA if epoch else 0.9)
            losses.append(float(loss.detach()))
        minutes = (time.monotonic() - started) / 60
        print(f"epoch {epoch + 1}/{args.epochs} loss {np.mean(losses):.4f} {minutes:.1f} min")
        sys.stdout.flush()
    return average.eval()


def shrink(batch: Tensor) -> Tensor:
    """[B, 1, 256, 256] to [B, 1, SMALL, SMALL], antialiased."""
    return F.interpolate(batch, [SMALL, SMALL], mode="bilinear", antialias=True).clamp(0, 1)


def source_balance(sources: list[str]) -> NDArray[np.float64]:
    """Chance of each film: small sources are drawn more often, by the root of their size.

    Phantoms together are drawn as often as `DRAWN` says.
    """
    drawn = np.array([s.startswith("phantom-") for s in sources])
    weights = np.array([1 / math.sqrt(sources.count(s)) for s in sources])
    for chosen, share in ((drawn, DRAWN), (~drawn, 1 - DRAWN)):
        weights[chosen] *= share / max(weights[chosen].sum(), 1e-9)
    chances: NDArray[np.float64] = weights / weights.sum()
    return chances


@torch.no_grad()
def follow(average: LungUNet, net: LungUNet, decay: float) -> None:
    """Moves the averaged weights and statistics a little towards the current ones."""
    for kept, now in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


@torch.inference_mode()
def dice_scores(net: LungUNet, examples: list[Example]) -> list[float]:
    """Dice of the union of both lungs at each film's own size, cleaned as the product does."""
    scores = []
    for e in examples:
        probability = net(torch.from_numpy(e.film)[None, None])[0, 0].numpy()
        height, width = e.mask.shape
        found = mask_on_original(probability, Frame((height, width), SIZE), 0.5, Postprocess())
        scores.append(2 * float((found & e.mask).sum()) / max(1, int(found.sum() + e.mask.sum())))
    return scores


def measure(net: LungUNet, examples: list[Example]) -> dict[str, Any]:
    """Mean, standard deviation, 5th percentile and minimum of Dice for each source."""
    figures: dict[str, Any] = {}
    for source in sorted({e.source for e in examples}):
        chosen = [e for e in examples if e.source == source]
        dice = np.array(dice_scores(net, chosen))
        figures[source] = {
            "films": len(chosen),
            "dice_mean": round(float(dice.mean()), 4),
            "dice_sd": round(float(dice.std()), 4),
            "dice_p5": round(float(np.percentile(dice, 5)), 4),
            "dice_min": round(float(dice.min()), 4),
        }
        worst = sorted(zip(dice, (e.name for e in chosen), strict=True))[:5]
        print(source, figures[source], "worst:", [(n, round(float(d), 3)) for d, n in worst])
    return figures


def write_card(args: argparse.Namespace, sha256: str, card: dict[str, Any]) -> None:
    """Completes the card with what this run knows and writes it beside the weights."""
    about = json.loads((Path(__file__).parent / "lung_unet_about.json").read_text("utf-8"))
    content = {
        **about,
        "version": args.version,
        "file": "lung-unet.safetensors",
        "sha256": sha256,
        "architecture": {
            "class": LungUNet.__name__,
            "encoder": ENCODER,
            "decoder_channels": list(DECODER_CHANNELS),
        },
        **card,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (args.output / "lung-unet.json").write_text(text, "utf-8")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, default=0, metavar="N", help="add N drawn films")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--held-out", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bfloat16", action="store_true", help="mixed precision: quicker")
    parser.add_argument("--version", default="0.1")
    return parser.parse_args()


def main() -> None:
    """Reads, splits, trains, measures, writes."""
    args = parse()
    torch.set_num_threads(args.threads)
    examples = read_examples(args.data) + drawn_examples(args.phantoms)
    held = hold_out(examples, args.held_out, args.seed)
    training = [e for e in examples if e.group not in held]
    test = [e for e in examples if e.group in held]
    print(f"{len(training)} films for training, {len(test)} held out")
    started = time.monotonic()
    net = train(training, args)
    minutes = round((time.monotonic() - started) / 60, 1)
    args.output.mkdir(parents=True, exist_ok=True)
    sha256 = save_weights(net.state_dict(), args.output / "lung-unet.safetensors", half=True)
    net.half().float()  # measure what is shipped
    command = " ".join(["python", "models/train_lung_unet.py", *shown_arguments(args)])
    write_card(
        args,
        sha256,
        {
            "training": {
                "command": command,
                "films": {s: sum(e.source == s for e in training) for s in source_names(examples)},
                "minutes": minutes,
            },
            "figures": measure(net, test),
            "held_out": sorted(e.name for e in test),
        },
    )


def source_names(examples: list[Example]) -> list[str]:
    """Names of the sources, sorted."""
    return sorted({e.source for e in examples})


def shown_arguments(args: argparse.Namespace) -> list[str]:
    """The arguments that matter for the result, as typed; folders are named, not located."""
    shown = ["--data", "FOLDER", "--output", "DIR"]
    for key, value in vars(args).items():
        if key in ("data", "output", "threads"):
            continue
        flag = "--" + key.replace("_", "-")
        shown += [flag] if value is True else [] if value is False else [flag, str(value)]
    return shown


if __name__ == "__main__":
    main()
