from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom import codec
from isnet_cli.images.dicom.pixel_module import read_pixel_module
from tests.images.dicom.factory import ALSO_EXACT, EXACT, NEAR, SYNTAXES, dicom_bytes, image_values
from tests.images.dicom.jpeg_encoders import jpeg_lossless, jpeg_ls

CODE_STREAMS = ("lossless57", "lossless70", "jpegls")


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    found = decoded_dataset(pydicom.dcmread(io.BytesIO(content)))
    return found.frames, found.bits


def decoded_dataset(ds: pydicom.Dataset) -> codec.Samples:
    return codec.decode_pixels(ds, read_pixel_module(ds))


def bundled(name: str) -> pydicom.Dataset:
    """A file of pydicom's wheel; never downloaded."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this version of pydicom does not ship {name}")
    return pydicom.dcmread(path)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_every_lossless_syntax_gives_the_same_values(bits: int, signed: bool) -> None:
    stored = image_values(bits, signed, size=(40, 52))
    for syntax in (*EXACT, *ALSO_EXACT, *(() if signed else ("j2k", "htj2k"))):
        values, meaningful = decoded(dicom_bytes(stored, bits=bits, signed=signed, syntax=syntax))
        assert np.array_equal(values[0], stored), syntax
        assert values.shape == (1, 40, 52)
        assert meaningful == bits


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_near_lossless_stays_within_its_bound(bits: int) -> None:
    stored = image_values(bits)
    values, _ = decoded(dicom_bytes(stored, bits=bits, syntax="jpegls_near"))
    error = np.abs(values[0].astype(int) - stored)
    assert 0 < error.max() <= NEAR


@pytest.mark.parametrize(("syntax", "bound"), [("jpeg", 8), ("j2k_lossy", 2), ("htj2k_lossy", 2)])
def test_lossy_syntaxes_are_close(syntax: str, bound: float) -> None:
    stored = image_values(8)
    values, _ = decoded(dicom_bytes(stored, bits=8, syntax=syntax))
    assert np.abs(values[0].astype(int) - stored).mean() < bound


@pytest.mark.parametrize("syntax", ["explicit", "rle", *CODE_STREAMS, "j2k"])
def test_frames_stay_in_order(syntax: str) -> None:
    stored = np.stack([image_values(12, size=(24, 30), seed=seed) for seed in range(3)])
    for offsets in (False, True):
        content = dicom_bytes(stored, syntax=syntax, extended_offsets=offsets)
        assert np.array_equal(decoded(content)[0], stored)


def test_twelve_bit_extended_jpeg() -> None:
    stored = image_values(12)
    values, bits = decoded(dicom_bytes(stored, syntax="extended"))
    assert bits == 12
    assert np.abs(values[0].astype(int) - stored).mean() < 32


@pytest.mark.parametrize("bits", range(2, 8))
def test_streams_of_fewer_than_eight_bits(bits: int) -> None:
    stored = image_values(bits, size=(24, 30))
    j2k = imagecodecs.jpeg2k_encode(
        stored.astype(np.uint8), codecformat="j2k", reversible=True, bitspersample=bits
    )
    for syntax, stream in [
        ("lossless70", jpeg_lossless(stored, bits)),
        ("jpegls", jpeg_ls(stored, bits)),
        ("j2k", bytes(j2k)),
    ]:
        content = dicom_bytes(stored, bits=bits, syntax=syntax, streams=[stream])
        values, meaningful = decoded(content)
        assert np.array_equal(values[0], stored), syntax
        assert meaningful == bits


@pytest.mark.parametrize(
    ("name", "native"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
    ],
)
def test_signed_files_of_other_encoders(name: str, native: str) -> None:
    values = [decoded_dataset(bundled(file)).frames for file in (name, native)]
    assert values[0].dtype == np.int16
    assert np.array_equal(*values)


@pytest.mark.filterwarnings("ignore:A value of '0' for")  # the mismatch is the point of the file
@pytest.mark.parametrize("name", ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm"])
def test_jpeg_2000_agrees_with_pydicom(name: str) -> None:
    ds = bundled(name)
    values = decoded_dataset(ds).frames
    assert np.array_equal(values[0], ds.pixel_array)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_signed_files_of_simpleitk_itself(tmp_path: Path, compressor: str) -> None:
    stored = image_values(16, signed=True).astype(np.int16)
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(SimpleITK.GetImageFromArray(stored))
    values, _ = decoded((tmp_path / "a.dcm").read_bytes())
    assert np.array_equal(values[0], stored)


@pytest.mark.parametrize("syntax", ["explicit", "rle", "lossless70"])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_outside_the_stored_ones_are_cleared(syntax: str, signed: bool) -> None:
    """Retired overlays lie there; sign bits are extended from the highest stored bit."""
    stored = image_values(12, signed)
    overlay = np.where(np.arange(stored.shape[1]) % 3 == 0, 0xF000, 0)
    raw = (stored & 0x0FFF) | overlay
    streams = [jpeg_lossless(raw, 16)] if syntax == "lossless70" else None
    as_written = raw.astype(np.uint16).astype(np.int16 if signed else np.uint16)
    content = dicom_bytes(
        as_written, bits=12, signed=signed, syntax=syntax, streams=streams, overlay=True
    )
    values, bits = decoded(content)
    assert np.array_equal(values[0], stored)
    assert bits == 12


@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpegls"])
def test_high_bit_above_the_stored_bits(syntax: str) -> None:
    stored = image_values(12)
    streams = [jpeg_ls(stored << 4, 16)] if syntax == "jpegls" else None
    content = dicom_bytes(stored << 4, bits=12, syntax=syntax, streams=streams, HighBit=15)
    values, _ = decoded(content)
    assert np.array_equal(values[0], stored)


def test_a_code_stream_with_fewer_bits_than_declared_decides() -> None:
    stored = image_values(10)
    content = dicom_bytes(stored, bits=16, syntax="jpegls", streams=[jpeg_ls(stored, 10)])
    values, bits = decoded(content)
    assert bits == 10
    assert np.array_equal(values[0], stored)


def test_one_bit_images() -> None:
    stored = np.random.default_rng(0).integers(0, 2, (16, 24))
    packed = np.packbits(stored.reshape(-1).astype(np.uint8), bitorder="little")
    content = dicom_bytes(stored, bits=1, allocated=1, PixelData=packed.tobytes())
    ds = pydicom.dcmread(io.BytesIO(content))
    ds.PixelData = packed.tobytes()
    values, bits = decoded_dataset(ds)[:2]
    assert np.array_equal(values[0], stored)
    assert bits == 1


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_small_odd.dcm",
        "GDCMJ2K_TextGBR.dcm",
    ],
)
def test_eight_bit_colour(name: str) -> None:
    ds = bundled(name)
    values = decoded_dataset(ds).frames
    assert values.shape == (1, ds.Rows, ds.Columns, 3)
    assert values.dtype == np.uint8
    if name.startswith("SC_") and "odd" not in name:
        assert values[0, 5, 50].tolist() == pytest.approx([255, 0, 0], abs=3)


@pytest.mark.parametrize("syntax", [*CODE_STREAMS, "j2k", "jpeg", "rle"])
def test_no_temporary_file_is_written(monkeypatch, tmp_path: Path, syntax: str) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = dicom_bytes(image_values(8), bits=8, syntax=syntax)
    try:
        decoded(content[: len(content) * 2 // 3])
    except Exception:  # the reader above turns any of them into a reason
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed(capfd) -> None:
    source = bundled("JPGExtended.dcm")
    stream = next(generate_frames(source.PixelData, number_of_frames=1))
    blank = np.zeros((source.Rows, source.Columns), int)
    decoded(dicom_bytes(blank, syntax="extended", streams=[stream]))
    assert capfd.readouterr() == ("", "")


def changed(content: bytes, **changes) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(content))
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("syntax", "changes", "reason"),
    [
        ("explicit", {"Rows": 81}, "truncated"),
        ("explicit", {"NumberOfFrames": 2}, "truncated"),
        ("jpegls", {"Rows": 81}, "bad_header"),
        ("lossless70", {"Columns": 95}, "bad_header"),
        ("jpegls", {"NumberOfFrames": 3}, "truncated"),
        ("j2k", {"Rows": 9000, "Columns": 9000}, "too_large"),
        ("rle", {"Rows": 9000, "Columns": 9000}, "too_large"),
    ],
)
def test_what_the_data_cannot_hold_is_refused_before_decoding(syntax, changes, reason) -> None:
    content = changed(dicom_bytes(image_values(8), bits=8, syntax=syntax), **changes)
    with pytest.raises(UnreadableImage) as caught:
        decoded(content)
    assert caught.value.reason == reason


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("uid", "words"),
    [
        ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.100 (MPEG2"),
        ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.94 (JPIP"),
        ("1.2.840.113619.5.2", "1.2.840.113619.5.2"),
        ("1.2.3.4", "1.2.3.4 (unknown)"),
        ("1.2.3.CANARY", "no UID"),
    ],
)
def test_unsupported_syntaxes_are_named(uid: str, words: str) -> None:
    ds = pydicom.dcmread(io.BytesIO(dicom_bytes(image_values(8), bits=8, syntax="jpegls")))
    ds.file_meta.TransferSyntaxUID = pydicom.uid.UID(uid)
    with pytest.raises(UnreadableImage) as caught:
        decoded_dataset(ds)
    assert caught.value.reason == "codec"
    assert words in caught.value.detail
    assert "CANARY" not in caught.value.detail


@pytest.mark.parametrize(
    ("written", "stated", "words"),
    [
        ("jpegls", "j2k", "the pixels are JPEG-LS, the header says JPEG 2000"),
        ("lossless70", "jpegls", "the pixels are JPEG, the header says JPEG-LS"),
        ("lossless70", "explicit", "the pixels are JPEG, the header says no compression"),
        ("jpegls", "rle", "the pixels are JPEG-LS, the header says RLE"),
        ("explicit", "jpegls", "not compressed, although"),
    ],
)
def test_pixels_that_are_not_what_the_transfer_syntax_says(written, stated, words: str) -> None:
    stored = image_values(12, size=(24, 30))
    ds = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, syntax=written)))
    ds.file_meta.TransferSyntaxUID = SYNTAXES[stated]
    found = decoded_dataset(ds)
    assert np.array_equal(found.frames[0], stored)
    assert any(words in note for note in found.notes)


@pytest.mark.parametrize("syntax", ["lossless70", "jpeg", "extended"])
def test_jpeg_without_its_end(syntax: str) -> None:
    bits = 8 if syntax == "jpeg" else 12
    stored = image_values(bits)
    ds = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, bits=bits, syntax=syntax)))
    stream = next(generate_frames(ds.PixelData, number_of_frames=1)).rstrip(b"\0")
    assert stream.endswith(b"\xff\xd9")
    whole = decoded_dataset(ds).frames
    ds.PixelData = encapsulate([stream[:-2]])
    found = decoded_dataset(ds)
    assert np.array_equal(found.frames, whole)
    assert any("end" in note for note in found.notes)
    ds.PixelData = encapsulate([stream[: len(stream) * 2 // 3]])
    with pytest.raises(UnreadableImage) as caught:
        decoded_dataset(ds)
    assert caught.value.reason == "truncated"


def test_doubtful_data_are_noted() -> None:
    stored = image_values(8, size=(200, 240))
    ds = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, bits=8, syntax="jpeg")))
    assert decoded_dataset(ds).notes == ()
    stream = bytearray(next(generate_frames(ds.PixelData, number_of_frames=1)))
    middle = len(stream) // 2
    stream[middle : middle + 40] = bytes(range(40, 80))
    ds.PixelData = encapsulate([bytes(stream)])
    assert any(note.startswith("damaged: ") for note in decoded_dataset(ds).notes)
    native = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, bits=8)))
    native.PixelData = native.PixelData + bytes(10)
    assert decoded_dataset(native).notes == ("10 more bytes of pixels than declared, not used",)
    native.PixelData = native.PixelData[:48000] * 3
    assert decoded_dataset(native).notes == ("pixels of 2 more frames than declared, not used",)


@pytest.mark.parametrize(
    "stream", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"garbage" * 9, b"\xff\x4f\xff\x51"]
)
def test_code_stream_without_a_frame_header(stream: bytes) -> None:
    with pytest.raises(UnreadableImage) as caught:
        codec.read_stream_header(stream)
    assert caught.value.reason == "bad_header"


def test_damage_of_lossless_jpeg_is_noted() -> None:
    """Codes without a meaning, and values beyond the bits, which the decoder passes over."""
    values = image_values(12)
    stream = jpeg_lossless(values, 12)
    rng = np.random.default_rng(0)
    far = noted = 0
    for _ in range(40):
        damaged = bytearray(stream)
        damaged[int(rng.integers(80, len(stream) - 2))] ^= int(rng.integers(1, 256))
        content = dicom_bytes(values, syntax="lossless70", streams=[bytes(damaged)])
        found = decoded_dataset(pydicom.dcmread(io.BytesIO(content)))
        if np.mean(np.abs(found.frames[0] - values) > 400) > 0.001:
            far += 1
            noted += any(note.startswith("damaged: ") for note in found.notes)
    assert far > 20
    assert noted >= 0.9 * far


def test_values_beyond_the_bits_of_a_lossless_stream_are_not_masked() -> None:
    values = image_values(12)
    values[5, 5:9] = 5000
    content = dicom_bytes(values, syntax="lossless70", streams=[jpeg_lossless(values, 12)])
    found = decoded_dataset(pydicom.dcmread(io.BytesIO(content)))
    assert (found.frames[0] == np.minimum(values, 4095)).all()
    assert "damaged: values beyond the 12 bits of the JPEG data" in found.notes
    assert any("beyond 12 bits clipped" in note for note in found.notes)


def test_signs_in_all_sixteen_bits_of_a_lossless_stream_are_no_damage() -> None:
    values = image_values(12, signed=True)
    stream = jpeg_lossless(values & 0xFFFF, 12)
    content = dicom_bytes(values, signed=True, syntax="lossless70", streams=[stream])
    found = decoded_dataset(pydicom.dcmread(io.BytesIO(content)))
    assert (found.frames[0] == values).all()
    assert not found.notes


def test_jpeg_ls_that_is_cut_off_is_refused_at_once() -> None:
    values = image_values(12, size=(24, 30))
    stream = jpeg_ls(values, 12)
    start = time.process_time()
    for kept in range(200, len(stream) - 40, 7):
        with pytest.raises(UnreadableImage):
            decoded(dicom_bytes(values, syntax="jpegls", streams=[stream[:kept]]))
    assert time.process_time() - start < 5


def test_simpleitk_alone_would_invert_monochrome1(tmp_path: Path) -> None:
    """Why SimpleITK is the codec and not the reader; fails when a new version behaves otherwise."""
    stored = image_values(12)
    path = tmp_path / "a.dcm"
    for syntax in ("explicit", "jpegls"):
        path.write_bytes(
            dicom_bytes(stored, syntax=syntax, photometric="MONOCHROME1", Modality="OT")
        )
        whole = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        assert np.array_equal(whole.reshape(stored.shape), 4095 - stored), syntax
        assert np.array_equal(decoded(path.read_bytes())[0][0], stored)


def test_both_decoders_agree_on_rle(tmp_path: Path) -> None:
    stored = image_values(16)
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom_bytes(stored, bits=16, syntax="rle"))
    whole = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    assert np.array_equal(whole.reshape(stored.shape), decoded(path.read_bytes())[0][0])


def test_every_supported_syntax_is_tested() -> None:
    supported = {*codec._NATIVE, *codec._CODE_STREAMS, codec.RLE}
    supported |= {codec.PLAIN_FRAMES, codec.DEFLATED_FRAMES}
    retired = {f"1.2.840.10008.1.2.4.{n}" for n in (*range(52, 57), *range(58, 67))}
    like_others = {f"1.2.840.10008.1.2.4.{n}" for n in (92, 93, 202)}  # other names of JPEG 2000
    assert supported - retired - like_others == {str(uid) for uid in SYNTAXES.values()}
