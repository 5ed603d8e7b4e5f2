"""`isnet predict` from words to files: a run or its two model files, and all that can lack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isnet_cli.core.files import read_csv
from tests.cli.factory import CONFIG, SIZE, Done, isnet, tree, write_images, write_inputs
from tests.e2e.test_privacy import SECRETS, leaks
from tests.images.dicom.factory import dicom_bytes
from tests.support.runs import image

# twelve images for validation: the least that limits of unusual images are measured on is ten
SETTINGS = CONFIG.replace("{fraction: 0.25}, test: {fraction: 0.25}", "{fraction: 0.5}")
QUIET = ("--no-progress", "-d", "cpu", "-j", "0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run ``tb`` and new images in ``new``, one of them torn."""
    folder = tmp_path_factory.mktemp("predict")
    config = write_inputs(folder)
    config.write_text(SETTINGS, encoding="utf-8")
    words = ("--method", "standard", "--epochs", "1", *QUIET)
    done = isnet("train", config, "-o", folder / "tb", *words)
    assert done.code == 0, done.err
    write_images(folder / "new/ward", range(100, 106))
    pixels = (255 * (1 - image(7, True, SIZE))).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "new/foreign.png")
    torn = (folder / "new/ward/f100.png").read_bytes()[:200]
    (folder / "new/torn.png").write_bytes(torn)
    return folder


@pytest.fixture(scope="module")
def predicted(trained: Path) -> tuple[Path, Done]:
    """The run that predicted the new images, and what the command said."""
    out = trained / "out"
    return out, isnet("predict", trained / "new", "--model", trained / "tb", "-o", out, *QUIET)


