"""One chunk of masks: given files with all their faults, pairs, the network's part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from isnet_cli.core.run_folder import RunFolder
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.types import Row
from isnet_cli.masks.make import Line, Maker, take_given_mask
from isnet_models.lung_unet import LungUNet
from tests.masks.factory import SIZES, given_masks, ingested, lungs, settings, write_mask


def rows_of(folder: RunFolder) -> list[Row]:
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    return [row for row in rows if row.status == "ok"]


def maker(folder: RunFolder, network: LungUNet | None = None) -> Maker:
    sources = {row.key: row.mask_file for row in rows_of(folder)}
    ingest, root = folder.stage_dir("ingest"), folder.stage_dir("masks")
    return Maker(settings(), ingest, root, sources, network, torch.device("cpu"))


def take_given(make: Maker, rows: list[Row]) -> list[Line]:
    """What worker processes do, in this one."""
    return [take_given_mask(make.given_only(row)) for row in rows]


def test_left_and_right_masks_become_one(tmp_path: Path) -> None:
    pairs = {}
    for number, (key, size) in enumerate(SIZES.items()):
        left = np.arange(size[1]) < size[1] // 2
        files = [
            write_mask(tmp_path / side / f"{number}.png", lungs(size) & half)
            for side, half in (("leftMask", left), ("rightMask", ~left))
        ]
        pairs[key] = "|".join(map(str, files))
    folder = ingested(tmp_path / "run", pairs)
    make = maker(folder)
    assert [line["verdict"] for line in take_given(make, rows_of(folder))] == ["ok"] * 4
    for key, size in SIZES.items():
        assert np.array_equal(load_mask(make.path(key)), lungs(size))


def test_each_fault_of_a_given_mask_has_its_reason(tmp_path: Path) -> None:
    given = given_masks(tmp_path / "given")
    write_mask(given["a/one"], lungs((150, 130)))
    ramp = np.linspace(0, 255, 512 * 640).astype(np.uint8).reshape(512, 640)
    write_mask(given["a/two"], ramp)
    given["three"].unlink()
    given["b/four"].write_bytes(b"no picture")
    folder = ingested(tmp_path / "run", given)
    make = maker(folder)
    lines = {line["key"]: line for line in take_given(make, rows_of(folder))}
    assert {key: line["reason"].partition(":")[0] for key, line in lines.items()} == {
        "a/one": "mask_size", "a/two": "mask_values",
        "three": "mask_missing", "b/four": "mask_unreadable",
    }  # fmt: skip
    assert lines["a/one"]["reason"].endswith(
        "the mask has 130 x 150 pixels, expected the image's 260 x 300"
    )
    assert {line["verdict"] for line in lines.values()} == {"missing"}
    assert not list(make.root.rglob("*.png"))


def test_an_empty_given_mask_is_missing(tmp_path: Path) -> None:
    empty = write_mask(tmp_path / "m.png", np.zeros(SIZES["three"], bool))
    folder = ingested(tmp_path / "run", {"three": empty})
    row = next(row for row in rows_of(folder) if row.key == "three")
    (line,) = take_given(maker(folder), [row])
    assert (line["verdict"], line["reason"].partition(":")[0]) == ("missing", "empty")


def test_without_file_and_network_the_mask_is_missing(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run")
    lines = maker(folder).make(rows_of(folder))
    assert {(line["origin"], line["verdict"]) for line in lines} == {("none", "missing")}


class Ideal(LungUNet):
    """Sees lung where the image is dark: the drawn lungs, exactly; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        return torch.sigmoid((0.5 - images) * 40) * (images > 0)


def test_the_networks_mask_lies_on_the_images_own_pixels(tmp_path: Path) -> None:
    folder, network = ingested(tmp_path / "run"), Ideal()
    make = maker(folder, network)
    lines = make.make(rows_of(folder))
    assert network.batches == [4]
    assert [(line["origin"], line["verdict"]) for line in lines] == [("lung-unet", "ok")] * 4
    for key, size in SIZES.items():
        mask = load_mask(make.path(key))
        assert mask.shape == size
        overlap = 2 * (mask & lungs(size)).sum() / (mask.sum() + lungs(size).sum())
        assert overlap > 0.985


def test_a_image_known_to_be_lateral_gets_no_mask(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run")
    rows = [replace(row, view="lateral") for row in rows_of(folder)]
    make = maker(folder, Ideal())
    lines = make.make(rows)
    assert {line["reason"].partition(":")[0] for line in lines} == {"lateral"}
    assert not list(make.root.rglob("*.png"))


def test_flips_average_the_image_and_its_mirror_image(tmp_path: Path) -> None:
    class Leaning(Ideal):
        """Sees lung in the left half of what it is shown only."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found = super().forward(images)
            found[..., found.shape[-1] // 2 :] = 0
            return found

    folder, network = ingested(tmp_path / "run"), Leaning()
    make = replace(maker(folder, network), config=settings(flip=True, threshold=0.4))
    row = next(row for row in rows_of(folder) if row.key == "three")
    make._predicted([row])
    assert network.batches == [1, 1]
    assert (make.root / "three.png").exists() is False  # half as sure: taken for no chest image
    plain, flipped = Ideal(), replace(maker(folder, Ideal()), config=settings(flip=True))
    maker(folder, plain).make([row])
    before = load_mask(make.path("three"))
    flipped.make([row])
    after = load_mask(make.path("three"))
    assert 2 * (before & after).sum() / (before.sum() + after.sum()) > 0.99
