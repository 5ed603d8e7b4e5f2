"""SmoothGrad: the mean of maps of noisy copies, each of the clean image's class."""

from __future__ import annotations

import pytest
import torch

from isnet_lrp import Choice, RelevanceError, relevance, smooth_relevance
from tests.lrp.nets import build, images


def test_it_is_the_mean_over_noisy_copies() -> None:
    net, x = build("basic"), images(2)
    found = smooth_relevance(
        net, x, samples=3, noise=0.2, generator=torch.Generator().manual_seed(4), layers=["layer2"]
    )
    source, span = torch.Generator().manual_seed(4), x.amax((1, 2, 3)) - x.amin((1, 2, 3))
    drawn = [torch.randn(x.shape, generator=source, dtype=x.dtype) for _ in range(3)]
    copies = [x + span.view(2, 1, 1, 1) * 0.2 * noise for noise in drawn]
    chosen = net(x).argmax(1)
    each = [relevance(net, copy, chosen, layers=["layer2"]) for copy in copies]
    assert torch.allclose(found.maps, sum(e.maps for e in each) / 3, atol=1e-14)
    mean = sum(e.layers["layer2"] for e in each) / 3
    assert torch.allclose(found.layers["layer2"], mean, atol=1e-14)
    assert torch.equal(found.logits, net(x))


@pytest.mark.parametrize("target", ["all", "selective", "stochastic", "predicted"])
def test_without_noise_it_is_the_map(target: str) -> None:
    net, x = build("vgg"), images(2)
    options = {
        "choice": Choice(generator=torch.Generator().manual_seed(1)), "zb": (0.0, 1.0),
    }  # fmt: skip
    found = smooth_relevance(net, x, target, samples=2, noise=0.0, **options)  # type: ignore[arg-type]
    options["choice"] = Choice(generator=torch.Generator().manual_seed(1))
    expected = relevance(net, x, target, **options).maps  # type: ignore[arg-type]
    assert torch.allclose(found.maps, expected, atol=1e-14)


def test_noisy_pixels_stay_within_the_bounds() -> None:
    net, x = build("vgg"), images(2)
    assert smooth_relevance(net, x, samples=1, noise=3.0, zb=(0.0, 1.0)).maps.isfinite().all()


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"noise": -1.0}, {"noise": float("nan")}])
def test_bad_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RelevanceError, match="expected >= 1 and >= 0"):
        smooth_relevance(build("vgg"), images(1), **wrong)  # type: ignore[arg-type]
