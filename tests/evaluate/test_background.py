"""Cut and pasted images in `evaluate`: what the model sees, who is paired, what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import background, scoring
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.evaluate.background_scores import NO_IMAGES, VARIANTS
from isnet_cli.images.kept import load_image, save_image
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.resize import Frame
from isnet_cli.inference.model_files import load_model
from isnet_cli.inference.predictor import Predictor
from isnet_models.backgrounds import transplant
from tests.evaluate.factory import SIDE, StopAfter, edit_rows, make_trained
from tests.support.runs import lungs, small_config

SHAPES = {"kind": "shapes"}
QUICK = {"relevance": False}
Tree = dict[str, bytes]


@pytest.fixture(autouse=True)
def _plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of curves are named, not drawn; tests of scoring draw them."""
    monkeypatch.setattr(scoring, "svg_text", lambda figure: "<svg/>")


def figures(folder: RunFolder, place: str = "test/standard") -> dict[str, Any]:
    path = folder.path / "evaluate" / place / "metrics.json"
    found: dict[str, Any] = json.loads(path.read_text())["background"]
    return found


def table(folder: RunFolder, place: str = "test/standard") -> list[dict[str, str]]:
    return read_csv(folder.path / "evaluate" / place / background.TABLE)


def seen_alone(folder: RunFolder) -> Callable[[str, str, str], Tensor]:
    """(variant, key, partner) -> the image, made for one image by hand."""
    rows = {r.key: r for r in read_manifest(folder.path / "ingest" / "manifest.csv")}

    def image(key: str) -> tuple[Tensor, Tensor]:
        frame = Frame((rows[key].height, rows[key].width), (SIDE, SIDE))
        pixels = frame.to_network(load_image(folder.path / "ingest" / rows[key].image_file))
        mask = frame.mask_to_network(lungs(rows[key].height)).astype(np.float32)
        return torch.from_numpy(pixels)[None, None], torch.from_numpy(mask)[None, None]

    def make(variant: str, key: str, partner: str) -> Tensor:
        found, mask = image(key)
        if variant == "lungs_only":
            return torch.where(mask > 0, found, 0)
        if variant == "lungs_removed":
            return torch.where(mask > 0, 0, found)
        return transplant(found, mask, *image(partner)) if partner else found

    return make


def test_probabilities_equal_the_model_on_images_cut_by_hand(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 7})
    run_stage(evaluate, small_config(evaluate=QUICK), folder, RunContext())
    net = load_model(folder.path, torch.device("cpu")).net
    make, lines = seen_alone(folder), table(folder)
    assert len(lines) == 7 * len(VARIANTS)
    whole = {row["key"]: row["predicted"] for row in lines if row["variant"] == "full"}
    classes = {row["key"]: row["label"] for row in lines}
    for row in lines:
        p = net(make(row["variant"], row["key"], row["partner"])).softmax(1)[0].tolist()
        assert [float(row["p_normal"]), float(row["p_sick"])] == pytest.approx(p, abs=1e-5)
        assert (row["flipped"] == "1") == (row["predicted"] != whole[row["key"]])
        if row["variant"] == "other_class":
            assert classes[row["partner"]] != row["label"]
        elif row["variant"] == "same_class":
            assert classes[row["partner"]] == row["label"]
            assert row["partner"] != row["key"]
        else:
            assert row["partner"] == ""
    predictions = read_csv(folder.path / "evaluate/test/standard/predictions.csv")
    assert {row["key"]: row["predicted"] for row in predictions} == whole


def mark_images(folder: RunFolder) -> None:
    """A bright corner on the images of class sick."""
    for row in read_manifest(folder.path / "ingest" / "manifest.csv"):
        path = folder.path / "ingest" / row.image_file
        pixels = load_image(path)
        pixels[:8, :8] = 1.0 if row.label == "sick" else 0.1
        save_image(path, pixels)


