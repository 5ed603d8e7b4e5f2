"""The verbs on real small inputs, from words to files, exit codes and both streams."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from isnet_cli.config.load import load
from isnet_cli.core.files import read_csv
from isnet_cli.core.run_folder import STAGES, RunFolder
from tests.cli.factory import CONFIG, Done, isnet, tree, write_images, write_inputs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A folder with inputs and a finished ``isnet run c.yaml -o out/run``."""
    folder = tmp_path_factory.mktemp("verbs")
    config = write_inputs(folder)
    return folder, isnet("run", config, "-o", folder / "out/run", "--json")


@pytest.fixture
def work(finished: tuple[Path, Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder with a copy of the finished run; the inputs are where they were."""
    for name in ("xrays", "masks", "labels.csv"):
        (tmp_path / name).symlink_to(finished[0] / name)
    text = CONFIG
    for name in ("xrays", "labels.csv", "masks"):
        text = text.replace(f": {name}", f": {finished[0] / name}")
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    shutil.copytree(finished[0] / "out/run", tmp_path / "out/run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Inputs alone, as working folder."""
    write_inputs(tmp_path, 12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of reports are empty: for tests that are about something else."""
    monkeypatch.setattr("isnet_cli.report.drawings.svg_text", lambda figure: "<svg/>")


@pytest.mark.slow
def test_one_image_validates_and_a_batch_is_larger_than_the_set(fresh: Path) -> None:
    """Scores without a value for want of images end nothing."""
    sets = {"train": 0.75, "val": 0.09, "test": 0.16}
    words = [
        w for name, part in sets.items() for w in ("--set", f"data.sets.{name}.fraction={part}")
    ]
    done = isnet("run", "c.yaml", "-o", "out", "--set", "train.batch_size=64", "--json", *words)
    assert done.code == 0, done.err
    assert sum(done.document["stages"][0]["summary"]["sets"]["val"].values()) == 1
    assert "data.sets.val: no image of class" in done.err
    scores = json.loads((fresh / "out/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert scores["sets"]["test"]["standard"]["n"] == 2


def test_run_makes_everything(finished: tuple[Path, Done]) -> None:
    folder, done = finished
    assert done.code == 0, done.err
    found = done.document
    assert (found["schema"], found["verb"], found["exit_code"]) == (2, "run", 0)
    assert found["run"] == str(folder / "out/run")
    assert [stage["stage"] for stage in found["stages"]] == list(STAGES)
    assert {stage["status"] for stage in found["stages"]} == {"done"}
    assert found["stages"][0]["summary"]["sets"]["train"] == {"sick": 6, "well": 6}
    run = folder / "out/run"
    for name in ("isnet.yaml", "log.jsonl", "ingest/manifest.csv", "masks/qc.csv", "report.html"):
        assert (run / name).is_file(), name
    assert (run / "train/model.safetensors").is_file()
    assert (run / "evaluate/metrics.json").is_file()
    assert len(list((run / "heatmap").rglob("*--*.png"))) == 2
    assert (run / "heatmap/test/contact_sheet.png").is_file()


def test_the_recorded_configuration_is_the_run(finished: tuple[Path, Done]) -> None:
    folder, _ = finished
    assert load(folder / "out/run/isnet.yaml") == load(folder / "c.yaml")


def test_the_log_is_whole_lines_of_events(finished: tuple[Path, Done]) -> None:
    lines = (finished[0] / "out/run/log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    started = [event["stage"] for event in events if event["event"] == "stage_started"]
    assert started == [*STAGES, "report"]


def test_nothing_but_the_run_folder_was_written(finished: tuple[Path, Done]) -> None:
    names = {path.name for path in finished[0].iterdir()}
    assert names == {"xrays", "masks", "labels.csv", "c.yaml", "out"}
    assert [path.name for path in (finished[0] / "out").iterdir()] == ["run"]


def test_a_second_run_does_no_work_and_touches_nothing(finished: tuple[Path, Done]) -> None:
    folder, _ = finished
    before = tree(folder)
    before.pop("out/run/log.jsonl")
    done = isnet("run", folder / "c.yaml", "-o", folder / "out/run")
    assert done.code == 0
    assert done.out.count("up to date") == len(STAGES)
    assert "set" in done.out
    after = tree(folder)
    after.pop("out/run/log.jsonl")
    assert after == before


def test_the_result_for_people_is_on_stdout_alone(finished: tuple[Path, Done]) -> None:
    folder, _ = finished
    done = isnet("run", folder / "c.yaml", "-o", folder / "out/run", "-q")
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0] == str(folder / "out/run")
    assert [line.split()[0] for line in lines[1:6]] == list(STAGES)
    assert any(line.split()[:3] == ["test", "standard", "6"] for line in lines)
    assert lines[-1].split() == ["report", str(folder / "out/run/report.html")]


def test_a_run_folder_stands_for_its_configuration(work: Path) -> None:
    done = isnet("evaluate", "out/run", "--json")
    assert done.code == 0
    assert done.document["run"] == "out/run"


def test_other_settings_are_refused_and_named(work: Path) -> None:
    before = tree(work)
    done = isnet("run", "c.yaml", "-o", "out/run", "--set", "heatmap.limit=1")
    assert done.code == 3
    assert "stage 'ingest' was finished" not in done.err
    assert "out/run: stage 'heatmap' was finished with other settings or inputs" in done.err
    assert "changed: heatmap.limit" in done.err
    assert "--overwrite replaces it" in done.err
    after = tree(work)
    assert {k: v for k, v in after.items() if "log.jsonl" not in k} == {
        k: v for k, v in before.items() if "log.jsonl" not in k
    }


def test_overwrite_replaces_what_is_outdated_and_nothing_else(
    work: Path, no_drawings: None
) -> None:
    weights = (work / "out/run/train/model.safetensors").stat().st_mtime_ns
    done = isnet(
        "run", "c.yaml", "-o", "out/run", "--set", "heatmap.limit=1", "--overwrite", "--json"
    )
    assert done.code == 0, done.err
    states = {stage["stage"]: stage["status"] for stage in done.document["stages"]}
    assert states == {**dict.fromkeys(STAGES, "current"), "heatmap": "done"}
    assert (work / "out/run/train/model.safetensors").stat().st_mtime_ns == weights
    assert load(work / "out/run/isnet.yaml").heatmap.limit == 1


def test_restart_moves_the_old_run_aside(work: Path) -> None:
    before = tree(work / "out/run")
    done = isnet("ingest", "c.yaml", "-o", "out/run", "--restart")
    assert done.code == 0
    assert "the old run is now out/run.old-1" in done.err
    aside = tree(work / "out/run.old-1")
    assert {k: v for k, v in aside.items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }
    assert not (work / "out/run/train").exists()
    isnet("ingest", "c.yaml", "-o", "out/run", "--restart")
    assert (work / "out/run.old-2").is_dir()


def test_restart_does_not_move_what_is_no_run(fresh: Path) -> None:
    done = isnet("ingest", "c.yaml", "-o", "masks", "--restart")
    assert done.code == 2
    assert (fresh / "masks").is_dir()


def test_dry_run_says_what_would_happen_and_writes_nothing(fresh: Path) -> None:
    before = tree(fresh)
    done = isnet("run", "c.yaml", "-o", "out", "--dry-run")
    assert done.code == 0
    assert done.out.splitlines()[0] == "out (dry run, nothing is written)"
    assert done.out.count("would run") == len(STAGES)
    assert tree(fresh) == before
    assert not (fresh / "out").exists()


def test_dry_run_of_a_finished_run(work: Path) -> None:
    before = tree(work)
    words = ("run", "c.yaml", "-o", "out/run", "--dry-run", "--json")
    assert set(isnet(*words).document["plan"].values()) == {"current"}
    plan = isnet(*words, "--set", "train.epochs=3").document["plan"]
    assert list(plan.values()) == ["current", "current", "outdated", "depends", "depends"]
    assert tree(work) == before


def test_a_run_that_is_in_use_is_refused(work: Path) -> None:
    with RunFolder(work / "out/run").lock():
        done = isnet("run", "c.yaml", "-o", "out/run")
    assert done.code == 6
    assert "in use by another isnet process" in done.err


def test_skipped_inputs_are_code_7_or_with_strict_an_error(fresh: Path) -> None:
    (fresh / "xrays/torn.png").write_bytes((fresh / "xrays/f01.png").read_bytes()[:900])
    done = isnet("ingest", "c.yaml", "-o", "out")
    assert done.code == 7
    assert "1 inputs were skipped, see out/ingest/skipped.csv" in done.err
    assert "torn" in (fresh / "out/ingest/skipped.csv").read_text(encoding="utf-8")
    strict = isnet("masks", "c.yaml", "-o", "out2", "--strict", "--json")
    assert strict.code == 4
    assert strict.document["error"]["kind"] == "data"
    assert "--strict allows none" in strict.document["error"]["message"]
    assert not (fresh / "out2/masks/qc.csv").exists()


def test_masks_of_a_folder_by_the_network(fresh: Path) -> None:
    write_images(fresh / "some", range(100, 103))
    done = isnet("masks", "some", "-o", "out", "--device", "cpu", "--threshold", "0.6")
    assert done.code in {0, 7}, done.err
    assert len(list((fresh / "out/masks").glob("f1*.png"))) == 3
    config = load(fresh / "out/isnet.yaml")
    assert (config.name, config.masks.threshold) == ("some", 0.6)


def test_training_from_options_alone(fresh: Path) -> None:
    done = isnet(
        *("train", "--images", "xrays", "--labels", "labels.csv", "--masks", "masks"),
        *("--arch", "small", "--method", "standard", "--epochs", "1", "--batch-size", "4"),
        *("--lr", "0.001", "--heatmap-weight", "0.2", "--set", "model.input=32"),
        *("-d", "cpu", "-j", "0", "--seed", "5", "--no-deterministic", "-o", "out"),
    )
    assert done.code == 0, done.err
    config = load(fresh / "out/isnet.yaml")
    assert (config.name, config.seed) == ("xrays", 5)
    assert (config.model.arch, config.model.input) == ("small", (32, 32))
    assert (config.train.method, config.train.epochs) == ("standard", 1)
    assert (config.train.batch_size, config.train.optimizer.lr) == (4, 0.001)
    assert config.train.settings_of("isnet").heatmap_weight == 0.2
    assert (config.machine.device, config.machine.workers) == ("cpu", 0)
    assert config.machine.deterministic is False
    assert config.masks.files == str(fresh / "masks")


def test_a_time_limit_leaves_a_run_that_continues(fresh: Path) -> None:
    words = ("run", "c.yaml", "-o", "out", "--json")
    done = isnet(*words, "--stop-after", "0s")
    assert (done.code, done.document["status"]) == (0, "incomplete")
    assert "to continue:" in done.err
    assert isnet("ingest", "c.yaml", "-o", "out", "--stop-after", "0s").code == 2


def test_other_files_are_not_mixed_with_a_run(fresh: Path) -> None:
    """The folder of given masks has the very name of a stage's folder."""
    before = tree(fresh)
    done = isnet("run", "c.yaml", "-o", ".")
    assert done.code == 2
    assert "holds other files" in done.err
    assert isnet("run", "c.yaml", "-o", "labels.csv").code == 2
    assert tree(fresh) == before


def test_two_folders_are_one_too_many(fresh: Path) -> None:
    assert isnet("train", "xrays", "--images", "masks").code == 2


def test_heat_maps_of_other_images(work: Path) -> None:
    write_images(work / "new", range(50, 53))
    done = isnet("heatmap", "new", "--model", "out/run", "--target", "sick", "-o", "maps")
    assert done.code in {0, 7}, done.err
    found = sorted(path.name for path in (work / "maps/heatmap").rglob("*.png"))
    assert found[0] == "contact_sheet.png"
    assert len(found) == 1 + 2  # the run's limit
    assert set(found[1:]) < {f"f{n}--sick.png" for n in (50, 51, 52)}
    assert load(work / "maps/isnet.yaml").heatmap.model == str(work / "out/run")


def test_heat_maps_by_other_methods_and_for_the_viewer(work: Path) -> None:
    words = ["--model", "out/run", "-o", "out/run", "--overwrite", "--method", "gradcam"]
    done = isnet("heatmap", *words, "--format", "nifti,dicom-sc", "--limit", "1")
    assert done.code == 0, done.err
    found = {path.name.partition(".")[2] for path in (work / "out/run/heatmap").glob("*/*")}
    assert found == {"nii.gz", "sc.dcm"}
    heat = load(work / "out/run/isnet.yaml").heatmap
    assert (heat.method, heat.formats, heat.identity) == (
        "gradcam",
        ["nifti", "dicom-sc"],
        "remove",
    )
    done = isnet("heatmap", *words[:-2], "--method", "attention_rollout")
    assert done.code == 3
    assert "attention_rollout is not defined for small" in done.err
    assert isnet("heatmap", *words, "--format", "png,gif").code == 3


def test_heat_maps_of_the_runs_own_images(work: Path) -> None:
    done = isnet("heatmap", "--model", "out/run", "--json")
    assert done.code == 0
    assert done.document["run"] == "out/run"
    assert done.document["stages"][-1]["status"] == "current"


def test_a_folder_without_a_model(work: Path) -> None:
    done = isnet("heatmap", "xrays")
    assert done.code == 2
    assert "isnet heatmap xrays --model RUN" in done.err


@pytest.mark.parametrize("words", [("heatmap", "xrays"), ("evaluate", "--test", "a=xrays")])
def test_a_model_that_is_none(work: Path, words: tuple[str, ...]) -> None:
    done = isnet(*words, "--model", "masks")
    assert done.code == 5
    assert "expected the folder of a trained run" in done.err
    shutil.rmtree(work / "out/run/train")
    done = isnet(*words, "--model", "out/run")
    assert done.code == 5
    assert "isnet train out/run" in done.err


def test_scores_on_sets_that_are_typed(work: Path) -> None:
    keys = read_csv(work / "out/run/ingest/manifest.csv")
    rows = "".join(f"{line['key']},1,1,20,20\n" for line in keys[:3])
    (work / "boxes.csv").write_text(f"image,x,y,width,height\n{rows}", encoding="utf-8")
    words = (
        "--test", "again=xrays", "--labels", "again=labels.csv", "-o", "scores",
        "--annotations", "again=boxes.csv",
    )  # fmt: skip
    done = isnet("evaluate", "--model", "out/run", *words, "--set", "masks.files=masks", "--json")
    assert done.code == 0, done.err
    assert done.document["stages"][-1]["summary"]["sets"]["again"]["standard"]["n"] == 24
    metrics = json.loads((work / "scores/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert metrics["sets"]["again"]["standard"]["localisation"]["findings"] == 3
    config = load(work / "scores/isnet.yaml")
    assert config.name == "again"
    assert list(config.data.sets) == ["again"]
    assert config.data.labels.classes == ["sick", "well"]
    assert config.evaluate.model == str(work / "out/run")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--test", "a=xrays"), "isnet evaluate --model RUN --test NAME=PATH"),
        (("--model", "out/run", "--test", "a"), "--test a: expected NAME=PATH"),
        (("--model", "out/run", "--labels", "a=b"), "--labels without --test"),
        (("--model", "out/run", "--annotations", "a=b", "--annotations", "c"), "NAME=PATH"),
        (("--model", "out/run", "--test", "a=xrays", "--labels", "b=c"), "no --test b=PATH"),
        (("xrays", "--model", "out/run"), "needs a name as a test set"),
    ],
)
def test_wrong_words_of_evaluate(work: Path, words: tuple[str, ...], text: str) -> None:
    done = isnet("evaluate", *words)
    assert done.code == 2
    assert text in done.err


def test_reports(work: Path, no_drawings: None) -> None:
    done = isnet("report", "out/run", "-o", "page.html")
    assert (done.code, done.out) == (0, "page.html\n")
    assert (work / "page.html").read_text(encoding="utf-8").lstrip().startswith("<!")
    shutil.copytree("out/run", "out/other")
    assert isnet("report", "out/run", "out/other").code == 2
    assert isnet("report", "out/run", "out/other", "-o", "both.html").code == 0
    assert isnet("report", "xrays").code == 5
    page = (work / "page.html").read_text(encoding="utf-8")
    assert isnet("report", "out/run", "-o", "-").out.rstrip() == page.rstrip()


def test_init_writes_what_it_finds_and_keeps_what_is_there(fresh: Path) -> None:
    done = isnet("init", ".", "--json", "-o", "new.yaml")
    assert done.code == 0, done.err
    found = done.document["found"]
    assert (found["count"], found["matched"], found["masked"]) == (12, 12, 12)
    assert found["classes"] == ["sick", "well"]
    config = load(fresh / "new.yaml")
    assert config.data.images == str(fresh / "xrays")
    assert config.data.labels.file == str(fresh / "labels.csv")
    assert config.masks.files == str(fresh / "masks")
    text = (fresh / "new.yaml").read_text(encoding="utf-8")
    assert "images: ./xrays" in text
    again = isnet("init", ".", "-o", "new.yaml")
    assert again.code == 2
    assert "new.yaml: exists and is kept" in again.err
    assert (fresh / "new.yaml").read_text(encoding="utf-8") == text


def test_init_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isnet("init", "nowhere").code == 4
    assert isnet("init").code == 4
    assert list(tmp_path.iterdir()) == []


def test_check_writes_nothing(fresh: Path) -> None:
    before = tree(fresh)
    done = isnet("check", "c.yaml")
    assert done.code == 0
    assert "images: 12 found" in done.out
    found = isnet("check", "c.yaml", "--json").document
    assert found["verb"] == "check"
    assert found["classes"] == ["sick", "well"]
    assert found["near_duplicates"]["images"] == 12
    assert "probes" not in isnet("check", "c.yaml", "--limit", "0", "--json").document
    assert tree(fresh) == before


def test_check_of_a_run_looks_at_the_images_and_masks_of_the_run(work: Path) -> None:
    blind = ["--set", "masks.files=null", "--json"]  # no masks but those of the run
    assert isnet("check", "c.yaml", *blind).document["probes"]["images"] == 0
    for words in (["out/run"], ["c.yaml", "--set", "upstream=out/run"]):
        assert isnet("check", *words, *blind).document["probes"]["images"] > 0


def test_check_of_what_is_wrong(fresh: Path) -> None:
    assert isnet("check", "c.yaml", "--set", "train.epoch=3").code == 3
    assert isnet("check", "c.yaml", "--set", "data.images=nowhere").code == 4
    assert isnet("check", "nowhere.yaml").code == 3
    assert isnet("check", "nowhere").code == 4
    assert isnet("check", "c.yaml", "--set", "evaluate.sets=[nowhere]").code == 4
    (fresh / "other.csv").write_text("file,label\na.png,x\nb.png,y\n", encoding="utf-8")
    done = isnet("check", "c.yaml", "--set", "data.labels.file=other.csv", "--json")
    assert done.code == 4
    assert done.document["images"]["usable"] == 12
    assert "0 of 12 images found a row" in done.document["problems"][0]["text"]


def test_check_prints_schema_and_resolved_configuration(fresh: Path) -> None:
    assert isnet("check", "--schema").document["title"] == "isnet.yaml"
    done = isnet("check", "c.yaml", "--resolved", "--set", "seed=9")
    (fresh / "resolved.yaml").write_text(done.out, encoding="utf-8")
    assert load(fresh / "resolved.yaml") == load(fresh / "c.yaml", ["seed=9"])


def test_without_words_isnet_yaml_of_the_folder_is_used(fresh: Path) -> None:
    assert isnet("check").code == 2
    (fresh / "c.yaml").rename("isnet.yaml")
    assert isnet("check").code == 0


def test_doctor(fresh: Path) -> None:
    done = isnet("doctor", "--json")
    assert done.code == 0, done.err
    found = done.document
    assert found["problems"] == []
    assert found["network"] == "never used"
    assert {"isnet", "python", "torch"} <= set(found["versions"])
    lines = isnet("doctor").out.splitlines()
    assert any(line.startswith("weights   lung-unet") for line in lines)
    assert any("(auto)" in line for line in lines if line.startswith("device"))


def test_output_inside_the_input_is_refused(fresh: Path) -> None:
    done = isnet("ingest", "c.yaml", "-o", "xrays/run")
    assert done.code == 2
    assert "which is never written to" in done.err
    assert not (fresh / "xrays/run").exists()


def test_a_missing_device_is_never_replaced(fresh: Path) -> None:
    done = isnet("masks", "xrays", "--device", "cuda:7", "-o", "out")
    assert done.code == 6
    assert "not on this machine" in done.err
