"""Maps of a vision transformer trained on phantoms: is the lesion found, and relevance conserved?

    python benchmarks/attention_quality.py [--seeds 0,1,2] [--steps 900] [--cache FOLDER] [--json]

A small transformer behind three convolutions (4 layers of width 96, patches of 8 px) learns ill
against normal from phantoms without marks. Of ill test images that it calls ill, by the map of the
logit ill minus that of the logit normal:

pointing   share of images whose strongest positive place lies on the lesion (phantom_lab.py)
inside     share of the positive relevance on the lesion
conserved  sum of the map, in the difference of the logits: median of the images, and quartiles
without    largest difference from 1 where nothing is added to activations (biases, positions and
           tokens set to 0), epsilon 0, float64: what the rules themselves lose
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.networks import without_biases
from benchmarks.phantom_lab import Images, draw_images
from isnet_cli.dataset.records import DEPTH
from isnet_cli.stats.localisation import average, measure_localisation, scale_tolerance
from isnet_lrp import relevance

FAMILIES = ("flex", "attnlrp", "cp-lrp", "gradient")
SIDE, PATIENTS, BATCH = 64, (1200, 4, 240, 4), 32
ILL, NORMAL = 0, 1


def build(seed: int) -> nn.Module:
    """The network, 0.5 million parameters."""
    torch.manual_seed(seed)
    stem = [ConvStemConfig(width, 3, 2) for width in (24, 48, 96)]
    return VisionTransformer(SIDE, 8, 4, 3, 96, 192, num_classes=2, conv_stem_configs=stem)


def read_set(images: Images) -> tuple[Tensor, Tensor]:
    """Pixels [N, 3, side, side] in [0, 1] and classes [N]."""
    pixels = torch.from_numpy(images.pixels.astype(np.float32) / DEPTH)
    return pixels[:, None].repeat(1, 3, 1, 1), torch.from_numpy(~images.ill).long()


def train(net: nn.Module, x: Tensor, classes: Tensor, steps: int, seed: int) -> None:
    """Trains on shifted and mirrored images; the rate falls as a cosine."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    net.train()
    for _ in range(steps):
        at = torch.randint(len(x), (BATCH,), generator=generator)
        shift = torch.randint(-4, 5, (2,), generator=generator).tolist()
        batch = torch.roll(x[at], shift, (2, 3))
        batch = batch.flip(3) if torch.rand((), generator=generator) < 0.5 else batch
        loss = F.cross_entropy(net(batch), classes[at], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    net.eval()


def explain(net: nn.Module, x: Tensor, family: str, epsilon: float) -> tuple[Tensor, Tensor]:
    """Maps of ill minus normal [N, H, W], and the difference of the logits [N]."""
    parts = [relevance(net, part, "all", family=family, epsilon=epsilon) for part in x.split(16)]
    maps = torch.cat([found.maps[:, ILL] - found.maps[:, NORMAL] for found in parts])
    logits = torch.cat([found.logits for found in parts])
    return maps.sum(1), logits[:, ILL] - logits[:, NORMAL]


def measure(net: nn.Module, test: Images) -> dict[str, Any]:
    """Area under the curve, and the figures of every family."""
    x, classes = read_set(test)
    with torch.no_grad():
        logits = torch.cat([net(part) for part in x.split(64)])
    score = (logits[:, ILL] - logits[:, NORMAL]).numpy()
    found: dict[str, Any] = {"auc": float(roc_auc_score(classes == ILL, score))}
    at = np.flatnonzero(test.ill & (score > 0))
    found["images"] = len(at)
    blur, slack = scale_tolerance((SIDE, SIDE))
    bare = without_biases(net, x[at[:8]])
    for family in FAMILIES:
        maps, difference = explain(net, x[at], family, 0.01)
        seen = measure_localisation(
            maps.double().numpy(), test.lesions[at], test.lungs[at], blur=blur, slack=slack
        )
        shares = (maps.sum((1, 2)) / difference).double().numpy()
        plain, value = explain(bare, x[at[:8]].double(), family, 0.0)
        found[family] = {
            "pointing": average(seen.hit), "inside": average(seen.inside_share),
            "chance": average(seen.chance),
            "conserved": [float(q) for q in np.quantile(shares, (0.25, 0.5, 0.75))],
            "without": float((plain.sum((1, 2)) / value - 1).abs().max()),
        }  # fmt: skip
    return found


def write_table(runs: list[dict[str, Any]]) -> str:
    """Means over the runs."""
    lines = ["| family | pointing | inside | conserved (quartiles) | without |",
             "|---|--:|--:|--:|--:|"]  # fmt: skip

    def mean(family: str, name: str) -> str:
        values = [run[family][name] for run in runs]
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):.2f}{spread}"

    for family in FAMILIES:
        low, middle, high = (
            statistics.fmean(run[family]["conserved"][i] for run in runs) for i in range(3)
        )
        cells = [
            family, mean(family, "pointing"), mean(family, "inside"),
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            f"{max(run[family]['without'] for run in runs):.0e}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    area = statistics.fmean(run["auc"] for run in runs)
    chance = statistics.fmean(run["flex"]["chance"] for run in runs)
    lines.append(f"\nAUC {area:.3f}; pointing by chance {chance:.2f}; {len(runs)} seeds, "
                 f"{[run['images'] for run in runs]} images")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--patients", type=int, nargs=2, default=(PATIENTS[0], PATIENTS[2]))
    parser.add_argument("--cache", type=Path, help="keep the phantoms here")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    counts = (given.patients[0], PATIENTS[1], given.patients[1], PATIENTS[3])
    runs = []
    for seed in map(int, given.seeds.split(",")):
        images = draw_images(seed, counts, SIDE, given.cache)
        net = build(seed)
        train(net, *read_set(images["train"]), given.steps, seed)
        runs.append(measure(net, images["test"]))
        print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    print(json.dumps(runs) if given.json else write_table(runs))


if __name__ == "__main__":
    main()
