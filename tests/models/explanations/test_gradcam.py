"""Grad-CAM: equal to captum's, on the right layer of each family, and nothing left behind."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.vision_transformer import VisionTransformer

from isnet_models.explanations.explanation import MethodError
from isnet_models.explanations.gradcam import grad_cam, watched
from tests.support.seeded import seeded_backbone

LAST = {  # family -> module whose output is the last feature map
    "small": "stages", "resnet18": "layer4", "mobilenet_v3_small": "features",
    "squeezenet1_1": "classifier.2", "swin_t": "permute",
}  # fmt: skip


def network(name: str, classes: int = 3) -> nn.Module:
    return seeded_backbone(name, classes, seed=3).eval()


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "layer"), LAST.items())
def test_maps_equal_captum_s(name: str, layer: str) -> None:
    net, x = network(name), images()
    found = grad_cam(net, x, torch.tensor([2, 0]))
    oracle = LayerGradCam(net, net.get_submodule(layer))
    expected = oracle.attribute(x, torch.tensor([2, 0]), relu_attributions=True)
    expected = interpolate(expected, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found.maps[:, 0], expected.detach(), rtol=1e-4, atol=1e-7)
    assert found.maps.abs().sum() > 0
    torch.testing.assert_close(found.logits, net(x).detach())
    assert found.total is None


def test_the_formula_on_a_net_that_can_be_worked_by_hand() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1, bias=False)
            self.fc = nn.Linear(2, 2, bias=False)
            self.conv.weight.data[:] = torch.tensor([1.0, -2.0])[:, None, None, None]
            self.fc.weight.data[:] = torch.tensor([[1.0, 0.0], [1.0, 3.0]])

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).mean(dim=(2, 3)))

    x = torch.tensor([[[[1.0, 2.0], [0.0, 4.0]]]])
    found = grad_cam(Tiny(), x, "all")
    # dy_0/dA = (1/4, 0): 1/4·x; dy_1/dA = (1/4, 3/4): (1/4 - 6/4)·x < 0.
    torch.testing.assert_close(found.maps[0, 0], x[0] / 4)
    assert (found.maps[0, 1] == 0).all()


def test_the_final_pooling_is_not_the_feature_map() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
        net = nn.Sequential(body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    x = images(1, 16)
    expected = LayerGradCam(net, body).attribute(x, 1, relu_attributions=True)
    expected = interpolate(expected, (16, 16), mode="bilinear", align_corners=False)
    found = grad_cam(net, x, torch.tensor([1])).maps[:, 0]
    torch.testing.assert_close(found, expected.detach())
    assert found.abs().sum() > 0


def test_all_predicted_and_given_classes_agree() -> None:
    net, x = network("small"), images(3)
    every = grad_cam(net, x, "all")
    assert every.maps.shape == (3, 3, 1, 64, 64)
    best = every.logits.argmax(1)
    rows = torch.arange(3)
    torch.testing.assert_close(grad_cam(net, x, "predicted").maps[:, 0], every.maps[rows, best])
    torch.testing.assert_close(grad_cam(net, x, best).maps[:, 0], every.maps[rows, best])


def test_each_image_is_explained_alone() -> None:
    net, x = network("resnet18"), images(3)
    together = grad_cam(net, x, "all").maps
    for n in range(3):
        torch.testing.assert_close(
            grad_cam(net, x[n : n + 1], "all").maps[0], together[n], rtol=1e-3, atol=1e-6
        )


def test_a_vision_transformer_is_refused() -> None:
    net = VisionTransformer(16, 4, 1, 2, 16, 32, num_classes=3).eval()
    with pytest.raises(MethodError, match="vision transformer"):
        grad_cam(net, images(1, 16).expand(1, 3, 16, 16), "predicted")
    assert not any(module._forward_hooks for module in net.modules())


def test_a_network_without_feature_map_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 2))
    with pytest.raises(MethodError, match="no convolutional feature map"):
        grad_cam(net, images(), "predicted")


def test_nothing_is_left_behind_also_after_a_failure() -> None:
    net = network("small")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.inference_mode():
        grad_cam(net, images(), "predicted")
    with pytest.raises(RuntimeError), watched(net):
        net(torch.zeros(1, 5, 64, 64))
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