@pytest.mark.parametrize("looks_at", ["background", "lungs"])
def test_known_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks_at: str) -> None:
    """A model that reads the mark, and one that reads the brightest spot inside the lungs."""
    folder = make_trained(tmp_path / "run", sets={"test": 12})
    mark_images(folder)

    def corner(images: Tensor) -> Tensor:
        return images[:, 0, :4, :4].mean((1, 2)) - 0.5

    def spot(images: Tensor) -> Tensor:
        inside = Frame((48, 48), (SIDE, SIDE)).mask_to_network(lungs(48))
        core = torch.from_numpy(inside & np.roll(inside, 1, 0) & np.roll(inside, 1, 1))
        return images[:, 0][:, core].amax(1) - 0.4

    def answer(self: Predictor, images: Tensor) -> Tensor:
        score = (corner if looks_at == "background" else spot)(images)
        return torch.stack([-10 * score, 10 * score], 1)

    monkeypatch.setattr(Predictor, "answer", answer)
    outcome = run_stage(evaluate, small_config(evaluate=QUICK), folder, RunContext())
    found = outcome.summary["sets"]["test"]["standard"]["background"]
    assert found["n"] == 12
    assert found["auc"]["full"] == 1.0
    assert found["auc"]["same_class"] == 1.0
    if looks_at == "background":
        assert found["auc"] == {
            "full": 1.0, "lungs_only": 0.5, "lungs_removed": 1.0, "other_class": 0.0,
            "same_class": 1.0,
        }  # fmt: skip
        assert (found["flips"], found["gap"]) == (1.0, 1.0)
    else:
        assert found["auc"]["lungs_only"] == found["auc"]["other_class"] == 1.0
        assert found["auc"]["lungs_removed"] == 0.5
        assert (found["flips"], found["gap"]) == (0.0, 0.0)
    assert figures(folder)["background_auc"]["value"] == found["auc"]["lungs_removed"]


def test_a_background_brings_the_shape_of_its_version(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    run_stage(evaluate, small_config(bias=SHAPES, evaluate=QUICK), folder, RunContext())
    tables = {v: table(folder, f"test/{v}") for v in ("biased", "standard", "deceiving")}
    for one, other in (("biased", "standard"), ("biased", "deceiving")):
        for a, b in zip(tables[one], tables[other], strict=True):
            assert (a["key"], a["variant"], a["partner"]) == (b["key"], b["variant"], b["partner"])
            same = a["p_sick"] == b["p_sick"]
            assert same == (a["variant"] == "lungs_only")  # shapes lie outside the lungs


def test_images_without_mask_or_label_are_left_out_and_counted(tmp_path: Path) -> None:
    verdicts = {"test/000": "suspect", "test/001": "missing"}
    folder = make_trained(tmp_path / "run", sets={"test": 8}, verdicts=verdicts)
    edit_rows(folder, lambda row: {"label": ""} if row.key == "test/002" else {})
    run_stage(evaluate, small_config(evaluate=QUICK), folder, RunContext())
    found = figures(folder)
    assert found["n"] == found["variants"]["full"]["n"] == 5
    assert found["left_out"] == {"no label": 1, "no trusted lung mask": 2}
    used = {row["key"] for row in table(folder)} | {row["partner"] for row in table(folder)}
    assert used - {""} == {f"test/{i:03d}" for i in range(3, 8)}
    kept = small_config(evaluate=QUICK, masks={"on_suspect": "keep"})
    run_stage(evaluate, kept, folder, RunContext())
    assert figures(folder)["n"] == 6


def test_images_of_one_patient_are_no_partners(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 8})
    edit_rows(folder, lambda row: {"patient": "p" if row.key <= "test/005" else row.patient})
    run_stage(evaluate, small_config(evaluate=QUICK), folder, RunContext())
    alone = {"test/006", "test/007"}
    for row in table(folder):
        if row["partner"] and row["key"] not in alone:
            assert row["partner"] in alone


