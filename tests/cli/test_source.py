"""What the words of a command mean, and where outputs go."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from isnet_cli.cli.options import RunOptions
from isnet_cli.cli.source import (
    Source,
    check_output,
    check_output_apart,
    choose_output,
    is_run,
    make_machine_options,
    make_options,
    make_run_name,
    require_run,
    resolve_source,
)
from isnet_cli.config.load import Option, dump
from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_json
from isnet_cli.errors import IsnetError

TODAY = datetime.datetime.now().astimezone().date().isoformat()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(path: Path, config: Config | None = None) -> Path:
    path.mkdir(parents=True)
    (path / "isnet.yaml").write_text(dump(config or Config()), encoding="utf-8")
    write_json(path / "run.json", {"schema": 2, "stages": {}})
    return path


def test_a_yaml_is_a_configuration() -> None:
    assert resolve_source(Path("a.yaml"), None) == Source(Path("a.yaml"))
    assert resolve_source(None, Path("a.YML")) == Source(Path("a.YML"))


def test_a_folder_is_images_with_or_without_a_configuration(here: Path) -> None:
    (here / "x").mkdir()
    assert resolve_source(Path("x"), None) == Source(None, images=Path("x"))
    assert resolve_source(Path("x"), Path("a.yaml")) == Source(Path("a.yaml"), images=Path("x"))


def test_a_pattern_is_images() -> None:
    assert resolve_source(Path("x/*.dcm"), None).images == Path("x/*.dcm")


def test_a_run_is_its_own_configuration(here: Path) -> None:
    run = make_run(here / "r")
    assert resolve_source(run, None) == Source(run / "isnet.yaml", run=run)
    assert resolve_source(run, Path("a.yaml")) == Source(Path("a.yaml"), run=run)


def test_nothing_is_the_file_of_the_folder_or_an_error(here: Path) -> None:
    with pytest.raises(IsnetError, match="no configuration") as caught:
        resolve_source(None, None)
    assert caught.value.kind == "usage"
    (here / "isnet.yaml").touch()
    assert resolve_source(None, None) == Source(Path("isnet.yaml"))


def test_two_configurations_are_refused() -> None:
    with pytest.raises(IsnetError, match="two configurations"):
        resolve_source(Path("a.yaml"), Path("b.yaml"))


def test_a_missing_folder_is_refused() -> None:
    with pytest.raises(IsnetError, match="no such file or folder"):
        resolve_source(Path("nowhere"), None)


def test_a_run_of_version_0_1_0_is_refused_before_its_settings_are_read(here: Path) -> None:
    run = make_run(here / "r")
    (run / "isnet.yaml").write_text("old_key: 1\n", encoding="utf-8")
    write_json(run / "run.json", {"schema": 1, "stages": {}, "versions": {"isnet": "0.1.0"}})
    for refusing in (lambda: resolve_source(run, None), lambda: require_run(run, "--model")):
        with pytest.raises(IsnetError, match=r"a run of isnet 0\.1\.0") as caught:
            refusing()
        assert "make the run again" in caught.value.fix


def test_a_run_is_required(here: Path) -> None:
    run = make_run(here / "r")
    assert require_run(run, "--model") == run
    (run / "run.json").unlink()
    assert not is_run(run)
    for path, text in ((run, "no isnet.yaml and run.json"), (here / "none", "no such folder")):
        with pytest.raises(IsnetError, match=text) as caught:
            require_run(path, "--model")
        assert caught.value.kind == "weights"


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/xrays", "xrays"), ("Röntgen 2", "R-ntgen-2"), ("/", "images"), ("..a b..", "a-b")],
)
def test_names(path: str, name: str) -> None:
    assert make_run_name(Path(path)) == name
    Config(name=name)


def test_options_that_were_not_typed_are_left_out() -> None:
    pairs = [("--a", "a", None), ("--b", "b", 0), ("--c", "c", Path("x")), ("--d", "d", False)]
    assert make_options(pairs) == [
        Option("--b", "b", 0),
        Option("--c", "c", "x"),
        Option("--d", "d", False),
    ]


def test_machine_options() -> None:
    options = RunOptions(device="cpu", workers=0, seed=3, deterministic=False)
    assert {option.key: option.value for option in make_machine_options(options)} == {
        "machine.device": "cpu",
        "machine.workers": 0,
        "seed": 3,
        "machine.deterministic": False,
    }
    assert make_machine_options(RunOptions()) == []


def test_a_new_run_is_named_by_the_day() -> None:
    assert choose_output(Config(name="tb"), typed=False) == Path(f"runs/tb-{TODAY}")


def test_an_older_run_with_the_same_settings_is_continued(here: Path) -> None:
    config = Config(name="tb", seed=4)
    make_run(here / "runs/tb-2020-01-02", config)
    make_run(here / "runs/tb-2020-01-03", Config(name="tb", seed=5))
    make_run(here / "runs/tb-x-2020-01-04", Config(name="tb-x", seed=4))
    assert choose_output(config, typed=False) == Path("runs/tb-2020-01-02")
    other_machine = config.model_copy(
        update={"machine": config.machine.model_copy(update={"device": "cpu"})}
    )
    assert choose_output(other_machine, typed=False) == Path("runs/tb-2020-01-02")


def test_other_settings_of_the_same_name_and_day(here: Path) -> None:
    """In a file they are a change of that run; typed, they are another run."""
    make_run(here / f"runs/tb-{TODAY}", Config(name="tb", seed=5))
    config = Config(name="tb", seed=4)
    assert choose_output(config, typed=False) == Path(f"runs/tb-{TODAY}")
    assert choose_output(config, typed=True) == Path(f"runs/tb-{TODAY}-2")
    make_run(here / f"runs/tb-{TODAY}-2", config)
    assert choose_output(config, typed=True) == Path(f"runs/tb-{TODAY}-2")


def test_settings_are_typed_unless_they_are_in_a_file_of_the_user(here: Path) -> None:
    run = make_run(here / "r")
    assert Source(None, images=Path("x")).typed
    assert Source(run / "isnet.yaml").typed  # of another run, changed by options
    assert not Source(run / "isnet.yaml", run=run).typed
    assert not Source(Path("a.yaml")).typed


@pytest.mark.parametrize("where", ["images", "list", "set", "masks"])
def test_outputs_keep_away_from_inputs(where: str, here: Path) -> None:
    folder = here / "in"
    folder.mkdir()
    (here / "link").symlink_to(folder)
    trees = {
        "images": {"data": {"images": str(folder)}},
        "list": {"data": {"images": [str(folder), str(here / "a.png")]}},
        "set": {"data": {"sets": {"a": {"images": str(folder)}}}},
        "masks": {"masks": {"files": str(folder)}},
    }
    config = Config.model_validate(trees[where])
    for output in ("in", "in/run", "link/run"):
        with pytest.raises(IsnetError, match="never written to"):
            check_output_apart(config, Path(output))
    check_output_apart(config, Path("out"))
    check_output_apart(config, Path("in2"))


def test_a_run_gets_a_folder_of_its_own(here: Path) -> None:
    check_output(here / "new")
    (here / "empty").mkdir()
    check_output(here / "empty")
    check_output(make_run(here / "r"))
    (here / "begun").mkdir()
    for name in (".lock", "log.jsonl", "isnet.yaml"):
        (here / "begun" / name).touch()
    check_output(here / "begun")
    (here / "begun" / "thesis.doc").touch()
    with pytest.raises(IsnetError, match=r"holds other files \(thesis.doc\)"):
        check_output(here / "begun")
    with pytest.raises(IsnetError, match="a file, expected a folder"):
        check_output(here / "begun/thesis.doc")
