"""A map's way onto the image's own pixels, its numbers on disk, its picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from isnet_cli.heatmap.files import (
    SMOOTHING,
    ImageMap,
    describe_map,
    map_on_image,
    nifti_map,
    npz_bytes,
    own_limit,
    panel_png,
    paste_shape,
    shared_limit,
    shown_on_image,
    shown_part,
    smoothing,
)
from isnet_cli.images.resize import Frame
from isnet_cli.inference.explainers import METHODS
from isnet_cli.output.colours import relevance_limit, smooth

ORIGINAL, KEPT, NETWORK = (600, 480), (300, 240), (64, 64)
LRP, CAM, ROLLOUT = (METHODS[name] for name in ("lrp", "gradcam", "attention_rollout"))
FRAME = Frame((100, 50), (32, 32))


def blob(size: tuple[int, int], centre: tuple[float, float], width: float) -> np.ndarray:
    """A Gaussian at `centre` (pixel centres are at .5), float32."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * width**2)).astype(
        np.float32
    )


def image_map(values: np.ndarray | None = None, **changes: object) -> ImageMap:
    rng = np.random.default_rng(0)
    fields: dict[str, object] = {
        "map": rng.normal(size=NETWORK).astype(np.float32) if values is None else values,
        "frame": Frame(ORIGINAL, NETWORK),
        "image": rng.random(KEPT).astype(np.float32),
        "lungs": None,
        "classes": ["normal", "sick"],
        "target": 1,
        "logits": np.array([-1.0, 2.0]),
        "probabilities": np.array([0.05, 0.95]),
        "outside": 0.25,
        "total": 2.0,
        **changes,
    }
    return ImageMap(**fields)  # type: ignore[arg-type]


def test_a_spot_lands_where_the_image_has_it() -> None:
    frame = Frame(ORIGINAL, NETWORK)
    top, left, height, width = frame.inner
    spot = blob(NETWORK, (top + 0.25 * height, left + 0.7 * width), 2.0)
    found = map_on_image(spot, frame, KEPT)
    assert found.shape == KEPT
    y, x = np.mgrid[: KEPT[0], : KEPT[1]] + 0.5
    weights = found / found.sum()
    assert (weights * y).sum() == pytest.approx(0.25 * KEPT[0], abs=0.5)
    assert (weights * x).sum() == pytest.approx(0.7 * KEPT[1], abs=0.5)


@pytest.mark.parametrize("size", [KEPT, (30, 24), (1000, 800)])
def test_the_sum_over_the_image_stays(size: tuple[int, int]) -> None:
    spot = blob(NETWORK, (30, 33), 4.0) - 0.5 * blob(NETWORK, (40, 25), 3.0)
    found = map_on_image(spot, Frame(ORIGINAL, NETWORK), size)
    assert found.sum(dtype=np.float64) == pytest.approx(spot.sum(dtype=np.float64), rel=2e-3)


def test_npz_holds_the_map_the_geometry_and_the_facts_without_pickles() -> None:
    found = image_map()
    with np.load(io.BytesIO(npz_bytes(found)), allow_pickle=False) as content:
        arrays = dict(content)
    np.testing.assert_array_equal(arrays["map"], found.map)
    assert arrays["relevance"].shape == KEPT
    assert arrays["relevance"].dtype == np.float32
    expected = map_on_image(found.map, found.frame, KEPT)
    np.testing.assert_allclose(arrays["relevance"], expected, rtol=2**-11)
    assert arrays["original"].tolist() == list(ORIGINAL)
    assert arrays["image"].tolist() == list(KEPT)
    assert arrays["network"].tolist() == list(NETWORK)
    assert tuple(arrays["inner"]) == found.frame.inner
    assert str(arrays["target"]) == "sick"
    assert (float(arrays["logit"]), float(arrays["probability"])) == (2.0, 0.95)
    assert float(arrays["outside_share"]) == 0.25
    assert str(arrays["method"]) == "Relevance"
    assert np.isnan(arrays["spacing"]).all()


def test_npz_is_reproducible_and_small() -> None:
    found = image_map(blob(NETWORK, (30, 33), 6.0))
    content = npz_bytes(found)
    assert content == npz_bytes(found)
    exact = io.BytesIO()
    np.savez_compressed(exact, map_on_image(found.map, found.frame, KEPT))
    assert len(content) < 0.75 * len(exact.getvalue())


@pytest.mark.parametrize(
    ("found", "expected", "error"), [(2.0, 2.0, 0.0), (1.5, 2.0, 0.25), (-1.0, -2.0, 0.5)]
)
def test_conservation_error(found: float, expected: float, error: float) -> None:
    values = np.full(NETWORK, found / (NETWORK[0] * NETWORK[1]), np.float32)
    assert image_map(values, total=expected).conservation_error == pytest.approx(error, abs=1e-6)


def test_conservation_of_a_total_of_zero_or_of_none_is_unknown() -> None:
    assert np.isnan(image_map(total=0.0).conservation_error)
    assert np.isnan(image_map(total=float("nan")).conservation_error)


def test_words_of_each_method() -> None:
    rollout = describe_map(image_map(method=METHODS["attention_rollout"]))
    assert rollout == [
        "Attention rollout, of no class in particular", "75 % of the attention in the lungs"
    ]  # fmt: skip
    cam = describe_map(image_map(method=METHODS["gradcam"], outside=float("nan")))
    assert cam == ["Grad-CAM for sick (probability 0.95)"]