@pytest.fixture
def work(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder with the new images, the run, and a folder with the two model files alone."""
    for name in ("new", "tb"):
        (tmp_path / name).symlink_to(trained / name)
    (tmp_path / "two").mkdir()
    for name in ("model.safetensors", "model.json"):
        shutil.copy(trained / "tb/train" / name, tmp_path / "two")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(run: Path) -> list[dict[str, str]]:
    return read_csv(run / "predict/predictions.csv")


def test_a_folder_is_predicted_and_the_torn_image_is_skipped(
    trained: Path, predicted: tuple[Path, Done]
) -> None:
    before = tree(trained / "new")
    out, done = predicted
    assert done.code == 7, done.err
    lines = table(out)
    assert [line["key"] for line in lines] == ["foreign", *(f"ward/f{n}" for n in range(100, 106))]
    assert [line["key"] for line in read_csv(out / "ingest/skipped.csv")] == ["torn"]
    assert lines[0]["flag_ood"] == "1"
    assert [line["flag_ood"] for line in lines[1:]].count("1") <= 1
    for line in lines:
        assert float(line["p_sick"]) + float(line["p_well"]) == pytest.approx(1)
        assert line["predicted"] == max(("sick", "well"), key=lambda name: float(line[f"p_{name}"]))
    assert "  uncertain" in done.out
    assert "differs from the training images" in done.out
    assert not (out / "train").exists()

    words = ("predict", trained / "new", "--model", trained / "tb", "-o", out)
    again = isnet(*words, "--json", *QUIET)
    assert tree(trained / "new") == before
    assert (again.code, again.document["exit_code"]) == (7, 7)
    assert {stage["status"] for stage in again.document["stages"]} == {"current"}
    summary = again.document["stages"][-1]["summary"]
    assert (summary["images"], sum(summary["predicted"].values())) == (7, 7)


@pytest.mark.parametrize(
    "model",
    [
        "two",
        *(
            pytest.param(f"two/model.{end}", marks=pytest.mark.slow)
            for end in ("json", "safetensors")
        ),
        pytest.param("tb/train", marks=pytest.mark.slow),
    ],
)
def test_two_files_predict_what_their_run_predicts(
    work: Path, predicted: tuple[Path, Done], model: str
) -> None:
    done = isnet("predict", "new", "--model", model, "-o", "b", *QUIET)
    assert done.code == 7, done.err
    assert table(work / "b") == table(predicted[0])


def test_maps_are_made_of_all_images_on_request(work: Path) -> None:
    (work / "list.txt").write_text("new/ward/f100.png\nnew/ward/f101.png\n", encoding="utf-8")
    words = ("predict", "list.txt", "--model", "two", "-o", "out", "--maps", "png,npz", *QUIET)
    done = isnet(*words)
    assert done.code == 0, done.err
    index = read_csv(work / "out/heatmap/index.csv")
    assert [line["key"] for line in index] == [line["key"] for line in table(work / "out")]
    for line in index:
        for kind in ("png", "npz"):
            assert (work / "out/heatmap" / line[kind]).is_file()
    wrong = isnet("predict", "list.txt", "--model", "two", "-o", "x", "--maps", "gif", *QUIET)
    assert (wrong.code, "heatmap.formats" in wrong.err) == (3, True)


def test_nothing_is_overwritten_unasked(work: Path) -> None:
    one, other = "new/ward/f100.png", "new/ward/f101.png"
    assert isnet("predict", one, "--model", "two", "-o", "out", *QUIET).code == 0
    before = (work / "out/predict/predictions.csv").read_bytes()
    done = isnet("predict", other, "--model", "two", "-o", "out", *QUIET)
    assert done.code == 3
    assert "--overwrite" in done.err
    assert (work / "out/predict/predictions.csv").read_bytes() == before
    assert isnet("predict", other, "--model", "two", "-o", "out", "--overwrite", *QUIET).code == 0
    assert [line["key"] for line in table(work / "out")] == ["f101"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("predict", "new"), 2, "needs a trained model"),
        (("predict", "nowhere", "--model", "tb"), 4, "no such file or folder"),
        (("predict", "texts", "--model", "tb"), 4, "none of 2 files can be used"),
        (("predict", "new", "--model", "nowhere"), 5, "no such folder"),
        (("predict", "new", "--model", "new"), 5, "no model.safetensors"),
        (("predict", "new", "--model", "raw"), 5, "not trained"),
        (("predict", "new", "--model", "cut"), 5, "SHA-256"),
        (("predict", "new", "--model", "torn"), 5, "not JSON"),
        (("predict", "new", "--model", "bare"), 5, "classes: missing"),
    ],
)
def test_what_lacks_is_named(work: Path, words: tuple[str, ...], code: int, text: str) -> None:
    (work / "texts").mkdir()
    for name in ("a", "b"):
        (work / "texts" / f"{name}.png").write_text(f"no image {name}", encoding="utf-8")
    for name in ("cut", "torn", "bare"):
        shutil.copytree(work / "two", work / name)
    weights = (work / "cut/model.safetensors").read_bytes()
    (work / "cut/model.safetensors").write_bytes(weights[:-4])
    (work / "torn/model.json").write_text("{", encoding="utf-8")
    (work / "bare/model.json").write_text("{}", encoding="utf-8")
    (work / "raw").mkdir()
    for name in ("isnet.yaml", "run.json"):
        shutil.copy(work / "tb" / name, work / "raw")
    done = isnet(*words, *(("-o", "out", *QUIET) if len(words) > 1 else ()))
    assert (done.code, text in done.err) == (code, True), done.err


def test_a_card_without_limits_is_read_with_defaults_and_a_warning(work: Path) -> None:
    card = json.loads((work / "two/model.json").read_text(encoding="utf-8"))
    for name in ("reading", "uncertainty"):
        del card[name]
    (work / "two/model.json").write_text(json.dumps(card), encoding="utf-8")
    done = isnet("predict", "new/ward", "--model", "two", "-o", "out", "--json", *QUIET)
    assert done.code == 0, done.err
    assert any("does not say how images were read" in text for text in done.document["warnings"])
    assert {line["flag_ood"] for line in table(work / "out")} == {""}
    assert "trained before limits were stored" in table(work / "out")[0]["reasons"]


@pytest.mark.parametrize("rename", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_identity_comes_out(work: Path, rename: bool) -> None:
    (work / "dicom").mkdir()
    for number in range(3):
        stored = np.rint(image(number, False, SIZE) * 4095).astype(np.int64)
        content = dicom_bytes(
            stored,
            PatientName="CANARY^JANE",
            PatientID=f"CANARY-ID-{number}",
            PatientBirthDate="19340203",
            StudyDate="20191224",
            AccessionNumber=f"CANARY{number}",
            SOPInstanceUID=f"2.25.9876543{number}",
        )
        (work / "dicom" / f"{number:02}").write_bytes(content)
    (work / "dicom/torn").write_bytes(content[:-2000])
    words = ["predict", "dicom", "--model", "two", "-o", "out", "--maps", "png,npz,dicom-sc"]
    words += ["--set", f"data.privacy.rename={str(rename).lower()}", "-vv"]
    done = isnet(*words, *QUIET)
    assert done.code == 7, done.err
    assert len(table(work / "out")) == 3
    assert [secret for secret in SECRETS if secret in (done.out + done.err).encode()] == []
    assert leaks(work / "out") == []


def test_a_configuration_names_images_and_model_too(work: Path) -> None:
    text = "data: {images: new/ward}\npredict: {model: two}\nmachine: {device: cpu, workers: 0}\n"
    (work / "p.yaml").write_text(text, encoding="utf-8")
    assert isnet("predict", "p.yaml", "-o", "out", "--no-progress").code == 0
    assert len(table(work / "out")) == 6
    assert isnet("predict", "out", "--no-progress").code == 0  # the run itself continues
