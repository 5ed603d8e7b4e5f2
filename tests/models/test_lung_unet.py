"""The lung U-Net: size, range, robust pre-transform; the shipped weights on real images."""

from __future__ import annotations

import copy
import csv
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isnet_cli.config.schema import Postprocess
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.resize import Frame
from isnet_cli.masks.postprocess import mask_on_original
from isnet_models.lung_unet import (
    SIZE,
    LungUNet,
    fold_normalisation,
    from_card,
    lung_unet,
    standardise,
)
from isnet_models.registry import WeightsError, find_card
from isnet_models.weights import save_weights
from tests.support.paths import ROOT

TB = ROOT.parent / "shared" / "data" / "tb"


@pytest.fixture(scope="module")
def shipped() -> LungUNet:
    return lung_unet()


def images(count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, *SIZE, generator=torch.Generator().manual_seed(seed))


def test_a_small_network_gives_one_probability_per_pixel() -> None:
    net = LungUNet().eval()
    assert sum(p.numel() for p in net.parameters()) < 4_000_000
    with torch.inference_mode():
        probabilities = net(images())
    assert probabilities.shape == (2, 1, *SIZE)
    assert probabilities.dtype == torch.float32
    assert 0 <= float(probabilities.min()) < float(probabilities.max()) <= 1


def test_building_and_loading_open_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    lung_unet()


@pytest.mark.parametrize(("gain", "offset"), [(0.3, 0.0), (0.5, 0.4), (40.0, 7.0)])
def test_grey_scale_of_the_reader_does_not_matter(gain: float, offset: float) -> None:
    x = images() * 0.9 + 0.05
    torch.testing.assert_close(standardise(x * gain + offset), standardise(x), atol=1e-4, rtol=0)


def test_black_borders_do_not_change_what_is_between_them() -> None:
    x = images(1) * 0.5 + 0.2
    bordered = torch.nn.functional.pad(x, (60, 60, 0, 0))
    inside = standardise(bordered)[..., 60:-60]
    torch.testing.assert_close(inside, standardise(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images_stay_finite(value: float, shipped: LungUNet) -> None:
    with torch.inference_mode():
        assert torch.isfinite(shipped(torch.full((1, 1, *SIZE), value))).all()


def test_a_image_alone_gives_what_it_gives_in_a_batch(shipped: LungUNet) -> None:
    x = images(4)
    with torch.inference_mode():
        torch.testing.assert_close(shipped(x)[2:3], shipped(x[2:3]), atol=2e-5, rtol=0)


def test_folding_changes_the_speed_and_not_the_output() -> None:
    plain = LungUNet()
    generator = torch.Generator().manual_seed(3)
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics that cannot hide an error
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            torch.nn.init.normal_(module.weight, 1, 0.2, generator=generator)
            torch.nn.init.normal_(module.bias, 0, 0.2, generator=generator)
    folded = fold_normalisation(copy.deepcopy(plain.eval()))
    kinds = [type(module).__name__ for module in folded.unet.decoder.modules()]
    assert "BatchNorm2d" not in kinds
    assert "Conv2d" in kinds
    with torch.inference_mode():
        torch.testing.assert_close(folded(images()), plain(images()), atol=1e-4, rtol=0)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    digest = save_weights({"unet.weight": torch.zeros(3)}, path)
    card = find_card("lung-unet")
    other = type(card)(**{**vars(card), "weights": path, "sha256": digest})
    with pytest.raises(WeightsError, match="do not fit the architecture"):
        from_card(other)


def test_a_card_of_another_network_is_refused() -> None:
    card = find_card("lung-unet")
    other = type(card)(**{**vars(card), "architecture": {"class": "Classifier"}})
    with pytest.raises(WeightsError, match="not a lung U-Net"):
        from_card(other)


@pytest.mark.shared
@pytest.mark.skipif(not TB.is_dir(), reason="no real images beside the checkout")
def test_images_that_were_never_trained_on_are_segmented(shipped: LungUNet) -> None:
    """Ten images of each hospital from the card's held-out list; the network never saw them."""
    held_out = set(find_card("lung-unet").content["held_out"])
    with (TB / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if Path(row["file"]).stem in held_out]
    for source in ("shenzhen", "montgomery"):
        chosen = [row for row in rows if row["source"] == source][:10]
        assert len(chosen) == 10
        scores = [_dice(shipped, TB / row["file"], TB / row["mask"]) for row in chosen]
        assert float(np.mean(scores)) > 0.93
        assert min(scores) > 0.80


def _dice(net: LungUNet, image: Path, mask: Path) -> float:
    pixels = np.asarray(Image.open(image).convert("L"), np.float32) / 255
    truth = load_mask(mask)
    frame = Frame((pixels.shape[0], pixels.shape[1]), SIZE)
    with torch.inference_mode():
        x = torch.from_numpy(frame.to_network(pixels))[None, None]
        found = mask_on_original(net(x)[0, 0].numpy(), frame, 0.5, Postprocess())
    return 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())
