"""The training script of the lung U-Net: a whole small run, its card, its changes to films."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lung_unet_augment
import train_lung_unet
from isnet_models.lung_unet import LungUNet, lung_unet
from masks_factory import SIZES, film, lungs, write_mask


def data_folder(root: Path) -> Path:
    with_labels = []
    for key, size in SIZES.items():
        for number, source in enumerate(("north", "south")):
            name = f"{key.replace('/', '_')}_{source}.png"
            pixels = np.rint(film(size, number) * 255).astype(np.uint8)
            write_mask(root / "films" / name, pixels)
            write_mask(root / "masks" / name, lungs(size))
            with_labels.append((f"films/{name}", f"masks/{name}", source, name[0]))
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "mask", "source", "patient"), *with_labels])
    return root


def run_script(monkeypatch: pytest.MonkeyPatch, data: Path, output: Path) -> dict[str, object]:
    arguments = ["--data", str(data), "--output", str(output), "--epochs", "1", "--seed", "5"]
    arguments += ["--batch-size", "2", "--phantoms", "4", "--held-out", "0.5"]
    monkeypatch.setattr(sys, "argv", ["train_lung_unet.py", *arguments])
    train_lung_unet.main()
    card: dict[str, object] = json.loads((output / "lung-unet.json").read_text())
    return card


def test_a_run_writes_weights_with_a_card_and_repeats_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_folder(tmp_path / "data")
    card = run_script(monkeypatch, data, tmp_path / "1")
    again = run_script(monkeypatch, data, tmp_path / "2")
    assert card["sha256"] == again["sha256"]
    assert card["held_out"] == again["held_out"]
    figures = card["figures"]
    assert isinstance(figures, dict)
    assert {"north", "south"} <= set(figures)
    assert all(0 <= f["dice_min"] <= f["dice_mean"] <= 1 for f in figures.values())
    shown = json.dumps(card)
    assert str(tmp_path) not in shown
    assert "--seed 5" in shown
    net = lung_unet(str(tmp_path / "1" / "lung-unet.safetensors"))
    assert not net.training


def test_no_patient_is_in_training_and_held_out(tmp_path: Path) -> None:
    examples = train_lung_unet.read_examples(data_folder(tmp_path))
    held = train_lung_unet.hold_out(examples, 0.5, 0)
    assert 0 < sum(e.group in held for e in examples) < len(examples)
    assert held == train_lung_unet.hold_out(examples[::-1], 0.5, 0)
    assert {e.group for e in examples} == {"a", "t", "b"}


def test_the_loss_by_hand() -> None:
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    # p = 1/2 everywhere: cross-entropy ln 2; Dice 1 - (2*1 + 1) / (2 + 2 + 1) = 2/5
    loss = train_lung_unet.loss_of(torch.zeros(1, 1, 2, 2), target)
    assert float(loss) == pytest.approx(np.log(2) + 0.4, abs=1e-6)
    sure = train_lung_unet.loss_of((target - 0.5) * 200, target)
    assert float(sure) == pytest.approx(0.0, abs=1e-6)


def test_phantoms_are_drawn_as_rarely_as_said() -> None:
    sources = ["big"] * 400 + ["small"] * 100 + ["phantom-A"] * 90 + ["phantom-B"] * 10
    chances = train_lung_unet.source_balance(sources)
    assert chances.sum() == pytest.approx(1)
    assert chances[500:].sum() == pytest.approx(train_lung_unet.DRAWN)
    assert chances[:400].sum() / chances[400:500].sum() == pytest.approx(2)  # sqrt(400 / 100)
    assert train_lung_unet.source_balance(["big"] * 3) == pytest.approx(np.full(3, 1 / 3))


def test_the_average_follows_weights_and_statistics() -> None:
    net, average = LungUNet(), LungUNet()
    before = {name: value.clone() for name, value in average.state_dict().items()}
    train_lung_unet.follow(average, net, 0.9)
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            expected = 0.9 * before[name] + 0.1 * net.state_dict()[name]
            torch.testing.assert_close(value, expected)


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    films = np.stack([film((128, 128), seed) for seed in range(count)])
    masks = np.stack([lungs((128, 128)).astype(np.float32)] * count)
    return torch.from_numpy(films)[:, None], torch.from_numpy(masks)[:, None]


def test_changed_films_stay_in_range_and_repeat_themselves() -> None:
    films, masks = batch()
    results = [
        lung_unet_augment.augment(films, masks, np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    for film_, mask in results:
        assert film_.shape == mask.shape == films.shape
        assert 0 <= float(film_.min()) <= float(film_.max()) <= 1
        assert 0 <= float(mask.min()) <= float(mask.max()) <= 1
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])


def test_films_and_masks_move_together() -> None:
    _, masks = batch()
    films = 0.8 - 0.5 * masks
    moved, moved_masks = lung_unet_augment._move(films, masks, torch.Generator().manual_seed(0))
    inside = moved_masks > 0.99
    assert float((moved[inside] - 0.3).abs().max()) < 1e-2
    assert not torch.allclose(moved_masks, masks, atol=0.1)


def test_what_a_bar_covers_is_no_lung() -> None:
    pixels, mask = film((128, 128), 0), np.ones((128, 128), np.float32)
    rng = np.random.default_rng(4)
    changed = [lung_unet_augment._collimate(pixels, mask, rng) for _ in range(40)]
    barred = [(f, m) for f, m in changed if (m == 0).any()]
    assert 4 < len(barred) < 30
    for film_, mask_ in barred:
        assert np.ptp(film_[mask_ == 0]) == 0
        assert np.array_equal(film_[mask_ == 1], pixels[mask_ == 1])
