"""Layers from words such as "0 Conv2d(3,4,k3,s1,p1,bias)"; parameter shapes overrule the words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from tests.golden.tools.folder import UnknownFormError

Shapes = Mapping[str, tuple[int, ...]]  # parameter name -> shape
Pair = tuple[int, int]

KINDS = (
    *("Conv2d", "BatchNorm2d", "BatchNorm1d", "ReLU", "MaxPool2d", "AvgPool2d"),
    *("AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "Flatten", "Linear", "Dropout2d", "Dropout"),
    "Identity",
)
_CLASS = re.compile(rf"\b({'|'.join(KINDS)})\b", re.IGNORECASE)
_OPTION = {
    "k": "k", "kernel": "k", "kernel_size": "k", "s": "s", "stride": "s", "strides": "s",
    "p": "p", "pad": "p", "padding": "p", "d": "d", "dil": "d", "dilation": "d",
    "g": "g", "groups": "g", "in": "in", "out": "out", "in_channels": "in", "out_channels": "out",
    "in_features": "in", "out_features": "out", "num_features": "in", "output_size": "size",
}  # fmt: skip
_SILENT = ("bias", "with bias", "overlapping", "non-overlapping", "ceil", "count_include")
_FREE = ("ReLU", "Dropout", "Dropout2d", "Flatten", "Identity", "BatchNorm2d", "BatchNorm1d")


@dataclass
class Words:
    """One layer's description taken apart.

    Attributes:
        name: Name or index before the class, or "".
        kind: One of `KINDS`.
        numbers: Values without a name, in order.
        options: Named values by their short form (k, s, p, d, g, in, out, size).
        flags: ceil, exclude_pad where they are said.
        text: The whole description.
    """

    name: str
    kind: str
    numbers: list[Pair] = field(default_factory=list)
    options: dict[str, Pair] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    text: str = ""

    def get(self, option: str, position: int | None, default: int | Pair) -> Pair:
        """A named value, else the one at that position, else the default."""
        if option in self.options:
            return self.options[option]
        if position is not None and position < len(self.numbers):
            return self.numbers[position]
        return default if isinstance(default, tuple) else (default, default)


def split(text: str, separators: str = ",") -> list[str]:
    """Parts between separators outside brackets."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character in separators and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [part.strip() for part in [*parts, current] if part.strip()]


def words(text: str) -> Words:
    """Takes "name Class(arguments) remarks" apart; a name alone must name its class.

    Raises:
        UnknownFormError: For a class or an argument without a reading.
    """
    plain = re.sub(r"^\s*\((\w+)\)\s*:?", r"\1 ", text)  # "(0): ReLU()", as torch prints it
    head = plain.split("(")[0]
    found = list(_CLASS.finditer(head))
    if not found:
        name = head.strip(" :.")
        if re.fullmatch(r"\w*relu\w*", name, re.IGNORECASE):
            return Words(name, "ReLU", text=text)  # such as "relu0"
        raise UnknownFormError(f"layer '{text}': expected one of {', '.join(KINDS)}")
    at = found[-1]
    kind = next(k for k in KINDS if k.lower() == at[1].lower())
    result = Words(head[: at.start()].strip(" :."), kind, text=text)
    inside, remarks = _brackets(plain[at.end() :])
    if kind not in _FREE:
        for part in split(inside):
            _read(part, result)
    _remark(remarks, result)
    return result


def _brackets(rest: str) -> tuple[str, str]:
    """Text inside the first pair of brackets if it opens at once, and what follows."""
    rest = rest.strip()
    if not rest.startswith("("):
        return "", rest
    depth = 0
    for i, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return rest[1:i], rest[i + 1 :]
    raise UnknownFormError(f"brackets that do not close: '{rest}'")


def _remark(text: str, result: Words) -> bool:
    """Notes what free words say; whether they say anything known."""
    low = text.lower().replace(" ", "")
    if "ceil" in low and "ceil_mode=false" not in low:
        result.flags.add("ceil")
    if "count_include_pad=false" in low:
        result.flags.add("exclude_pad")
    return low.startswith(("nobias", "withoutbias", "bias-free")) or text.startswith(_SILENT)


def _pair(text: str) -> Pair | None:
    found = re.fullmatch(r"\(?\s*(\d+)\s*(?:[x,]\s*(\d+)\s*)?\)?", text.strip())
    return None if found is None else (int(found[1]), int(found[2] or found[1]))


def _read(part: str, result: Words) -> None:
    """One argument: 3, 3x3, (3, 3), k3, k=3, kernel_size=(3, 3), 3x3/2, no bias."""
    short = re.fullmatch(r"(\d+(?:x\d+)?)/(\d+)", part)  # kernel/stride
    named = re.fullmatch(r"([A-Za-z_]+)\s*[=: ]?\s*(\(?\d.*)", part)
    pair = _pair(part)
    if short:
        kernel, stride = _pair(short[1]), _pair(short[2])
        assert kernel is not None
        assert stride is not None
        result.options.update(k=kernel, s=stride)
    elif pair is not None:
        result.numbers.append(pair)
    elif named and named[1].lower() in _OPTION and (value := _pair(named[2])):
        result.options[_OPTION[named[1].lower()]] = value
    elif not _remark(part, result):
        raise UnknownFormError(f"argument '{part}' of layer '{result.text}'")


