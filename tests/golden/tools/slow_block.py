"""LRP Block layer by layer, straight from the rules, for checks alone.

Source: docs/lrp.md, sections 2.1 to 2.12.

Slow and explicit: each layer has its own rule, convolutions are transposed one by one, poolings are
dense matrices or scattered winners. Networks: chains of layers, and modules with the attribute
names of torchvision's VGG, ResNet and DenseNet. Differentiable in the weights as the published code
is: biases and BatchNorm's statistics are constants of every rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Rule:
    """What is propagated: epsilon, positive weights alone (z+), and the first layer's zB."""

    epsilon: float
    positive: bool = False
    zb: bool = False
    kept: dict[str, Tensor] = field(default_factory=dict)  # relevance on named outputs

    def stab(self, z: Tensor) -> Tensor:
        """z + epsilon·sgn(z), sgn(0) = +1."""
        return z + self.epsilon * torch.where(z >= 0, 1.0, -1.0).to(z.dtype)

    def part(self, w: Tensor) -> Tensor:
        """The weights or sums that take part: all, or the positive ones."""
        return w.clamp(min=0) if self.positive else w


class Affine:
    """A convolution or dense layer, fused with the BatchNorm behind it."""

    def __init__(self, module: Any, norm: Any = None) -> None:
        self.module, self.norm = module, norm

    def forward(self, a: Tensor) -> Tensor:
        self.a = a
        z = self.module(a)
        if self.norm is not None and self.norm.training:
            count = z.numel() // z.shape[1]
            self.mean = z.detach().mean((0, 2, 3))
            self.var = z.detach().var((0, 2, 3), unbiased=False) * count / (count - 1)
        return z if self.norm is None else self.norm(z)  # type: ignore[no-any-return]

    def fused(self) -> tuple[Tensor, Tensor]:
        """W' = W·gamma/s, b' = (b - mu)·gamma/s + beta; b, beta, mu, s are constants."""
        w, n = self.module.weight, self.norm
        b = torch.zeros_like(w[(slice(None), *[0] * (w.dim() - 1))])
        b = b if self.module.bias is None else self.module.bias.detach()
        if n is None:
            return w, b
        mean, var = (self.mean, self.var) if n.training else (n.running_mean, n.running_var)
        scale = n.weight / torch.sqrt(var + n.eps)
        return w * scale.view(-1, 1, 1, 1), (b - mean) * scale + n.bias.detach()

    def map(self, w: Tensor, b: Tensor | None, a: Tensor) -> Tensor:
        """W a + b."""
        m = self.module
        if isinstance(m, nn.Linear):
            return F.linear(a, w, b)
        made: Tensor = F.conv2d(a, w, b, m.stride, m.padding, m.dilation, m.groups)
        return made

    def transpose(self, w: Tensor, s: Tensor) -> Tensor:
        """Wᵀ s, at the size of the input."""
        m = self.module
        if isinstance(m, nn.Linear):
            return s @ w
        reached = [
            (s.shape[2 + i] - 1) * m.stride[i] - 2 * m.padding[i]
            + m.dilation[i] * (m.kernel_size[i] - 1) + 1 for i in (0, 1)
        ]  # fmt: skip
        rest = [self.a.shape[2 + i] - reached[i] for i in (0, 1)]
        return F.conv_transpose2d(s, w, None, m.stride, m.padding, rest, m.groups, m.dilation)

    def back(self, r: Tensor, rule: Rule) -> Tensor:
        """R_j = a_j Σ_k W_jk R_k / stab(z_k) (docs/lrp.md, sections 2.1, 2.2, 2.11)."""
        w, b = self.fused()
        up = rule.part(w)
        if not rule.positive or bool((self.a >= 0).all()):
            return self.a * self.transpose(up, r / rule.stab(self.map(up, rule.part(b), self.a)))
        high, low, down = self.a.clamp(min=0), self.a.clamp(max=0), w.clamp(max=0)
        s = r / rule.stab(self.map(up, rule.part(b), high) + self.map(down, None, low))
        return high * self.transpose(up, s) + low * self.transpose(down, s)

    def first(self, r: Tensor, rule: Rule) -> Tensor:
        """The zB rule with bounds 0 and 1 (docs/lrp.md, section 2.8)."""
        if not rule.zb:
            return self.back(r, rule)
        w, b = self.fused()
        negative = torch.minimum(w, torch.zeros_like(w))
        high = torch.ones_like(self.a)
        z = self.map(w, b, self.a) - self.map(negative, b.clamp(max=0), high)
        s = r / rule.stab(z)
        return self.a * self.transpose(w, s) - high * self.transpose(negative, s)


