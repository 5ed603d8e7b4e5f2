from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.check.inputs import check_inputs, describe_check
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from tests.ingest.factory import Messages, config, dicom, labels, mask, png, tree, two_classes
from tests.support.paths import ROOT
from tests.support.runs import make_run


def hospital(folder: Path) -> Path:
    """Two hospitals: DICOM of both photometric kinds, PNG; class y in one of them only."""
    lines = []
    for n in range(16):
        kind = "MONOCHROME1" if n % 4 == 0 else "MONOCHROME2"
        dicom(folder / f"xrays/A/{n}.dcm", n, photometric=kind, ViewPosition="AP",
              PatientID=f"CANARY{n // 2}")  # fmt: skip
        lines.append(f"A/{n}.dcm,{'xy'[n % 2]},A,")
    for n in range(8):
        png(folder / f"xrays/B/{n}.png", 50 + n, bits=16)
        mask(folder / f"masks/{n}.png")
        lines.append(f"B/{n}.png,x,B,masks/{n}.png")
    dicom(folder / "xrays/A/side.dcm", 40, ViewPosition="LATERAL", PatientID="CANARY0")
    dicom(folder / "xrays/A/knee.dcm", 41, BodyPartExamined="KNEE")
    labels(folder / "labels.csv", *lines, header="file,label,source,mask")
    return folder


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is found in the hospitals' folder."""
    folder = hospital(tmp_path_factory.mktemp("hospital"))
    return check_inputs(config(folder), Messages().context())


def test_facts_of_a_whole_folder(facts: dict[str, Any]) -> None:
    found = facts
    images = found["images"]
    assert (images["found"], images["usable"]) == (26, 24)
    assert images["formats"] == {"dicom:Explicit VR Little Endian": 18, "png": 8}
    assert images["bits"] == {"12": 18, "16": 8}
    assert images["views"] == {"frontal": 16, "lateral": 1, "unknown": 9}
    assert images["sizes"] == {"longest_side": [96, 96, 96]}
    assert images["photometric"]["A"] == {"MONOCHROME1": 4, "MONOCHROME2": 12}
    assert images["unusable"] == {"body_part": 1, "lateral": 1}
    assert images["examples"][0] == "A/knee: body_part: body part KNEE, expected chest"
    assert found["labels"][""]["labelled"] == 24
    assert found["classes"] == ["x", "y"]
    assert found["sources"] == {"A": {"x": 8, "y": 8}, "B": {"x": 8}}
    assert sum(found["sets"]["train"].values()) == pytest.approx(0.7 * 24, abs=2)
    assert found["patients"] == {"known": 8, "images_unknown": 8, "shared": 0}
    assert found["masks"] == {"given": 8, "left_out_of_images": 0}
    assert found["estimate"]["measured_on"] >= 1
    assert found["estimate"]["dataset_bytes"] == 24 * 224 * 224 * 3
    assert found["ok"]
    (problem,) = found["problems"]
    assert problem["severity"] == "warning"
    assert problem["text"].startswith("class 'y' comes only from source 'A': a model can learn")


def test_the_document_is_json_and_the_text_says_the_same(facts: dict[str, Any]) -> None:
    found = facts
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    text = describe_check(found)
    for words in (
        "images: 26 found, 24 usable", "unusable: body_part 1, lateral 1", "MONOCHROME1",
        "labels: 24 images labelled, 2 not", "joined by path, column 'file'",
        "patients: 8 known, 8 images of unknown ones, 0 in more than one set",
        "masks: 8 images have one", "estimate: reading", "warning: class 'y'", "no errors",
    ):  # fmt: skip
        assert words in text
    assert "CANARY" not in text + json.dumps(found)


def test_nothing_is_written(tmp_path: Path) -> None:
    settings = config(hospital(tmp_path))
    before = tree(tmp_path, times=True)
    check_inputs(settings, Messages().context(), images=100)
    assert tree(tmp_path, times=True) == before