@pytest.mark.parametrize("lacking", ["label", "mask"])
def test_a_set_that_cannot_be_cut_says_why(tmp_path: Path, lacking: str) -> None:
    verdicts = {f"test/{i:03d}": "missing" for i in range(6)} if lacking == "mask" else {}
    folder = make_trained(tmp_path / "run", verdicts=verdicts)
    if lacking == "label":
        edit_rows(folder, lambda row: {"label": ""})
    run_stage(evaluate, small_config(evaluate=QUICK), folder, RunContext())
    assert (figures(folder)["n"], figures(folder)["why"]) == (0, NO_IMAGES)
    assert not (folder.path / "evaluate/test/standard" / background.TABLE).exists()


def test_one_class_has_no_swap_to_another(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    edit_rows(folder, lambda row: {"label": "sick"})
    run_stage(evaluate, small_config(evaluate=QUICK), folder, RunContext())
    found = figures(folder)
    assert found["flips"]["rate"] is None
    assert found["gap"]["auc"]["why"]
    assert "other_class" not in {row["variant"] for row in table(folder)}


def test_it_can_be_left_out_and_its_table_goes_away(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    run_stage(evaluate, small_config(evaluate=QUICK), folder, RunContext())
    assert (folder.path / "evaluate/test/standard" / background.TABLE).exists()
    off = small_config(evaluate={**QUICK, "background": False})
    assert run_stage(evaluate, off, folder, RunContext()).status == "done"
    assert figures(folder) == {"n": 0, "why": background.OFF}
    assert not (folder.path / "evaluate/test/standard" / background.TABLE).exists()


def test_pairs_follow_the_seed_and_nothing_else(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 14})
    found = []
    for seed, batch in ((0, 32), (0, 3), (1, 32)):
        settings = small_config(evaluate={**QUICK, "batch_size": batch}, seed=seed)
        run_stage(evaluate, settings, folder, RunContext(), force=True)
        found.append([row["partner"] for row in table(folder)])
    assert found[0] == found[1] != found[2]


def test_several_labels(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 9}, multilabel=True)
    run_stage(evaluate, small_config(evaluate=QUICK), folder, RunContext())
    found = figures(folder)
    assert found["variants"]["full"]["task"] == "multilabel"
    assert set(found["flips"]["per_class"]) == {"sick", "old"}
    labels = {row["key"]: dict(part.split("=") for part in row["label"].split(";"))
              for row in table(folder)}  # fmt: skip
    for row in table(folder):
        if row["partner"]:
            a, b = labels[row["key"]], labels[row["partner"]]
            differ = [n for n in a if a[n] != b[n] and "?" not in (a[n], b[n])]
            assert bool(differ) == (row["variant"] == "other_class")


def tree(path: Path) -> Tree:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_interrupted_and_continued_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "choose_chunk_size", lambda config: 2)
    whole, cut = make_trained(tmp_path / "a"), make_trained(tmp_path / "b")
    config = small_config(evaluate=QUICK)
    run_stage(evaluate, config, whole, RunContext())
    stop = StopAfter(6 + 4).context()  # the predictions, then two pairs of cut images
    assert run_stage(evaluate, config, cut, stop).status == "incomplete"
    calls: list[int] = []
    predict = Predictor.predict
    monkeypatch.setattr(
        Predictor, "predict", lambda self, x: (calls.append(len(x)), predict(self, x))[1]
    )
    assert run_stage(evaluate, config, cut, RunContext()).status == "done"
    assert calls == [2, 2, 2, 2]  # four variants of the third pair
    assert tree(cut.path / "evaluate") == tree(whole.path / "evaluate")


def test_a_mask_that_vanished_is_an_error_with_a_fix(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    predictor = evaluate.open_predictor(small_config(), None, folder)
    rows = read_manifest(folder.path / "ingest" / "manifest.csv")
    (folder.path / "masks" / "test" / "002.png").unlink()
    with pytest.raises(IsnetError, match="mask") as caught:
        background.pair_images(predictor, "test", rows)
    assert caught.value.fix == "isnet masks CONFIG"


def test_progress_counts_every_image_once_per_version(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 5})
    counter = StopAfter(1000)
    run_stage(evaluate, small_config(bias=SHAPES, evaluate=QUICK), folder, counter.context())
    assert 1000 - counter.left == 2 * 5 * 3
