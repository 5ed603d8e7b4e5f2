"""Small networks with everything that networks do, each with a twin written out by hand.

A twin computes the same logits from the same parameters, but with `detach` where the rules hold
something constant, so that plain input x gradient of the twin is LRP-Flex of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]


def act(f: Function, z: Tensor, epsilon: float, at_zero: float = 0.0) -> Tensor:
    """f(z) whose gradient is (f(z) - f(0))/(z + epsilon·sgn z)."""
    value = f(z.detach())
    below = torch.where(z >= 0, z + epsilon, z - epsilon).detach()
    path = z * torch.where(below == 0, torch.zeros_like(z), (value - at_zero) / below).detach()
    return value + (path - path.detach())


def half(a: Tensor, b: Tensor, times: Callable[[Tensor, Tensor], Tensor] = torch.mul) -> Tensor:
    """A product that hands each factor half of its gradient."""
    path = (times(a, b.detach()) + times(a.detach(), b)) / 2
    return times(a, b).detach() + path - path.detach()


class Twin(nn.Module):
    """A network [B, 3, 8, 8] -> [B, 3] and its twin."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.mix = nn.Conv2d(8, 8, 1)
        self.token = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def top(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)))

    def tokens(self, x: Tensor) -> Tensor:
        return self.stem(x).flatten(2).transpose(1, 2)

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        raise NotImplementedError


class InPlace(Twin):
    """In-place activations and arithmetic, one module used three times, residual sums."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        y = self.mix(x)
        y += x
        y = self.act(y)
        y.mul_(0.5).sub_(0.1)
        F.silu(y, inplace=True)
        return self.top(self.act(self.mix(y)))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = act(F.relu, self.stem(x), epsilon)
        y = act(F.relu, self.mix(x) + x, epsilon)
        y = y * 0.5 - 0.1
        return self.top(act(F.relu, self.mix(act(F.silu, y, epsilon)), epsilon))


class InPlaceUnnamed(InPlace):
    """In-place operations whose result is never taken: the tensor itself is read on."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        y = self.mix(x)
        y += x
        self.act(y)
        torch.mul(y, 0.5, out=None)
        y.mul_(0.5)
        y.sub_(0.1)
        y = F.silu(y)
        return self.top(self.mix(y).relu_())


class SqueezeExcite(Twin):
    """Hard-swish, and a hard sigmoid as gate."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem(x))
        gate = F.hardsigmoid(self.mix(F.relu(self.mix(F.adaptive_avg_pool2d(x, 1)))))
        return self.top(gate * x)

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = act(F.hardswish, self.stem(x), epsilon)
        gate = F.hardsigmoid(self.mix(F.relu(self.mix(x.mean((2, 3), keepdim=True)))))
        return self.top(gate.detach() * x)


class GatesByHand(Twin):
    """Hard-swish, hard sigmoid, GELU, Mish and swish from simpler functions: all are gates."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * F.relu6(x + 3) / 6
        x = x * ((self.mix(x) + 3.0).clamp_(0, 6) / 6)
        x = x * 0.5 * (1 + torch.erf(x / 2**0.5))
        x = 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x**3)))
        x = x * F.softplus(x).tanh()
        x = x * (1 / (1 + torch.exp(-self.mix(x))))
        y = self.mix(x)
        return self.top(y * y.sigmoid_() if False else y * torch.sigmoid(y))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.stem(x)
        x = x * F.hardsigmoid(x).detach()
        x = x * F.hardsigmoid(self.mix(x)).detach()
        x = x * (0.5 * (1 + torch.erf(x / 2**0.5))).detach()
        x = x * (0.5 * (1 + torch.tanh(0.8 * (x + 0.04 * x**3)))).detach()
        x = x * F.softplus(x).tanh().detach()
        x = x * torch.sigmoid(self.mix(x)).detach()
        y = self.mix(x)
        return self.top(y * torch.sigmoid(y).detach())


