from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from isnet_cli.config.load import dump
from isnet_cli.config.schema import Config
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import name_temporary
from isnet_cli.guard.worker import Lost
from isnet_cli.images.kept import load_image
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.read import read_images
from isnet_cli.ingest import catalogue, reading
from isnet_cli.ingest import stage as ingest
from tests.ingest.factory import (
    Messages,
    config,
    dicom,
    labels,
    mask,
    png,
    rows,
    run_ingest,
    tree,
    two_classes,
)


def mixed(folder: Path) -> Path:
    """Formats, depths and faults as they come: 8 good images, 5 files that are none."""
    xrays = folder / "xrays"
    for n in range(4):
        dicom(xrays / f"siteA/p{n}/IM{n}", n, PatientID=f"A{n}", ViewPosition="PA")
        png(xrays / f"siteB/{n}.png", 10 + n, bits=16 if n % 2 else 8)
    dicom(xrays / "siteA/p0/side.dcm", 20, PatientID="A0", ViewPosition="LL")
    (xrays / "siteB/broken.png").write_bytes((xrays / "siteB/0.png").read_bytes()[:200])
    (xrays / "siteB/report").write_text("a report")
    shutil.copy(xrays / "siteB/1.png", xrays / "siteB/copy.png")
    png(xrays / "siteB/extra.png", 30)
    lines = [f"siteA/p{n}/IM{n},{'xy'[n % 2]},A" for n in range(4)]
    lines += [f"siteB/{n}.png,{'xy'[n % 2]},B" for n in range(4)]
    lines += ["siteA/p0/side.dcm,x,A", "siteB/broken.png,y,B", "siteB/copy.png,y,B"]
    labels(folder / "labels.csv", *lines, header="file,label,source")
    return folder


SETS = {"train": {"fraction": 0.5}, "val": {"fraction": 0.5}}


def test_every_file_is_accounted_for(tmp_path: Path) -> None:
    messages = Messages()
    outcome = run_ingest(tmp_path / "run", config(mixed(tmp_path), sets=SETS), messages)
    found = rows(tmp_path / "run")
    summary = outcome.summary
    assert summary["found"] == len(found) == 13
    assert summary["read"] + summary["skipped"] == summary["found"]
    assert (summary["read"], summary["labelled"], summary["no_label"]) == (9, 8, 1)
    assert summary["reasons"] == {"duplicate": 1, "lateral": 1, "not_image": 1, "truncated": 1}
    assert summary["sources"] == {"A": {"x": 2, "y": 2}, "B": {"x": 2, "y": 2}}
    assert summary["sets"] == {"train": {"x": 2, "y": 2}, "val": {"x": 2, "y": 2}}
    assert found["siteB/extra"].label == found["siteB/extra"].set == ""
    assert found["siteB/copy"].reason == "duplicate: the same bytes as siteB/1"
    with (tmp_path / "run/ingest/skipped.csv").open() as file:
        lost = list(csv.DictReader(file))
    assert [line["key"] for line in lost] == [k for k, r in found.items() if r.status == "skipped"]
    assert set(lost[0]) == {"key", "path", "reason"}
    assert any("joined by path, column 'file'" in line for line in messages.lines)


def test_rows_describe_the_input_and_images_are_what_the_reader_gives(tmp_path: Path) -> None:
    run_ingest(tmp_path / "run", config(mixed(tmp_path), sets=SETS))
    row = rows(tmp_path / "run")["siteA/p1/IM1"]
    path = tmp_path / "xrays/siteA/p1/IM1"
    assert (row.path, row.format, row.bits) == (
        str(path), "dicom:Explicit VR Little Endian", 12,
    )  # fmt: skip
    assert (row.height, row.width, row.view, row.frame) == (80, 96, "frontal", 0)
    assert (row.source, row.label, row.status, row.reason) == ("A", "y", "ok", "")
    assert len(row.patient) == 12
    assert row.image_file == "images/siteA/p1/IM1.png"
    kept = load_image(tmp_path / "run/ingest" / row.image_file)
    assert np.abs(kept - read_images(path)[0].pixels).max() <= 1 / 65535


