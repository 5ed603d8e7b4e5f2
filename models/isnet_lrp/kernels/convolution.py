"""The geometry of a convolution, its transpose, and the derivative by its weights.

The transpose of a first layer, a strided convolution of few input channels, has a way of its own:
kernels for transposed convolutions are slow when they write few channels. The same sums are a
plain convolution that writes, at each place of its own grid, all pixels of one stride (Shi et al.,
Real-Time Single Image and Video Super-Resolution, CVPR 2016, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Pair = tuple[int, int]
MANY = 64  # pixels from which a pointwise transpose is a product per image
FEW = 8  # input channels up to which a strided convolution's transpose is spread by phases


@dataclass(frozen=True)
class ConvOptions:
    """Stride, padding and dilation (rows, columns) and groups of a convolution."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The convolution [B, O, h, w] of x [B, I, H, W]."""
        return torch.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def transpose(self, g: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
        """Wᵀg: the signal [B, I, H, W] of an input of `size` (H, W) from g [B, O, h, w]."""
        if self.groups == 1 and self.is_pointwise(weight):  # a plain product is quicker
            found = transpose_pointwise(g.flatten(2), weight.flatten(1))
            return found.view(*found.shape[:2], *size)
        if self.groups == 1 and self.stride != (1, 1) and weight.shape[1] <= FEW:
            return transpose_by_phases(g, weight, self.stride, self.padding, self.dilation, size)
        extra = [
            size[i]
            - ((g.shape[-2 + i] - 1) * self.stride[i] - 2 * self.padding[i]
               + self.dilation[i] * (weight.shape[-2 + i] - 1) + 1)
            for i in (0, 1)
        ]  # fmt: skip
        return torch.conv_transpose2d(
            g, weight, None, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def differentiate_weight(self, x: Tensor, g: Tensor, weight: Tensor) -> Tensor:
        """Derivative [O, I/groups, kh, kw] of Σ g·(W*x) by W, for x [B, I, H, W], g [B, O, h, w].

        Args:
            x: Input of the convolution.
            g: Derivative by its output.
            weight: W, whose shape is taken.
        """
        _, found, _ = torch.ops.aten.convolution_backward(
            g, x, weight, None, self.stride, self.padding, self.dilation, False, (0, 0),
            self.groups, (False, True, False),
        )  # fmt: skip
        return found  # type: ignore[no-any-return]

    def is_pointwise(self, weight: Tensor) -> bool:
        """Whether each output pixel depends on the input pixel at its own place alone."""
        return weight.shape[-2:] == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0)


def as_pair(value: object) -> Pair:
    """A size as (rows, columns)."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, (tuple, list, torch.Size)):
        return int(value[0]), int(value[-1])
    raise TypeError(f"size {value!r}: expected one or two integers")


def transpose_pointwise(g: Tensor, weight: Tensor) -> Tensor:
    """Wᵀg [B, I, N] of g [B, O, N] for W [O, I].

    For a W that is differentiated, `matmul` copies g and the result to make one product of all
    images. Where no derivative is taken, a product per image is quicker but for few pixels.
    """
    if torch.is_grad_enabled():
        return torch.matmul(weight.t(), g)
    if g.shape[2] >= MANY:
        return torch.bmm(weight.t().expand(len(g), -1, -1), g)
    found = g.transpose(1, 2).reshape(-1, weight.shape[0]) @ weight
    return found.view(len(g), -1, weight.shape[1]).transpose(1, 2).contiguous()


def transpose_by_phases(
    s: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, size: tuple[int, int]
) -> Tensor:
    """Wᵀs [N, I, H, W] of s [N, O, h, w]: what the transposed convolution gives.

    Args:
        s: Signal of the outputs.
        weight: [O, I, kh, kw].
        stride: Of the convolution whose transpose this is; so are the next two.
        padding: Zeros on either side.
        dilation: Distance of its taps.
        size: (H, W).
    """
    (rows, top), (columns, left) = (
        find_phases(weight.shape[2 + i], stride[i], padding[i], dilation[i]) for i in (0, 1)
    )
    (sr, Lr), (sc, Lc) = rows.shape, columns.shape
    kernel = torch.nn.functional.pad(weight, (0, 1, 0, 1))  # the last tap is 0
    kernel = kernel.index_select(2, rows.flatten().to(s.device, non_blocking=True))
    kernel = kernel.index_select(3, columns.flatten().to(s.device, non_blocking=True))
    O, I = weight.shape[:2]  # noqa: E741 - the field's names
    kernel = kernel.view(O, I, sr, Lr, sc, Lc).permute(1, 2, 4, 0, 3, 5)
    h, w = -(-size[0] // sr), -(-size[1] // sc)
    # Padding on both sides and a cut cost less than a copy padded by different amounts.
    pad = (_padding(top, h, Lr, s.shape[2]), _padding(left, w, Lc, s.shape[3]))
    found = torch.conv2d(s, kernel.reshape(I * sr * sc, O, Lr, Lc), None, 1, pad)
    found = found[:, :, pad[0] - top :, pad[1] - left :][:, :, :h, :w]
    found = found.view(-1, I, sr, sc, h, w).permute(0, 1, 4, 2, 5, 3)
    return found.reshape(-1, I, h * sr, w * sc)[:, :, : size[0], : size[1]]


def _padding(before: int, outputs: int, taps: int, inputs: int) -> int:
    """Zeros needed on either side, where the first output starts `before` the first input."""
    return max(before, outputs - 1 + taps - before - inputs, 0)


def find_phases(taps: int, stride: int, padding: int, dilation: int) -> tuple[Tensor, int]:
    """Which tap of a kernel joins output j + n - before to pixel stride·j + p.

    Returns:
        Table [stride, n] of taps, the number of taps where there is none; and `before`.
    """
    found = {
        (p, (p + padding - dilation * tap) // stride): tap
        for p in range(stride)
        for tap in range(taps)
        if (p + padding - dilation * tap) % stride == 0
    }
    offsets = [offset for _, offset in found]
    first, last = min(offsets), max(offsets)
    table = [
        [found.get((p, offset), taps) for offset in range(first, last + 1)] for p in range(stride)
    ]
    return torch.tensor(table), -first
