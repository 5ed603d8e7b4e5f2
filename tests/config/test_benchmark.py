"""The benchmark's own configuration file: strict, with paths made absolute and faults placed."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.config.benchmark import Benchmark, Cost, check, load_benchmark, row_lines
from isnet_cli.config.load import dump, rooted
from isnet_cli.errors import IsnetError

TEXT = """\
version: 1
base: c.yaml
set: {train.epochs: 3}
methods: {standard: {}, isnet: }
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_and_paths_start_at_the_file(tmp_path: Path) -> None:
    bench = load_benchmark(write(tmp_path / "b.yaml", TEXT))
    assert bench.base == str(tmp_path / "c.yaml")
    assert bench.root == str(tmp_path)
    assert (bench.seeds, bench.data, bench.cost) == ([0], {"all": None}, Cost())
    assert bench.methods == {"standard": {}, "isnet": None}


def test_a_dumped_benchmark_loads_to_the_same_from_another_folder(tmp_path: Path) -> None:
    bench = load_benchmark(write(tmp_path / "b.yaml", TEXT))
    (tmp_path / "far").mkdir()
    assert load_benchmark(write(tmp_path / "far" / "r.yaml", dump(bench))) == bench


def test_typed_keys_join_the_section_set_with_paths_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    file = write(tmp_path / "b.yaml", TEXT)
    bench = load_benchmark(file, ["train.epochs=9", "data.images=x", "model.input=[64, 32]"])
    assert bench.set == {
        "train.epochs": 9,
        "data.images": str(tmp_path / "here" / "x"),
        "model.input": [64, 32],
    }
    for wrong in ("train.epochs", "=3", "a=[1"):
        with pytest.raises(IsnetError, match="expected KEY=VALUE"):
            load_benchmark(file, [wrong])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.replace("base: c.yaml", ""), "either base: FILE, or the keys under pipeline"),
        (TEXT + "pipeline: {}\n", "either base: FILE"),
        (TEXT + "seeds: []\n", "at least one seed"),
        (TEXT + "seeds: [1, 1]\n", "stands twice"),
        (TEXT + "seeds: [-1]\n", "seeds"),
        (TEXT + "data: {}\n", "at least one row"),
        (TEXT.replace("standard", "a/b"), "names a folder"),
        (TEXT.replace("isnet: ", "isnet: 3"), "methods.isnet"),
        (TEXT + "metods: {}\n", "did you mean 'methods'"),
        (TEXT + "cost: {step: 3}\n", "did you mean 'steps'"),
        (TEXT + "phantoms: {side: 10}\n", "phantoms.side"),
        (TEXT.replace("1", "2", 1), "version"),
    ],
)
def test_faults_are_named_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(IsnetError) as caught:
        load_benchmark(write(tmp_path / "b.yaml", text))
    assert caught.value.kind == "config"
    assert message in caught.value.render()
    assert "b.yaml" in caught.value.render()


def test_a_good_one_has_no_faults() -> None:
    assert check(Benchmark(base="x", methods={"a": None})) == []


def test_lines_of_rows_for_messages(tmp_path: Path) -> None:
    file = write(tmp_path / "b.yaml", "set:\n  a.b: 1\nmethods:\n  x:\n    train.epochs: 2\n")
    lines = row_lines(file)
    assert (lines["set", "a.b"], lines["methods", "x", "train.epochs"]) == (2, 5)
    assert row_lines(tmp_path / "none.yaml") == {}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("data.images", "x", "/b/x"),
        ("data.images", ["x", "/y"], ["/b/x", "/y"]),
        ("data", {"labels": {"file": "l.csv"}}, {"labels": {"file": "/b/l.csv"}}),
        ("data.sets.far.images", "../x", "/x"),
        ("masks.model", "lung-unet", "lung-unet"),
        ("masks.model", "own.safetensors", "/b/own.safetensors"),
        ("train.method", "isnet", "isnet"),
        ("train.epochs", 3, 3),
    ],
)
def test_paths_of_a_key_start_at_a_folder(key: str, value: object, expected: object) -> None:
    assert rooted(key, value, Path("/b")) == expected
