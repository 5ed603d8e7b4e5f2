from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from PIL import Image

from isnet_cli.config.schema import Limits
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.mask_files import (
    PAIR,
    binarise,
    find_masks,
    list_pictures,
    load_mask,
    save_mask,
)


def disc(size: int = 96, left: bool = True) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (y - size / 2) ** 2 + (x - size * (0.3 if left else 0.7)) ** 2 < (size * 0.15) ** 2


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@settings(deadline=None)
@given(mask=hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_written_masks_come_back(
    tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray
) -> None:
    path = tmp_path_factory.getbasetemp() / "mask.png"
    save_mask(path, mask)
    loaded = load_mask(path)
    assert loaded.dtype == np.bool_
    assert np.array_equal(loaded, mask)
    with Image.open(path) as image:
        assert image.mode == "L"
        assert set(image.tobytes()) <= {0, 255}
        assert not image.info


@pytest.mark.parametrize("top", [1, 127, 255])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "gif", "pgm", "webp"])
def test_two_levels_in_every_format(tmp_path: Path, top: int, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"m.{suffix}", disc().astype(np.uint8) * np.uint8(top), **options)
    assert np.array_equal(load_mask(path), disc())


@pytest.mark.parametrize("mode", ["1", "RGB", "RGBA", "LA", "P", "CMYK"])
def test_colour_modes(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    array = disc().astype(np.uint8) * np.uint8(255)
    path = saved(tmp_path / f"m.{suffix}", array, mode)
    assert np.array_equal(load_mask(path), disc())


def test_sixteen_bits_floats_palettes_and_transparency(tmp_path: Path) -> None:
    whole = disc().astype(np.uint16) * np.uint16(65535)
    assert np.array_equal(load_mask(saved(tmp_path / "a.png", whole)), disc())
    assert np.array_equal(load_mask(saved(tmp_path / "b.tif", disc().astype(np.float32))), disc())
    indexed = Image.fromarray(disc().astype(np.uint8)).convert("P")
    indexed.putpalette([0, 0, 0, 128, 0, 0])
    indexed.save(tmp_path / "c.png")
    assert np.array_equal(load_mask(tmp_path / "c.png"), disc())
    alpha = np.zeros((96, 96, 4), np.uint8)
    alpha[..., 3] = disc() * 255
    assert np.array_equal(load_mask(saved(tmp_path / "d.png", alpha)), disc())


def test_jpeg_noise_is_cleaned(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.jpg", disc(256).astype(np.uint8) * np.uint8(255), quality=60)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    found = load_mask(path)
    assert np.mean(found != disc(256)) < 0.002


def test_left_and_right_are_united(tmp_path: Path) -> None:
    left = saved(tmp_path / "l.png", disc().astype(np.uint8))
    right = saved(tmp_path / "r.png", disc(left=False).astype(np.uint8) * np.uint8(255))
    found = load_mask(f"{left}{PAIR}{right}")
    assert np.array_equal(found, disc() | disc(left=False))


def test_empty_and_full_masks_are_masks() -> None:
    assert not binarise(np.zeros((4, 4), np.uint8)).any()
    assert binarise(np.full((4, 4), 255, np.uint8)).all()
    assert binarise(np.ones((4, 4), np.uint16)).all()


BAD = {
    "label map": (np.arange(16, dtype=np.uint8).reshape(4, 4) % 4, "4 values (0, 1, 2, 3)"),
    "no background": (np.array([[1, 2], [2, 1]], np.uint8), "2 values (1, 2)"),
    "one odd value": (np.full((4, 4), 7, np.uint8), "1 values (7)"),
    "image": (np.arange(256, dtype=np.uint8).reshape(16, 16), "256 values (0, 1, 2, 3, ..., 255)"),
    "negative": (np.array([[-1.0, 1.0]], np.float32), "2 values (-1, 1)"),
    "not finite": (np.array([[0.0, np.nan]], np.float32), "2 values (0, nan)"),
}


@pytest.mark.parametrize("case", BAD)
def test_other_values_are_refused_by_name(case: str) -> None:
    values, found = BAD[case]
    with pytest.raises(UnreadableImage) as caught:
        binarise(values)
    assert caught.value.reason == "mask_values"
    assert found in caught.value.detail
    assert "expected two" in caught.value.detail


@settings(deadline=None)
@given(values=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_any_values_give_a_mask_or_a_reason(values: np.ndarray) -> None:
    try:
        found = binarise(values)
    except UnreadableImage as fault:
        assert fault.reason == "mask_values"  # noqa: PT017 - both outcomes are right
    else:
        assert found.shape == values.shape
        assert not found[values == 0].any()


def test_lost_damaged_and_unequal_files_have_their_own_reasons(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"m\.png: no such file") as missing:
        load_mask(tmp_path / "m.png")
    assert missing.value.reason == "mask_missing"
    buffer = io.BytesIO()
    Image.fromarray(disc().astype(np.uint8)).save(buffer, "png")
    for content in (b"", b"text", buffer.getvalue()[:60]):
        (tmp_path / "m.png").write_bytes(content)
        with pytest.raises(UnreadableImage) as damaged:
            load_mask(tmp_path / "m.png")
        assert damaged.value.reason == "mask_unreadable"
    one, two = saved(tmp_path / "1.png", disc()), saved(tmp_path / "2.png", disc(64))
    with pytest.raises(UnreadableImage, match="96 x 96 and 64 x 64") as unequal:
        load_mask(f"{one}{PAIR}{two}")
    assert unequal.value.reason == "mask_size"


@pytest.mark.parametrize("form", ["png", "tiff", "jpeg"])
def test_a_mask_whose_checksum_or_decoder_tells_damage_is_refused(
    tmp_path: Path, form: str
) -> None:
    """A decoder may give pixels all the same: other lungs, without a word."""
    buffer = io.BytesIO()
    options = {"compression": "tiff_adobe_deflate"} if form == "tiff" else {}
    Image.fromarray(disc().astype(np.uint8) * np.uint8(255)).save(buffer, form, **options)
    sound, path = buffer.getvalue(), tmp_path / f"m.{form}"
    path.write_bytes(sound)
    assert np.array_equal(load_mask(path), disc())
    damaged = bytearray(sound)
    if form == "png":
        at = sound.index(b"IEND") - 5  # the last byte of the pixels' checksum
        damaged[at] ^= 1
    elif form == "tiff":
        with Image.open(path) as image:
            damaged[image.tag_v2[273][0] + image.tag_v2[279][0] - 1] ^= 1
    else:
        del damaged[-30:-2]
    path.write_bytes(damaged)
    with pytest.raises(UnreadableImage, match=rf"m\.{form}: .*(damage|end before)") as caught:
        load_mask(path)
    assert caught.value.reason == "mask_unreadable"


def test_pictures_that_are_too_large_or_say_two_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = np.zeros((8, 8, 4), np.uint8)
    two[:4, :, 0] = two[:, :4, 3] = 255
    path = saved(tmp_path / "m.png", two)
    with pytest.raises(UnreadableImage, match=r"^m\.png: colours and transparency vary"):
        load_mask(path)
    save_mask(tmp_path / "m.png", np.ones((1024, 1024), np.bool_))
    few = Limits(megapixels=1)
    with pytest.raises(UnreadableImage, match=r"^m\.png: 1024 x 1024 pixels, at most 1") as large:
        load_mask(path, few)
    assert large.value.reason == "mask_unreadable"


def test_only_boolean_arrays_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected bool"):
        save_mask(tmp_path / "m.png", np.zeros((3, 3), np.uint8))  # type: ignore[arg-type]


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def relative(root: Path, found: list[str]) -> list[str]:
    return [PAIR.join(str(Path(p).relative_to(root)) for p in f.split(PAIR) if p) for f in found]


@pytest.mark.parametrize(
    ("masks", "keys", "expected"),
    [
        (["a.png", "b.png"], ["b", "a"], ["b.png", "a.png"]),
        (["a_mask.png", "B-mask.tif"], ["a", "b"], ["a_mask.png", "B-mask.tif"]),
        (["a.png"], ["a", "b"], ["a.png", ""]),
        (["x/a.png", "y/a.png"], ["y/a", "x/a"], ["y/a.png", "x/a.png"]),
        (["a.png"], ["x/a"], ["a.png"]),
        (["a.png"], ["x/a", "y/a"], ["", ""]),
        (["leftMask/a.png", "rightMask/a.png"], ["a"], ["leftMask/a.png|rightMask/a.png"]),
        (["a_left.png", "a_right.png"], ["a"], ["a_left.png|a_right.png"]),
        (["image_r.png"], ["image_r"], ["image_r.png"]),
        (["1.2.840.png"], ["1.2.840"], ["1.2.840.png"]),
        ([".hidden/a.png", "a.png", "a.csv"], ["a"], ["a.png"]),
    ],
)
def test_masks_are_found(
    tmp_path: Path, masks: list[str], keys: list[str], expected: list[str]
) -> None:
    tree(tmp_path, *masks)
    assert relative(tmp_path, find_masks(tmp_path, keys)) == expected


@pytest.mark.parametrize("masks", [["a.png", "a.tif"], ["a.png", "a_mask.png"], ["a_left.png"]])
def test_doubtful_masks_are_refused(tmp_path: Path, masks: list[str]) -> None:
    with pytest.raises(IsnetError, match="may belong to image a") as caught:
        find_masks(tree(tmp_path, *masks), ["a"])
    assert caught.value.fix


def test_a_folder_without_masks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="no picture found"):
        find_masks(tmp_path, ["a"])
    with pytest.raises(IsnetError, match="no such folder"):
        find_masks(tmp_path / "lost", ["a"])


def test_pictures_are_listed_in_order(tmp_path: Path) -> None:
    tree(tmp_path, "b/2.png", "a.tif", "b/1.PNG", "notes.txt", ".x.png")
    found = [path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)]
    assert found == ["a.tif", "b/1.PNG", "b/2.png"]
