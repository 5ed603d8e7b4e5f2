"""Which operations have which kind of rule, by the name torch gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RELU = frozenset({"relu"})
# f(0) = 0: the proportional rule.
ACTIVATIONS = frozenset({
    "relu6", "hardtanh", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "leaky_relu",
    "prelu", "rrelu", "tanh", "tanhshrink", "softsign", "softshrink", "hardshrink", "clamp",
    "clip", "clamp_min", "clamp_max", "pow", "square", "local_response_norm", "normalize",
    "threshold",
})  # fmt: skip
# Among them those whose bounds decide whether f(0) = 0.
BOUNDED = frozenset({"hardtanh", "clamp", "clip", "clamp_min", "clamp_max", "threshold"})
# Gates, attention weights and statistics: constants of the relevance pass.
CONSTANTS = frozenset({
    "sigmoid", "hardsigmoid", "softmax", "softmin", "gumbel_softmax", "var", "std", "var_mean",
    "std_mean", "norm", "vector_norm", "linalg_vector_norm", "rsqrt", "sqrt", "detach",
    "log_softmax", "expit",
})  # fmt: skip
RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze",
                      "view_as", "reshape_as", "ravel"})  # fmt: skip
# Linear in their one input that depends on the image: torch's own product is the rule.
LINEAR = frozenset({
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint", "T",
    "mT", "H", "mH", "expand", "expand_as", "narrow", "select", "split", "split_with_sizes",
    "chunk", "tensor_split", "unbind", "getitem", "index_select", "gather", "take_along_dim",
    "flip", "fliplr", "flipud", "rot90", "roll", "contiguous", "clone", "to", "float", "double",
    "half", "bfloat16", "type", "type_as", "pad", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "unfold", "fold", "repeat", "repeat_interleave", "tile", "stack", "hstack",
    "vstack", "dstack", "column_stack", "neg", "negative", "positive", "cumsum", "masked_fill",
    "where", "tril", "triu", "interpolate", "upsample", "grid_sample", "conv1d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "diagonal", "broadcast_to",
    "atleast_2d", "atleast_3d", "cpu", "cuda", "diff", "rmatmul",
})  # fmt: skip
DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout",
                      "alpha_dropout"})  # fmt: skip
POOLS = frozenset({
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "mean", "sum", "max_pool1d", "max_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "max_pool1d_with_indices",
    "max_pool3d_with_indices", "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d_with_indices", "amax",
})  # fmt: skip
# Positively homogeneous of degree one: x·f'(x) = f(x), so the plain gradient conserves relevance.
HOMOGENEOUS = frozenset({"abs", "max", "min", "amin", "maximum", "minimum", "topk", "sort",
                         "median", "lp_pool1d", "lp_pool2d", "aminmax"})  # fmt: skip
PRODUCTS = frozenset({"mul", "multiply", "matmul", "mm", "bmm", "einsum", "mv", "dot", "inner",
                      "tensordot", "bilinear"})  # fmt: skip
QUOTIENTS = frozenset({"div", "divide", "true_divide"})
ADDITIONS = frozenset({"add", "sub", "subtract", "rsub"})
CONCATENATIONS = frozenset({"cat", "concat", "concatenate"})


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
    return {"truediv": "div"}.get(name, name).lstrip("_"), inplace


REFLECTED = {"radd": "add", "rmul": "mul", "rmatmul": "rmatmul", "rtruediv": "rdiv",
             "rdiv": "rdiv", "rsub": "rsub", "rpow": "rpow"}  # fmt: skip
INPLACE = {"iadd", "isub", "imul", "itruediv", "idiv", "ipow", "imatmul"}
