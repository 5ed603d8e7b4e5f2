"""What is taken from pixels: from a run or from files, with and without masks and shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isnet_cli.check.features import (
    ImageSource,
    add_shapes,
    choose_images,
    extract_features,
    list_run_images,
    trains_with_shapes,
)
from isnet_cli.check.near_duplicates import hash_image
from isnet_cli.check.thumbnails import describe_background, describe_lungs
from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.standardise import standardise
from isnet_cli.dataset.synthetic_marks import draw_shape, make_rng
from isnet_cli.images.kept import load_image
from isnet_cli.images.read import read_images
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from tests.evaluate.factory import edit_rows
from tests.ingest.factory import config, dicom, mask, png
from tests.support.runs import lungs, make_run, small_config


def test_looks_of_a_run_are_those_of_its_images_and_masks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sets={"train": 4, "test": 3})
    settings = small_config()
    images = extract_features(list_run_images(run, settings), settings, RunContext())
    assert [look.row.key for look in images] == [f"train/{i:03d}" for i in range(4)] + [
        f"test/{i:03d}" for i in range(3)
    ]
    for look in images:
        pixels = load_image(run.path / "ingest" / look.row.image_file)
        frame = Frame((look.row.height, look.row.width), (32, 32))
        image, inside = frame.to_network(pixels), frame.mask_to_network(lungs(look.row.height))
        assert np.array_equal(look.hash, hash_image(pixels))
        assert np.array_equal(look.background, describe_background(image, inside))
        assert np.array_equal(look.lungs, describe_lungs(image, inside))


def test_images_are_standardised_as_in_training(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sets={"train": 2})
    for how in ("lungs", "bands"):
        settings = small_config(model={"arch": "small", "input": [32, 32], "standardise": how})
        for look in extract_features(list_run_images(run, settings), settings, RunContext()):
            frame = Frame((look.row.height, look.row.width), (32, 32))
            inside = frame.mask_to_network(lungs(look.row.height))
            image = frame.to_network(load_image(run.path / "ingest" / look.row.image_file))
            alike = standardise(image, inside, frame.inner, how)
            assert np.array_equal(look.lungs, describe_lungs(alike, inside))
            assert not np.array_equal(look.lungs, describe_lungs(image, inside))


def test_shapes_are_drawn_as_in_training(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sets={"train": 4})
    settings = small_config(bias={"kind": "shapes", "shapes": ["circle", "cross"]})
    sources = add_shapes(list_run_images(run, settings), settings)
    assert [source.shape for source in sources] == ["circle", "cross", "circle", "cross"]
    for look in extract_features(sources, settings, RunContext()):
        frame = Frame((look.row.height, look.row.width), (32, 32))
        image = frame.to_network(load_image(run.path / "ingest" / look.row.image_file))
        inside = frame.mask_to_network(lungs(look.row.height))
        shape = "circle" if look.row.label == "normal" else "cross"
        rng = make_rng(look.row.key, 0)
        drawn = draw_shape(image, inside, shape, size=0.15, intensity=1.0, rng=rng)
        assert np.array_equal(look.background, describe_background(drawn, inside))
    plain = settings.bias.model_copy(update={"train": False})
    assert trains_with_shapes(settings.bias)
    assert not trains_with_shapes(plain)
    left = add_shapes(sources, settings.model_copy(update={"bias": plain}))
    assert left == sources


def test_a_image_without_label_or_class_gets_no_shape(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sets={"train": 4})
    edit_rows(run, lambda row: {"label": ""} if row.key == "train/000" else {})
    settings = small_config(bias={"kind": "shapes"}, data={"labels": {"classes": ["sick", "old"]}})
    sources = add_shapes(list_run_images(run, settings), settings)
    assert [source.shape for source in sources] == ["", "triangle", "", "triangle"]


def test_only_trusted_masks_of_a_run_are_used(tmp_path: Path) -> None:
    verdicts = {"test/000": "suspect", "test/001": "missing"}
    run = make_run(tmp_path / "run", sets={"test": 4}, verdicts=verdicts)
    for settings, expected in (
        (small_config(), [False, False, True, True]),
        (small_config(masks={"on_suspect": "keep"}), [True, False, True, True]),
    ):
        images = extract_features(list_run_images(run, settings), settings, RunContext())
        assert [look.background is not None for look in images] == expected
        assert [look.lungs is not None for look in images] == expected


def test_without_a_masks_stage_a_run_has_its_given_masks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sets={"test": 2})
    given = mask(tmp_path / "m.png", (48, 48))
    edit_rows(run, lambda row: {"mask_file": str(given)} if row.key == "test/000" else {})
    run.begin("masks", "again")
    sources = list_run_images(run, small_config())
    assert [source.mask for source in sources] == [str(given), ""]


def raw(tmp_path: Path) -> list[ImageSource]:
    files = [dicom(tmp_path / "a.dcm", 1), png(tmp_path / "b.png", 2)]
    return [ImageSource(Row(key=f.stem), f, False, "") for f in files]


def test_input_files_are_read_and_their_masks_must_fit(tmp_path: Path) -> None:
    settings = config(tmp_path)
    sources = raw(tmp_path)
    pixels = read_images(sources[0].image)[0].pixels
    good = mask(tmp_path / "good.png", (pixels.shape[0], pixels.shape[1]))
    small = mask(tmp_path / "small.png", (pixels.shape[0], pixels.shape[1] - 8))
    for name, there in ((str(good), True), (str(small), False), (str(tmp_path / "no"), False)):
        (look,) = extract_features([replace(sources[0], mask=name)], settings, RunContext())
        assert np.array_equal(look.hash, hash_image(pixels))
        assert (look.background is not None) == there


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    sources = raw(tmp_path)
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    broken = ImageSource(Row(key="c"), tmp_path / "c.png", False, "")
    lost = ImageSource(Row(key="d"), tmp_path / "d.png", False, "")
    images = extract_features(
        [sources[0], broken, lost, sources[1]], config(tmp_path), RunContext()
    )
    assert [look.row.key for look in images] == ["a", "b"]


@pytest.mark.parametrize("limit", [3, 10, 50])
def test_choice_is_bounded_and_repeatable(limit: int) -> None:
    sources = [ImageSource(Row(key=f"{n:03d}"), Path("x"), True, "") for n in range(40)]
    chosen = choose_images(sources, limit, 0)
    assert len(chosen) == min(limit, 40)
    assert [g.row.key for g in chosen] == sorted(g.row.key for g in chosen)
    assert chosen == choose_images(sources, limit, 0)
    if limit < 40:
        assert chosen != choose_images(sources, limit, 1)
