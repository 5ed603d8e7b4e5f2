"""The letterbox as an ONNX graph: the same resampling as `isnet_cli.images.resize`.

Resampling by Pillow's triangle filter is linear, so that each direction is a matrix, made inside
the graph from the sizes of the image: row i holds the weights of the image's pixels in row i of the
network's input. Rows outside the letterbox are zero, which is its black.
"""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

OPSET = 18
IMAGE, PIXELS, COARSE, MAP = "image", "pixels", "coarse", "gradcam"
_DEPTH = 65535.0  # as `isnet_cli.dataset.records.DEPTH`

# Along one direction: `n` pixels of the image become `inner` of `most`, from `first` on.
_LINE = Template("""
   ${a}n = Cast<to=11>(${a}size)
   ${a}scaled = Mul(${a}n, scale)
   ${a}round = Round(${a}scaled)
   ${a}inner = Max(${a}round, one)
   ${a}free = Sub(${a}most, ${a}inner)
   ${a}half = Mul(${a}free, half)
   ${a}first = Floor(${a}half)
""")
# Weights [len(out), len(in)]: out pixel o lies at (o + 0.5 - out_first) * ratio + in_first.
_WEIGHTS = Template("""
   ${r}ratio = Div(${n_in}, ${n_out})
   ${r}wide = Max(${r}ratio, one)
   ${r}out_line = Range(zero, ${len_out}, one)
   ${r}in_line = Range(zero, ${len_in}, one)
   ${r}out_from = Sub(${r}out_line, ${out_first})
   ${r}out_middle = Add(${r}out_from, half)
   ${r}centre_from = Mul(${r}out_middle, ${r}ratio)
   ${r}centre = Add(${r}centre_from, ${in_first})
   ${r}column = Unsqueeze(${r}centre, last)
   ${r}in_middle = Add(${r}in_line, half)
   ${r}signed = Sub(${r}in_middle, ${r}column)
   ${r}distance = Abs(${r}signed)
   ${r}share = Div(${r}distance, ${r}wide)
   ${r}fall = Sub(one, ${r}share)
   ${r}positive = Max(${r}fall, zero)
   ${r}in_end = Add(${in_first}, ${n_in})
   ${r}in_low = GreaterOrEqual(${r}in_line, ${in_first})
   ${r}in_high = Less(${r}in_line, ${r}in_end)
   ${r}in_both = And(${r}in_low, ${r}in_high)
   ${r}in_mask = Cast<to=11>(${r}in_both)
   ${r}kept = Mul(${r}positive, ${r}in_mask)
   ${r}sum = ReduceSum<keepdims=1>(${r}kept, last)
   ${r}safe = Max(${r}sum, tiny)
   ${r}even = Div(${r}kept, ${r}safe)
   ${r}out_end = Add(${out_first}, ${n_out})
   ${r}out_low = GreaterOrEqual(${r}out_line, ${out_first})
   ${r}out_high = Less(${r}out_line, ${r}out_end)
   ${r}out_both = And(${r}out_low, ${r}out_high)
   ${r}out_mask = Cast<to=11>(${r}out_both)
   ${r}out_column = Unsqueeze(${r}out_mask, last)
   ${r}boxed = Mul(${r}even, ${r}out_column)
   ${r}matrix = Cast<to=1>(${r}boxed)
""")
_HEAD = Template("""
   zero = Constant<value = double {0.0}>()
   half = Constant<value = double {0.5}>()
   one = Constant<value = double {1.0}>()
   tiny = Constant<value = double {0.000000000001}>()
   last = Constant<value = int64[1] {-1}>()
   ymost = Constant<value = double {$height.0}>()
   xmost = Constant<value = double {$width.0}>()
   shape = Shape(image)
   ysize_at = Constant<value = int64 {1}>()
   xsize_at = Constant<value = int64 {2}>()
   ysize = Gather(shape, ysize_at)
   xsize = Gather(shape, xsize_at)
   ylong = Cast<to=11>(ysize)
   xlong = Cast<to=11>(xsize)
   yscale = Div(ymost, ylong)
   xscale = Div(xmost, xlong)
   scale = Min(yscale, xscale)
""")
_IN = Template("""
   black = Constant<value = float {0.0}>()
   white = Constant<value = float {1.0}>()
   depth = Constant<value = float {$depth}>()
   xturned = Transpose<perm=[1,0]>(xi_matrix)
   rows = MatMul(yi_matrix, image)
   resized = MatMul(rows, xturned)
$levels
   axis = Constant<value = int64[1] {1}>()
   one_channel = Unsqueeze(levels, axis)
   channels = Constant<value = int64[4] {1, $channels, 1, 1}>()
   pixels = Expand(one_channel, channels)
""")
_LEVELS = """
   clipped = Clip(resized, black, white)
   scaled_up = Mul(clipped, depth)
   whole = Round(scaled_up)
   levels = Div(whole, depth)
"""
_OUT = """
   xback = Transpose<perm=[1,0]>(xo_matrix)
   coarse_rows = MatMul(yo_matrix, coarse)
   enlarged = MatMul(coarse_rows, xback)
"""


def write_letterbox(
    height: int, width: int, channels: int, *, levels: bool = True
) -> onnx.ModelProto:
    """Images [B, H, W] in [0, 1] of any size -> ``pixels`` [B, C, h, w], letterboxed.

    Args:
        height: Rows of the network's input, px.
        width: Columns of the network's input, px.
        channels: C.
        levels: Round to 16 bits, as the images of a data set are.
    """
    weights = "".join(
        _WEIGHTS.substitute(
            r=f"{a}i_", n_in=f"{a}n", n_out=f"{a}inner", len_in=f"{a}n", len_out=f"{a}most",
            in_first="zero", out_first=f"{a}first",
        )
        for a in "yx"
    )  # fmt: skip
    body = _IN.substitute(
        depth=_DEPTH,
        channels=channels,
        levels=_LEVELS if levels else "   levels = Identity(resized)",
    )
    return _parse(
        "letterbox", f"float[batch, height, width] {IMAGE}",
        f"float[batch, {channels}, {height}, {width}] {PIXELS}",
        _sizes(height, width) + weights + body,
    )  # fmt: skip


def write_way_back(height: int, width: int, output: str) -> onnx.ModelProto:
    """Maps ``coarse`` [B, h, w] of the letterbox -> `output` [B, H, W] at the images' own size.

    Args:
        height: Rows of the network's input, px.
        width: Columns of the network's input, px.
        output: Name of the result.
    """
    weights = "".join(
        _WEIGHTS.substitute(
            r=f"{a}o_", n_in=f"{a}inner", n_out=f"{a}n", len_in=f"{a}most", len_out=f"{a}n",
            in_first=f"{a}first", out_first="zero",
        )
        for a in "yx"
    )  # fmt: skip
    return _parse(
        "way_back",
        f"float[batch, height, width] {IMAGE}, float[batch, {height}, {width}] {COARSE}",
        f"float[batch, height, width] {output}",
        _sizes(height, width) + weights + _OUT + f"   {output} = Identity(enlarged)\n",
    )  # fmt: skip


def _sizes(height: int, width: int) -> str:
    head = _HEAD.substitute(height=height, width=width)
    return head + "".join(_LINE.substitute(a=a) for a in "yx")


def _parse(name: str, inputs: str, outputs: str, body: str) -> onnx.ModelProto:
    import onnx

    text = (
        f'<ir_version: 10, opset_import: ["" : {OPSET}]>\n'
        f"{name} ({inputs}) => ({outputs}) {{\n{body}}}\n"
    )
    return onnx.parser.parse_model(text)
