"""Rates, orders, weights and cuts of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isnet_cli.config.schema import Schedule
from isnet_cli.train.setup import (
    EVERY,
    build_method,
    class_weights,
    epoch_batches,
    epoch_order,
    learning_rate,
)
from isnet_lrp.losses.energy import EnergyLossSettings
from isnet_models.methods.guided.isnet import ISNet
from isnet_models.methods.standard import Standard
from tests.support.runs import small_config
from tests.train.factory import images


def test_schedules_by_hand() -> None:
    cosine = Schedule(name="cosine", final=0.0)
    assert learning_rate(1.0, cosine, 0, 10) == pytest.approx(1)
    assert learning_rate(1.0, cosine, 5, 10) == pytest.approx(0.5)
    assert learning_rate(1.0, cosine, 10, 10) == pytest.approx(0, abs=1e-12)
    step = Schedule(name="step", milestones=[3, 6], gamma=0.1)
    assert [learning_rate(1.0, step, p, 9) for p in (2.9, 3, 6)] == pytest.approx([1, 0.1, 0.01])
    warm = Schedule(name="constant", warmup_epochs=2)
    rates = [learning_rate(1.0, warm, p, 9) for p in (0, 1, 1.9, 2)]
    assert rates == sorted(rates)
    assert rates[-1] == 1


def test_order_is_a_function_of_seed_and_epoch(tmp_path: Path) -> None:
    store, config = images(tmp_path)
    first = epoch_order(config, store, 0)
    assert sorted(first) == list(range(9))
    assert np.array_equal(first, epoch_order(config, store, 0))
    assert not np.array_equal(first, epoch_order(config, store, 1))


def test_a_last_image_alone_joins_the_batch_before(tmp_path: Path) -> None:
    store, config = images(tmp_path)
    batches = epoch_batches(config, store, 0)
    assert [len(b) for b in batches] == [4, 5]
    assert np.array_equal(np.concatenate(batches), epoch_order(config, store, 0))


def test_balanced_sampling_and_weights(tmp_path: Path) -> None:
    store, config = images(tmp_path, train={"sampler": "balanced", "class_weights": "balanced"})
    drawn = np.concatenate([epoch_order(config, store, e) for e in range(400)])
    share = store.labels[drawn].mean()
    assert share == pytest.approx(0.5, abs=0.03)  # 4 of 9 images are sick
    assert class_weights(config, store).tolist() == pytest.approx([9 / 10, 9 / 8])


def test_method_takes_its_settings(tmp_path: Path) -> None:
    heat = {"weight": {0: 0.1, 3: 0.8}, "decay": 0.5, "e": 2.0, "w2": 3.0}
    config = small_config(train={"heatmap_loss": heat})
    method = build_method(config, {"input": (2.0, 9.0), "layer1": (1.0, 3.0)}, None)
    assert isinstance(method, ISNet)
    assert [method.heatmap_weight(e) for e in (0, 2, 3, 9)] == [0.1, 0.1, 0.8, 0.8]
    s = method.loss.loss["input"]
    assert (s.low, s.high, s.decay, s.saturation, s.foreground_weight) == (2.0, 9.0, 0.5, 2.0, 3.0)
    assert method.loss.loss["layer1"].high == 3.0
    one = build_method(config, {EVERY: (2.0, 9.0)}, None)
    assert isinstance(one, ISNet)
    assert one.loss.loss == s
    energy = small_config(train={"heatmap_loss": {"loss": "energy", "layers": ["layer1"]}})
    method = build_method(energy, {}, None)
    assert isinstance(method, ISNet)
    assert method.loss.loss == EnergyLossSettings()
    assert method.loss.explanation.layers == ("layer1",)
    assert isinstance(
        build_method(small_config(train={"method": "standard"}), None, None), Standard
    )