class ConvNeXtBlock(Twin):
    """Layer norm on the last axis, GELU, layer scale, permuted axes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 8).view(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(x.permute(0, 2, 3, 1))
        y = self.token(F.gelu(self.token(y))).permute(0, 3, 1, 2)
        return self.top(x + y * self.scale)

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.stem(x)
        y = x.permute(0, 2, 3, 1)
        centred = y - y.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + self.norm.eps).sqrt()
        y = centred / deviation.detach() * self.norm.weight + self.norm.bias
        y = self.token(act(F.gelu, self.token(y), epsilon)).permute(0, 3, 1, 2)
        return self.top(x + y * self.scale)


class Standardised(Twin):
    """Group norm, and a convolution whose weights are standardised; instance norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 8)
        self.instance = nn.InstanceNorm2d(8)

    def weight(self) -> Tensor:
        w = self.mix.weight
        return (w - w.mean((1, 2, 3), keepdim=True)) / w.std((1, 2, 3), keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = self.instance(F.conv2d(x, self.weight(), self.mix.bias))
        return self.top(torch.relu(x + F.leaky_relu(x, 0.2)).sqrt())

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        def norm(x: Tensor, groups: int) -> Tensor:
            y = x.view(len(x), groups, -1)
            y = y - y.mean(-1, keepdim=True)
            return (y / (y.var(-1, correction=0, keepdim=True) + 1e-5).sqrt().detach()).view_as(x)

        w, b = (p.view(1, 8, 1, 1) for p in (self.norm.weight, self.norm.bias))
        x = act(F.relu, norm(self.stem(x), 2) * w + b, epsilon)
        x = norm(F.conv2d(x, self.weight(), self.mix.bias), 8)
        x = x + act(lambda z: F.leaky_relu(z, 0.2), x, epsilon)
        return self.top(act(torch.sqrt, act(F.relu, x, epsilon), epsilon))


class Attention(Twin):
    """torch's multi-head attention with weights, a class token, positions, a transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
        self.cls = nn.Parameter(torch.ones(1, 1, 8))
        self.where = nn.Parameter(torch.linspace(-1, 1, 65).view(1, 65, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.where
        x = x + self.first(x, x, x)[0]
        return self.head(self.layer(x)[:, 0])

    @staticmethod
    def attend(m: nn.MultiheadAttention, x: Tensor) -> Tensor:
        q, k, v = F.linear(x, m.in_proj_weight, m.in_proj_bias).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in (q, k, v))
        weights = (q @ k.transpose(-2, -1) / 2).softmax(-1).detach()
        return m.out_proj((weights @ v).transpose(1, 2).flatten(2))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.tokens(x)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.where
        x = x + self.attend(self.first, x)
        layer = self.layer

        def norm(m: nn.LayerNorm, x: Tensor) -> Tensor:
            y = x - x.mean(-1, keepdim=True)
            std = (y.var(-1, correction=0, keepdim=True) + m.eps).sqrt().detach()
            return y / std * m.weight + m.bias

        x = norm(layer.norm1, x + self.attend(layer.self_attn, x))
        y = layer.linear2(act(F.gelu, layer.linear1(x), epsilon))
        return self.head(norm(layer.norm2, x + y)[:, 0])


class AttentionByHand(Twin):
    """Attention from matrix products, once by softmax and once by exponentials; addmm."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        scores = torch.einsum("bqc,bkc->bqk", self.token(x), x)
        x = x + scores.mul(0.3).softmax(-1) @ x
        weights = torch.exp(torch.baddbmm(x.new_zeros(1, 1, 1), x, x.transpose(1, 2), alpha=0.1))
        x = torch.bmm(weights / weights.sum(-1, keepdim=True), x)
        return torch.addmm(self.head.bias, x.mean(1), self.head.weight.t())

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.tokens(x)
        x = x + (self.token(x) @ x.transpose(1, 2) * 0.3).softmax(-1).detach() @ x
        weights = (x @ x.transpose(1, 2) * 0.1).softmax(-1).detach()
        return self.head((weights @ x).mean(1))


class Windows(Twin):
    """Swin's parts: padding, cyclic shift, windows, a masked attention in each, and back."""

    def windows(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 1, 0, 1)).roll((-1, -1), (2, 3))
        x = x.view(len(x), 8, 3, 3, 3, 3).permute(0, 2, 4, 3, 5, 1)
        return x.reshape(-1, 9, 8)

    def back(self, x: Tensor, n: int) -> Tensor:
        x = x.view(n, 3, 3, 3, 3, 8).permute(0, 5, 1, 3, 2, 4).reshape(n, 8, 9, 9)
        return x.roll((1, 1), (2, 3))[:, :, :8, :8].contiguous()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        w = self.windows(x)
        mask = torch.ones(9, 9, dtype=torch.bool).tril()
        w = F.scaled_dot_product_attention(self.token(w), w, self.token(w), attn_mask=mask)
        return self.top(F.relu(x + self.back(w, len(x))))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.stem(x)
        w = self.windows(x)
        scores = self.token(w) @ w.transpose(1, 2) / 8**0.5
        scores = scores.masked_fill(torch.ones(9, 9, dtype=torch.bool).triu(1), -torch.inf)
        w = scores.softmax(-1).detach() @ self.token(w)
        return self.top(act(F.relu, x + self.back(w, len(x)), epsilon))


