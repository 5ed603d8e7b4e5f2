"""Which operations have which kind of rule, by the name torch gives them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

RELU = frozenset({"relu"})
# f(0) = 0: the proportional rule.
ACTIVATIONS = frozenset({
    "relu6", "hardtanh", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "leaky_relu",
    "prelu", "rrelu", "tanh", "tanhshrink", "softsign", "softshrink", "hardshrink", "clamp",
    "clip", "clamp_min", "clamp_max", "pow", "square", "sqrt", "threshold", "sin", "sinh", "atan",
    "arctan", "asinh", "arcsinh", "erf", "expm1", "log1p",
})  # fmt: skip
# Among them those whose bounds decide whether f(0) = 0; else a bound takes what it replaces.
BOUNDED = frozenset({"hardtanh", "clamp", "clip", "clamp_min", "clamp_max", "threshold"})
# Among them those with bounds: shifted, they are gates written by hand.
SATURATING = frozenset({"relu6", "hardtanh", "tanh", "erf", "softsign", "atan", "arctan", "clamp",
                        "clip"})  # fmt: skip
# f(0) is not 0: gates and weights where they multiply; elsewhere f(0) is a bias.
OFFSET = frozenset({"sigmoid", "expit", "special_expit", "hardsigmoid", "softplus", "logsigmoid",
                    "exp", "exp2", "cos", "cosh", "erfc", "rpow"})  # fmt: skip
# Attention weights, statistics and denominators: constants of the relevance pass.
CONSTANTS = frozenset({
    "softmax", "softmin", "gumbel_softmax", "var", "std", "var_mean", "std_mean", "norm",
    "vector_norm", "linalg_norm", "linalg_vector_norm", "rsqrt", "reciprocal", "rdiv", "detach",
})  # fmt: skip
# Constants as factors and in denominators; elsewhere without a rule.
FACTORS = frozenset({"log", "log2", "log10", "logsumexp"})
RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze",
                      "view_as", "reshape_as", "ravel"})  # fmt: skip
# Operations that only move, copy or drop values; relevance moves with them.
ROUTES = frozenset({
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint", "T",
    "mT", "H", "mH", "expand", "expand_as", "narrow", "select", "split", "split_with_sizes",
    "chunk", "tensor_split", "unsafe_chunk", "unsafe_split", "hsplit", "vsplit", "dsplit",
    "unbind", "getitem", "setitem", "index_select", "gather", "take_along_dim", "masked_select",
    "flip", "fliplr", "flipud", "rot90", "roll", "contiguous", "clone", "to", "float", "double",
    "half", "bfloat16", "type", "type_as", "pad", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "native_channel_shuffle", "unfold", "as_strided", "repeat",
    "repeat_interleave", "tile", "stack", "hstack", "vstack", "dstack", "column_stack",
    "positive", "masked_fill", "where", "tril", "triu", "diagonal", "diag_embed", "broadcast_to",
    "atleast_1d", "atleast_2d", "atleast_3d", "cpu", "cuda", "scatter", "index_copy",
    "index_fill", "select_scatter", "slice_scatter", "masked_scatter",
})  # fmt: skip
CONVOLUTIONS = frozenset({"conv1d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                          "conv_transpose3d"})  # fmt: skip
# Of these a second tensor only gives shape, type or place.
TEMPLATES = frozenset({"expand_as", "type_as", "to"})
FOURIER = frozenset({
    "fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_fft2", "fft_ifft2", "fft_rfft2",
    "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn", "fft_fftshift",
    "fft_ifftshift", "view_as_real", "view_as_complex", "real", "imag",
})  # fmt: skip
# Linear in their inputs that depend on the image: torch's own product is the rule.
LINEAR = ROUTES | CONVOLUTIONS | FOURIER | {
    "neg", "negative", "cumsum", "interpolate", "upsample", "grid_sample", "fold", "diff",
    "rmatmul", "scatter_add", "index_add",
}  # fmt: skip
DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout",
                      "alpha_dropout", "feature_alpha_dropout"})  # fmt: skip
POOLS = frozenset({
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "mean", "sum", "max_pool1d", "max_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "max_pool1d_with_indices",
    "max_pool3d_with_indices", "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d_with_indices", "amax",
})  # fmt: skip
# The winner takes all, as in max pooling.
SELECTIONS = frozenset({"max", "min", "amin", "aminmax", "maximum", "minimum", "fmax", "fmin",
                        "topk", "sort", "msort", "median", "kthvalue"})  # fmt: skip
# Positively homogeneous of degree one: x·f'(x) = f(x), so the plain gradient conserves relevance;
# no rule of its own, therefore a warning.
HOMOGENEOUS = frozenset({"abs", "absolute", "lp_pool1d", "lp_pool2d", "lp_pool3d", "hypot"})
PRODUCTS = frozenset({"mul", "multiply", "matmul", "mm", "bmm", "einsum", "mv", "dot", "inner",
                      "tensordot", "bilinear"})  # fmt: skip
QUOTIENTS = frozenset({"div", "divide", "true_divide"})
# What takes them as factors.
FACTORS_IN = PRODUCTS | QUOTIENTS | CONSTANTS | {"addcmul", "addcdiv"}
ADDITIONS = frozenset({"add", "sub", "subtract", "rsub"})
CONCATENATIONS = frozenset({"cat", "concat", "concatenate"})


@functools.lru_cache(maxsize=4096)
def name_of(func: Callable[..., Any]) -> tuple[str, bool]:
    """The plain name of an operation in any spelling, and whether it writes into its input."""
    name = getattr(func, "__name__", str(func))
    if name == "__get__":  # a property such as Tensor.T
        return str(getattr(getattr(func, "__self__", None), "__name__", name)), False
    inplace = False
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        if name in REFLECTED:
            name = REFLECTED[name]
        elif name in INPLACE:
            name, inplace = name[1:], True
    elif name.endswith("_") and not name.endswith("__"):
        name, inplace = name[:-1], True
    name = name.lstrip("_")
    return {"truediv": "div"}.get(name, name), inplace or name == "setitem"


REFLECTED = {"radd": "add", "rmul": "mul", "rmatmul": "rmatmul", "rtruediv": "rdiv",
             "rdiv": "rdiv", "rsub": "rsub", "rpow": "rpow"}  # fmt: skip
INPLACE = {"iadd", "isub", "imul", "itruediv", "idiv", "ipow", "imatmul"}
