"""LRP Block of dense blocks, consumer by consumer (docs/lrp.md, section 2.7), for checks alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden.tools.slow_block import Affine, Pool, Rule


class Produced:
    """Channels that one producer made: a 3x3 convolution without bias, or a pooling.

    Attributes:
        value: The channels.
        relevance: What the consumers have sent to the producer's input so far.
    """

    def __init__(self, producer: Affine | Pool, a: Tensor) -> None:
        self.producer, self.value = producer, producer.forward(a)
        self.relevance = torch.zeros_like(a)

    def collect(self, r: Tensor, scale: Tensor, shift: Tensor, rule: Rule) -> None:
        """R_j += a_j Σ_k W'_jk R_k / stab(z_k) with W' = scale·W, z = W' a + shift."""
        p, b = self.producer, rule.part(shift).view(1, -1, 1, 1)
        if isinstance(p, Affine):
            w = rule.part(p.module.weight * scale.view(-1, 1, 1, 1))
            s = r / rule.stab(p.map(w, None, p.a) + b)
            self.relevance = self.relevance + p.a * p.transpose(w, s)
        else:
            w = rule.part(scale).view(1, -1, 1, 1)
            s = r / rule.stab(w * p.out + b)
            self.relevance = self.relevance + p.a * p.transpose_by_phases(w * s)


class Consumer:
    """A BatchNorm and its ReLU over the joined channels of several producers."""

    def __init__(self, norm: Any, inputs: list[Produced]) -> None:
        self.norm, self.inputs = norm, inputs
        self.out = F.relu(norm(torch.cat([t.value for t in inputs], 1)))

    def back(self, r: Tensor, rule: Rule) -> None:
        """Hands each producer its channels; beta and the statistics are constants."""
        n = self.norm
        scale = n.weight / torch.sqrt(n.running_var + n.eps)
        shift = n.bias.detach() - n.running_mean * scale
        sizes = [t.value.shape[1] for t in self.inputs]
        parts = zip(
            *(torch.split(v, sizes, d) for v, d in ((r, 1), (scale, 0), (shift, 0))), strict=True
        )
        for t, (r_t, scale_t, shift_t) in zip(self.inputs, parts, strict=True):
            t.collect(r_t, scale_t, shift_t, rule)


class DenseFeatures:
    """conv0 .. norm5 and the final ReLU of a DenseNet in evaluation mode."""

    def __init__(self, features: Any) -> None:
        self.f = features

    def forward(self, x: Tensor) -> Tensor:
        f = self.f
        assert not f.norm0.training
        self.undo: list[Any] = []  # in the forward order; each takes the rule
        self.stem = Affine(f.conv0, f.norm0)
        tensors = [Produced(Pool(f.pool0), F.relu(self.stem.forward(x)))]
        self.made = list(tensors)
        i = 1
        while hasattr(f, f"denseblock{i}"):
            for layer in getattr(f, f"denseblock{i}").children():
                tensors.append(self._layer(layer, list(tensors)))
            if hasattr(f, f"transition{i}"):
                tensors = [self._transition(getattr(f, f"transition{i}"), tensors, i)]
            i += 1
        self.last = Consumer(f.norm5, tensors)
        return self.last.out

    def _layer(self, layer: Any, inputs: list[Produced]) -> Produced:
        consumer, inner = Consumer(layer.norm1, inputs), Affine(layer.conv1, layer.norm2)
        made = Produced(Affine(layer.conv2), F.relu(inner.forward(consumer.out)))

        def back(rule: Rule) -> None:
            consumer.back(inner.back(made.relevance, rule), rule)

        self.undo.append(back)
        self.made.append(made)
        return made

    def _transition(self, t: Any, inputs: list[Produced], number: int) -> Produced:
        consumer, conv = Consumer(t.norm, inputs), Affine(t.conv)
        made = Produced(Pool(t.pool), F.relu(conv.forward(consumer.out)))

        def back(rule: Rule) -> None:
            r = conv.back(made.relevance, rule)
            rule.kept[f"features.transition{number}.relu"] = r
            consumer.back(r, rule)

        self.undo.append(back)
        self.made.append(made)
        return made

    def first(self, r: Tensor, rule: Rule) -> Tensor:
        """Relevance of the pixels from that of the final ReLU's output."""
        rule.kept["features.fReLU"] = r
        for t in self.made:
            t.relevance = torch.zeros_like(t.relevance)
        self.last.back(r, rule)
        for back in reversed(self.undo):
            back(rule)
        return self.stem.first(self.made[0].relevance, rule)