def test_images_are_looked_at_on_request(tmp_path: Path) -> None:
    folder = hospital(tmp_path)
    (folder / "xrays/B/7.png").write_bytes((folder / "xrays/B/6.png").read_bytes())
    settings = config(folder)
    found = check_inputs(settings, Messages().context(), images=100)
    copies = found["near_duplicates"]
    assert (copies["images"], copies["of"]) == (24, 24)
    assert copies["across_sets"] + copies["within_sets"] >= 1
    assert found["probes"]["images"] == 8
    assert {said["about"] for said in found["verdicts"]} == {"class"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    text = describe_check(found)
    assert "looked at 24 of 24 images" in text
    assert "verdict: whether the background tells the class is unknown" in text
    assert "CANARY" not in text + json.dumps(found)
    assert check_inputs(settings, Messages().context(), images=5)["near_duplicates"]["images"] == 5
    assert "probes" not in check_inputs(settings, Messages().context())


def test_a_runs_images_sets_and_masks_are_looked_at(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sets={"train": 20, "test": 20})
    settings = config(two_classes(tmp_path / "in"))
    found = check_inputs(settings, Messages().context(), images=100, run=run)
    assert found["images"]["found"] == 12
    assert (found["near_duplicates"]["of"], found["probes"]["images"]) == (40, 40)
    assert found["probes"]["class"]["sets"] == ["train"]
    unfinished = RunFolder(tmp_path / "new")
    assert (
        check_inputs(settings, Messages().context(), images=9, run=unfinished)["near_duplicates"][
            "of"
        ]
        == 12
    )
    assert not unfinished.path.exists()


def test_all_problems_are_collected(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    sides = ["train"] * 6 + ["far"] * 6
    lines = [f"{n:02}.png,{'xy'[n % 2]},P{n % 5},{sides[n]}" for n in range(12)]
    labels(folder / "labels.csv", *lines, header="file,label,patient,set")
    settings = config(folder)
    settings = settings.model_copy(
        update={"evaluate": settings.evaluate.model_copy(update={"sets": ["far", "fare"]})}
    )
    found = check_inputs(settings, Messages().context())
    errors = [p for p in found["problems"] if p["severity"] == "error"]
    assert [p["text"].partition(":")[0] for p in errors] == [
        "data.sets", "data.sets.val", "evaluate.sets",
    ]  # fmt: skip
    assert errors[2]["text"].startswith(
        "evaluate.sets: no image in set 'fare', found 'far', 'train'"
    )
    assert all(p["fix"] for p in errors)
    assert found["patients"]["shared"] == 5
    assert not found["ok"]
    assert describe_check(found).endswith("errors: see above")


def test_sets_that_cannot_be_dealt_out_are_a_problem(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    found = check_inputs(config(folder, sets={"train": {"source": "Z"}}), Messages().context())
    first = next(p["text"] for p in found["problems"] if p["severity"] == "error")
    assert first.startswith("data.sets.train.source: no image of source 'Z'")


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "xrays").mkdir()
    (tmp_path / "xrays/notes").write_text("text")
    found = check_inputs(config(tmp_path), Messages().context())
    assert found["problems"][-1]["text"] == "data.images: none of 1 files can be used"
    assert found["estimate"] == {}
    assert not found["ok"]


def test_labels_that_do_not_fit_are_a_problem_among_others(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    dicom(folder / "xrays/knee.dcm", 41, BodyPartExamined="KNEE")
    labels(folder / "labels.csv", "a.png,x", "b.png,y")
    png(folder / "far/1.png", 70)
    labels(folder / "far.csv", "1.png,x", header="file,diagnose")
    far = {"images": str(folder / "far"), "labels": {
        "file": str(folder / "far.csv"), "columns": ["finding"]}}  # fmt: skip
    sets = {"train": {"source": "S"}, "val": {"source": "T"}, "far": far}
    found = check_inputs(config(folder, sets=sets), Messages().context())
    assert (found["images"]["found"], found["images"]["usable"]) == (14, 13)
    assert found["images"]["unusable"] == {"body_part": 1}
    joined, columns, sets_left = found["problems"]
    assert "0 of 13 images found a row" in joined["text"]
    assert "first image without a row: 00" in joined["details"]
    assert joined["fix"].startswith("write each image's path")
    assert "finding" in columns["text"]
    assert [p["severity"] for p in found["problems"]] == ["error", "error", "warning"]
    assert sets_left["text"].startswith("data.sets: not judged")
    assert not found["ok"]
    assert found["labels"][""] == {
        "match": ["no labels could be given: see the errors"], "labelled": 0, "no_label": 13,
    }  # fmt: skip
    text = describe_check(found)
    assert "images: 14 found, 13 usable" in text
    assert "error: " + joined["text"] in text


def test_labels_at_fault_of_one_set_leave_the_other_sets_judged(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    dicom(folder / "xrays/12.dcm", 12, PatientID="CANARY")
    labels(folder / "labels.csv", *(f"{n:02}.png,{'xy'[n % 2]},train" for n in range(12)),
           "12.dcm,x,train", header="file,label,set")  # fmt: skip
    for n in range(2):
        dicom(folder / f"far/{n}.dcm", 70 + n, PatientID="CANARY")
    labels(folder / "far.csv", "0.dcm,x", "0.dcm,y", "1.dcm,x")
    far = {"images": str(folder / "far"), "labels": {"file": str(folder / "far.csv")}}
    near = {**far, "source": "elsewhere"}
    for entry, sets in ((far, {"train": 13, "far": 0}), (near, {"train": 13})):
        settings = config(folder, sets={"train": {}, "far": entry})
        evaluated = settings.evaluate.model_copy(update={"sets": ["far"]})
        found = check_inputs(
            settings.model_copy(update={"evaluate": evaluated}), Messages().context()
        )
        errors = [p["text"] for p in found["problems"] if p["severity"] == "error"]
        assert "1 of 2 images have several rows with different labels" in errors[0]
        assert {name: sum(n.values()) for name, n in found["sets"].items()} == sets
        assert len(errors) == (2 if entry is far else 1)
        if entry is far:  # the images' headers tell what the labels do not
            assert "1 patient in more than one of the sets far, train" in errors[1]
        assert "CANARY" not in json.dumps(found)


def test_settings_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    with pytest.raises(IsnetError, match=r"data\.labels\.key: 'nose'") as caught:
        check_inputs(config(folder, labels={"key": "nose"}), Messages().context())
    assert caught.value.kind == "config"


SHARED = ROOT.parent / "shared" / "data"


def real(name: str) -> dict[str, object]:
    """Images and label file of one collection of real X-rays."""
    return {
        "images": str(SHARED / name / "images"),
        "labels": {"file": str(SHARED / name / "labels.csv")},
    }


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no real X-rays beside the checkout")
def test_real_images_of_two_hospitals(tmp_path: Path) -> None:
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    sets = {name: {"source": "shenzhen", "fraction": share} for name, share in shares.items()}
    settings = config(tmp_path, **real("tb"), sets={**sets, "montgomery": {"source": "montgomery"}})
    found = check_inputs(settings, Messages().context())
    assert found["sets"] == {
        "train": {"normal": 183, "tuberculosis": 189}, "val": {"normal": 39, "tuberculosis": 41},
        "test": {"normal": 39, "tuberculosis": 41},
        "montgomery": {"normal": 68, "tuberculosis": 44},
    }  # fmt: skip
    assert found["masks"]["given"] == found["images"]["usable"] == 644
    assert found["problems"] == []


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no real X-rays beside the checkout")
def test_real_images_where_the_source_tells_the_class(tmp_path: Path) -> None:
    shares = {"train": {"fraction": 0.7}, "val": {"fraction": 0.15}, "test": {"fraction": 0.15}}
    settings = config(tmp_path, **real("covid"), sets={**shares, "actualmed": real("covid_ood")})
    found = check_inputs(settings, Messages().context())
    assert found["sources"]["cohen"] == {"covid": 103}
    assert found["sets"]["actualmed"] == {"covid": 26, "normal": 18}
    assert found["patients"] == {"known": 706, "images_unknown": 0, "shared": 0}
    sizes = {name: sum(classes.values()) for name, classes in found["sets"].items()}
    for name, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        assert sizes[name] == pytest.approx(share * 919, abs=11)  # the largest patient
    texts = [problem["text"] for problem in found["problems"]]
    assert any("class 'covid' comes only from source 'cohen'" in text for text in texts)
    assert any("actualmed: no image of class 'pneumonia'" in text for text in texts)
    assert found["ok"]
