"""The loader: origins, paths, overrides, all faults at once, and the way back to YAML."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel

from isnet_cli.config.load import (
    NUMBERS,
    Option,
    changed_keys,
    dotted,
    dump,
    json_schema,
    load,
    plain,
)
from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from tests.config.factory import configs

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes ``conf/a.yaml`` below the working folder and returns its path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()

    def writer(text: str) -> Path:
        path = Path("conf/a.yaml")
        path.write_text(text, encoding="utf-8")
        return path

    return writer


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(IsnetError) as caught:
        load(path, list(overrides))
    assert caught.value.kind == "config"
    return caught.value.render()


def test_nothing_given_is_all_defaults() -> None:
    assert load(None) == Config()


def test_an_empty_file_is_all_defaults(write: Write) -> None:
    assert load(write("# only a comment\n")) == Config()


def test_paths_start_at_the_file(write: Write, tmp_path: Path) -> None:
    config = load(
        write(
            "upstream: up\n"
            "data:\n"
            "  images: [xrays, ../more]\n"
            "  labels: {file: labels.csv}\n"
            "  privacy: {salt_file: salt}\n"
            "  sets: {far: {images: far, labels: {file: /abs/far.csv}}}\n"
            "masks: {files: ./masks, model: unet.safetensors}\n"
            "model: {pretrained: start.safetensors}\n"
            "evaluate: {model: runs/a}\n"
            "heatmap: {model: ../b}\n"
        )
    )
    here = tmp_path / "conf"
    assert config.upstream == str(here / "up")
    assert config.data.images == [str(here / "xrays"), str(tmp_path / "more")]
    assert config.data.labels.file == str(here / "labels.csv")
    assert config.data.privacy.salt_file == str(here / "salt")
    assert config.data.sets["far"].images == str(here / "far")
    far = config.data.sets["far"].labels
    assert far is not None
    assert far.file == "/abs/far.csv"
    assert config.masks.files == str(here / "masks")
    assert config.masks.model == str(here / "unet.safetensors")
    assert config.model.pretrained == str(here / "start.safetensors")
    assert config.evaluate.model == str(here / "runs/a")
    assert config.heatmap.model == str(tmp_path / "b")


def test_a_shipped_network_is_a_name_and_not_a_path(write: Write) -> None:
    assert load(write("masks: {model: lung-unet}\n")).masks.model == "lung-unet"


def test_typed_paths_start_at_the_working_folder(write: Write, tmp_path: Path) -> None:
    path = write("data: {images: xrays, labels: {file: a.csv}}\n")
    options = [Option("SOURCE", "data.images", "images")]
    config = load(path, ["data.labels.file=b.csv"], options)
    assert config.data.images == str(tmp_path / "images")
    assert config.data.labels.file == str(tmp_path / "b.csv")


def test_a_typed_section_takes_its_paths_from_the_working_folder(
    write: Write, tmp_path: Path
) -> None:
    path = write("data: {sets: {a: {images: old}}}\n")
    config = load(path, ["data.sets={b: {images: new}}"])
    assert list(config.data.sets) == ["b"]
    assert config.data.sets["b"].images == str(tmp_path / "new")


def test_later_origins_win(write: Write) -> None:
    path = write("train: {epochs: 2, batch_size: 3}\nseed: 4\n")
    config = load(path, ["train.epochs=9"], [Option("--epochs", "train.epochs", 7)])
    assert (config.train.epochs, config.train.batch_size, config.seed) == (9, 3, 4)


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("train.optimizer.lr=1e-3", 0.001),
        ("train.optimizer.lr=1", 1.0),
        ("train.settings.isnet.heatmap_weight={0: 0, 5: 1e-1}", {0: 0.0, 5: 0.1}),
        ("train.settings.isnet.relevance_range=[1, 2.5]", (1.0, 2.5)),
        ("model.input=96", (96, 96)),
        ("model.input=[96, 128]", (96, 128)),
        ("heatmap.limit=all", None),
        ("data.columns.view=none", None),
        ("data.labels.file=folders", None),
        ("evaluate.model=own", None),
        ("upstream=", None),
        ("heatmap.formats=[npz]", ["npz"]),
        ("train.augment.flip=false", False),
        ("data.labels.classes=['1', 'yes']", ["1", "yes"]),
        (" heatmap.target = a = b ", "a = b"),
    ],
)
def test_overrides_are_yaml(pair: str, value: object) -> None:
    found: object = load(None, [pair])
    for name in pair.partition("=")[0].strip().split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    assert found == value
    assert type(found) is type(value)


def test_all_faults_come_at_once_with_their_lines(write: Write) -> None:
    path = write(
        "version: 1\n"
        "modle: {arch: x}\n"
        "train:\n"
        "  epoch: 3\n"
        "  epochs: three\n"
        "  optimizer: {lr: 0}\n"
        "  augment: {flip: yes}\n"
        "  batch_size: 1\n"
        "  batch_size: 2\n"
    )
    text = refusal(path, "seed=-1", "nonsense", "train.epohs=2")
    assert text.splitlines() == [
        "error[config]: conf/a.yaml: 9 faults",
        "  --set: seed: found -1, expected greater than or equal to 0",
        "  --set: train.epohs: unknown key, did you mean 'epochs'?",
        "  --set nonsense: expected KEY=VALUE, as in --set train.epochs=30",
        "  conf/a.yaml:2: modle: unknown key, did you mean 'model'?",
        "  conf/a.yaml:4: train.epoch: unknown key, did you mean 'epochs'?",
        "  conf/a.yaml:5: train.epochs: found 'three', expected a valid integer;"
        " numbers stand without quotes",
        "  conf/a.yaml:6: train.optimizer.lr: found 0, expected greater than 0",
        "  conf/a.yaml:7: train.augment.flip: found yes: write true,"
        " or 'yes' in quotes for the word",
        "  conf/a.yaml:9: train.batch_size: duplicate key, first on line 8",
        "  fix: isnet check conf/a.yaml tries again",
    ]


def test_one_fault_is_one_line(write: Write) -> None:
    text = refusal(write("\n\ntrain:\n  epoch: 14\n"))
    assert text.splitlines()[0] == (
        "error[config]: conf/a.yaml:4: train.epoch: unknown key, did you mean 'epochs'?"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: 5\n", "conf/a.yaml:1: train: found 5, expected 'key: value' lines below"),
        ("- a\n- b\n", "conf/a.yaml:1: expected 'key: value' lines at the top"),
        ("seed: true\n", "seed: found true, expected a valid integer"),
        ("train: {optimizer: {lr: true}}\n", "found true, expected a valid number"),
        ("train: {augment: {flip: 1}}\n", "found 1, expected a valid boolean"),
        ("version: true\n", "version: found true, expected a number"),
        ("model: {channels: true}\n", "model.channels: found true, expected a number"),
        ("version: 2\n", "version: found 2, expected 1"),
        ("name: 12\n", "name: found 12, expected a valid string; write it in quotes"),
        ("data: {labels: {classes: [0, 1]}}\n", "data.labels.classes[0]: found 0"),
        ("model: {input: [224]}\n", "model.input"),
        ("model: {input: [224, 16]}\n", "model.input[1]: found 16"),
        ("machine: {device: gpu}\n", "found 'gpu', expected auto, cpu, mps, cuda or cuda:N"),
        ("data: {images: ~/xrays}\n", "~ is not expanded"),
        ("data: {images: ''}\n", "data.images: an empty path"),
        (
            "train: {settings: {isnet: {heatmap_weight: {1: 0.5}}}}\n",
            "a.yaml:1: train.settings.isnet.heatmap_weight: a schedule {epoch: P} needs an entry",
        ),
        (
            "train: {settings: {isnet: {heatmap_weight: 1.5}}}\n",
            "found 1.5, expected less than or equal to 1",
        ),
        (
            "train: {settings: {isnet: {relevance_rnage: 1}}}\n",
            "isnet.relevance_rnage: unknown key, did you mean 'relevance_range'?",
        ),
        ("train: {settings: {isnett: {}}}\n", "isnett: unknown key, did you mean 'isnet'?"),
        ("heatmap: {limit: null}\n", "heatmap.limit: found null, expected a value, or all"),
        ("data: {columns: {view: }}\n", "view: found null, expected a value, or none"),
        ("data: {sets: {a: {fractoin: 1}}}\n", "data.sets.a.fractoin: unknown key, did you mean"),
        ("train: {optimizer: {lr: .nan}}\n", "train.optimizer.lr"),
    ],
)
def test_faults_name_key_found_and_expected(write: Write, text: str, words: str) -> None:
    assert words in refusal(write(text))


def test_an_unknown_key_without_a_neighbour_lists_the_section(write: Write) -> None:
    text = refusal(write("masks: {zzz: 1}\n"))
    assert "unknown key; 'masks' has files, model, threshold" in text


def test_a_long_value_is_cut(write: Write) -> None:
    text = refusal(write(f"seed: {'x' * 500}\n"))
    assert "…" in text
    assert len(text) < 300


def test_a_flood_of_faults_is_counted(write: Write) -> None:
    text = refusal(write("".join(f"k{i}: 1\n" for i in range(80))))
    assert "80 faults" in text
    assert "... and 30 more" in text


def test_a_missing_file(tmp_path: Path) -> None:
    text = refusal(tmp_path / "none.yaml")
    assert "no such file or directory, expected a YAML file" in text
    assert "isnet init" in text


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "a folder, expected a YAML file" in refusal(tmp_path)


def test_foreign_bytes_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"version: 1\nname: M\xfcller\n")
    assert "a.yaml:2: not UTF-8 text" in refusal(path)


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\r\nseed: 3\r\n")
    assert load(path).seed == 3


def test_cross_checks_carry_the_line(write: Write) -> None:
    text = refusal(
        write(
            "data:\n  labels: {task: multilabel}\nbias:\n  kind: shapes\n"
            "train: {settings: {isnet: {variant: selective}}}\n"
        )
    )
    assert "conf/a.yaml:4: bias.kind: shapes stand for one class per image" in text
    assert "train.settings.isnet.variant: selective explains one class" in text


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(config=configs())
def test_what_is_dumped_loads_back_equal(
    config: Config, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("dump") / "isnet.yaml"
    path.write_text(dump(config), encoding="utf-8", errors="surrogatepass")
    assert load(path) == config


def test_dump_writes_every_default() -> None:
    text = dump(Config())
    assert text.startswith("# isnet ")
    assert "bounded_first_layer: true" in text
    assert "  input: [224, 224]" in text


def test_changed_keys() -> None:
    old = plain(Config())
    new = plain(load(None, ["train.epochs=3", "data.sets={a: {fraction: 0.5}}"]))
    assert changed_keys(old, old) == []
    assert changed_keys(old, new) == ["data.sets.a", "train.epochs"]


def test_dotted() -> None:
    assert dotted(("data", "images", 2)) == "data.images[2]"
    assert dotted(()) == ""


def test_every_choice_of_numbers_refuses_true() -> None:
    def choices(model: type[BaseModel], key: tuple[str, ...]) -> set[tuple[str, ...]]:
        found = set()
        for name, info in model.model_fields.items():
            here = (*key, name)
            if get_origin(info.annotation) is Literal and 1 in get_args(info.annotation):
                found.add(here)
            elif isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                found |= choices(info.annotation, here)
        return found

    assert choices(Config, ()) == set(NUMBERS)


def test_json_schema_describes_the_whole_tree() -> None:
    schema = json_schema()
    json.dumps(schema)
    assert schema["title"] == "isnet.yaml"
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
