"""Attention rollout: equal to a transcription by hand; refused where it is not defined."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.vision_transformer import VisionTransformer

from isnet_models.explanations.explanation import MethodError
from isnet_models.explanations.rollout import attention_rollout
from tests.support.seeded import seeded_backbone

LAYERS, HEADS, WIDTH = 3, 2, 16


@pytest.fixture
def transformer() -> VisionTransformer:
    """16 px of patches of 4 px: 16 tokens and the class token."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = VisionTransformer(16, 4, LAYERS, HEADS, WIDTH, 32, num_classes=2).eval()
        for block in net.encoder.layers:  # sharper than at initialisation, or all maps are even
            block.self_attention.in_proj_weight.data *= 6
        net.heads.head.weight.data.normal_()
    return net


def images(side: int = 16, channels: int = 3) -> Tensor:
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(1))


def by_hand(net: VisionTransformer, image: Tensor) -> Tensor:
    """Rollout of one image, head by head and token by token."""
    tokens = net.conv_proj(image[None])[0].flatten(1).T
    tokens = torch.cat([net.class_token[0], tokens]) + net.encoder.pos_embedding[0]
    total = torch.eye(17)
    for block in net.encoder.layers:
        attention = block.self_attention
        q, k, _ = (block.ln_1(tokens) @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(
            3, dim=1
        )
        mean = torch.zeros(17, 17)
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            scores = q[:, part] @ k[:, part].T / (WIDTH // HEADS) ** 0.5
            mean += scores.softmax(1) / HEADS
        mixed = 0.5 * mean + 0.5 * torch.eye(17)
        total = (mixed / mixed.sum(1, keepdim=True)) @ total
        tokens = block(tokens[None])[0]
    return total[0, 1:].reshape(4, 4)


def test_maps_equal_the_rollout_by_hand(transformer: VisionTransformer) -> None:
    x = images()
    found = attention_rollout(transformer, x)
    assert found.maps.shape == (2, 1, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, transformer(x))
        for n in range(2):
            grid = by_hand(transformer, x[n])
            assert grid.max() > 1.2 * grid.min()
            expected = interpolate(grid[None, None], (16, 16), mode="bilinear")
            torch.testing.assert_close(found.maps[n, 0], expected[0], rtol=1e-4, atol=1e-6)
    check_it_is_left_as_it_was(transformer)


def check_it_is_left_as_it_was(net: nn.Module) -> None:
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in net.modules()]
    assert not any(a or b for a, b in hooks)


@pytest.mark.slow
def test_a_vit_of_torchvision_is_explained() -> None:
    net = seeded_backbone("vit_b_16", 2, seed=0).eval()
    found = attention_rollout(net, images(224, 1))
    assert found.maps.shape == (2, 1, 1, 224, 224)
    assert (found.maps >= 0).all()
    check_it_is_left_as_it_was(net)


@pytest.mark.parametrize("name", ["small", pytest.param("swin_t", marks=pytest.mark.slow)])
def test_other_networks_are_refused(name: str) -> None:
    net = seeded_backbone(name, 2, seed=0).eval()
    with pytest.raises(MethodError, match="no multi-head attention"):
        attention_rollout(net, images(64, 1))


def test_attention_without_a_class_token_is_refused() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(1, 8, 4, 4)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            return self.attention(tokens, tokens, tokens)[0].mean(1)

    net = Pooled().eval()
    with pytest.raises(MethodError, match="one class token"):
        attention_rollout(net, images(16, 1))
    assert not net.attention._forward_hooks
