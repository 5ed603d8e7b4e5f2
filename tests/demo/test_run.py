"""The demonstration, small: the whole road from drawn images to the report, twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.config.load import load
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.demo.run import Scale, format_demo_yaml, run_demo
from isnet_cli.errors import IsnetError
from isnet_cli.images.dicom.writer import invent_person
from isnet_cli.phantoms.collection import plan_images
from tests.support.paths import ROOT

SAMPLE = ROOT / "sample_configs" / "demo.yaml"
SMALL = Scale(
    patients_a=14,
    patients_b=4,
    side=144,
    overrides=(
        "train.epochs=1",
        "model.input=64",
        "heatmap.limit=1",
        "machine.workers=0",
        "evaluate.intervals.draws=1000",
        "evaluate.intervals.bootstrap=200",
    ),
)
COLUMNS = ["biased", "standard", "deceiving", "hospital_b"]


def listen(events: list[str]) -> Callable[..., None]:
    def event(name: str, **fields: Any) -> None:
        events.append(f"{name} {fields.get('stage', '')}".strip())

    return event


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    output, events = tmp_path_factory.mktemp("demo"), []
    document = run_demo(output, RunContext(event=listen(events)), seed=3, scale=SMALL)
    return output, document, events


@pytest.mark.slow
def test_document_has_a_figure_for_each_method_and_version(demo: Any) -> None:
    _, document, _ = demo
    for figure in ("macro_f1", "auc", "outside", "pointing"):
        assert list(document[figure]) == ["standard", "isnet"]
        for values in document[figure].values():
            assert list(values) == COLUMNS
            assert all(v is None or 0 <= v <= 1 for v in values.values())
    assert all(v is not None for v in document["macro_f1"]["isnet"].values())
    assert document["lung_dice"] > 0.8
    assert document["images"]["patients"] == 18
    json.dumps(document, allow_nan=False)


@pytest.mark.slow
def test_everything_is_written(demo: Any) -> None:
    output, document, _ = demo
    assert Path(document["report"]) == output / "report.html"
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "isnet" in page
    assert "standard" in page
    assert (output / "isnet" / "masks" / "qc.csv").is_file()
    assert not (output / "standard" / "masks").exists()
    for run in ("isnet", "standard"):
        assert (output / run / "evaluate" / "metrics.json").is_file()
        assert (output / run / "log.jsonl").is_file()


@pytest.mark.slow
def test_no_identity_of_the_images_reaches_any_output(demo: Any) -> None:
    output, _, _ = demo
    written = b"".join(
        path.read_bytes()
        for part in (output / "isnet", output / "standard", output / "report.html")
        for path in ([part] if part.is_file() else sorted(part.rglob("*")))
        if path.is_file()
    )
    for plan in plan_images(SMALL.patients_a, SMALL.patients_b, 3, SMALL.side):
        person = invent_person(plan.patient, plan.hospital)
        for word in (person.name, person.name.split("^")[0], person.number, person.birth):
            assert word.encode() not in written


@pytest.mark.slow
def test_a_second_call_does_no_work_and_says_the_same(demo: Any) -> None:
    output, document, first = demo
    assert "stage_started train" in first
    events: list[str] = []
    again = run_demo(output, RunContext(event=listen(events)), seed=3, scale=SMALL)
    assert not [event for event in events if event.startswith("stage_started")]
    seconds = ("seconds",)
    assert {k: v for k, v in again.items() if k not in seconds} == {
        k: v for k, v in document.items() if k not in seconds
    }


def test_one_process_at_a_time_works_in_the_folder(tmp_path: Path) -> None:
    """Also not while one makes images, which no run's lock protects."""
    with (
        RunFolder(tmp_path / "demo").lock(),
        pytest.raises(IsnetError, match="in use by another isnet process") as caught,
    ):
        run_demo(tmp_path / "demo", RunContext())
    assert caught.value.kind == "machine"
    assert not (tmp_path / "demo" / "images").exists()


def test_a_folder_of_others_gets_no_lock(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(IsnetError, match="holds images of another demonstration"):
        run_demo(tmp_path, RunContext())
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_stop_interrupts(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, RunContext(stop_requested=lambda: True), scale=SMALL)


def test_the_sample_is_what_the_demonstration_runs() -> None:
    text = format_demo_yaml("../runs/demo/images", "../runs/demo/labels.csv")
    assert SAMPLE.read_text(encoding="utf-8") == text


def test_the_text_loads_and_says_the_paths_and_the_seed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("file,label\n", encoding="utf-8")
    (tmp_path / "demo.yaml").write_text(
        format_demo_yaml("images", "labels.csv", 5), encoding="utf-8"
    )
    config = load(tmp_path / "demo.yaml")
    assert config.seed == 5
    assert config.data.images == str(tmp_path / "images")
    assert config.data.labels.file == str(tmp_path / "labels.csv")
    assert config.data.labels.classes == ["disease", "normal"]
    assert config.train.method == "isnet"
    assert config.bias.kind == "shapes"
    assert sum(s.fraction or 0 for s in config.data.sets.values()) == 1.0