class Shuffle(Twin):
    """ShuffleNet's parts: halves of the channels, shuffled; overlapping pools of both kinds."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).chunk(2, dim=1)
        b = F.relu(torch.cat([b, a], 1), inplace=True)[:, :4]
        x = F.channel_shuffle(torch.cat((a, b), 1), 2)
        x = F.max_pool2d(self.mix(x), 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1)
        return self.top(F.relu6(x * 4))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.stem(x)
        x = torch.stack([x[:, :4], act(F.relu, x[:, 4:], epsilon)], 2).flatten(1, 2)
        x = F.max_pool2d(self.mix(x), 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1)
        return self.top(act(F.relu6, x * 4, epsilon))


class Products(Twin):
    """Products of two branches, of three, of a tensor with itself; a kernel from the image."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.relu6(x) * self.mix(x)
        y = torch.addcmul(x, y, x.square(), value=0.5)
        kernel = y.mean((0, 2, 3)).view(8, 1, 1, 1)
        y = F.conv2d(y, kernel, groups=8) + torch.einsum("bchw,bchw,bchw->bchw", x, x, y)
        return self.top(torch.lerp(y, x, 0.25))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.stem(x)
        y = half(act(F.relu6, x, epsilon), self.mix(x))
        y = x + 0.5 * half(y, act(torch.square, x, epsilon))
        kernel = y.mean((0, 2, 3)).view(8, 1, 1, 1)
        z = half(y, kernel, lambda a, k: F.conv2d(a, k, groups=8))
        held = (x * x * y).detach()
        path = (2 * x * (x * y).detach() + (x * x).detach() * y) / 3
        y = z + held + (path - path.detach())
        return self.top(y + 0.25 * (x - y))


class RootMeanSquare(Twin):
    """RMS norm by torch and by hand, a gated linear unit, a product gated by SiLU."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        x = x + F.rms_norm(x, (8,), weight=self.token.bias + 1)
        x = x * (x.pow(2).mean(-1, keepdim=True) + 1e-6) ** -0.5
        x = F.silu(self.token(x)) * x
        x = F.glu(torch.cat([x, self.token(x)], -1))
        return self.head(x.mean(1))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.tokens(x)
        tiny = torch.finfo(x.dtype).eps
        rms = (x.square().mean(-1, keepdim=True) + tiny).sqrt().detach()
        x = x + x / rms * (self.token.bias + 1)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt().detach()
        x = half(act(F.silu, self.token(x), epsilon), x)
        return self.head((x * torch.sigmoid(self.token(x)).detach()).mean(1))


class Sigmoids(Twin):
    """Sigmoid, softplus and tanh that do not gate: what they add at zero is a bias."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.stem(x))
        x = F.softplus(self.mix(x)) + torch.tanh(x)
        return F.log_softmax(self.top(torch.clamp(x, min=0.5)), dim=1)

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = act(torch.sigmoid, self.stem(x), epsilon, 0.5)
        at_zero = float(torch.log(torch.tensor(2.0).double()))
        x = act(F.softplus, self.mix(x), epsilon, at_zero) + act(torch.tanh, x, epsilon)
        z = self.top(torch.where(x > 0.5, x, torch.full_like(x, 0.5)))
        return z - z.logsumexp(1, keepdim=True).detach()


