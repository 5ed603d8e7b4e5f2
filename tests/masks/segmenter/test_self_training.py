"""Self-training: which images the teacher's masks are trusted for, and a whole training on them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from isnet_cli.config.segmenter import Pairs, Segmenter
from isnet_cli.core.files import read_csv, sha256_file
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.masks.segmenter.examples import Example, read_examples
from isnet_cli.masks.segmenter.pairs import Pair, find_pairs, is_unlabelled
from isnet_cli.masks.segmenter.run import run
from isnet_cli.masks.segmenter.self_training import label_examples, look
from isnet_models.lung_unet import LungUNet
from isnet_models.registry import find_card
from tests.masks.factory import lungs, write_mask
from tests.masks.segmenter.factory import card_of, settings, write_pairs


class Reader(LungUNet):
    """Finds lungs where the picture is dark grey; may see them on one side alone in a mirror."""

    def __init__(self, fooled: bool = False) -> None:
        super().__init__("tu-mobilenetv3_small_050", (8, 8, 8, 8, 8))
        self.fooled, self.calls = fooled, 0

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of lung."""
        self.calls += 1
        found = torch.sigmoid(60 * (0.4 - (images - 0.3).abs() * 4))
        if self.fooled and self.calls % 2 == 0:
            found[..., : found.shape[-1] // 4 :] *= 0
        return found


def example(name: str = "a", empty: bool = False) -> Example:
    """A picture of 256 px whose lungs are dark grey on white."""
    mask = lungs((256, 256)) & (not empty)
    image = np.where(mask, 0.3, 0.9).astype(np.float16)
    return Example(Pair(name, Path(), "", name, "unlabelled-x"), (256, 256), image,
                   np.zeros((256, 256), np.uint8))  # fmt: skip


def test_all_views_come_back_to_the_image() -> None:
    batch = torch.from_numpy(np.stack([example().image.astype(np.float32)]))[:, None]
    views = look(Reader(), batch) >= 0.5
    true = torch.from_numpy(lungs((256, 256)))
    assert views.shape == (4, 1, 1, 256, 256)
    for view in views:
        overlap = 2 * (view[0, 0] & true).sum() / (view[0, 0].sum() + true.sum())
        assert overlap > 0.97
    turned = look(Reader(), batch.flip(-1)).flip(-1) >= 0.5
    assert (turned != views).float().mean() < 1e-3


def test_agreed_masks_are_kept_and_others_say_why() -> None:
    config = settings(None)
    good, empty = example("good"), example("empty", empty=True)
    kept, rows = label_examples(Reader(), [good, empty], config, RunContext())
    assert [e.pair.name for e in kept] == ["good"]
    assert kept[0].part == "train"
    true = lungs((256, 256))
    assert np.abs(kept[0].share / 255 - true).mean() < 0.01
    assert np.array_equal(kept[0].image, good.image)
    assert [(row["image"], row["kept"]) for row in rows] == [("good", 1), ("empty", 0)]
    assert rows[0]["agreement"] > 0.97
    assert rows[1]["reason"].startswith("empty")
    kept, rows = label_examples(Reader(fooled=True), [good], config, RunContext())
    assert kept == []
    assert "disagreement: Dice 0." in rows[0]["reason"]
    easy = replace_agreement(config, 0.2)
    assert len(label_examples(Reader(fooled=True), [good], easy, RunContext())[0]) == 1


def replace_agreement(config: Segmenter, least: float) -> Segmenter:
    """`config` with another ``data.agreement``."""
    data = config.data.model_copy(update={"agreement": least})
    return config.model_copy(update={"data": data})


def test_a_stop_ends_the_labelling() -> None:
    many = [replace(example(str(n))) for n in range(20)]
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 1

    _, rows = label_examples(Reader(), many, settings(None), RunContext(stop_requested=stop))
    assert len(rows) == 8


def test_images_without_masks_have_sources_and_names_of_their_own(tmp_path: Path) -> None:
    table = write_pairs(tmp_path, 4)
    more = {"south": str(tmp_path / "images"), "one": [str(tmp_path / "images/image_1.png")]}
    data = Pairs(table=str(table), unlabelled=more, teacher="lung-unet")
    pairs = find_pairs(data)
    assert [is_unlabelled(pair) for pair in pairs] == [False] * 4 + [True] * 5
    assert len({pair.name for pair in pairs}) == 9
    assert {pair.source for pair in pairs[4:]} == {"unlabelled-south", "unlabelled-one"}
    examples, skipped = read_examples(pairs, data, RunContext())
    assert skipped == []
    assert all(e.share.any() != is_unlabelled(e.pair) for e in examples)
    with pytest.raises(IsnetError, match="no image of unlabelled-south, sources are north, south"):
        find_pairs(data.model_copy(update={"held_out_sources": ["unlabelled-south"]}))
    with pytest.raises(IsnetError, match="no such file or folder"):
        find_pairs(data.model_copy(update={"unlabelled": {"x": str(tmp_path / "nowhere")}}))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """Eight images with masks; four others and one that is no chest image without."""
    root = tmp_path_factory.mktemp("data")
    table = write_pairs(root / "given")
    write_pairs(root / "other", 4, size=160)
    write_mask(root / "other/images/grey.png", np.full((100, 100), 90, np.uint8))
    more = {"other": str(root / "other/images"), "again": str(root / "given/images/image_[01].png")}
    data = {"table": str(table), "unlabelled": more, "teacher": "lung-unet", "agreement": 0.8}
    return settings(table, data=data)


def test_a_training_on_a_teachers_masks(config: Segmenter, tmp_path: Path) -> None:
    said: list[str] = []
    done = run(config, tmp_path / "a", RunContext(say=said.append))
    rows = read_csv(tmp_path / "a/unlabelled.csv")
    kept = [row["image"] for row in rows if row["kept"] == "1"]
    assert len(rows) == 7
    assert "unlabelled-other/grey" not in kept
    assert len([name for name in kept if name.startswith("unlabelled-other/")]) >= 3
    assert f"self-training: {len(kept)} of 7 images without masks take part" in "".join(said)
    card = card_of(done.weights)
    teacher = find_card("lung-unet")
    shown = card["training"]["settings"]["data"]
    assert shown["teacher"] == {
        "name": "lung-unet", "sha256": teacher.sha256, "licence": teacher.licence,
    }  # fmt: skip
    assert card["training"]["images"]["train"]["unlabelled-other"] == sum(
        name.startswith("unlabelled-other/") for name in kept
    )
    assert not any(source.startswith("unlabelled") for source in card["figures"])
    held = {
        row["image"] for row in read_csv(tmp_path / "a/images.csv") if row["part"] == "held_out"
    }
    both = [name for name in kept if name.startswith("unlabelled-again/")]
    assert shown["held_out_seen_without_mask"] == sum(n.split("/")[1] in held for n in both)
    assert not any(str(config.data.table) in str(value) for value in card.values())
    assert run(config, tmp_path / "a", RunContext()).status == "current"


@pytest.mark.slow
def test_a_stopped_training_on_a_teachers_masks_gives_the_same_weights(
    config: Segmenter, tmp_path: Path
) -> None:
    whole = run(config, tmp_path / "whole", RunContext())
    epochs: list[str] = []

    def heard(name: str, **fields: object) -> None:
        epochs.append(name)

    stops = {
        "epoch": lambda: "epoch" in epochs,
        "labelling": (tmp_path / "labelling/skipped.csv").exists,
    }
    for name, stop in stops.items():
        context = RunContext(event=heard, stop_requested=stop)
        assert run(config, tmp_path / name, context).status == "incomplete"
        rest = run(config, tmp_path / name, RunContext())
        assert sha256_file(rest.weights) == sha256_file(whole.weights)
        assert card_of(rest.weights) == card_of(whole.weights)
    assert len(read_csv(tmp_path / "epoch/history.csv")) == 2


def test_the_teacher_belongs_to_the_training(config: Segmenter, tmp_path: Path) -> None:
    missing = config.data.model_copy(update={"teacher": str(tmp_path / "own.safetensors")})
    with pytest.raises(IsnetError, match=r"data\.teacher: .*card not found") as caught:
        run(config.model_copy(update={"data": missing}), tmp_path / "a", RunContext())
    assert caught.value.kind == "weights"
    source = find_card("lung-unet")
    own = tmp_path / source.weights.name
    shutil.copy(source.weights, own)
    shutil.copy(source.weights.with_suffix(".json"), own.with_suffix(".json"))
    own.write_bytes(own.read_bytes()[:-1])
    damaged = config.data.model_copy(update={"teacher": str(own)})
    with pytest.raises(IsnetError, match=r"data\.teacher") as caught:
        run(config.model_copy(update={"data": damaged}), tmp_path / "b", RunContext())
    assert caught.value.kind == "weights"
