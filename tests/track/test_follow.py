"""Trackers: what they get, where it lies, and that none of them stops a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from isnet_cli.config.schema import Config
from isnet_cli.core.pipeline import run_pipeline
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.track import follow, tracker
from isnet_cli.track.follow import Followers, list_facts, require_trackers
from tests.cli.factory import isnet

ALL = ["tensorboard", "mlflow", "wandb"]
ROWS = [{"epoch": 1, "loss": 0.5, "val_auc": 0.7}, {"epoch": 2, "loss": 0.25, "val_auc": None}]


class Noted(tracker.Tracker):
    """Notes what it gets; raises where it is told to."""

    package, extra = "json", "json"
    notes: list[Any] = []  # noqa: RUF012
    broken = ""

    def __init__(self, place: Path, name: str, facts: Mapping[str, Any]) -> None:
        self._do("open", place.name, name, facts)

    def _do(self, what: str, *more: Any) -> None:
        if what == self.broken:
            raise RuntimeError("no")
        self.notes.append((what, *more))

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        self._do("log", dict(figures), epoch)

    def picture(self, name: str, path: Path, epoch: int | None) -> None:
        self._do("picture", name, path, epoch)

    def close(self) -> None:
        self._do("close")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> type[Noted]:
    monkeypatch.setattr(Noted, "notes", [])
    monkeypatch.setattr(Noted, "broken", "")
    for name in ALL:
        monkeypatch.setitem(tracker.TRACKERS, name, Noted)  # type: ignore[arg-type]
    return Noted


def tell(followers: Followers) -> None:
    followers.hear("stage_started", {"stage": "ingest"})
    followers.hear("stage_started", {"stage": "train"})
    for row in ROWS:
        followers.hear("epoch", row)
    followers.hear("stage_done", {"stage": "heatmap"})
    followers.close()


def test_figures_are_those_of_the_history(noted: type[Noted], tmp_path: Path) -> None:
    sheet = tmp_path / "heatmap/test/contact_sheet.png"
    sheet.parent.mkdir(parents=True)
    sheet.write_bytes(b"")
    warned: list[str] = []
    tell(Followers(Config(track=["mlflow"]), tmp_path, lambda *said: warned.append(said[1])))
    opened, *rest = noted.notes
    assert opened[:3] == ("open", "mlflow", "isnet")
    assert rest == [
        ("log", {"loss": 0.5, "val_auc": 0.7}, 1), ("log", {"loss": 0.25}, 2),
        ("picture", "maps of test", sheet, None), ("close",),
    ]  # fmt: skip
    assert warned == []


@pytest.mark.parametrize("broken", ["open", "log", "close"])
def test_a_failure_is_one_warning(noted: type[Noted], tmp_path: Path, broken: str) -> None:
    noted.broken = broken
    warned: list[str] = []
    tell(Followers(Config(track=["wandb"]), tmp_path, lambda *said: warned.append(said[1])))
    assert warned == ["wandb failed (RuntimeError) and is left out; the run goes on"]


def test_no_path_and_no_input_is_among_the_facts(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"data": {"images": "/home/doe/xrays"}, "model": {"pretrained": "/home/doe/start.pth"}}
    )
    facts = list_facts(config, tmp_path)
    assert facts["model.pretrained"] == "start.pth"
    assert facts["train.method"] == "isnet"
    assert "doe" not in json.dumps(facts)
    assert not [key for key in facts if key.startswith("data")]


def test_a_missing_library_is_said_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(follow, "find_spec", lambda name: None)
    with pytest.raises(IsnetError, match="mlflow is not installed") as caught:
        require_trackers(Config(track=["mlflow"]))
    assert (caught.value.kind, caught.value.fix) == ("usage", "pip install 'isnet[mlflow]'")
    (tmp_path / "xrays").mkdir()
    done = isnet(
        "train", "--images", tmp_path / "xrays", "--set", "track=[wandb]", "-o", tmp_path / "r"
    )
    assert (done.code, "isnet[wandb]" in done.err) == (2, True)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ALL)
def test_each_library_keeps_its_files_in_the_run(name: str, tmp_path: Path) -> None:
    warned: list[str] = []
    tell(Followers(Config(track=[name]), tmp_path, lambda *said: warned.append(said[1])))  # type: ignore[list-item]
    assert warned == []
    place = tmp_path / "track" / name
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(place)).Reload()
        assert [e.value for e in found.Scalars("loss")] == [0.5, 0.25]
    elif name == "mlflow":
        from mlflow.tracking import MlflowClient

        run = json.loads((place / "run.json").read_text())["run"]
        client = MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")
        assert [m.value for m in client.get_metric_history(run, "loss")] == [0.5, 0.25]
        assert client.get_run(run).data.params["train.method"] == "isnet"
    else:
        (folder,) = (place / "wandb").glob("offline-run-*")
        assert list(folder.glob("*.wandb"))


def test_a_training_tells_its_trackers(
    noted: type[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.cli.factory import write_inputs

    config = write_inputs(tmp_path)
    done = isnet(
        "train", config, "-o", tmp_path / "run", "--method", "standard", "--epochs", "2",
        "--set", "track=[tensorboard]", "--no-progress",
    )  # fmt: skip
    assert done.code == 0, done.err
    kinds = [note[0] for note in noted.notes]
    assert kinds == ["open", "log", "log", "close"]
    assert noted.notes[1][2:] == (1,)
    assert {"loss", "val_loss"} & set(noted.notes[1][1])


def test_sample_maps_change_nothing_and_name_nobody(
    noted: type[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.cli.factory import write_inputs

    config = write_inputs(tmp_path)
    words = (
        "train", config, "--epochs", "3", "--no-progress", "--set", "track=[tensorboard]",
        "--set", "train.before=[]",
    )  # fmt: skip
    for name, every in (("plain", 0), ("maps", 2)):
        done = isnet(*words, "-o", tmp_path / name, "--set", f"track_maps={every}")
        assert done.code == 0, done.err
    weights = [(tmp_path / n / "train/model.safetensors").read_bytes() for n in ("plain", "maps")]
    assert weights[0] == weights[1]
    sheets = sorted((tmp_path / "maps/track/maps").iterdir())
    assert [path.name for path in sheets] == ["epoch-0002.png"]
    assert not (tmp_path / "plain/track/maps").exists()
    (shown,) = [note for note in noted.notes if note[0] == "picture"]
    assert shown[1:] == ("sample maps", sheets[0], 2)
    with Image.open(sheets[0]) as picture:
        assert not picture.info
        assert picture.width > 100


def test_sample_maps_that_fail_are_one_warning(
    noted: type[Noted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isnet_cli.train import sample_maps
    from tests.cli.factory import write_inputs

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(sample_maps, "grad_cam", broken)
    monkeypatch.setattr(sample_maps, "relevance", broken)
    done = isnet(
        "train", write_inputs(tmp_path), "-o", tmp_path / "run", "--method", "standard",
        "--epochs", "2", "--set", "track=[tensorboard]", "--set", "track_maps=1", "--no-progress",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.err.count("no sample maps (RuntimeError); the training goes on") == 1


def test_the_pipeline_needs_no_tracker(tmp_path: Path) -> None:
    assert run_pipeline(Config(), RunFolder(tmp_path), RunContext(), ()) == []