def layer(text: str | Words, prefix: str, shapes: Shapes) -> nn.Module:
    """The module that the words describe; `prefix` names its parameters in `shapes`.

    Raises:
        UnknownFormError: For words without a reading, or parameters without an array.
    """
    w = words(text) if isinstance(text, str) else text
    if w.kind == "Conv2d":
        return convolution(prefix, shapes, w)
    if w.kind == "Linear":
        n_out, n_in = _stored(prefix, shapes)
        return nn.Linear(n_in, n_out, bias=f"{prefix}.bias" in shapes)
    if w.kind.startswith("BatchNorm"):
        return normalisation(prefix, shapes, w)
    if w.kind in ("MaxPool2d", "AvgPool2d"):
        return pool(w)
    if w.kind.startswith("Adaptive"):
        size = w.get("size", 0, 1)
        if len(w.numbers) > 1:
            size = (w.numbers[0][0], w.numbers[1][0])
        return nn.AdaptiveMaxPool2d(size) if "Max" in w.kind else nn.AdaptiveAvgPool2d(size)
    plain = {
        "ReLU": nn.ReLU, "Flatten": nn.Flatten, "Dropout": nn.Dropout,
        "Dropout2d": nn.Dropout2d, "Identity": nn.Identity,
    }  # fmt: skip
    made: nn.Module = plain[w.kind]()
    return made


def _stored(prefix: str, shapes: Shapes) -> tuple[int, ...]:
    if f"{prefix}.weight" not in shapes:
        raise UnknownFormError(f"no array holds the weight of '{prefix}'")
    return shapes[f"{prefix}.weight"]


def convolution(
    prefix: str, shapes: Shapes, w: Words | None = None, n_in: int | None = None
) -> nn.Conv2d:
    """Convolution with the stored weight's sizes; stride, padding and dilation from the words."""
    w = w or Words(prefix, "Conv2d")
    o, i, kh, kw = _stored(prefix, shapes)
    groups = w.get("g", None, 1)[0] if n_in is None else n_in // i
    stride, padding, dilation = w.get("s", 3, 1), w.get("p", 4, 0), w.get("d", None, 1)
    bias = f"{prefix}.bias" in shapes
    return nn.Conv2d(i * groups, o, (kh, kw), stride, padding, dilation, groups, bias=bias)


def normalisation(prefix: str, shapes: Shapes, w: Words | None = None) -> nn.Module:
    """BatchNorm with the stored sizes; affine where a weight is stored."""
    found = shapes.get(f"{prefix}.running_mean") or shapes.get(f"{prefix}.weight")
    if found is None:
        raise UnknownFormError(f"no array holds the statistics of '{prefix}'")
    said = re.search(r"eps\s*=?\s*([\d.]+(?:e-?\d+)?)", w.text if w else "")
    kind = nn.BatchNorm1d if w is not None and w.kind.endswith("1d") else nn.BatchNorm2d
    affine = f"{prefix}.weight" in shapes
    return kind(found[0], eps=float(said[1]) if said else 1e-5, affine=affine)


def pool(w: Words) -> nn.Module:
    """Maximum or average pooling with kernel k, stride s (default k), padding p."""
    kernel = w.get("k", 0, 2)
    stride, padding = w.get("s", 1, kernel), w.get("p", 2, 0)
    ceil = "ceil" in w.flags
    if w.kind == "MaxPool2d":
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
    include = "exclude_pad" not in w.flags
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=include)


def pool_from(text: str | None, kind: str, default: tuple[int, int, int]) -> nn.Module:
    """A pooling from free words such as "k3 s2 p1 (overlapping windows)", "2x2/2", "none".

    Args:
        text: The words; None: the default.
        kind: MaxPool2d or AvgPool2d.
        default: Kernel, stride, padding.
    """
    low = (text or "").lower()
    w = Words("", kind, text=low)
    if not low.strip():
        k, s, p = default
        w.options = {"k": (k, k), "s": (s, s), "p": (p, p)}
        return pool(w)
    if re.match(r"\s*(none\b|no\b|identity|absent)", low):
        return nn.Identity()
    call = re.search(r"pool\w*\(([^)]*)\)", low)
    if call:
        w = words(f"{kind}({call[1]})")
    for name, one, two in re.findall(r"\b([a-z_]+)\s*[=: ]?\s*(\d+)(?:x(\d+))?", low):
        if name in ("k", "kernel", "kernel_size", "s", "stride", "p", "pad", "padding"):
            w.options.setdefault(_OPTION[name], (int(one), int(two or one)))
    plain = re.search(r"\b(\d+)x(\d+)\s*(?:/\s*(\d+))?", low)
    if plain and "k" not in w.options:
        w.options["k"] = (int(plain[1]), int(plain[2]))
        if plain[3]:
            w.options.setdefault("s", (int(plain[3]), int(plain[3])))
    if "k" not in w.options and not w.numbers:
        raise UnknownFormError(f"pooling '{text}'")
    _remark(low, w)
    return pool(w)


def square(count: int, channels: int) -> int:
    """Side of a square map from the number of features behind it."""
    side = math.isqrt(count // channels)
    if side * side * channels != count:
        raise UnknownFormError(f"{count} features of {channels} channels are no square map")
    return side
