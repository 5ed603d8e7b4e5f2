"""Classifiers by name: torchvision's and timm's with 1- or 3-channel input, and a small one."""

from __future__ import annotations

import difflib
from typing import Any

from torch import Tensor, nn
from torchvision import models as zoo

from isnet_lrp.kernels.convolution import as_pair
from isnet_models.normalise import Normalisation, Normalised

SMALL = "small"
TIMM = "timm/"  # before the name of a network of timm
# Families whose default build returns auxiliary outputs; they are built without them.
_WITHOUT_AUX = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}


class SmallResNet(nn.Module):
    """A residual network for laptops: four stages of one basic block, 0.7 M parameters.

    Args:
        classes: Number of outputs K.
        channels: Number of input channels.
        width: Channels of the first stage; the stages have width · (1, 2, 4, 8).
    """

    def __init__(self, classes: int, channels: int, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        widths = [width * 2**i for i in range(4)]
        previous = [width, *widths[:-1]]
        strides = [1, 2, 2, 2]
        self.stages = nn.Sequential(*map(_block, previous, widths, strides))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W]."""
        return self.fc(self.pool(self.stages(self.stem(x))).flatten(1))  # type: ignore[no-any-return]


def _block(width_in: int, width: int, stride: int) -> nn.Module:
    shortcut = None
    if stride != 1 or width_in != width:
        shortcut = nn.Sequential(
            nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        )
    block: nn.Module = zoo.resnet.BasicBlock(width_in, width, stride, shortcut)
    return block


def architectures() -> list[str]:
    """Names that `build_backbone` takes besides those of timm, sorted."""
    return sorted([SMALL, *zoo.list_models(module=zoo)])


def build_backbone(
    name: str,
    classes: int,
    *,
    channels: int = 1,
    dropout: float = 0.0,
    normalisation: Normalisation | None = None,
    size: tuple[int, int] = (224, 224),
) -> nn.Module:
    """Builds a randomly initialised classifier; [B, channels, H, W] in [0, 1] -> logits [B, K].

    Args:
        name: One of `architectures()`, or ``timm/NAME``.
        classes: Number of outputs K, >= 1.
        channels: Number of input channels; the first convolution is adapted.
        dropout: Probability before the last linear layer, 0 to below 1.
        normalisation: What the network does with its input first; None: nothing.
        size: Rows and columns of the images, px: vision transformers are made for one size.

    Raises:
        ValueError: Images that the patches of a vision transformer do not fill; unknown name (with
            suggestions), or no first convolution or last linear layer.
    """
    if name == SMALL:
        net: nn.Module = SmallResNet(classes, channels)
    elif name.startswith(TIMM):
        net = _build_timm(name.removeprefix(TIMM), classes, channels)
    else:
        if name not in zoo.list_models(module=zoo):
            raise ValueError(_unknown(name, architectures()))
        options = {**_WITHOUT_AUX.get(name, {}), **_size_options(name, size)}
        net = zoo.get_model(name, weights=None, num_classes=classes, **options)
        if channels != 3:
            adapt_channels(net, channels)
    if dropout:
        add_dropout(net, dropout)
    return net if normalisation is None else Normalised(net, normalisation.of_channels(channels))


def _size_options(name: str, size: tuple[int, int]) -> dict[str, Any]:
    """What a torchvision network that is made for one size of images has to know of it.

    Raises:
        ValueError: It cannot be made for this size.
    """
    if name.startswith("vit_"):
        patch = int(name.rpartition("_")[2])
        if size[0] != size[1] or size[0] % patch:
            raise ValueError(
                f"patches of {patch} px ({name}) do not fill images of {size[0]} x {size[1]} px "
                f"(model.input): expected a square whose side is a multiple of {patch}"
            )
        return {"image_size": size[0]}
    return {"input_size": size} if name.startswith("maxvit") else {}


def _build_timm(name: str, classes: int, channels: int) -> nn.Module:
    import timm  # a second of imports that most trainings do not need

    if not timm.is_model(name):
        raise ValueError(_unknown(TIMM + name, [TIMM + known for known in timm.list_models()]))
    net: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=classes, in_chans=channels
    )
    return net


def read_timm_normalisation(name: str) -> Normalisation | None:
    """What timm says of the images that a network's weights were trained on; None: it does not.

    Args:
        name: ``timm/NAME``.
    """
    import timm

    found = timm.get_pretrained_cfg(name.removeprefix(TIMM))
    return None if found is None else Normalisation(tuple(found.mean), tuple(found.std))


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"architecture {name!r}: unknown{hint}"


def adapt_channels(net: nn.Module, channels: int) -> None:
    """Replaces the first convolution by one of `channels` input channels, weights at random.

    Raises:
        ValueError: There is no convolution.
    """
    for path, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d):
            new = nn.Conv2d(
                channels,
                layer.out_channels,
                as_pair(layer.kernel_size),
                as_pair(layer.stride),
                layer.padding if isinstance(layer.padding, str) else as_pair(layer.padding),
                as_pair(layer.dilation),
                layer.groups,
                layer.bias is not None,
                layer.padding_mode,
            )
            net.set_submodule(path, new)
            return
    raise ValueError(f"{type(net).__name__}: has no convolution to adapt to {channels} channels")


def add_dropout(net: nn.Module, dropout: float) -> None:
    """Puts dropout before the last linear layer.

    Raises:
        ValueError: There is no linear layer.
    """
    linear = [path for path, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise ValueError(f"{type(net).__name__}: has no linear layer to put dropout before")
    last = net.get_submodule(linear[-1])
    net.set_submodule(linear[-1], nn.Sequential(nn.Dropout(dropout), last))


def count_parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
