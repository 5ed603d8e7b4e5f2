from __future__ import annotations

import ast
import logging
import os
import threading
import traceback
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.quiet import describe_warnings, mute_stderr, quiet
from isnet_cli.images.read import REASONS, read_images
from tests.images.dicom.factory import dicom_bytes, image_values
from tests.images.factory import png_bytes, saved
from tests.support.paths import ROOT

CANARY = "Canary"


def fault(path: Path) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        read_images(path)
    return caught.value


@pytest.mark.parametrize(
    "name", ["image.dcm", "image.png", "image.jpg", "image", "image.txt", "1.2.3.4"]
)
def test_the_name_does_not_matter(tmp_path: Path, name: str) -> None:
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    path = tmp_path / name
    for content, format_ in [
        (dicom_bytes(grey, bits=8), "dicom:Explicit VR Little Endian"),
        (png_bytes(grey, 8), "png"),
        (saved(Image.fromarray(grey), "JPEG"), "jpeg"),
        (saved(Image.fromarray(grey), "TIFF"), "tiff"),
    ]:
        path.write_bytes(content)
        (image,) = read_images(path)
        assert image.format == format_
        assert np.abs(image.pixels - grey / 255).max() < 0.02


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", "not_image", "an empty file"),
        (b"PK\x03\x04" + bytes(60), "not_image", "zip"),
        (b"name,label\n", "not_image", "a text file"),
        (bytes(132), "not_image", "unknown format"),
        (bytes(128) + b"DICM", "truncated", "ends in the middle"),
        (bytes(128) + b"DICM" + bytes(range(256)), None, ""),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, reason, words: str) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    found = fault(path)
    assert reason in (None, found.reason)
    assert words in found.detail


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").mkdir()
    assert fault(tmp_path / "x.dcm").reason == "not_a_file"
    assert fault(tmp_path / "nothing.dcm").reason == "missing"
    assert fault(tmp_path / "x.dcm" / "deeper" / "y").reason == "missing"
    os.mkfifo(tmp_path / "pipe")
    assert fault(tmp_path / "pipe").reason == "not_a_file"
    assert fault(tmp_path / ("y" * 300)).reason == "no_access"
    assert fault(Path("nul\0byte")).reason == "no_access"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for name in ("loop", "dangling"):
        assert fault(tmp_path / name).reason == "not_a_file"
    assert fault(Path(os.devnull)).detail.startswith("a device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(dicom_bytes(image_values()))
    path.chmod(0)
    assert fault(path).reason == "no_access"


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.dcm"))
    path.write_bytes(dicom_bytes(image_values()))
    assert len(read_images(path)) == 1


def test_memory_errors_are_reasons(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(dicom_bytes(image_values()))

    def exhausted(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("isnet_cli.images.dicom.reader.read_dicom", exhausted)
    assert fault(path).reason == "too_large"


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_a_reader_that_breaks_the_normal_form_is_caught(tmp_path, monkeypatch, bad: float) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(dicom_bytes(image_values()))
    (image,) = read_images(path)
    image.pixels[0, 0] = bad
    monkeypatch.setattr("isnet_cli.images.dicom.reader.read_dicom", lambda *arguments: [image])
    assert fault(path).reason == "unreadable"


IDENTITY = {
    "PatientName": f"{CANARY}^NAME",
    "PatientID": f"{CANARY}-ID",
    "PatientBirthDate": f"{CANARY}-not-a-date",
    "AccessionNumber": f"{CANARY}ACC",
    "InstitutionName": CANARY,
    "SeriesDescription": CANARY,
    "BodyPartExamined": f"{CANARY} chest",
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"Modality": CANARY},
        {"BodyPartExamined": f"{CANARY} KNEE"},
        {"PhotometricInterpretation": CANARY},
        {"Rows": 60_000, "Columns": 60_000},
        {"Rows": 81},
        {"ViewPosition": CANARY},
        {"VOILUTFunction": CANARY, "WindowCenter": 5, "WindowWidth": 5},
        {"PresentationLUTShape": CANARY},
        {"NumberOfFrames": "7"},
    ],
    ids=",".join,
)
def test_no_identity_in_messages_notes_or_logs(tmp_path, broken, capfd, caplog) -> None:
    path = tmp_path / "x.dcm"
    content = dicom_bytes(image_values(), **IDENTITY | broken)
    damaged = [
        content,
        content[:-700],
        content[: len(content) // 20],
        content.replace(b"IS", b"DS"),
    ]
    caplog.set_level(logging.DEBUG)
    logging.getLogger("pydicom").setLevel(logging.DEBUG)
    capfd.readouterr()
    caplog.clear()
    said = []
    for variant in damaged:
        path.write_bytes(variant)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                images = read_images(path)
                said += [f"{image.notes} {image.format} {image.view}" for image in images]
            except UnreadableImage as found:
                said += [found.detail, repr(found), *traceback.format_exception(found)]
        said += [str(warning.message) for warning in heard]
    captured = capfd.readouterr()
    everything = " ".join([*said, captured.out, captured.err, caplog.text])
    assert said
    assert CANARY.lower() not in everything.lower()


def test_the_canary_test_can_fail(tmp_path: Path, caplog) -> None:
    """The library quotes header values when it is not silenced."""
    path = tmp_path / "x.dcm"
    content = dicom_bytes(image_values(), NumberOfFrames="000001")
    path.write_bytes(content.replace(b"000001", CANARY.encode()))
    with pytest.warns(UserWarning, match=CANARY):
        assert pydicom.dcmread(path).NumberOfFrames
    assert CANARY in caplog.text
    caplog.clear()
    assert CANARY not in fault(path).detail
    assert CANARY not in caplog.text


def test_silence_ends_with_the_call(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(b"nothing")
    fault(path)
    path.write_bytes(dicom_bytes(image_values())[:500])
    fault(path)
    assert logging.getLogger("pydicom").isEnabledFor(logging.ERROR)
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)


def test_identity_stays_in_memory_as_promised(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(dicom_bytes(image_values(), PatientID="0007"))
    (image,) = read_images(path)
    assert image.identity.patient == "0007"


def shout(name: str) -> None:
    logging.getLogger(name).error("an error of %s", name)
    warnings.warn(f"a warning of {name}", UserWarning, stacklevel=2)


def test_warnings_and_records_of_every_logger_are_silenced_and_come_back(caplog) -> None:
    logging.getLogger("pydicom.deep.down").setLevel(logging.DEBUG)
    with quiet():
        shout("pydicom")
        shout("pydicom.deep.down")
    assert caplog.records == []
    with pytest.warns(UserWarning, match="a warning of outside"):
        shout("outside")
    assert [record.name for record in caplog.records] == ["outside"]


def test_silence_ends_after_an_exception_and_nests(caplog) -> None:
    with pytest.raises(KeyError), quiet(), quiet():
        raise KeyError
    with quiet():
        with quiet():
            pass
        shout("inside")
    logging.getLogger("after").error("heard")
    assert [record.name for record in caplog.records] == ["after"]


def test_the_silence_of_one_thread_outlives_that_of_another(caplog) -> None:
    inside, go = threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            inside.set()
            go.wait(10)
            shout("a header")

    thread = threading.Thread(target=other)
    with quiet():
        thread.start()
        inside.wait(0.3)
    go.set()
    thread.join()
    assert caplog.records == []
    assert logging.root.manager.disable == 0


def test_stderr_is_muted_below_python_and_comes_back(capfd) -> None:
    with mute_stderr():
        os.write(2, b"from a C library")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
    with pytest.raises(ValueError, match="kept"), mute_stderr():
        raise ValueError("kept")
    os.write(2, b"again")
    assert capfd.readouterr().err == "again"


def test_a_process_without_stderr_is_served(monkeypatch) -> None:
    def closed(number: int) -> int:
        raise OSError(number)

    monkeypatch.setattr(os, "dup", closed)
    with mute_stderr():
        pass


def test_no_file_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        with mute_stderr():
            pass
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


def raised_reasons() -> set[str]:
    """Every reason that a module below `images` or `guard` may raise, from the source."""
    found = set()
    places = ("images", "guard")
    for path in sorted(p for name in places for p in (ROOT / "isnet_cli" / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UnreadableImage":
                first = node.args[0]
                options = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                found |= {option.value for option in options if isinstance(option, ast.Constant)}
    return found


OF_MASKS = {"mask_missing", "mask_unreadable", "mask_values", "mask_size"}


def test_every_reason_is_documented_and_used() -> None:
    page = ROOT / "docs" / "skipped.md"
    assert raised_reasons() == set(REASONS) | OF_MASKS
    text = page.read_text(encoding="utf-8")
    for code, meaning in REASONS.items():
        assert f"| `{code}` | {meaning}" in text


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (f"Invalid value for VR UI: '{CANARY}'", "values of the header break the standard"),
        (
            f"Truncated File Read of {CANARY}",
            "damaged: the library that reads the file misses data",
        ),
        (CANARY, "the library that reads the file warns of it"),
    ],
)
def test_warnings_of_libraries_become_notes_without_their_text(text: str, note: str) -> None:
    with quiet() as heard:
        warnings.warn(text, UserWarning, stacklevel=1)
        warnings.warn("about programs", DeprecationWarning, stacklevel=1)
    assert describe_warnings(heard) == (note,)


def test_a_header_that_breaks_the_standard_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    content = dicom_bytes(image_values())
    path.write_bytes(content)
    (sound,) = read_images(path)
    path.write_bytes(content.replace(b"2.25.123456789", b"2.25.x23456789"))
    (odd,) = read_images(path)
    assert np.array_equal(odd.pixels, sound.pixels)
    assert "values of the header break the standard" in odd.notes
    assert "values of the header break the standard" not in sound.notes


def test_what_c_libraries_complain_of_is_noticed() -> None:
    with mute_stderr() as wrote:
        pass
    assert not wrote
    with mute_stderr() as wrote:
        os.write(2, b"x" * 200_000)  # more than a pipe holds
    assert wrote
