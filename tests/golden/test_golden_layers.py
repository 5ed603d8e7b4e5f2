"""Words become the right layers, and words without a reading are refused."""

from __future__ import annotations

import pytest
from torch import nn

from tests.golden.tools.asking import Request, read
from tests.golden.tools.compare import Ledger, error
from tests.golden.tools.folder import UnknownFormError
from tests.golden.tools.layers import layer, pool_from, words

SHAPES = {"a.weight": (6, 3, 3, 3), "a.bias": (6,), "b.weight": (6, 3, 5, 3), "l.weight": (4, 9)}


@pytest.mark.parametrize(
    ("text", "stride", "padding", "dilation"),
    [
        ("0 Conv2d(3,6,k3,s2,p1,bias)", 2, 1, 1), ("Conv2d(3,6,3,2,1)", 2, 1, 1),
        ("conv0 Conv2d(3, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))", 2, 1, 1),
        ("(0): Conv2d(3, 6, 3x3/2, padding 1)", 2, 1, 1),
        ("features.0 conv2d(k3 , s2,p1)", 2, 1, 1),
        ("Conv2d(3,6,k3)", 1, 0, 1), ("7: Conv2d(in=3, out=6, k=3, d2)", 1, 0, 2),
        ("Conv2d", 1, 0, 1),
    ],
)  # fmt: skip
def test_convolutions(text: str, stride: int, padding: int, dilation: int) -> None:
    made = layer(text, "a", SHAPES)
    assert isinstance(made, nn.Conv2d)
    assert (made.in_channels, made.out_channels, made.kernel_size) == (3, 6, (3, 3))
    assert (made.stride, made.padding) == ((stride, stride), (padding, padding))
    assert made.dilation == (dilation, dilation)
    assert made.bias is not None


def test_shapes_overrule_words() -> None:
    made = layer("Conv2d(9,9,k1,bias)", "b", SHAPES)
    assert isinstance(made, nn.Conv2d)
    assert made.kernel_size == (5, 3)
    assert made.bias is None
    linear = layer("Linear(1,1)", "l", SHAPES)
    assert isinstance(linear, nn.Linear)
    assert (linear.in_features, linear.out_features) == (9, 4)
    assert linear.bias is None


@pytest.mark.parametrize(
    ("text", "kernel", "stride", "padding"),
    [
        ("3 MaxPool2d(2)", 2, 2, 0), ("MaxPool2d(3,2,1)", 3, 2, 1),
        ("MaxPool2d(k3,s2,p1)", 3, 2, 1),
        ("pool0 MaxPool2d(3, stride=2, padding=1, overlapping)", 3, 2, 1),
        ("MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)", 3, 2, 1),
    ],
)  # fmt: skip
def test_poolings(text: str, kernel: int, stride: int, padding: int) -> None:
    made = layer(text, "", {})
    assert isinstance(made, nn.MaxPool2d)
    found = (made.kernel_size, made.stride, made.padding)
    assert found == ((kernel, kernel), (stride, stride), (padding, padding))
    assert not made.ceil_mode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k3 s2 p1 (overlapping windows)", (3, 2, 1)), ("k2 s2 p0", (2, 2, 0)), ("2x2", (2, 2, 0)),
        ("3x3/2, padding 1", (3, 2, 1)), ("MaxPool2d(3,2,1)", (3, 2, 1)), (None, (3, 2, 1)),
        ("kernel 3 stride 2 padding 1", (3, 2, 1)), ("k3, s1, p1", (3, 1, 1)),
    ],
)  # fmt: skip
def test_poolings_in_free_words(text: str | None, expected: tuple[int, int, int]) -> None:
    made = pool_from(text, "MaxPool2d", (3, 2, 1))
    assert isinstance(made, nn.MaxPool2d)
    found = [
        v if isinstance(v, int) else v[0] for v in (made.kernel_size, made.stride, made.padding)
    ]
    assert tuple(found) == expected
    assert isinstance(pool_from("none", "MaxPool2d", (3, 2, 1)), nn.Identity)


def test_other_layers() -> None:
    adaptive = layer("AdaptiveAvgPool2d(2,3) on 5x4", "", {})
    assert isinstance(adaptive, nn.AdaptiveAvgPool2d)
    assert adaptive.output_size == (2, 3)
    single = layer("gap AdaptiveAvgPool2d(1)", "", {})
    assert isinstance(single, nn.AdaptiveAvgPool2d)
    assert single.output_size == (1, 1)
    average = layer("AvgPool2d(k3,s2,p1,count_include_pad=False)", "", {})
    assert isinstance(average, nn.AvgPool2d)
    assert not average.count_include_pad
    assert isinstance(layer("fReLU", "", {}), nn.ReLU)
    assert isinstance(layer("2 ReLU(inplace=True)", "", {}), nn.ReLU)
    assert isinstance(layer("5 Dropout(p=0.3)", "", {}), nn.Dropout)
    norm = layer(
        "1 BatchNorm2d(6, eps=1e-3) (some weights negative)", "n", {"n.running_mean": (6,)}
    )
    assert isinstance(norm, nn.BatchNorm2d)
    assert (norm.num_features, norm.eps, norm.affine) == (6, 1e-3, False)
    assert (words("features.4 ReLU").name, words("(12): ReLU()").name) == ("features.4", "12")


@pytest.mark.parametrize(
    "text", ["Conv3d(3,4)", "Conv2d(3,4,k3,twist2)", "MaxPool2d(2,2", "conv 3x3", "Softmax", ""]
)
def test_words_without_a_reading(text: str) -> None:
    with pytest.raises(UnknownFormError):
        layer(text, "a", SHAPES)
    with pytest.raises(UnknownFormError):
        pool_from("two by two", "MaxPool2d", (3, 2, 1))


def test_names_of_maps() -> None:
    assert read("flex/selective/e1e-2/zb1/delta1e-07") == Request(
        "flex", "selective", 0.01, True, 1e-7
    )
    assert read("block/multiple/e0.01/zb0") == Request("block", "multiple", 0.01, False)
    deep = read("flex_lds/multiple/e0/zb1/features.transition1.relu")
    assert (deep.epsilon, deep.place) == (0.0, "features.transition1.relu")


@pytest.mark.parametrize(
    "name",
    [
        "flex/multiple", "flax/multiple/e0/zb0", "flex/some/e0/zb0", "flex/multiple/e0/zb2",
        "flex/multiple/e0/zb0/layer1", "flex/multiple/e0/zb0/e1/zb1", "block_lds/multiple/e0/zb0",
    ],
)  # fmt: skip
def test_names_without_a_reading(name: str) -> None:
    with pytest.raises(UnknownFormError):
        read(name)


def test_name_and_description_must_agree() -> None:
    with pytest.raises(UnknownFormError):
        read("flex/multiple/e1e-2/zb1", {"eps": 0.1})


def test_errors() -> None:
    assert error([1.0, 2.0], [1.0, 4.0]) == 0.5
    assert error([1.0, 2.0], [1.0, 4.0], 8.0) == 0.25
    assert error([1e-3], [0.0]) == 1e-3
    assert error([1.0], [[1.0]]) == float("inf")
    assert error([float("nan")], [1.0]) == float("inf")
    assert error(["inf", 1.0], ["inf", 1.0]) == 0
    assert error([1.0], ["inf"]) == float("inf")


def test_an_empty_ledger_fails() -> None:
    with pytest.raises(AssertionError, match="nothing was compared"):
        Ledger().close()
    ledger = Ledger()
    ledger.equal("maps", [1.0], [1.1], 0.01)
    with pytest.raises(AssertionError, match="1 of 1 differ"):
        ledger.close()
