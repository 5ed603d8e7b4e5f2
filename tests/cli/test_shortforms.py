"""Short forms become keys of the configuration and keep nothing of the other run's images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isnet_cli.cli.shortforms import (
    configure_heatmaps,
    configure_prediction,
    configure_test_sets,
    make_image_options,
)
from isnet_cli.cli.source import Source
from isnet_cli.config.load import Option, dump, load
from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_json
from isnet_cli.errors import IsnetError

OLD = {
    "name": "old",
    "upstream": "/old/up",
    "data": {
        "images": "/old/xrays",
        "collections": {"north": {"images": "/old/north", "labels": {"file": "/old/north.csv"}}},
        "labels": {
            "file": "/old/labels.csv",
            "key": "uid",
            "columns": ["diagnosis"],
            "uncertain": "one",
        },
        "columns": {"source": "hospital"},
        "sets": {"train": {"fraction": 0.5}},
        "scale": "range",
        "privacy": {"rename": True},
    },
    "masks": {"files": "/old/masks", "threshold": 0.4},
    "model": {"arch": "resnet18"},
    "bias": {"kind": "shapes"},
    "evaluate": {"sets": ["test"]},
    "heatmap": {"sets": ["test"], "target": "all"},
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained run, and a working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "old"
    path.mkdir()
    (path / "isnet.yaml").write_text(dump(Config.model_validate(OLD)), encoding="utf-8")
    write_json(path / "train/model.json", {"classes": ["ill", "well"]})
    return path


def nothing_old(config: Config) -> None:
    text = dump(config)
    assert "/old/" not in text.replace(str(config.evaluate.model), "").replace(
        str(config.heatmap.model), ""
    )
    assert config.upstream is None
    assert config.data.columns.source == "auto"
    assert config.data.labels.key == "auto"
    assert config.data.labels.columns is None
    # how images are read and masks are made belongs to the model
    assert config.data.scale == "range"
    assert config.data.privacy.rename is True
    assert config.masks.threshold == 0.4
    assert config.model.arch == "resnet18"
    assert config.data.labels.classes == ["ill", "well"]
    assert config.data.labels.uncertain == "one"


def test_images_name_the_run_unless_a_file_does() -> None:
    assert make_image_options(Source()) == []
    images = Option("SOURCE", "data.images", "a/my images")
    assert make_image_options(Source(images=Path("a/my images"))) == [
        images,
        Option("SOURCE", "name", "my-images"),
    ]
    assert make_image_options(Source(Path("c.yaml"), images=Path("a/my images"))) == [images]


def test_images_to_explain(run: Path) -> None:
    source, options = configure_heatmaps(run, Path("new"))
    config = load(source.config, (), options)
    nothing_old(config)
    assert config.name == "new"
    assert config.data.images == str(run.parent / "new")
    assert config.data.sets == {}
    assert config.heatmap.model == str(run)
    assert config.heatmap.sets is None
    assert config.heatmap.target == "all"
    assert config.bias.kind == "none"


def test_sets_to_evaluate(run: Path) -> None:
    sets = {"a": {"images": "a", "labels": "a.csv"}, "b": {"images": "b"}}
    source, options = configure_test_sets(run, sets)
    config = load(source.config, (), options)
    nothing_old(config)
    assert config.name == "a-b"
    assert config.data.images is None
    assert config.evaluate.model == str(run)
    assert config.evaluate.sets is None
    assert config.bias.kind == "shapes"
    a, b = config.data.sets["a"], config.data.sets["b"]
    assert (a.images, b.images) == (str(run.parent / "a"), str(run.parent / "b"))
    assert a.labels is not None
    assert b.labels is not None
    assert (a.labels.file, b.labels.file) == (str(run.parent / "a.csv"), None)
    assert a.labels.classes == b.labels.classes == ["ill", "well"]


def test_images_to_predict(run: Path) -> None:
    write_json(run / "run.json", {"schema": 2, "stages": {}})
    for model in (run, run / "train", run / "train/model.json"):
        source, options, warning = configure_prediction(model, Path("new"), ["png"])
        config = load(source.config, (), options)
        assert config.predict.model == config.heatmap.model == str(run)
        nothing_old(config.model_copy(update={"predict": Config().predict}))
        assert config.name == "new"
        assert config.bias.kind == "none"
        assert (config.heatmap.limit, config.heatmap.sets) == (None, ["images"])
        assert config.heatmap.formats == ["png"]
        assert warning == ""


def test_a_card_says_how_images_are_read_and_nothing_else(tmp_path: Path) -> None:
    card: dict[str, Any] = {
        "schema": 2, "classes": ["a", "b"], "task": "multilabel", "method": "isnet",
        "settings": {"isnet": {"variant": "flex"}},
        "reading": {
            "data": {"scale": "range", "dicom": {"voi": "none"}, "images": "/elsewhere"},
            "masks": {"threshold": 0.4, "files": "/elsewhere"},
            "name": {"x": "y"},
        },
    }  # fmt: skip
    write_json(tmp_path / "model.json", card)
    (tmp_path / "model.safetensors").touch()
    source, options, warning = configure_prediction(tmp_path, Path("new"), None)
    config = load(source.config, (), options)
    assert (config.data.scale, config.data.dicom.voi, config.masks.threshold) == (
        "range", "none", 0.4,
    )  # fmt: skip
    assert config.data.labels.classes == ["a", "b"]
    assert config.masks.files is None
    assert "/elsewhere" not in dump(config)
    assert warning == ""
    write_json(tmp_path / "model.json", {**card, "schema": 1})  # isnet 0.1.0
    with pytest.raises(IsnetError, match=r"card format 1\), expected format 2") as caught:
        configure_prediction(tmp_path, Path("new"), None)
    assert "train the model again" in caught.value.fix


def test_a_run_without_a_model(run: Path) -> None:
    (run / "train/model.json").unlink()
    with pytest.raises(IsnetError, match="not trained") as caught:
        configure_heatmaps(run, Path("new"))
    assert caught.value.kind == "weights"
    with pytest.raises(IsnetError, match="not trained"):
        configure_test_sets(run, {"a": {"images": "a"}})
