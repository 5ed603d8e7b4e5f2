"""A student learns from a trained run: found, checked, part of the fingerprint."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from isnet_cli.config.load import load
from isnet_cli.config.schema import Config
from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.inference.model_files import load_model
from isnet_cli.train import stage as train
from isnet_cli.train.model_card import make_card
from isnet_cli.train.teacher import load_teacher, teacher_folder, teacher_hash
from isnet_models.features import last_layer
from tests.support.method_runs import network_config, trained
from tests.support.runs import make_run, small_config

CPU = torch.device("cpu")


def student(teacher: Path | str, **sections: dict[str, Any]) -> Config:
    settings = {"distillation": {"teacher": str(teacher)}}
    return small_config(
        **{**sections, "train": {"method": "distillation", "epochs": 2, "batch_size": 4,
           "settings": settings, **sections.get("train", {})}}
    )  # fmt: skip


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("teacher") / "run")
    run_stage(train, small_config(train={"method": "standard", "epochs": 1}), folder, RunContext())
    return folder.path


def test_a_student_is_trained_and_keeps_the_teacher_s_last_layer(
    tmp_path: Path, teacher: Path
) -> None:
    folder = make_run(tmp_path / "run")
    assert run_stage(train, student(teacher), folder, RunContext()).status == "done"
    history = read_csv(folder.path / "train" / "history.csv")
    assert float(history[0]["train_maps"]) > 0
    assert float(history[0]["val_maps"]) > 0
    nets = [load_model(place, CPU).net for place in (folder.path, teacher)]
    weights = [last_layer(net).weight for net in nets]
    assert torch.equal(*weights)
    first = [next(net.parameters()) for net in nets]
    assert not torch.equal(*first)
    assert run_stage(train, student(teacher), folder, RunContext()).status == "current"


def test_where_the_teacher_lies_is_in_no_card_and_no_fingerprint(
    tmp_path: Path, teacher: Path
) -> None:
    folder = make_run(tmp_path / "run")
    moved = shutil.copytree(teacher, tmp_path / "moved")
    first, second = student(teacher), student(moved)
    assert train.fingerprint(first, folder) == train.fingerprint(second, folder)
    card = make_card(first, ["normal", "sick"], load_model(teacher, CPU).net, None, 1, 1)
    assert card["teacher"]["sha256"] == teacher_hash(first)
    assert card["settings"]["distillation"]["map_weight"] == 1.0
    assert str(teacher) not in json.dumps(card)


def test_settings_of_other_methods_are_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    folder, unused = make_run(tmp_path / "run"), {"rrr": {"gradient_weight": 0.5}}
    found = [
        train.fingerprint(small_config(train={"method": method, "settings": settings}), folder)
        for method in ("standard", "rrr")
        for settings in ({}, unused)
    ]
    assert found[0] == found[1]
    assert found[2] != found[3]


def test_a_teacher_with_a_segmenter_takes_the_student_s_masks(tmp_path: Path) -> None:
    config = network_config("segment_then_classify", tmp_path)
    folder = trained("segment_then_classify", tmp_path, config)
    said = []
    for own in ({}, {"masked": False}, {"fill": "blur"}):
        settings = {"distillation": {"teacher": str(folder.path), **own}}
        found = student(folder.path, train={"settings": settings})
        said.append(load_teacher(found, ["normal", "sick"], CPU).at_test)
    assert said == ["whole", "segment", "segment"]


def test_a_teacher_without_relevance_maps_is_refused(
    teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Opaque(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.flatten(1).cumprod(1)[:, :4])

    model = dataclasses.replace(load_model(teacher, CPU), net=Opaque().eval())
    monkeypatch.setattr("isnet_cli.train.teacher.load_model", lambda *_: model)
    with pytest.raises(IsnetError, match=r"teacher .*cumprod") as caught:
        load_teacher(student(teacher), ["normal", "sick"], CPU)
    assert caught.value.kind == "config"


def test_another_teacher_is_another_training(tmp_path: Path, teacher: Path) -> None:
    folder = make_run(tmp_path / "run")
    other = make_run(tmp_path / "other")
    run_stage(
        train, small_config(seed=3, train={"method": "standard", "epochs": 1}), other, RunContext()
    )
    assert teacher_hash(student(teacher)) != teacher_hash(student(other.path))
    same = small_config(train={"method": "standard"})
    assert teacher_hash(same) is None
    assert load_teacher(same, ["normal", "sick"], CPU) is None
    a, b = (train.fingerprint(student(place), folder) for place in (teacher, other.path))
    assert a != b


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {"arch": "small", "input": [48, 48]}}, "input"),
        ({"model": {"arch": "small", "input": [32, 32], "channels": 3}}, "channels"),
        ({"model": {"arch": "small", "input": [32, 32], "standardise": "lungs"}}, "standardise"),
    ],
)
def test_a_teacher_that_sees_other_images_is_refused(
    teacher: Path, sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(IsnetError, match=f"teacher .*{words}") as caught:
        load_teacher(student(teacher, **sections), ["normal", "sick"], CPU)
    assert f"model.{words}" in caught.value.fix


def test_a_teacher_of_other_classes_or_none_is_refused(tmp_path: Path, teacher: Path) -> None:
    with pytest.raises(IsnetError, match=r"classes \['normal', 'sick'\], expected"):
        load_teacher(student(teacher), ["sick", "normal"], CPU)
    nobody = small_config(train={"method": "distillation"})
    with pytest.raises(IsnetError, match="none, expected the folder") as caught:
        train.preflight(nobody)
    assert caught.value.kind == "config"
    with pytest.raises(IsnetError, match=r"train.settings.distillation.teacher: .*no trained"):
        train.preflight(student(tmp_path / "nowhere"))


def test_the_path_starts_at_the_file_it_stands_in(tmp_path: Path) -> None:
    text = "train: {method: distillation, settings: {distillation: {teacher: ./runs/a}}}\n"
    (tmp_path / "isnet.yaml").write_text(text)
    found = load(tmp_path / "isnet.yaml")
    assert found.train.settings_of("distillation").teacher == str(tmp_path / "runs" / "a")


def test_the_teacher_is_frozen_and_its_folder_is_the_one_with_the_model(teacher: Path) -> None:
    assert teacher_folder(student(teacher)) == teacher / "train"
    net = load_teacher(student(teacher), ["normal", "sick"], CPU)
    assert net is not None
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
