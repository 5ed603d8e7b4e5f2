"""LRP Block and z+ written out rule by rule (docs/lrp.md, section 2), slowly: a second opinion.

Nothing is shared with the engine: each layer is a function, its product Wᵀs is torch's own gradient
of that function, relevance (not a signal) travels from layer to layer. `Constants` holds what the
rules treat as constants, so that a loss can be differenced with them frozen (docs/lrp.md,
section 2.12).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import DenseNet, ResNet

Back = Callable[[Tensor], Tensor]


class Constants:
    """Biases of all layers and statistics of all BatchNorms at their first use."""

    def __init__(self, net: nn.Module) -> None:
        self.biases = {
            m: m.bias.detach().clone() for m in net.modules()
            if isinstance(getattr(m, "bias", None), Tensor)
        }  # fmt: skip
        self.statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def note(self, norm: Any, x: Tensor) -> None:
        """Keeps the mean and s.d. that a BatchNorm applies to its input."""
        if norm not in self.statistics:
            axes = [i for i in range(x.dim()) if i != 1]
            mean = x.mean(axes) if norm.training else norm.running_mean.clone()
            var = x.var(axes, unbiased=False) if norm.training else norm.running_var.clone()
            self.statistics[norm] = mean.detach(), (var + norm.eps).sqrt().detach()


@dataclass
class Oracle:
    """One explanation of one network.

    Attributes:
        net: Chain of layers, or torchvision's VGG, ResNet or DenseNet.
        epsilon: Stabiliser.
        positive: Whether the rule is z+.
        zb: Bounds of the pixels [C] each, or None.
        constants: What is frozen.
        kept: Relevance on the outputs of residual blocks, poolings and transitions' ReLUs, one
            entry per map.
    """

    net: nn.Module
    epsilon: float = 0.01
    positive: bool = False
    zb: tuple[Tensor, Tensor] | None = None
    constants: Constants = field(default=None)  # type: ignore[assignment]
    kept: dict[nn.Module, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = self.constants or Constants(self.net)

    @torch.no_grad()
    def maps(
        self, x: Tensor, target: str = "all", classes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Maps [B, K', C, H, W] and logits."""
        self.kept.clear()
        *body, head = self.layers()
        self.first = body[0].features.conv0 if isinstance(body[0], Dense) else body[0]
        a, back = self.chain(body, x)
        logits = head(a)
        return torch.stack([back(R) for R in self._starts(head, a, target, classes)], 1), logits

    def _starts(self, head: Any, a: Tensor, target: str, classes: Tensor | None) -> list[Tensor]:
        """Relevance of the last layer's inputs, for each map (docs/lrp.md, sections 2.9, 2.10)."""
        weight, bias = head.weight, self.constants.biases.get(head, a.new_zeros(len(head.weight)))
        if self.positive:
            weight, bias = weight.clamp(min=0), bias.clamp(min=0)
        y = a @ weight.T + bias
        K = y.shape[1]
        if target == "selective":
            c = y.argmin(1) if classes is None else classes
            contrast = weight[c][:, None] - weight  # [B, K, F]
            Z = (contrast * a[:, None]).sum(2) + bias[c][:, None] - bias
            e = (-Z).exp()
            D = e.sum(1, keepdim=True) - 1
            R = Z * e / (D + 1e-5 * D.sign())
            return [a * (contrast * (R / self.stab(Z))[:, :, None]).sum(1)]
        rows = [torch.full((len(a),), k) for k in range(K)]
        if target == "predicted":
            rows = [head(a).argmax(1)]
        elif target == "classes":
            assert classes is not None
            rows = [classes]
        starts = [F.one_hot(row, K) * y for row in rows]
        if target == "every-logit-at-once":
            starts = [y]
        return [a * ((R / self.stab(y)) @ weight) for R in starts]

    def stab(self, z: Tensor) -> Tensor:
        """z + epsilon·sgn z with sgn 0 = 1."""
        return torch.where(z >= 0, z + self.epsilon, z - self.epsilon)

    def chain(self, modules: list[Any], a: Tensor) -> tuple[Tensor, Back]:
        """Layers one after the other; a BatchNorm belongs to the convolution before it."""
        backs: list[Back] = []
        for i, m in enumerate(modules):
            follower = modules[i + 1] if i + 1 < len(modules) else None
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                norm = follower if isinstance(follower, nn.BatchNorm2d) else None
                a, back = self.affine(m, norm, a)
            elif isinstance(m, (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
                a, back = self.pooling(m, a)
                back = self._keeping(m, back)
            elif isinstance(m, nn.Flatten):
                back = lambda R, shape=a.shape: R.view(shape)  # noqa: E731
                a = a.flatten(1)
            elif hasattr(m, "downsample"):
                a, back = self.residual(m, a)
                back = self._keeping(m, back)
            elif isinstance(m, Dense):
                a, back = self.dense(m.features, a)
            elif isinstance(m, (nn.ReLU, nn.Dropout, nn.Identity)):
                a = F.relu(a) if isinstance(m, nn.ReLU) else m(a)
                continue
            else:
                assert isinstance(m, nn.BatchNorm2d), type(m)
                continue
            backs.append(back)

        def through(R: Tensor) -> Tensor:
            for back in reversed(backs):
                R = back(R)
            return R

        return a, through

    def _keeping(self, m: nn.Module, back: Back) -> Back:
        def noted(R: Tensor) -> Tensor:
            self.kept.setdefault(m, []).append(R)
            return back(R)

        return noted

    def affine(self, m: Any, norm: Any, a: Tensor) -> tuple[Tensor, Back]:
        """R_j = a_j Σ_k W_jk R_k/stab(z_k) (2.1, 2.2), z+ as AB(1,0) (2.11), or zB (2.8)."""
        out = m(a)
        if norm is not None:
            self.constants.note(norm, out)
            out = norm(out)
        W, b = self.fused(m, norm)

        def f(t: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            if isinstance(m, nn.Linear):
                return F.linear(t, w, bias)
            return F.conv2d(t, w, bias, m.stride, m.padding, m.dilation, m.groups)

        plus, minus = W.clamp(min=0), W.clamp(max=0)

        def epsilon(R: Tensor) -> Tensor:
            return a * pull(lambda t: f(t, W), a, R / self.stab(f(a, W, b)))

        def positive(R: Tensor) -> Tensor:
            up, down = a.clamp(min=0), a.clamp(max=0)
            s = R / (f(up, plus, b.clamp(min=0)) + f(down, minus) + self.epsilon)
            return up * pull(lambda t: f(t, plus), a, s) + down * pull(lambda t: f(t, minus), a, s)

        def zb(R: Tensor) -> Tensor:
            assert self.zb is not None
            l, h = (bound.view(-1, 1, 1).expand_as(a) for bound in self.zb)  # noqa: E741
            z = f(a, W, b) - f(l, plus) - f(h, minus)
            z = z - each(self.zb[0].mean() * b.clamp(min=0) + self.zb[1].mean() * b.clamp(max=0), z)
            s = R / self.stab(z)
            parts = [pull(lambda t, w=w: f(t, w), a, s) for w in (W, plus, minus)]
            return a * parts[0] - l * parts[1] - h * parts[2]

        if self.zb is not None and m is self.first:
            return out, zb
        return out, positive if self.positive else epsilon

    def fused(self, m: Any, norm: Any) -> tuple[Tensor, Tensor]:
        """W' = W·gamma/s, b' = (b - mu)·gamma/s + beta; all but W and gamma constants."""
        W = m.weight
        b = self.constants.biases.get(m, W.new_zeros(len(W)))
        if norm is None:
            return W, b
        mean, deviation = self.constants.statistics[norm]
        scale = norm.weight / deviation
        return W * scale.view(-1, 1, 1, 1), (b - mean) * scale + self.constants.biases[norm]

    def pooling(self, f: Callable[[Tensor], Tensor], a: Tensor) -> tuple[Tensor, Back]:
        """Maximum and average pooling (2.3, 2.4)."""
        out = f(a)
        return out, lambda R: a * pull(f, a, R / self.stab(out))

    def residual(self, block: Any, a: Tensor) -> tuple[Tensor, Back]:
        """A block with a shortcut (2.5)."""
        branch = []
        for i in range(1, 4):
            if hasattr(block, f"conv{i}"):
                branch += [getattr(block, f"conv{i}"), getattr(block, f"bn{i}"), nn.ReLU()]
        v, through = self.chain(branch[:-1], a)
        u, short = self.chain(list(block.downsample or []), a)

        def back(R: Tensor) -> Tensor:
            p, q = (t.clamp(min=0) if self.positive else t for t in (u, v))
            s = R / self.stab(p + q)
            return short(p * s) + through(q * s)

        return F.relu(u + v), back

    def dense(self, features: Any, x: Tensor) -> tuple[Tensor, Back]:
        """DenseNet's features and the ReLU behind them (2.7); signals travel between blocks."""
        a, stem = self.affine(features.conv0, features.norm0, x)
        a = F.relu(a)
        t = features.pool0(a)
        stages: list[Callable[[Tensor], Tensor]] = []  # signal of a stage's output to its input's
        for name, m in features.named_children():
            if name.startswith("denseblock"):
                for layer in m.children():
                    t, stage = self._dense_layer(layer, t)
                    stages.append(stage)
            elif name.startswith("transition"):
                t, stage = self._transition(m, t)
                stages.append(stage)
        z, last = self._consumer(features.norm5, t)

        def back(R: Tensor) -> Tensor:
            s = last(R)
            for stage in reversed(stages):
                s = stage(s)
            return stem(a * pull(features.pool0, a, s))

        return F.relu(z), back

    def _consumer(self, norm: Any, t: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """BatchNorm of joined channels: its output, and the signal R/stab(z)·gamma/s behind it."""
        self.constants.note(norm, t)
        mean, deviation = self.constants.statistics[norm]
        scale = norm.weight / deviation
        z = (t - each(mean, t)) * each(scale, t) + each(self.constants.biases[norm], t)
        return norm(t), lambda R: R / self.stab(z) * each(scale, t)

    def _dense_layer(self, m: Any, t: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        z, consumer = self._consumer(m.norm1, t)
        z, inner = self.affine(m.conv1, m.norm2, F.relu(z))
        a = F.relu(z)

        def stage(s: Tensor) -> Tensor:
            old, new = s.split([t.shape[1], s.shape[1] - t.shape[1]], 1)
            return old + consumer(inner(a * pull(m.conv2, a, new)))

        return torch.cat([t, m.conv2(a)], 1), stage

    def _transition(self, m: Any, t: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        z, consumer = self._consumer(m.norm, t)
        a = F.relu(z)
        f = nn.Sequential(m.conv, m.pool)
        back = self._keeping(m.relu, consumer)
        return f(a), lambda s: back(a * pull(f, a, s))

    def layers(self) -> list[Any]:
        """The network's layers in order; the last one makes the logits."""
        net: Any = self.net
        if isinstance(net, ResNet):
            stages = [*net.layer1, *net.layer2, *net.layer3, *net.layer4]
            stem = [net.conv1, net.bn1, net.relu, net.maxpool]
            return [*stem, *stages, net.avgpool, nn.Flatten(), net.fc]
        if isinstance(net, DenseNet):
            pool = nn.AdaptiveAvgPool2d(1)
            dense = Dense(net.features)
            return [dense, pool, nn.Flatten(), net.classifier]
        if hasattr(net, "features"):
            return [*net.features, net.avgpool, nn.Flatten(), *net.classifier]
        return list(net)


class Dense:
    """Marks DenseNet's features in a chain of layers."""

    def __init__(self, features: nn.Module) -> None:
        self.features = features


def pull(f: Callable[[Tensor], Tensor], a: Tensor, s: Tensor) -> Tensor:
    """fᵀs: the vector-Jacobian product of a function at `a`."""
    with torch.enable_grad():
        t = a.detach().requires_grad_()
        return torch.autograd.grad(f(t), t, s)[0]


def each(channel: Tensor, like: Tensor) -> Tensor:
    """Values per channel [C] in a shape that goes with [B, C, ...]."""
    return channel.view(-1, *([1] * (like.dim() - 2)))