def test_large_images_are_reduced_and_say_their_own_size(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    run_ingest(tmp_path / "run", config(folder, max_side=64))
    row = rows(tmp_path / "run")["00"]
    assert (row.height, row.width) == (80, 96)
    assert load_image(tmp_path / "run/ingest" / row.image_file).shape == (53, 64)


def test_input_is_untouched_and_only_the_stage_folder_is_written(tmp_path: Path) -> None:
    folder = mixed(tmp_path / "input")
    settings = config(folder, sets=SETS)
    before = tree(folder, times=True)
    run_ingest(tmp_path / "out" / "run", settings)
    assert tree(folder, times=True) == before
    written = {path.split("/")[1] for path in tree(tmp_path / "out")}
    assert written == {"ingest", "run.json", "isnet.yaml", ".lock", ".products"}


def test_a_second_run_does_no_work(tmp_path: Path) -> None:
    settings = config(mixed(tmp_path), sets=SETS)
    assert run_ingest(tmp_path / "run", settings).status == "done"
    before = tree(tmp_path / "run", times=True)
    assert run_ingest(tmp_path / "run", settings).status == "current"
    assert tree(tmp_path / "run", times=True) == before


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the files that are read from now on."""
    keys: list[str] = []
    real = reading.read_file

    def read(task: reading.ReadTask) -> reading.FileFacts:
        keys.append(task.key)
        return real(task)

    monkeypatch.setattr(reading, "read_file", read)
    return keys


def test_files_are_listed_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(two_classes(tmp_path))
    listed: list[object] = []
    real = catalogue.collect_images
    monkeypatch.setattr(catalogue, "collect_images", lambda x: listed.append(x) or real(x))
    run_ingest(tmp_path / "run", settings)
    run_ingest(tmp_path / "run", settings)  # is current
    assert listed == [settings.data.images] * 2


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = two_classes(tmp_path)
    settings = config(folder)
    run_ingest(tmp_path / "run", settings)
    keys = counted(monkeypatch)

    labels(folder / "labels.csv", *(f"{n:02}.png,{'xyz'[n % 3]}" for n in range(12)))
    assert run_ingest(tmp_path / "run", settings).status == "done"
    assert keys == []
    assert rows(tmp_path / "run")["02"].label == "z"

    png(folder / "xrays/03.png", 77)
    run_ingest(tmp_path / "run", settings)
    assert keys == ["03"]
    kept = load_image(tmp_path / "run/ingest/images/03.png")
    assert np.abs(kept - read_images(folder / "xrays/03.png")[0].pixels).max() <= 1 / 65535

    (tmp_path / "run/ingest/images/05.png").write_bytes(b"damaged")
    run_ingest(tmp_path / "run", config(folder, seed=1))
    assert keys == ["03", "05"]
    assert load_image(tmp_path / "run/ingest/images/05.png").shape == (80, 96)

    run_ingest(tmp_path / "run", config(folder, max_side=64))
    assert sorted(keys[2:]) == [f"{n:02}" for n in range(12)]


def test_images_that_left_the_input_leave_the_run(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    run_ingest(tmp_path / "run", config(folder))
    (folder / "xrays/00.png").rename(folder / "xrays/new.png")
    labels(folder / "labels.csv", "new.png,x", *(f"{n:02}.png,{'xy'[n % 2]}" for n in range(1, 12)))
    run_ingest(tmp_path / "run", config(folder))
    kept = {path.stem for path in (tmp_path / "run/ingest/images").rglob("*.png")}
    assert kept == set(rows(tmp_path / "run")) == {"new", *(f"{n:02}" for n in range(1, 12))}


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from tests.ingest.factory import run_ingest
from isnet_cli.config.load import load
if __name__ == "__main__":
    print("ready", flush=True)
    run_ingest(Path(sys.argv[2]), load(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    "targets", [(2, 15), pytest.param((0, 2, 5, 10, 20, 35), marks=pytest.mark.slow)]
)
def test_killed_at_any_moment_and_run_again_gives_the_undisturbed_result(
    tmp_path: Path, child_environment: dict[str, str], targets: tuple[int, ...]
) -> None:
    folder = mixed(tmp_path)
    for n in range(targets[-1] + 5):
        png(folder / f"xrays/more/{n}.png", 100 + n)
    settings = config(folder, sets=SETS, labels={"min_match": 0.1})
    run_ingest(tmp_path / "calm", settings)
    expected = tree(tmp_path / "calm/ingest")
    script, file = tmp_path / "child.py", tmp_path / "isnet.yaml"
    script.write_text(SCRIPT.format(path=[str(Path(__file__).parent)]))
    file.write_text(dump(settings))
    reached = []
    for target in targets:  # killed as soon as so many images are there
        run = tmp_path / f"run{target}"
        child = subprocess.Popen(
            [sys.executable, str(script), str(file), str(run)],
            env=child_environment, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        while child.poll() is None and len(list((run / "ingest").rglob("*.png"))) < target:
            time.sleep(0.0005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        reached.append(len(list((run / "ingest").rglob("*.png"))))
        for path in (run / "ingest/images").rglob("[!.]*.png"):
            load_image(path)  # whole or not there
        run_ingest(run, settings)
        found = tree(run / "ingest")
        journal = ".unfinished.jsonl"  # its lines come in the order of the work
        assert {k: v for k, v in found.items() if k != journal} == {
            k: v for k, v in expected.items() if k != journal
        }
    assert min(reached) < max(reached)  # some were killed on the way


def test_an_asked_for_stop_is_kept_and_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two_classes(tmp_path)
    keys = counted(monkeypatch)
    messages = Messages()
    run = RunFolder(tmp_path / "run")
    result = ingest.run(
        config(folder), run, messages.context(stop_requested=lambda: len(keys) >= 5)
    )
    assert not result.complete
    assert result.outputs == []
    assert len(keys) == 5
    assert not (tmp_path / "run/ingest/manifest.csv").exists()
    assert run_ingest(tmp_path / "run", config(folder)).status == "done"
    assert sorted(keys) == [f"{n:02}" for n in range(12)]


def test_several_processes_give_the_same_bytes(tmp_path: Path) -> None:
    settings = config(mixed(tmp_path), sets=SETS)
    run_ingest(tmp_path / "one", settings)
    pooled = settings.model_copy(
        update={"machine": settings.machine.model_copy(update={"workers": 2})}
    )
    run_ingest(tmp_path / "two", pooled)
    one, two = tree(tmp_path / "one/ingest"), tree(tmp_path / "two/ingest")
    assert {k: v for k, v in one.items() if "jsonl" not in k} == {
        k: v for k, v in two.items() if "jsonl" not in k
    }


def test_a_file_that_kills_its_process_is_a_row_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two_classes(tmp_path)
    real = reading.run_tasks

    def dying(function, tasks, workers, **options):
        for index, found in real(function, tasks, workers, **options):
            yield index, Lost.CRASHED if tasks[index].key == "04" else found

    with monkeypatch.context() as patch:
        patch.setattr(reading, "run_tasks", dying)
        outcome = run_ingest(tmp_path / "run", config(folder))
    assert outcome.summary["reasons"] == {"crashed": 1}
    assert rows(tmp_path / "run")["04"].reason.startswith("crashed: the process that read it died")
    keys = counted(monkeypatch)
    run_ingest(tmp_path / "run", config(folder, seed=1))
    assert keys == ["04"]
    assert rows(tmp_path / "run")["04"].status == "ok"


def test_what_can_be_refused_early_is_refused_before_pixels_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two_classes(tmp_path)
    keys = counted(monkeypatch)
    good = (folder / "labels.csv").read_text()
    cases = {
        "0 of 12 images": good.replace(".png", "-other.png"),
        "no label column": good.replace("label", "weight"),
        "several rows with different labels": good + "00.png,y\n",
    }
    for found, text in cases.items():
        (folder / "labels.csv").write_text(text)
        with pytest.raises(IsnetError, match=found):
            run_ingest(tmp_path / "run", config(folder))
    (folder / "labels.csv").write_text(good)
    with pytest.raises(IsnetError, match="no image of source 'Z'"):
        run_ingest(tmp_path / "run", config(folder, sets={"train": {"source": "Z"}}))
    with pytest.raises(IsnetError, match="no such file or folder"):
        run_ingest(tmp_path / "run", config(folder, images=str(folder / "lost")))
    with pytest.raises(IsnetError, match="expected a CSV file"):
        run_ingest(tmp_path / "run", config(folder, labels={"file": str(folder / "lost.csv")}))
    assert keys == []
    assert not list((tmp_path / "run/ingest").rglob("*.png"))


def test_a_patient_in_two_sets_is_refused_unless_allowed(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    names = ["train", "val"]
    labels(
        folder / "labels.csv",
        *(f"{n:02}.png,{'xy'[n % 2]},P{n % 5},{names[n // 6]}" for n in range(12)),
        header="file,label,patient,set",
    )
    with pytest.raises(IsnetError, match="5 patients in more than one of the sets") as caught:
        run_ingest(tmp_path / "run", config(folder))
    assert "P1" not in caught.value.render()
    assert "00 (train)" in caught.value.render()
    messages = Messages()
    run_ingest(tmp_path / "run", config(folder, split={"allow_overlap": True}), messages)
    assert any("5 patients in more than one" in text for text in messages.warned)


def test_patients_stay_together_and_hospitals_may_count_anew(tmp_path: Path) -> None:
    folder = two_classes(tmp_path, 24)
    labels(
        folder / "labels.csv",
        *(f"{n:02}.png,{'xxyy'[n % 4]},{n // 4},{'AB'[n % 2]}" for n in range(24)),
        header="file,label,patient,hospital",
    )
    sets = {name: {"source": source} for name, source in (("train", "A"), ("val", "B"))}
    with pytest.raises(IsnetError, match=r"data\.sets: 6 patients"):
        run_ingest(tmp_path / "run", config(folder, sets=sets))
    run_ingest(tmp_path / "run", config(folder, sets=sets, split={"ids": "source"}))
    assert len({row.patient for row in rows(tmp_path / "run").values()}) == 12
    run_ingest(tmp_path / "mixed", config(folder))
    sets_of: dict[str, set[str]] = {}
    for row in rows(tmp_path / "mixed").values():
        sets_of.setdefault(row.patient, set()).add(row.set)
    assert len(sets_of) == 6
    assert all(len(found) == 1 for found in sets_of.values())


def test_the_split_depends_on_neither_salt_nor_place(tmp_path: Path) -> None:
    one, two = two_classes(tmp_path / "one"), two_classes(tmp_path / "elsewhere/two")
    run_ingest(tmp_path / "run1", config(one))
    run_ingest(tmp_path / "run2", config(two, privacy={"salt_file": None}))
    first, second = rows(tmp_path / "run1"), rows(tmp_path / "run2")
    assert {k: r.set for k, r in first.items()} == {k: r.set for k, r in second.items()}


def test_copies_with_other_labels_are_all_left_out(tmp_path: Path) -> None:
    folder = two_classes(tmp_path, 20)
    for name, like in (("01", "00"), ("03", "05")):
        shutil.copy(folder / f"xrays/{like}.png", folder / f"xrays/{name}.png")
    messages = Messages()
    outcome = run_ingest(tmp_path / "run", config(folder), messages)
    found = rows(tmp_path / "run")
    assert outcome.summary["reasons"] == {"duplicate": 1, "duplicate_conflict": 2}
    assert [found[key].status for key in ("00", "01", "03", "05")] == [
        "skipped", "skipped", "ok", "skipped",
    ]  # fmt: skip
    assert "different labels: 00, 01" in found["00"].reason
    kept = {path.stem for path in (tmp_path / "run/ingest/images").glob("*.png")}
    assert kept == {key for key, row in found.items() if row.status == "ok"}


def outside(folder: Path) -> dict[str, dict[str, object]]:
    """A second hospital with labels of its own and one image like the first hospital's keys."""
    for n in range(4):
        png(folder / f"far/{n:02}.png", 200 + n)
    labels(folder / "far.csv", *(f"{n:02};{'xy'[n % 2]}" for n in range(4)), header="image;class")
    return {
        "train": {"fraction": 0.5}, "val": {"fraction": 0.5},
        "far": {"images": str(folder / "far"), "labels": {"file": str(folder / "far.csv")}},
    }  # fmt: skip


def test_sets_with_images_of_their_own(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    outcome = run_ingest(tmp_path / "run", config(folder, sets=outside(folder)))
    found = rows(tmp_path / "run")
    assert outcome.summary["sets"]["far"] == {"x": 2, "y": 2}
    assert [key for key in found if key.startswith("far/")] == [f"far/{n:02}" for n in range(4)]
    assert {found[f"far/{n:02}"].source for n in range(4)} == {"far"}
    assert found["00"].sha256 != found["far/00"].sha256


def test_a_copy_in_the_outside_set_is_refused(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    sets = outside(folder)
    shutil.copy(folder / "xrays/00.png", folder / "far/00.png")
    with pytest.raises(IsnetError, match="1 image in more than one of the sets") as caught:
        run_ingest(tmp_path / "run", config(folder, sets=sets))
    assert "far/00 (far)" in caught.value.render()


def test_an_outside_class_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    sets = outside(folder)
    text = (folder / "far.csv").read_text()
    (folder / "far.csv").write_text(text.replace(";y", ";z"))
    with pytest.raises(IsnetError, match=r"data\.sets\.far: class 'z', expected one of") as caught:
        run_ingest(tmp_path / "run", config(folder, sets=sets))
    assert "data.sets.far.labels.classes" in caught.value.fix


def test_multilabel_outside_set_speaks_of_the_main_labels(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    header = "file,edema,mass"
    labels(folder / "labels.csv", *(f"{n:02}.png,{n % 2},{n % 3 // 2}" for n in range(12)),
           header=header)  # fmt: skip
    sets = outside(folder)
    labels(folder / "far.csv", "00,1,0", "01,0,1", "02,1,", "03,0,0", header="image,mass,other")
    sets["far"]["labels"] = {"file": str(folder / "far.csv"), "task": "multilabel"}
    run_ingest(tmp_path / "run", config(folder, labels={"task": "multilabel"}, sets=sets))
    found = rows(tmp_path / "run")
    assert found["05"].label == "edema=1;mass=1"
    assert [found[f"far/{n:02}"].label for n in range(4)] == [
        "edema=?;mass=1", "edema=?;mass=0", "edema=?;mass=1", "edema=?;mass=0",
    ]  # fmt: skip


def test_folders_as_classes_and_as_sets(tmp_path: Path) -> None:
    for n in range(12):
        png(tmp_path / f"plain/xrays/{'xy'[n % 2]}/{n}.png", n)
        png(tmp_path / f"split/xrays/{['train', 'valid', 'test'][n % 3]}/{'xy'[n // 6]}/{n}.png", n)
    (tmp_path / "plain/xrays/x/notes").write_text("no image")
    messages = Messages()
    run_ingest(tmp_path / "one", config(tmp_path / "plain"), messages)
    found = rows(tmp_path / "one")
    assert (found["x/0"].label, found["y/1"].label) == ("x", "y")
    assert any("one folder per class: x (6), y (6)" in line for line in messages.lines)
    run_ingest(tmp_path / "two", config(tmp_path / "split"))
    found = rows(tmp_path / "two")
    assert {key.split("/")[0]: row.set for key, row in found.items()} == {
        "train": "train", "valid": "val", "test": "test",
    }  # fmt: skip


def test_without_labels_images_are_read_and_in_no_set(tmp_path: Path) -> None:
    png(tmp_path / "xrays/a.png", 1)
    outcome = run_ingest(tmp_path / "run", config(tmp_path))
    assert outcome.summary["no_label"] == outcome.summary["read"] == 1
    assert outcome.summary["sets"] == {}
    assert rows(tmp_path / "run")["a"].set == ""


def test_the_manifest_of_a_run_is_an_input(tmp_path: Path) -> None:
    folder = mixed(tmp_path)
    run_ingest(tmp_path / "run", config(folder, sets=SETS))
    manifest = str(tmp_path / "run/ingest/manifest.csv")
    again = Config.model_validate({"data": {"images": manifest}, "machine": {"workers": 0}})
    run_ingest(tmp_path / "again", again)
    first = {r.path: r for r in rows(tmp_path / "run").values()}
    second = {r.path: r for r in rows(tmp_path / "again").values()}
    assert set(second) <= set(first)
    for path, row in second.items():
        old = first[path]
        assert (row.label, row.source, row.set, row.sha256) == (
            old.label, old.source, old.set if row.status == "ok" else "", row.sha256,
        )  # fmt: skip


def test_frames_are_images_with_the_label_of_their_file(tmp_path: Path) -> None:
    from tests.images.dicom.factory import dicom_bytes, image_values

    folder = two_classes(tmp_path)
    stack = np.stack([image_values(12, seed=n) for n in (50, 51)])
    (folder / "xrays/stack.dcm").write_bytes(dicom_bytes(stack, PatientID="P"))
    with (folder / "labels.csv").open("a") as file:
        file.write("stack.dcm,x\n")
    outcome = run_ingest(tmp_path / "run", config(folder))
    found = rows(tmp_path / "run")
    one, two = found["stack_f1"], found["stack_f2"]
    assert outcome.summary["found"] == outcome.summary["read"] == 14
    assert (one.frame, two.frame, one.label, two.label) == (0, 1, "x", "x")
    assert one.sha256 == two.sha256
    assert one.set == two.set
    assert one.patient == two.patient != ""


def test_views_of_the_table_overrule_the_header(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    dicom(folder / "xrays/side.dcm", 60, ViewPosition="PA")
    dicom(folder / "xrays/front.dcm", 61, ViewPosition="LL")
    lines = [f"{n:02}.png,{'xy'[n % 2]}," for n in range(12)]
    labels(folder / "labels.csv", *lines, "side.dcm,x,Lateral", "front.dcm,y,AP",
           header="file,label,view")  # fmt: skip
    run_ingest(tmp_path / "run", config(folder))
    found = rows(tmp_path / "run")
    assert found["side"].reason.startswith("lateral:")
    assert (found["front"].status, found["front"].view) == ("ok", "frontal")
    run_ingest(tmp_path / "any", config(folder, view="any"))
    assert rows(tmp_path / "any")["side"].view == "lateral"


def test_masks_of_a_column_and_of_a_folder(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    for n in range(11):
        mask(folder / f"xrays/masks/{n:02}.png")
    lines = [f"{n:02}.png,{'xy'[n % 2]},masks/{n:02}.png" for n in range(11)]
    labels(folder / "labels.csv", *lines, "11.png,y,masks/lost.png", header="file,label,mask")
    messages = Messages()
    outcome = run_ingest(tmp_path / "run", config(folder), messages)
    found = rows(tmp_path / "run")
    assert outcome.summary["found"] == 12
    assert load_mask(found["03"].mask_file).any()
    assert found["03"].mask_file == str(folder / "xrays/masks/03.png")
    assert any(
        "1 images name a mask file that does not exist, such as 11" in t for t in messages.warned
    )
    mask(folder / "xrays/masks/11.png")
    settings = config(folder, masks={"files": str(folder / "xrays/masks")})
    outcome = run_ingest(tmp_path / "two", settings, messages)
    assert outcome.summary["found"] == 12
    assert rows(tmp_path / "two")["11"].mask_file == str(folder / "xrays/masks/11.png")
    assert any("12 files are masks" in line for line in messages.lines)


def test_a_given_mask_that_cannot_be_used_stays_lost_under_hidden_names(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    for n in range(12):
        mask(folder / f"masks/{n:02}.png")
    (folder / "masks/03.png").write_bytes(b"damaged")
    hidden = config(folder, privacy={"rename": True}, masks={"files": str(folder / "masks")})
    run_ingest(tmp_path / "run", hidden)
    states = [
        (tmp_path / "run/ingest" / row.mask_file).exists()
        for row in rows(tmp_path / "run").values()
    ]
    assert states.count(False) == 1


def name_of_the_dead(path: Path) -> Path:
    """The temporary name that a process which has ended would have given."""
    temporary = name_temporary(path)
    return temporary.with_name(temporary.name.replace(f".{os.getpid()}-", ".999999999-"))


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    run = tmp_path / "run/ingest"
    leftovers = [
        name_of_the_dead(run / "manifest.csv"),
        name_of_the_dead(run / "images/old/00.png"),
        run / "images/x.png",
    ]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run_ingest(tmp_path / "run", config(folder))
    assert not any(path.exists() for path in leftovers)
    assert not (run / "images/old").exists()


def test_listed_files_that_do_not_exist_are_rows(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    names = [f"xrays/{n:02}.png" for n in range(12)]
    (folder / "list.txt").write_text("\n".join([*names, "xrays/lost.png", ""]))
    outcome = run_ingest(tmp_path / "run", config(folder, images=str(folder / "list.txt")))
    assert outcome.summary["reasons"] == {"missing": 1}
    assert (outcome.summary["found"], outcome.summary["labelled"]) == (13, 12)


def test_renamed_runs_say_no_name_of_the_input(tmp_path: Path) -> None:
    folder = tmp_path / "input"
    for n in range(12):
        png(folder / f"xrays/SECRETNAME-{n}/image.png", n)
        mask(folder / f"masks/SECRETNAME-{n}/image.png")
    labels(
        folder / "labels.csv",
        *(
            f"xrays/SECRETNAME-{n}/image.png,{'xy'[n % 2]},masks/SECRETNAME-{n}/image.png"
            for n in range(12)
        ),
        header="file,label,mask",
    )
    messages = Messages()
    run_ingest(tmp_path / "run", config(folder, privacy={"rename": True}), messages)
    found = rows(tmp_path / "run")
    assert all(len(key) == 16 and set(key) <= set("0123456789abcdef") for key in found)
    assert all(row.path == "" for row in found.values())
    assert all(load_mask(tmp_path / "run/ingest" / row.mask_file).any() for row in found.values())
    assert "SECRETNAME" not in "\n".join(tree(tmp_path / "run"))
    assert not [p for p in (tmp_path / "run").rglob("*") if _holds(p, b"SECRETNAME")]
    assert "SECRETNAME" not in "\n".join([*messages.lines, *messages.warned])


def _holds(path: Path, words: bytes) -> bool:
    return path.is_file() and words in path.read_bytes()


CANARIES = {
    "PatientName": "CANARY^PHI", "PatientID": "CANARYID77", "AccessionNumber": "CANARYACC5",
    "PatientBirthDate": "19410203", "StudyDate": "20190807", "InstitutionName": "CANARYHOSPITAL",
    "ReferringPhysicianName": "CANARYDOC", "StudyDescription": "CANARYSTUDY",
}  # fmt: skip


def test_no_identity_in_any_byte_of_the_output(tmp_path: Path) -> None:
    folder = tmp_path / "input"
    for n in range(12):
        values = {**CANARIES, "PatientID": f"CANARYID77{n}", "AccessionNumber": f"CANARYACC5{n}"}
        dicom(folder / f"xrays/{n}.dcm", n, **values)
    damaged = (folder / "xrays/0.dcm").read_bytes()
    (folder / "xrays/cut.dcm").write_bytes(damaged[:-2000])
    lines = [f"CANARYACC5{n},{'xy'[n % 2]},CANARYID77{n}" for n in range(12)]
    labels(folder / "labels.csv", *lines, header="accession,label,patient")
    messages = Messages()
    run_ingest(tmp_path / "run", config(folder), messages)
    found = rows(tmp_path / "run")
    assert len({row.patient for row in found.values()}) == 12
    assert found["cut"].reason.startswith("truncated")
    words = [b"CANARY", b"19410203", b"20190807"]
    assert not [p for p in (tmp_path / "run").rglob("*") for w in words if _holds(p, w)]
    assert "CANARY" not in "\n".join([*messages.lines, *messages.warned])
    labels(folder / "labels.csv", "CANARYACC50,x,CANARYID770", "CANARYACC50,y,CANARYID770",
           header="accession,label,patient")  # fmt: skip
    with pytest.raises(IsnetError) as caught:
        run_ingest(tmp_path / "run", config(folder))
    assert "CANARY" not in caught.value.render()


def test_nothing_usable_is_refused_with_reasons_and_a_list(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / "xrays").mkdir(exist_ok=True)
        (tmp_path / f"xrays/{n}.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    with pytest.raises(IsnetError, match=r"none of 3 files can be used \(unreadable 3\)") as caught:
        run_ingest(tmp_path / "run", config(tmp_path))
    assert caught.value.exit_code == 4
    assert len(caught.value.details) == 3
    assert "docs/skipped.md" in caught.value.fix
    assert (tmp_path / "run/ingest/skipped.csv").read_text().count("unreadable") == 3


def test_the_salt_is_private_and_kept(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    settings = config(folder, privacy={"salt_file": None})
    run_ingest(tmp_path / "run", settings)
    salt = tmp_path / "run/ingest/.salt"
    before = salt.read_bytes()
    assert salt.stat().st_mode & 0o077 == 0
    run_ingest(tmp_path / "run", settings.model_copy(update={"seed": 5}))
    assert salt.read_bytes() == before
    with pytest.raises(IsnetError, match="no salt file"):
        run_ingest(tmp_path / "run", config(folder, privacy={"salt_file": str(tmp_path / "lost")}))


def test_the_fingerprint_follows_settings_and_inputs(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    run = RunFolder(tmp_path / "run")
    settings = config(folder)
    before = ingest.fingerprint(settings, run)
    assert ingest.fingerprint(settings, run) == before
    faster = settings.model_copy(
        update={"machine": settings.machine.model_copy(update={"workers": 3})}
    )
    assert ingest.fingerprint(faster, run) == before
    os.utime(folder / "xrays/00.png", ns=(1, 1))
    assert ingest.fingerprint(settings, run) == before  # content counts, not a time
    seen = {before}
    for change in (
        lambda: config(folder, max_side=512),
        lambda: config(folder, seed=1),
        lambda: _replaced(folder / "xrays/00.png", folder),
        lambda: _written(folder / "labels.csv", folder),
        lambda: _written(folder / "salt", folder, rewrite=False),
        lambda: _added(folder),
        lambda: config(folder, masks={"files": str(folder / "masks")}),
    ):
        seen.add(ingest.fingerprint(change(), run))
    assert len(seen) == 8


def _replaced(path: Path, folder: Path) -> Config:
    """Another content of the same size, and the clock set back."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return config(folder)


def _written(path: Path, folder: Path, *, rewrite: bool = True) -> Config:
    settings = config(folder)
    path.write_text(path.read_text() + ("\n" if rewrite else "00"))
    return settings


def _added(folder: Path) -> Config:
    png(folder / "xrays/new.png", 99)
    return config(folder)


def test_unknown_patients_are_told(tmp_path: Path) -> None:
    messages = Messages()
    outcome = run_ingest(tmp_path / "run", config(two_classes(tmp_path)), messages)
    assert outcome.summary["no_patient"] == 12
    assert any("the patient of 12 images is unknown" in text for text in messages.warned)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"images": None}, "data.images: nothing given"),
        ({"sets": {"a": {"labels": {"file": "x.csv"}}}}, "data.sets.a.labels: labels without"),
        ({"labels": {"file": None, "columns": ["x"]}}, "data.labels.columns: columns without"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path: Path, data: dict, found: str) -> None:
    with pytest.raises(IsnetError) as caught:
        run_ingest(tmp_path / "run", config(two_classes(tmp_path), **data))
    assert caught.value.message.startswith(found)
    assert caught.value.fix


def test_a_run_without_its_inputs_keeps_what_it_has(tmp_path: Path) -> None:
    settings = config(mixed(tmp_path / "input"), sets=SETS)
    assert run_ingest(tmp_path / "run", settings).status == "done"
    (tmp_path / "input").rename(tmp_path / "elsewhere")
    messages = Messages()
    assert run_ingest(tmp_path / "run", settings, messages).status == "current"
    assert any("not there" in line for line in messages.lines)
    with pytest.raises(IsnetError):  # other settings need them
        run_ingest(tmp_path / "run", settings.model_copy(update={"seed": 5}))


def test_times_of_the_input_do_not_count_and_its_content_does(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    assert run_ingest(tmp_path / "run", config(folder)).status == "done"
    os.utime(folder / "xrays/00.png", ns=(1, 1))
    assert run_ingest(tmp_path / "run", config(folder)).status == "current"
    png(folder / "xrays/00.png", 99)
    os.utime(folder / "xrays/00.png", ns=(1, 1))
    assert run_ingest(tmp_path / "run", config(folder)).status == "done"


def test_collections_share_sets_and_copies(tmp_path: Path) -> None:
    for name, classes in (("north", "xx"), ("south", "yx")):
        for n in range(6):
            png(tmp_path / f"{name}/{n}.png", n + 10 * (name == "south"))
        labels(tmp_path / f"{name}.csv", *(f"{n}.png,{classes[n % 2]}" for n in range(6)))
    shutil.copy(tmp_path / "north/0.png", tmp_path / "south/1.png")
    parts = {
        name: {"images": str(tmp_path / name), "labels": {"file": str(tmp_path / f"{name}.csv")}}
        for name in ("north", "south")
    }
    sets = {"train": {"source": ["north", "south"], "fraction": 0.5},
            "val": {"source": ["north", "south"], "fraction": 0.5}}  # fmt: skip
    messages = Messages()
    data = {"images": None, "collections": parts, "sets": sets}
    outcome = run_ingest(tmp_path / "run", config(tmp_path, **data), messages)
    found = rows(tmp_path / "run")
    assert outcome.summary["sources"] == {"north": {"x": 6}, "south": {"x": 2, "y": 3}}
    assert found["south/1"].reason == "duplicate: the same bytes as north/0"
    used = [row.set for row in found.values() if row.status == "ok"]
    assert sorted(set(used)) == ["train", "val"]
    assert abs(used.count("train") - used.count("val")) <= 2
    assert any("labels of collection 'south'" in line for line in messages.lines)
