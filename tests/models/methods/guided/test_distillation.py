"""The student's loss, against the formula; what the teacher is shown; what is frozen."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from isnet_lrp import relevance
from isnet_lrp.losses.map_distance import map_distance
from isnet_models.backbones import build_backbone
from isnet_models.features import decision_features, last_layer
from isnet_models.methods.base import Context
from isnet_models.methods.guided.distillation import Distillation
from isnet_models.methods.settings import DistillationSettings
from tests.models.methods.factory import batch


def net(seed: int, arch: str = "small") -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_backbone(arch, 3).eval()


def distil(teacher: nn.Module | None = None, **settings: object) -> Distillation:
    method = Distillation(DistillationSettings(**settings), Context(teacher=teacher or net(1)))
    method.begin_epoch(0, torch.Generator().manual_seed(0))
    return method


def test_without_chance_the_loss_is_the_formula() -> None:
    data, student, teacher = batch(), net(0), net(1)
    s = {
        "map_weight": 0.5, "feature_weight": 2.0, "logit_weight": 0.3, "label_weight": 0.4,
        "temperature": 2.0,
    }  # fmt: skip
    with torch.no_grad():
        found = distil(teacher, **s).losses(student, data, 0)
    lungs = data.images * data.masks
    t, theirs = decision_features(teacher, lungs)
    y, ours = decision_features(student, data.images)
    epsilon = math.sqrt(0.01 * 0.1)
    a, b = (
        relevance(n, x, t.argmax(1), family="flex", epsilon=epsilon).maps[:, 0]
        for n, x in ((student, data.images), (teacher, lungs))
    )
    p, q = (t / 2).softmax(1), (y / 2).softmax(1)
    parts = {
        "maps": map_distance(a, b).mean().item(),
        "features": (ours - theirs).square().mean().item(),
        "logits": 4 * (p * (p / q).log()).sum(1).mean().item(),
        "classification": nn.functional.cross_entropy(y, data.labels).item(),
    }
    assert {k: v.item() for k, v in found.parts.items()} == pytest.approx(parts, rel=1e-4)
    weights = {"maps": 0.5, "features": 2.0, "logits": 0.3, "classification": 0.4}
    total = sum(weights[k] * v for k, v in parts.items())
    assert found.total.item() == pytest.approx(total, rel=1e-4)


def test_epsilon_and_classes_are_drawn_and_shared() -> None:
    data = batch()
    method = distil(map_weight=0.0, logit_weight=1.0)  # chance does not depend on what is learnt
    lessons = [method.lesson(data, chance=True) for _ in range(60)]
    epsilons = torch.tensor([lesson.epsilon for lesson in lessons])
    assert 0.01 <= float(epsilons.min()) < 0.02
    assert 0.06 < float(epsilons.max()) <= 0.1
    assert float(epsilons.log10().mean()) == pytest.approx(-1.5, abs=0.12)
    first = torch.stack([lesson.classes == lesson.logits.argmax(1) for lesson in lessons])
    assert float(first.float().mean()) == pytest.approx(0.5, abs=0.1)
    student, method = net(0), distil()
    expected = method.lesson(data, chance=True)
    assert expected.epsilon == lessons[0].epsilon
    assert torch.equal(expected.classes, lessons[0].classes)
    method.begin_epoch(0, torch.Generator().manual_seed(0))
    losses = method.losses(student, data, 0)
    own = relevance(
        student, data.images, expected.classes, family="flex", epsilon=expected.epsilon
    ).maps[:, 0]
    assert losses.parts["maps"].item() == pytest.approx(
        map_distance(own, expected.maps).mean().item(), rel=1e-4
    )


@pytest.mark.parametrize("fill", ["black", "blur"])
def test_the_teacher_sees_the_lungs_alone(fill: str) -> None:
    data = batch()
    changed = replace(data, images=torch.where(data.masks > 0, data.images / 2 + 0.1, data.images))
    outside = (data.masks == 0).expand_as(data.images)
    method = distil(fill=fill)
    one, two = method.shown(data), method.shown(changed)
    far = outside.clone()
    far[..., 5:27, 5:27] = False  # the seam
    assert torch.allclose(one[far], two[far])
    assert torch.equal(one[~outside], data.images[~outside])
    assert (one[outside].abs().max() == 0) == (fill == "black")
    assert distil(masked=False).shown(data) is data.images


def test_images_without_a_mask_do_not_count_unless_the_teacher_sees_all() -> None:
    data, student = batch(), net(0)
    masks = data.masks.clone()
    masks[3:] = 0
    some = replace(data, masks=masks)
    few = replace(data, images=data.images[:3], masks=masks[:3], labels=data.labels[:3])
    with torch.no_grad():
        a, b = (distil().losses(student, d, 0).total.item() for d in (some, few))
        c = distil(masked=False).losses(student, some, 0).total.item()
        none = replace(data, masks=torch.zeros_like(masks))
        assert distil().losses(student, none, 0).total.item() == 0
    assert a == pytest.approx(b, rel=1e-5)
    assert c != pytest.approx(a, rel=1e-3)


def test_gradients_are_those_of_finite_differences() -> None:
    data = batch(2)
    images, masks = data.images.double(), data.masks.double()
    data = replace(data, images=images, masks=masks)
    student, teacher = net(0).double(), net(1).double()
    method = distil(teacher, feature_weight=0.5, logit_weight=0.3, label_weight=0.2, pyramid=False)

    def loss() -> torch.Tensor:
        method.begin_epoch(0, torch.Generator().manual_seed(0))
        return method.losses(student, data, 0).total

    weight = last_layer(student).weight
    (slope,) = torch.autograd.grad(loss(), weight)
    for index in ((0, 0), (1, 5), (2, 9)):
        ends = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight[index] += step
            ends.append(loss().item())
            with torch.no_grad():
                weight[index] -= step
        assert slope[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3, abs=1e-7)


def test_the_last_layer_is_copied_and_frozen_where_it_fits() -> None:
    student, teacher = net(0), net(1)
    distil(teacher).prepare(student)
    assert torch.equal(last_layer(student).weight, last_layer(teacher).weight)
    assert not any(p.requires_grad for p in last_layer(student).parameters())
    assert sum(p.requires_grad for p in student.parameters()) > 4
    free = net(0)
    distil(teacher, freeze_last=False).prepare(free)
    assert all(p.requires_grad for p in free.parameters())
    wider = net(2, "resnet18")
    distil(teacher).prepare(wider)
    assert all(p.requires_grad for p in wider.parameters())


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="expected as many, or feature_weight: 0"):
        distil(feature_weight=1.0).prepare(net(2, "resnet18"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"map_weight": 0.0}, "nothing would be learnt"),
        ({"epsilon": (0.1, 0.01)}, "expected 0 < low <= high"),
        ({"epsilon": (0.0, 0.01)}, "expected 0 < low <= high"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DistillationSettings(**settings)


def test_gradient_x_input_and_no_teacher() -> None:
    assert distil(epsilon=(0.0, 0.0)).lesson(batch(2), chance=True).epsilon == 0
    with pytest.raises(ValueError, match="has no teacher"):
        Distillation().losses(net(0), batch(2), 0)
