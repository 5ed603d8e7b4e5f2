"""Extended GAIN against its formulas written out; the channels' weights are constants."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from isnet_models.explanations.explanation import MethodError
from isnet_models.explanations.gradcam import grad_cam
from isnet_models.methods.base import Batch, Context, Method, NetSpec
from isnet_models.methods.guided.gain import GAIN, kept_statistics
from isnet_models.methods.settings import GAINSettings
from tests.lrp.losses.map_nets import CLASSES, Small, images, small
from tests.lrp.maps.test_gradients import gradients, relative_error
from tests.models.methods.factory import batch as three_classes

SETTINGS = GAINSettings(mining_weight=0.7, attention_weight=3.0, sharpness=4.0, threshold=0.2)
FORMS = {
    "published": SETTINGS,
    "signed": GAINSettings(sharpness=4.0, threshold=0.2, signed=True),
    "every class": GAINSettings(sharpness=4.0, threshold=0.2, every_class=True),
}


def channel_weights(net: Small, x: Tensor) -> Tensor:
    """a [B, K, C]: mean over positions of the logits' gradients; one gradient at a time."""
    rows = []
    for image in x:
        A = net.features(image[None]).detach().requires_grad_()
        y = net.fc(A.mean(dim=(2, 3)))[0]
        slopes = [torch.autograd.grad(y[k], A, retain_graph=True)[0] for k in range(CLASSES)]
        rows.append(torch.stack([g[0].mean(dim=(1, 2)) for g in slopes]))
    return torch.stack(rows)


def slow(net: Small, data: Batch, s: GAINSettings, a: Tensor) -> dict[str, Tensor]:
    """All parts with the channels' weights `a`, image by image and class by class."""
    one_label, method = data.labels.dim() == 1, Method()
    mining, held = [], []
    for b, x in enumerate(data.images):
        A = net.features(x[None])[0]
        for k in range(CLASSES):
            has = bool(data.labels[b] == k if one_label else data.labels[b, k] == 1)
            small_map = sum(a[b, k, c] * A[c] for c in range(A.shape[0]))
            if not s.signed:
                small_map = small_map.clamp(min=0)
            shown = interpolate(small_map[None, None], (8, 8), mode="bilinear")[0, 0]
            if has:
                hidden = x - x / (1 + torch.exp(-s.sharpness * (shown - s.threshold)))
                y = net(hidden[None])[0]
                mining.append(y.softmax(0)[k] if one_label else y[k].sigmoid())
            if b < 2 and (has or s.every_class):
                held.append(((shown - data.masks[b, 0]) ** 2).mean())
    beside = 0 if one_label else 1e-5
    return {
        "classification": method.classification(net(data.images), data.labels),
        "attention_mining": sum(mining) / len(mining),
        "attention": sum(held) / (len(held) + beside),
    }


def slow_total(net: Small, data: Batch, s: GAINSettings, a: Tensor) -> Tensor:
    found = slow(net, data, s, a)
    mined = s.mining_weight * found["attention_mining"]
    return found["classification"] + mined + s.attention_weight * found["attention"]


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several"])
@pytest.mark.parametrize("form", FORMS)
def test_the_parts_are_the_formulas(form: str, several: bool) -> None:
    net, data, s = small(), images(several=several), FORMS[form]
    losses = GAIN(s).losses(net, data, 0)
    a = channel_weights(net, data.images)
    for name, value in slow(net, data, s, a).items():
        assert value > 1e-3
        assert losses.parts[name].item() == pytest.approx(value.item(), rel=1e-9), name
    assert losses.total.item() == pytest.approx(slow_total(net, data, s, a).item(), rel=1e-9)
    assert losses.parts["mapped"].item() == 0.5
    with torch.no_grad():
        assert GAIN(s).losses(net, data, 0).total.item() == pytest.approx(losses.total.item())


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several"])
@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_holds_the_channels_weights_constant(form: str, several: bool) -> None:
    net, data, s = small(), images(several=several), FORMS[form]
    slopes = gradients(net, GAIN(s).losses(net, data, 0).total)
    a = channel_weights(net, data.images)
    assert relative_error(net, slopes, lambda: slow_total(net, data, s, a)) < 1e-6


def test_the_maps_are_grad_cam_s() -> None:
    net, data = small(), images()
    _, maps = GAIN().maps(net, data.images)
    torch.testing.assert_close(maps, grad_cam(net, data.images, "all").maps[:, :, 0])


def test_images_without_usable_masks_or_positive_labels() -> None:
    net, data = small(), images(several=True)
    rest = Batch(data.images[2:], data.masks[2:], data.labels[2:])
    losses = GAIN().losses(net, rest, 0)
    assert losses.parts["attention"] == losses.parts["mapped"] == 0
    assert losses.parts["attention_mining"] > 0  # it needs no mask
    nothing = GAIN().losses(net, Batch(rest.images, rest.masks, torch.zeros(2, 3).double()), 0)
    assert nothing.parts["attention_mining"] == 0
    nothing.total.backward()


def test_hidden_images_leave_the_running_statistics_alone() -> None:
    net, other = (Method.build(NetSpec("small", 3)).train() for _ in range(2))
    other.load_state_dict(net.state_dict())
    data = three_classes()
    GAIN().losses(net, data, 0)
    other(data.images)
    for (name, a), b in zip(net.named_buffers(), other.buffers(), strict=True):
        assert name.endswith("num_batches_tracked") or torch.allclose(a, b), name
    momenta = {m.momentum for m in net.modules() if isinstance(m, nn.BatchNorm2d)}
    assert momenta == {0.1}
    with pytest.raises(RuntimeError), kept_statistics(net):
        raise RuntimeError
    assert {m.momentum for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}


def test_one_positive_label_in_a_batch_can_be_trained() -> None:
    """BatchNorm cannot train on one image whose map has shrunk to one pixel."""
    net, data = Method.build(NetSpec("small", 3)).train(), three_classes()
    labels = torch.zeros(6, 3)
    labels[2, 1] = 1
    losses = GAIN().losses(net, Batch(data.images, data.masks, labels), 0)
    assert torch.isfinite(losses.total)


def test_class_weights_are_the_classification_s() -> None:
    net, data, w = small(), images(), torch.tensor([1.0, 3.0, 0.5]).double()
    plain, weighted = GAIN(), GAIN(context=Context(class_weights=w))
    a, b = (m.losses(net, data, 0).parts for m in (plain, weighted))
    assert a["classification"] != b["classification"]
    assert a["attention"] == b["attention"]


def test_refusals() -> None:
    data = images()
    with pytest.raises(MethodError, match="no convolutional feature map"):
        GAIN().losses(nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).double(), data, 0)
