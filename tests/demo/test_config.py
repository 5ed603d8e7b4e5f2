"""The demonstration's configuration is valid and is the sample that the repository shows."""

from __future__ import annotations

from pathlib import Path

from isnet_cli.config.load import load
from isnet_cli.demo.config import demo_yaml
from tests.support.paths import ROOT

SAMPLE = ROOT / "sample_configs" / "demo.yaml"


def test_the_sample_is_what_the_demonstration_runs() -> None:
    text = demo_yaml("../runs/demo/images", "../runs/demo/labels.csv")
    assert SAMPLE.read_text(encoding="utf-8") == text


def test_the_text_loads_and_says_the_paths_and_the_seed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("file,label\n", encoding="utf-8")
    (tmp_path / "demo.yaml").write_text(demo_yaml("images", "labels.csv", 5), encoding="utf-8")
    config = load(tmp_path / "demo.yaml")
    assert config.seed == 5
    assert config.data.images == str(tmp_path / "images")
    assert config.data.labels.file == str(tmp_path / "labels.csv")
    assert config.data.labels.classes == ["disease", "normal"]
    assert config.train.method == "isnet"
    assert config.bias.kind == "shapes"
    assert sum(s.fraction or 0 for s in config.data.sets.values()) == 1.0
