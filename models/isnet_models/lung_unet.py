"""The lung U-Net: images of 256 x 256 px in, probability of lung per pixel out.

The network is segmentation-models-pytorch's U-Net (Ronneberger et al., arXiv:1505.04597) with a
MobileNetV3-small encoder (Howard et al., arXiv:1905.02244) and one input channel. Its pre-transform
is part of it: exposure and contrast are standardised by percentiles of the image, so it does not
matter how a reader scaled the grey values. Geometry (letterbox and way back) is the caller's part.
"""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from isnet_models.registry import Card, WeightsError, find_card
from isnet_models.weights import load_state, load_weights

SIZE = (256, 256)  # height and width of the input, px
ENCODER = "tu-mobilenetv3_small_100"
DECODER_CHANNELS = (128, 64, 32, 16, 16)
LOW, HIGH = 0.01, 0.99  # percentiles that become 0 and 1


class LungUNet(nn.Module):
    """U-Net with its intensity standardisation; weights are random until they are loaded.

    Args:
        encoder: Name of an encoder of segmentation-models-pytorch.
        decoder_channels: Channels of the decoder's five blocks, coarse to fine.
    """

    def __init__(
        self,
        encoder: str = ENCODER,
        decoder_channels: tuple[int, ...] = DECODER_CHANNELS,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder_channels = encoder, tuple(decoder_channels)
        self.unet: nn.Module = smp.Unet(
            encoder,
            encoder_weights=None,  # never a download
            decoder_channels=tuple(decoder_channels),
            in_channels=1,
            classes=1,
        )
        self.to(memory_format=torch.channels_last)  # twice as fast on CPUs

    def logits(self, images: Tensor) -> Tensor:
        """Logits of lung [B, 1, 256, 256] of letterboxed images [B, 1, 256, 256] in [0, 1]."""
        x = standardise(images).contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.unet(x)
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of lung [B, 1, 256, 256], float32, of images [B, 1, 256, 256] in [0, 1]."""
        return torch.sigmoid(self.logits(images).float())


def standardise(images: Tensor) -> Tensor:
    """Maps each image's 1st and 99th percentile to -2 and 2 and cuts what lies beyond.

    Pixels that are exactly 0 (the letterbox, collimation, masked markers) are left out of the
    percentiles, so that black borders of any width change nothing. A constant image becomes -2.

    Args:
        images: [B, 1, H, W], any linear grey scale with 0 as its lower end.
    """
    sample = images[:, 0, ::2, ::2].flatten(1).float()  # a quarter of the pixels is plenty
    ordered = sample.sort(dim=1).values
    zeros = (ordered <= 0).sum(1)
    visible = (ordered.shape[1] - zeros - 1).clamp(min=0)
    last = ordered.shape[1] - 1

    def percentile(q: float) -> Tensor:
        index = (zeros + (visible * q).round().long()).clamp(max=last)
        return ordered.gather(1, index[:, None])[:, :, None, None]

    low, high = percentile(LOW), percentile(HIGH)
    scaled = (images.float() - low) / (high - low).clamp(min=1e-6)
    return scaled.clamp(0, 1) * 4 - 2


def lung_unet(name: str = "lung-unet", device: torch.device | str = "cpu") -> LungUNet:
    """The trained network of a card, verified, on `device`, ready for inference.

    Args:
        name: Name in the registry, or path of a ``.safetensors`` file with its card beside.
        device: Where it shall compute.

    Raises:
        WeightsError: Unknown name, damaged or foreign file, weights of another architecture.
    """
    return from_card(find_card(name), device)


def from_card(card: Card, device: torch.device | str = "cpu") -> LungUNet:
    """As `lung_unet`, for a card that was read before."""
    return fold_normalisation(unfolded(card).eval()).to(device)


def unfolded(card: Card) -> LungUNet:
    """The network of a card as it was trained, on the CPU, to be trained further.

    Raises:
        WeightsError: As `lung_unet`.
    """
    options: dict[str, Any] = dict(card.architecture)
    if options.pop("class", None) != LungUNet.__name__:
        raise WeightsError(f"{card.name}: not a lung U-Net but {card.architecture.get('class')!r}")
    state = load_weights(card.weights, card.sha256)
    try:
        channels = tuple(int(n) for n in options["decoder_channels"])
        net = LungUNet(encoder=str(options["encoder"]), decoder_channels=channels)
        load_state(net, state, card.weights.name)
    except (KeyError, TypeError, ValueError, RuntimeError, WeightsError) as error:
        raise WeightsError(
            f"{card.weights.name}: weights do not fit the architecture of the card: {error}"
        ) from error
    return net


def fold_normalisation(net: LungUNet) -> LungUNet:
    """Merges each BatchNorm of the decoder into the convolution before it; same output, quicker.

    Args:
        net: In evaluation mode; changed in place.
    """
    for block in net.unet.modules():
        if not isinstance(block, nn.Sequential) or len(block) < 2:
            continue
        convolution, norm = block[0], block[1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block[0] = fuse_conv_bn_eval(convolution, norm)
            block[1] = nn.Identity()
    return net