class Cosine(Twin):
    """Generalised mean pooling, normalised features, a cosine classifier."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x)).clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        x = F.normalize(x, dim=1)
        x = x / x.norm(dim=1, keepdim=True)
        w = self.head.weight
        return 5 * F.cosine_similarity(x.unsqueeze(1), w.unsqueeze(0), dim=2)

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = act(F.relu, self.stem(x), epsilon)
        x = torch.where(x > 1e-6, x, torch.full_like(x, 1e-6))
        x = act(lambda z: z**3, x, epsilon).mean((2, 3))
        x = act(lambda z: z ** (1 / 3), x, epsilon)
        x = x / x.norm(dim=1, keepdim=True).detach()
        return 5 * x @ (self.head.weight / self.head.weight.norm(dim=1, keepdim=True)).t()


class Experts(Twin):
    """Kernels mixed per image, by softmax and by sigmoids: constants, so they are kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.Parameter(torch.linspace(-1, 1, 3 * 64).sin().view(3, 64))

    def run(self, x: Tensor, shares: Tensor) -> Tensor:
        kernels = torch.matmul(shares, self.kernels).view(-1, 8, 1, 1)
        y = F.conv2d(x.reshape(1, -1, 8, 8), kernels, groups=len(x))
        return y.view(len(x), 8, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.run(x, self.top(x).softmax(1)))
        return self.top(self.run(x, self.top(x).sigmoid()))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.stem(x)
        x = act(F.relu, self.run(x, self.top(x).softmax(1).detach()), epsilon)
        return self.top(self.run(x, self.top(x).sigmoid().detach()))


class Assigned(Twin):
    """Values written into parts of tensors; bounds taken from tensors; a shift in time."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = torch.zeros_like(x)
        y[:, :4] = F.relu(x[:, 4:])
        y[:, 4:, ::2] = 2 * x[:, :4, ::2]
        x = self.mix(x)
        x[:, 0] = 0.5
        x = torch.where(x > 0, x, y)
        return self.top(torch.maximum(x, y.roll(1, 1)) + x.amax(1, keepdim=True))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        x = self.stem(x)
        rows = torch.tensor([1.0, 0.0] * 4).view(8, 1).double()
        y = torch.cat([act(F.relu, x[:, 4:], epsilon), 2 * x[:, :4] * rows], 1)
        x = self.mix(x)
        x = torch.cat([torch.full_like(x[:, :1], 0.5), x[:, 1:]], 1)
        x = torch.where(x > 0, x, y)
        return self.top(torch.maximum(x, y.roll(1, 1)) + x.max(1, keepdim=True).values)


class Fourier(Twin):
    """A filter in the frequencies of the image."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(self.stem(x), norm="ortho")
        filters = torch.complex(self.token.weight[:, :5], self.token.weight[:, 3:])
        return self.top(F.relu(torch.fft.irfft2(spectrum * filters, norm="ortho")))

    def twin(self, x: Tensor, epsilon: float) -> Tensor:
        spectrum = torch.fft.rfft2(self.stem(x), norm="ortho")
        filters = torch.complex(self.token.weight[:, :5], self.token.weight[:, 3:])
        return self.top(act(F.relu, torch.fft.irfft2(spectrum * filters, norm="ortho"), epsilon))


TWINS: tuple[type[Twin], ...] = (
    InPlace, InPlaceUnnamed, SqueezeExcite, GatesByHand, ConvNeXtBlock, Standardised, Attention,
    AttentionByHand, Windows, Shuffle, Products, RootMeanSquare, Sigmoids, Cosine, Experts,
    Assigned, Fourier,
)  # fmt: skip


def make(kind: type[Twin], **options: Any) -> Twin:
    torch.manual_seed(0)
    return kind(**options).double().eval()