def test_a_picture_of_a_shared_scale_and_of_another_method_differs() -> None:
    plain = panel_png(image_map(), "x", [])
    assert panel_png(image_map(limit=9.0), "x", []) != plain
    assert panel_png(image_map(method=METHODS["gradcam"]), "x", []) != plain


def test_images_of_any_size_are_drawn_with_the_same_values() -> None:
    """So that a colour limit means the same on each of them."""
    small, large = image_map(), image_map(image=np.zeros((600, 480), np.float32))
    ours = [shown_on_image(small, KEPT).max(), shown_on_image(large, ORIGINAL).max()]
    assert ours[0] == pytest.approx(ours[1], rel=0.1)


def test_nifti_has_the_image_s_size_spacing_and_sum(tmp_path: Path) -> None:
    found = image_map(blob(NETWORK, (30, 33), 6.0), spacing=(0.2, 0.1))
    path = tmp_path / "map.nii.gz"
    path.write_bytes(nifti_map(found, "frontal", tmp_path, mirrored=False))
    image = SimpleITK.ReadImage(str(path))
    assert image.GetSize() == (ORIGINAL[1], ORIGINAL[0], 1)
    assert image.GetSpacing()[:2] == pytest.approx((0.1, 0.2))
    values = SimpleITK.GetArrayFromImage(image)[0]
    assert values.sum(dtype=np.float64) == pytest.approx(found.map.sum(), rel=2e-3)


@pytest.mark.parametrize("height", [64, 500, 2000])
def test_picture_is_readable_and_not_larger_than_needed(height: int) -> None:
    image = np.full((height, height), 0.5, np.float32)
    frame = Frame((height, height), NETWORK)
    content = panel_png(image_map(image=image, frame=frame), "test/001", ["label: sick"])
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.mode == "RGB"
        shown = min(max(height, 384), 1024)
        assert 2 * shown < picture.width < 2.3 * shown
        assert not picture.text  # type: ignore[attr-defined]
        assert len(picture.resize((90, 60)).getcolors(5400) or []) > 100


def test_a_picture_of_a_zero_map_and_of_no_mask_is_drawn() -> None:
    zero = image_map(np.zeros(NETWORK, np.float32), outside=float("nan"))
    assert panel_png(zero, "x", []).startswith(b"\x89PNG")
    assert panel_png(zero, "x", []) == panel_png(zero, "x", [])


def test_a_shape_is_drawn_into_the_image_and_nowhere_else() -> None:
    frame = Frame(ORIGINAL, NETWORK)
    rng = np.random.default_rng(1)
    image = rng.random(KEPT).astype(np.float32)
    plain = frame.to_network(image)
    biased = plain.copy()
    top, left, height, width = frame.inner
    biased[top + 5 : top + 15, left + 5 : left + 15] = 1.0
    found = paste_shape(image, plain, biased, frame)
    rows, columns = KEPT[0] / height, KEPT[1] / width
    inside = found[round(7 * rows) : round(13 * rows), round(7 * columns) : round(13 * columns)]
    np.testing.assert_allclose(inside, 1.0, atol=1e-6)
    assert (found[round(18 * rows) :] == image[round(18 * rows) :]).all()
    assert (found[:, round(18 * columns) :] == image[:, round(18 * columns) :]).all()
    assert (paste_shape(image, plain, plain, frame) == image).all()


def letterboxed(inside: np.ndarray) -> np.ndarray:
    top, left, height, width = FRAME.inner
    values = np.full((32, 32), 99.0, np.float32)
    values[top : top + height, left : left + width] = inside
    return values


def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=FRAME.inner[2:]).astype(np.float32)


def test_only_the_part_that_shows_the_image_counts() -> None:
    assert np.array_equal(shown_part(letterboxed(noise()), FRAME, CAM), noise())
    assert own_limit(letterboxed(noise()), FRAME, CAM) == relevance_limit(noise())


def test_the_limit_is_that_of_the_smoothed_picture() -> None:
    assert (smoothing(LRP), smoothing(CAM)) == (SMOOTHING, 0.0)
    expected = relevance_limit(smooth(noise(), SMOOTHING))
    assert own_limit(letterboxed(noise()), FRAME, LRP) == expected
    assert expected < 0.8 * relevance_limit(noise())


def test_attention_is_shown_above_an_even_map() -> None:
    even = np.full(FRAME.inner[2:], 0.02, np.float32)
    spot = even.copy()
    spot[10:20, 3:9] = 0.5
    mean = float(spot.mean())
    shown = shown_part(letterboxed(spot), FRAME, ROLLOUT)
    assert shown.max() == pytest.approx(0.5 - mean)
    assert (shown[:10] == 0).all()
    assert own_limit(letterboxed(spot), FRAME, ROLLOUT) == pytest.approx(0.5 - mean)
    almost = even + 1e-4 * noise()  # no preference to speak of: hardly a colour
    limit = own_limit(letterboxed(almost), FRAME, ROLLOUT)
    assert limit == pytest.approx(0.02, rel=0.01)
    assert shown_part(letterboxed(almost), FRAME, ROLLOUT).max() < 0.03 * limit


def test_one_odd_map_does_not_set_the_scale_of_all() -> None:
    assert shared_limit([1.0] * 99 + [1000.0]) == pytest.approx(1.0)
    assert shared_limit([1.0, 3.0]) == pytest.approx(2.9)
    assert shared_limit([]) is None
