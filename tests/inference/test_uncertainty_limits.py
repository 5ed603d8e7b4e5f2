"""Limits of the flags: stored with the model; foreign images exceed them, others do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.image_dataset import ImageDataset, load_dataset
from isnet_cli.dataset.training_images import read_verdicts
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.resize import Frame
from isnet_cli.inference.fit_limits import find_limits
from isnet_cli.inference.model_files import load_model
from isnet_cli.inference.uncertainty import KEY, Limits, compute_margins, read_limits
from isnet_cli.phantoms.phantom import make_phantom
from isnet_cli.train import stage as train
from isnet_models.features import decision_features
from tests.evaluate.factory import save_random_model
from tests.support.runs import make_run, small_config

SIDE = 32
CPU = torch.device("cpu")


def store_of(folder: Any, name: str) -> ImageDataset:
    rows = [r for r in read_manifest(folder.path / "ingest/manifest.csv") if r.set == name]
    qc, config = read_verdicts(folder), small_config()
    return load_dataset(rows, folder, qc, ["normal", "sick"], config, RunContext())


def distances(folder: Any, images: np.ndarray) -> tuple[np.ndarray, Limits]:
    """Distance of images [N, h, w], and the limits of the run's model."""
    model = load_model(folder.path, CPU)
    limits = read_limits(model.card, "card")
    assert limits.cloud is not None
    with torch.inference_mode():
        images = torch.from_numpy(images.astype(np.float32))[:, None]
        features = decision_features(model.net, images)[1]
    return limits.cloud.distance(features.numpy()), limits


def hand(seed: int) -> np.ndarray:
    """Five bright bars on a black ground: a hand, roughly."""
    rng = np.random.default_rng(seed)
    picture = Image.new("F", (SIDE, SIDE), 0.02)
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((9, 17, 23, 31), 3, fill=0.75)
    for finger in range(5):
        x = 8 + 3.5 * finger
        draw.line((x, 17, x + rng.uniform(-2, 2), rng.uniform(1, 6)), fill=0.65, width=2)
    return np.asarray(picture, np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small network, trained on 80 images, 60 for validation, 80 more of the same source."""
    folder = make_run(
        tmp_path_factory.mktemp("limits") / "run", sets={"train": 80, "val": 60, "test": 80}
    )
    config = small_config(train={"method": "standard", "epochs": 4, "batch_size": 8})
    run_stage(train, config, folder, RunContext())
    return folder


def test_foreign_images_exceed_the_limit_and_images_of_the_same_source_do_not(trained: Any) -> None:
    rng = np.random.default_rng(0)
    test = store_of(trained, "test")
    held_out = test.batch(range(len(test)))[0][:, 0].numpy()
    chests = [make_phantom(number, size=64).pixels for number in range(4)]
    foreign = {
        "inverted": 1 - held_out,
        "noise": rng.random((20, SIDE, SIDE)),
        "dark": 0.3 * held_out,
        "hand": np.stack([hand(number) for number in range(10)]),
        "drawn chests": np.stack([Frame(p.shape, (SIDE, SIDE)).to_network(p) for p in chests]),
    }
    found, limits = distances(trained, held_out)
    assert limits.ood_limit is not None
    assert (found > limits.ood_limit).mean() <= 0.1  # expected: 1 / 61
    for name, images in foreign.items():
        far = distances(trained, images)[0] > limits.ood_limit
        assert far.all(), (name, far.mean())


def test_the_limits_are_those_of_the_best_model_on_its_own_images(trained: Any) -> None:
    model = load_model(trained.path, CPU)
    val = store_of(trained, "val")
    again = find_limits(model, store_of(trained, "train"), val, "standard", 7)
    stored = model.card[KEY]
    assert again["ood"]["limit"] == pytest.approx(stored["ood"]["limit"], rel=1e-4)
    images, _ = val.batch(range(len(val)))
    with torch.inference_mode():
        logits = model.net(images).double().numpy()
    margin = compute_margins(logits, None)[:, 0]
    small = stored["margin"]
    assert small["limit"] == pytest.approx(np.sort(margin)[5], rel=1e-4)
    wrong = logits.argmax(axis=1) != val.labels
    above = margin >= small["limit"] * (1 - 1e-4)
    assert small["wrong"]["above"] == pytest.approx(wrong[above].mean())
    assert small["wrong"]["below"] == pytest.approx(wrong[~above].mean())


def test_nothing_of_a_single_image_is_in_the_card(trained: Any) -> None:
    text = (trained.path / "train/model.json").read_text(encoding="utf-8")
    assert not any(f"{name}/0" in text for name in ("train", "val", "test"))
    assert len(json.loads(text)[KEY]["ood"]["cloud"]["table"]) < 20_000


def test_few_images_leave_a_reason_instead_of_a_limit(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")  # 12 images, 6 for validation
    run_stage(train, small_config(), folder, RunContext())
    limits = read_limits(load_model(folder.path, CPU).card, "card")
    assert (limits.cloud, limits.ood_limit, limits.margin_limit) == (None, None, None)
    assert "too few validation images: 6" in limits.ood_reason
    assert "too few validation images: 6" in limits.margin_reason


def test_several_labels_are_wrong_when_a_known_one_is(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", sets={"train": 12, "val": 12}, multilabel=True)
    config = small_config(data={"labels": {"task": "multilabel"}}, train={"method": "standard"})
    run_stage(train, config, folder, RunContext())
    card = load_model(folder.path, CPU).card
    assert read_limits(card, "card").margin_limit == card[KEY]["margin"]["limit"] >= 0
    assert 0 <= card[KEY]["margin"]["wrong"]["above"] <= 1


def test_a_model_of_an_earlier_version_has_no_limits(tmp_path: Path) -> None:
    save_random_model(tmp_path)
    limits = read_limits(load_model(tmp_path, CPU).card, "card")
    assert limits == Limits()
    assert "before limits were stored" in limits.ood_reason


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("ood"),
        lambda d: d["ood"].pop("cloud"),
        lambda d: d["ood"].update(limit="far"),
        lambda d: d["ood"]["cloud"].update(table="AAAA"),
        lambda d: d.update(margin=None),
    ],
)
def test_a_damaged_entry_names_the_card(trained: Any, damage: Callable[[Any], Any]) -> None:
    card = json.loads((trained.path / "train/model.json").read_text(encoding="utf-8"))
    damage(card[KEY])
    with pytest.raises(
        IsnetError, match=r"place/model\.json: 'uncertainty' cannot be read"
    ) as caught:
        read_limits(card, "place/model.json")
    assert caught.value.kind == "weights"
