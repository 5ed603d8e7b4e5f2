"""A whole small training: files, card, continuation, refusals; its weights make masks."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isnet_cli.config.segmenter import Segmenter
from isnet_cli.core.files import read_csv, sha256_file
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.masks.segmenter.run import Outcome, network, run
from isnet_models.lung_unet import lung_unet
from isnet_models.registry import find_card
from tests.masks.factory import lungs, write_mask
from tests.masks.segmenter.factory import card_of, settings, write_pairs
from tests.support.trained import tree_digest


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data"))


@dataclass(frozen=True)
class Finished:
    """A finished training, its configuration, and what it gave."""

    config: Segmenter
    folder: Path
    outcome: Outcome

    @property
    def card(self) -> dict[str, Any]:
        return card_of(self.outcome.weights)


@pytest.fixture(scope="module")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    about = {"licence": "CC0-1.0", "limits": ["few"]}
    config = settings(table, data={"phantoms": 2}, card=about)
    folder = tmp_path_factory.mktemp("finished") / "a"
    return Finished(config, folder, run(config, folder, RunContext()))


def test_a_training_writes_weights_card_history_and_scores(finished: Finished, table: Path) -> None:
    done, card = finished.outcome, finished.card
    assert (done.status, done.skipped) == ("done", 0)
    assert done.weights == finished.folder / "lung-unet.safetensors"
    assert sorted(p.name for p in done.weights.parent.iterdir() if p.name[0] != ".") == [
        *("history.csv", "images.csv", "lung-unet.json", "lung-unet.safetensors"),
        *("skipped.csv", "training.json", "training.yaml"),
    ]
    assert card["sha256"] == sha256_file(done.weights)
    assert card["licence"] == "CC0-1.0"
    assert card["limits"] == ["few"]
    assert card["figures"] == done.summary["figures"]
    assert {"north", "south"} <= set(card["figures"])
    shown = json.dumps(card)
    assert str(table.parent) not in shown
    assert "image_" not in shown
    assert "p0" not in shown
    rows = read_csv(done.weights.parent / "images.csv")
    assert len(rows) == 10
    assert len(read_csv(done.weights.parent / "history.csv")) == 2
    assert not lung_unet(str(done.weights)).training


def test_the_same_again_does_nothing_and_other_settings_are_refused(
    finished: Finished, table: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(finished.folder, tmp_path / "a")
    before = tree_digest(place)
    again = run(finished.config, place, RunContext())
    assert (again.status, again.summary) == ("current", finished.outcome.summary)
    assert tree_digest(place) == before
    (place / "last.ckpt").touch()  # of a process that was killed after the record was written
    assert run(finished.config, place, RunContext()).status == "current"
    assert tree_digest(place) == before
    other = settings(table, train={"epochs": 1, "optimizer": {"lr": 1e-3}}, card={"names": True})
    with pytest.raises(IsnetError, match="a training of other settings") as caught:
        run(other, place, RunContext())
    assert "--overwrite" in caught.value.fix
    done = run(other, place, RunContext(), replace=True)
    assert done.status == "done"
    assert card_of(done.weights)["held_out"]


@pytest.mark.slow
def test_a_stopped_training_gives_the_same_weights_and_card(
    finished: Finished, tmp_path: Path
) -> None:
    epochs: list[str] = []

    def heard(name: str, **fields: object) -> None:
        epochs.append(name)

    context = RunContext(event=heard, stop_requested=lambda: "epoch" in epochs)
    stopped = run(finished.config, tmp_path / "cut", context)
    assert stopped.status == "incomplete"
    assert not stopped.weights.exists()
    assert len(read_csv(tmp_path / "cut" / "history.csv")) == 1
    said: list[str] = []
    rest = run(finished.config, tmp_path / "cut", RunContext(say=said.append))
    assert "continued after epoch 1" in said
    assert sha256_file(rest.weights) == sha256_file(finished.outcome.weights)
    assert card_of(rest.weights) == finished.card


@pytest.mark.slow
def test_training_goes_on_from_a_card(table: Path, tmp_path: Path) -> None:
    config = settings(table, train={"epochs": 1})
    config = config.model_copy(update={"model": config.model.__class__(weights="lung-unet")})
    done = run(config, tmp_path / "a", RunContext())
    card = card_of(done.weights)
    assert card["training"]["settings"]["model"]["weights"] == "lung-unet"
    assert card["architecture"] == find_card("lung-unet").architecture
    assert all(row["dice_mean"] > 0.8 for row in card["figures"].values())


def test_no_usable_image_is_a_typed_error_with_the_reasons(tmp_path: Path) -> None:
    table = write_pairs(tmp_path / "data", 3)
    for number in range(3):
        write_mask(tmp_path / f"data/masks/image_{number}.png", lungs((50, 40)))
    with pytest.raises(IsnetError, match="none of 3 images can be used") as caught:
        run(settings(table), tmp_path / "out", RunContext())
    assert caught.value.kind == "data"
    assert "40 x 50 pixels" in caught.value.render()
    assert len(read_csv(tmp_path / "out" / "skipped.csv")) == 3


def test_skipped_images_are_reported_and_counted(tmp_path: Path) -> None:
    table = write_pairs(tmp_path / "data")
    (tmp_path / "data/masks/image_7.png").unlink()
    warned: list[tuple[str, str]] = []
    said: list[str] = []  # the first line is said when all images are read: it stops there
    context = RunContext(
        say=said.append,
        warn=lambda category, text: warned.append((category, text)),
        stop_requested=lambda: bool(said),
    )
    assert run(settings(table), tmp_path / "out", context).skipped == 1
    assert warned[0][0] == "images"
    assert "1 of 8 images cannot be used (mask_missing 1)" in warned[0][1]


def test_folders_of_other_things_are_left_alone(table: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(IsnetError, match="a file, expected a folder"):
        run(settings(table), tmp_path / "a", RunContext())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "letter.txt").write_text("x")
    with pytest.raises(IsnetError, match=r"holds other files \(letter.txt\)"):
        run(settings(table), tmp_path / "b", RunContext(), replace=True)


def test_unknown_networks_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="'resnet1' is no encoder") as caught:
        network(settings(table, model={"encoder": "resnet1"}), None)
    assert caught.value.kind == "config"
    config = settings(table)
    config = config.model_copy(update={"model": config.model.__class__(weights="nothing")})
    with pytest.raises(IsnetError, match=r"model\.weights: 'nothing': no such network") as caught:
        run(config, tmp_path / "a", RunContext())
    assert caught.value.kind == "weights"


def test_random_weights_depend_on_the_seed_alone(table: Path) -> None:
    one, two, other = (
        next(network(settings(table, seed=seed), None).parameters()).detach().numpy()
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
