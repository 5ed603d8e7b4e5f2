"""Images get another image's background in training alone; the inner method sees them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isnet_models.backgrounds import transplant
from isnet_models.methods.background.background_mix import BackgroundMix
from isnet_models.methods.base import Batch, Losses, Method
from isnet_models.methods.settings import BackgroundMixSettings
from tests.models.methods.factory import batch


class Seen(Method):
    """Remembers the batch it gets."""

    def losses(self, net: torch.nn.Module, batch: Batch, epoch: int) -> Losses:
        self.batch = batch
        return Losses(batch.images.sum(), torch.zeros(len(batch.images), 3))


def mix(seed: int = 0, **settings: object) -> tuple[BackgroundMix, Seen]:
    inner = Seen()
    method = BackgroundMix(BackgroundMixSettings(**settings), None, inner)
    method.begin_epoch(0, torch.Generator().manual_seed(seed))
    return method, inner


def test_every_image_is_a_transplant_of_another_or_itself() -> None:
    data, (method, inner) = batch(), mix(share=0.6)
    losses = method.losses(torch.nn.Identity(), data, 0)
    seen = inner.batch
    assert torch.equal(seen.masks, data.masks)
    assert torch.equal(seen.labels, data.labels)
    changed = 0
    for i in range(6):
        if torch.equal(seen.images[i], data.images[i]):
            continue
        changed += 1
        pairs = [
            transplant(*(t[k : k + 1] for k in (i, j) for t in (data.images, data.masks)))
            for j in range(6)
            if j != i
        ]
        assert any(torch.allclose(pair[0], seen.images[i]) for pair in pairs)
    assert 0 < changed < 6
    assert losses.parts["mixed"] == pytest.approx(changed / 6)


def test_the_share_is_kept_on_average() -> None:
    method, _ = mix(share=0.3)
    which = torch.stack([method.mixed(batch())[1] for _ in range(200)])
    assert float(which.float().mean()) == pytest.approx(0.3, abs=0.05)
    everything, nothing = (mix(share=s)[0].mixed(batch())[1] for s in (1.0, 0.0))
    assert everything.all()
    assert not nothing.any()


@pytest.mark.parametrize("fill", ["image", "black", "noise", "blur"])
def test_lungs_stay_and_images_without_mask_too(fill: str) -> None:
    data, (method, inner) = batch(), mix(share=1.0, fill=fill)
    masks = data.masks.clone()
    masks[2], masks[3] = 0, 1
    method.losses(torch.nn.Identity(), replace(data, masks=masks), 0)
    inside = masks.bool()
    assert torch.equal(inner.batch.images[inside], data.images[inside])
    same = [bool(torch.equal(a, b)) for a, b in zip(inner.batch.images, data.images, strict=True)]
    assert same == [False, False, True, True, False, False]
    if fill == "image":  # nor do they lend their background, where their lungs would show
        odd = data.images.clone()
        odd[2:4] = 0.5
        method.begin_epoch(0, torch.Generator().manual_seed(0))
        method.losses(torch.nn.Identity(), replace(data, masks=masks, images=odd), 0)
        first = inner.batch.images
        method.begin_epoch(0, torch.Generator().manual_seed(0))
        method.losses(torch.nn.Identity(), replace(data, masks=masks), 0)
        assert torch.equal(first[[0, 1, 4, 5]], inner.batch.images[[0, 1, 4, 5]])


def test_validation_sees_the_images_as_they_are() -> None:
    data, (method, inner) = batch(), mix(share=1.0)
    with torch.no_grad():
        losses = method.losses(torch.nn.Identity(), data, 0)
    assert inner.batch is data
    assert "mixed" not in losses.parts


def test_the_inner_method_begins_its_epoch() -> None:
    class Begun(Seen):
        def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
            self.begun = (epoch, generator)

    inner, g = Begun(), torch.Generator()
    BackgroundMix(None, None, inner).begin_epoch(4, g)
    assert inner.begun == (4, g)


def test_partners_of_another_class_leave_a_batch_of_one_class_alone() -> None:
    data, (method, _) = batch(), mix(share=1.0, partner="other")
    one = replace(data, labels=torch.zeros(6, dtype=torch.long))
    assert not method.mixed(one)[1].any()
    assert method.mixed(data)[1].all()


def test_an_addition_needs_a_method() -> None:
    with pytest.raises(ValueError, match="needs a method"):
        BackgroundMix()
