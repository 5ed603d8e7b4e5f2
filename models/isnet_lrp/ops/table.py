"""Which operation is recorded how, by the plain name of torch's function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from isnet_lrp.ops import activation, attention, norm, pooling, product, structure, weighted

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

Handler = Callable[["Recorder", str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
REFLECTED = {"radd": "add", "rmul": "mul", "rmatmul": "rmatmul", "rtruediv": "rdiv",
             "rdiv": "rdiv", "rsub": "rsub", "rpow": "rpow"}  # fmt: skip
INPLACE = {"iadd", "isub", "imul", "itruediv", "idiv", "ipow", "imatmul"}


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


def _make_table() -> dict[str, Handler]:
    table: dict[str, Handler] = {}
    for group, handler in (
        (activation.RELU, activation.record_relu),
        (activation.ACTIVATIONS | activation.OFFSET, activation.record_activation),
        (structure.LINEAR | structure.SELECTIONS, structure.record_own_product),
        (structure.RESHAPES, structure.record_reshape),
        (structure.HOMOGENEOUS, structure.record_homogeneous),
        (structure.ADDITIONS, structure.record_sum),
        (structure.CONCATENATIONS, structure.record_concat),
        (structure.DROPOUTS, structure.record_dropout),
        (structure.TEMPLATES | {"grid_sample", "deform_conv2d"}, product.record_first_only),
        (pooling.POOLS, pooling.record_pool),
        (pooling.MAX_POOLS, pooling.record_max_pool),
        (product.PRODUCTS, product.record_product),
        (product.QUOTIENTS, product.record_quotient),
        (weighted.CONVOLUTIONS, weighted.record_other_convolution),
        ({"matmul", "mm"}, weighted.record_matrix_product),
        ({"addmm", "baddbmm"}, weighted.record_addmm),
        ({"addcmul", "addcdiv"}, product.record_add_product),
    ):
        table |= dict.fromkeys(group, handler)  # later groups go before earlier ones
    return table | {
        "conv2d": weighted.record_convolution, "linear": weighted.record_linear,
        "lerp": product.record_interpolation, "glu": activation.record_glu,
        "batch_norm": norm.record_batch_norm, "layer_norm": norm.record_layer_norm,
        "rms_norm": norm.record_rms_norm, "group_norm": norm.record_group_norm,
        "instance_norm": norm.record_instance_norm, "normalize": norm.record_normalize,
        "local_response_norm": norm.record_local_response_norm,
        "cosine_similarity": norm.record_cosine_similarity,
        "log_softmax": norm.record_log_softmax,
        "scaled_dot_product_attention": attention.record_attention,
        "multi_head_attention_forward": attention.record_multi_head_attention,
    }  # fmt: skip


HANDLERS: dict[str, Handler] = _make_table()