class Pool:
    """Average pooling as a matrix, maximum pooling by winners (docs/lrp.md, sections 2.3, 2.4)."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def forward(self, a: Tensor) -> Tensor:
        self.a, self.out = a, self.module(a)
        return self.out  # type: ignore[no-any-return]

    def transpose_by_phases(self, s: Tensor) -> Tensor:
        """Pᵀ s."""
        h, w = self.a.shape[2:]
        if isinstance(self.module, nn.MaxPool2d):
            m = self.module
            _, winner = F.max_pool2d(
                self.a, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, True
            )
            flat = torch.zeros_like(self.a).flatten(2)
            return flat.scatter_add(2, winner.flatten(2), s.flatten(2)).view_as(self.a)
        units = torch.eye(h * w, dtype=s.dtype).view(h * w, 1, h, w)
        matrix = self.module(units).flatten(1)  # [inputs, outputs]
        found: Tensor = (s.flatten(2) @ matrix.T).view_as(self.a)
        return found

    def back(self, r: Tensor, rule: Rule) -> Tensor:
        return self.a * self.transpose_by_phases(r / rule.stab(self.out))


class Reshape:
    """Flattening."""

    def forward(self, a: Tensor) -> Tensor:
        self.shape = a.shape
        return a.flatten(1)

    def back(self, r: Tensor, rule: Rule) -> Tensor:
        return r.view(self.shape)


class ReLU:
    """ReLU: relevance of its output is relevance of its input."""

    def forward(self, a: Tensor) -> Tensor:
        return F.relu(a)

    def back(self, r: Tensor, rule: Rule) -> Tensor:
        return r


class Residual:
    """A block with a shortcut (docs/lrp.md, section 2.5)."""

    def __init__(self, block: Any, name: str) -> None:
        numbers = [i for i in (1, 2, 3) if hasattr(block, f"conv{i}")]
        branch = [Affine(getattr(block, f"conv{i}"), getattr(block, f"bn{i}")) for i in numbers]
        self.branch, self.name = branch, name
        self.shortcut = None if block.downsample is None else Affine(*block.downsample)

    def forward(self, a: Tensor) -> Tensor:
        self.u = a if self.shortcut is None else self.shortcut.forward(a)
        v = a
        for i, step in enumerate(self.branch):
            v = step.forward(F.relu(v) if i else v)
        self.v = v
        return F.relu(self.u + self.v)

    def back(self, r: Tensor, rule: Rule) -> Tensor:
        rule.kept[self.name] = r
        u, v = rule.part(self.u), rule.part(self.v)
        s = r / rule.stab(u + v)
        through = v * s
        for step in reversed(self.branch):
            through = step.back(through, rule)
        short = u * s
        return through + (short if self.shortcut is None else self.shortcut.back(short, rule))


def chain(modules: list[Any]) -> list[Any]:
    """Steps of a chain of layers; convolution and BatchNorm become one."""
    steps: list[Any] = []
    for i, m in enumerate(modules):
        follower = modules[i + 1] if i + 1 < len(modules) else None
        if isinstance(m, nn.Conv2d):
            steps.append(Affine(m, follower if isinstance(follower, nn.BatchNorm2d) else None))
        elif isinstance(m, nn.Linear):
            steps.append(Affine(m))
        elif isinstance(m, nn.BatchNorm2d):
            assert isinstance(modules[i - 1], nn.Conv2d), "BatchNorm must follow a convolution"
        elif isinstance(m, (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
            steps.append(Pool(m))
        elif isinstance(m, nn.Flatten):
            steps.append(Reshape())
        elif isinstance(m, nn.ReLU):
            steps.append(ReLU())
        else:  # relevance passes dropout and identity unchanged; they are off here
            assert isinstance(m, nn.Identity) or (isinstance(m, nn.Dropout) and not m.training)
    return steps


def steps_of(net: Any) -> list[Any]:
    """All steps of a network, in order."""
    if hasattr(net, "layer1"):
        steps = [Affine(net.conv1, net.bn1), ReLU(), *chain([net.maxpool])]
        i = 1
        while hasattr(net, f"layer{i}"):
            blocks = list(getattr(net, f"layer{i}"))
            last = len(blocks) - 1
            steps += [
                Residual(b, f"layer{i}" if j == last else f"layer{i}.{j}")
                for j, b in enumerate(blocks)
            ]
            i += 1
        return [*steps, Pool(nn.AdaptiveAvgPool2d(1)), Reshape(), Affine(net.fc)]
    if hasattr(net, "features") and hasattr(net.features, "denseblock1"):
        from tests.golden.tools.slow_dense import DenseFeatures

        pool = Pool(nn.AdaptiveAvgPool2d(1))
        return [DenseFeatures(net.features), pool, Reshape(), Affine(net.classifier)]
    if hasattr(net, "features"):
        pooling = getattr(net, "avgpool", nn.Identity())
        return chain([*net.features, pooling, nn.Flatten(), *net.classifier])
    return chain(list(net))


def starts(y: Tensor, w: Tensor, rule: Rule, mode: str, given: Tensor | None) -> list[Any]:
    """Pairs (weights, signal s) of the last layer for each map (docs/lrp.md, sections 2.9, 2.10).

    Args:
        y: Logits with the bias as a constant [B, K].
        w: Weights of the last layer [K, F].
        rule: Epsilon.
        mode: "multiple", "highest", "selective", "label", "sum".
        given: Classes [B] of "label", or of the contrast in "selective".
    """
    K = y.shape[1]
    s = y / rule.stab(y)
    if mode == "multiple":
        return [(w, s * F.one_hot(torch.tensor(k), K)) for k in range(K)]
    if mode in ("highest", "label"):
        chosen = y.argmax(1) if mode == "highest" else given
        assert chosen is not None
        return [(w, s * F.one_hot(chosen, K))]
    if mode == "sum":
        return [(w, s)]
    c = y.argmin(1) if given is None else given
    z = y.gather(1, c[:, None]) - y  # Z_c' = y_c - y_c', 0 for c itself
    e = torch.exp(-z)
    total = e.sum(1, keepdim=True) - 1
    p = e / (total + 1e-5 * torch.where(total >= 0, 1.0, -1.0).to(y.dtype))
    s = z * p / rule.stab(z)
    return [(w[c][:, None] - w[None], s[:, :, None])]


def block_maps(
    net: Any, x: Tensor, rule: Rule, mode: str = "multiple", given: Tensor | None = None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Maps [B, K', C, H, W], logits, and relevance on the outputs of a ResNet's layers."""
    steps = steps_of(net)
    a = x
    for step in steps:
        a = step.forward(a)
    head = steps[-1]
    w, b = (rule.part(v) for v in head.fused())
    y = head.map(w, b, head.a)
    maps, kept = [], []
    for weights, s in starts(y, w, rule, mode, given):
        joint = (weights * s).sum(1) if weights.dim() == 3 else s @ weights
        rule.kept = {}
        r = _down(steps[:-1], head.a * joint, rule)
        maps.append(r)
        kept.append(rule.kept)
    layers = {name: torch.stack([k[name] for k in kept], 1) for name in kept[0]}
    return torch.stack(maps, 1), a, layers


def _down(steps: list[Any], r: Tensor, rule: Rule) -> Tensor:
    for i, step in reversed(list(enumerate(steps))):
        r = step.first(r, rule) if i == 0 else step.back(r, rule)
    return r
