"""The networks of docs/networks.md: one small member per family, with random weights.

Sizes and depths are cut where a family allows it, so that all of them run on one core.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 3


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        package: "torchvision" or "timm".
        name: Its name there.
        size: Height and width of its images in pixels.
        options: Further arguments of its constructor.
    """

    package: str
    name: str
    size: int = 64
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.package}-{self.name}"


def torchvision(name: str, size: int = 64, **options: Any) -> Network:
    return Network("torchvision", name, size, options)


def timm(name: str, size: int = 64, **options: Any) -> Network:
    return Network("timm", name, size, options)


def at(size: int, **options: Any) -> dict[str, Any]:
    """Arguments of networks that need the size of their images."""
    return {"size": size, "img_size": size, **options}


UNAIDED = {"aux_logits": False, "init_weights": False}

TORCHVISION = (
    torchvision("alexnet"), torchvision("convnext_tiny"), torchvision("densenet121"),
    torchvision("efficientnet_b0"), torchvision("efficientnet_v2_s"),
    torchvision("googlenet", **UNAIDED), torchvision("inception_v3", 96, **UNAIDED),
    torchvision("maxvit_t", 224), torchvision("mnasnet0_5"), torchvision("mobilenet_v2"),
    torchvision("mobilenet_v3_small"), torchvision("regnet_x_400mf"),
    torchvision("regnet_y_400mf"), torchvision("resnet18"), torchvision("resnext50_32x4d"),
    torchvision("shufflenet_v2_x0_5"), torchvision("squeezenet1_1"), torchvision("swin_t"),
    torchvision("swin_v2_t"), torchvision("vgg11_bn"), torchvision("vit_b_32", image_size=64),
    torchvision("wide_resnet50_2"),
)  # fmt: skip

TIMM = (
    # ResNets and their relatives
    timm("resnet10t"), timm("resnetblur18"), timm("resnetaa34d"), timm("seresnet18"),
    timm("ecaresnet26t"), timm("skresnet18"), timm("resnest14d"), timm("res2net50_26w_4s"),
    timm("resnetv2_18"), timm("resnetv2_50x1_bit"), timm("resnetv2_50d_evos"),
    timm("resnetv2_50d_frn"), timm("nf_resnet26"), timm("eca_nfnet_l0"), timm("nf_regnet_b0"),
    timm("gcresnext26ts"), timm("legacy_seresnet18"), timm("tresnet_m"),
    # other convolutional networks
    timm("densenetblur121d"), timm("rdnet_tiny"), timm("dla34"), timm("dpn48b"),
    timm("hrnet_w18_small"), timm("cs3darknet_s"), timm("cspresnet50"), timm("cspnext_tiny"),
    timm("selecsls42"), timm("ese_vovnet19b_dw"), timm("hgnetv2_b0"), timm("legacy_xception"),
    timm("xception41p"), timm("inception_v4", 96), timm("inception_resnet_v2", 96),
    timm("nasnetalarge", 96), timm("pnasnet5large", 96), timm("repvgg_a0"), timm("mobileone_s0"),
    timm("repghostnet_050"), timm("vgg11_bn"),
    # small ones
    timm("efficientnet_b0_gn"), timm("tf_efficientnet_cc_b0_4e"), timm("mixnet_s"),
    timm("fbnetc_100"), timm("hardcorenas_a"), timm("lcnet_035"), timm("lcnetv2_small"),
    timm("mobilenetv1_100"), timm("mobilenetv2_050"), timm("mobilenetv3_small_050"),
    timm("mobilenetv4_conv_small_035"), timm("mobilenetv4_hybrid_medium"), timm("ghostnet_050"),
    timm("ghostnetv2_100"), timm("ghostnetv3_050"), timm("rexnet_100"), timm("regnetz_005"),
    timm("fasternet_t0"), timm("starnet_s1"), timm("repvit_m0_9"), timm("shvit_s1"),
    # modern convolutional networks and metaformers
    timm("convnext_atto"), timm("convnextv2_atto"), timm("inception_next_atto"),
    timm("convmixer_1024_20_ks9_p14", 70), timm("focalnet_tiny_srf"), timm("mambaout_femto"),
    timm("poolformer_s12"), timm("convformer_s18"), timm("caformer_s18"),
    # attention beside convolution
    timm("botnet26t_256", **at(64)), timm("lambda_resnet26t", **at(64)),
    timm("eca_halonext26ts", 256), timm("coatnet_pico_rw_224", **at(64)),
    timm("maxvit_pico_rw_256", **at(64)), timm("mobilevit_xxs"), timm("mobilevitv2_050"),
    timm("edgenext_xx_small"), timm("efficientformer_l1", 224),
    timm("efficientformerv2_s0", **at(64)), timm("efficientvit_b0"),
    timm("efficientvit_m0", **at(64)), timm("efficientvim_m1"), timm("fastvit_sa12"),
    timm("levit_128s", **at(64)), timm("nextvit_small"), timm("iformer_t"), timm("lowformer_b0"),
    timm("swiftformer_xs"), timm("visformer_tiny", **at(64)), timm("tiny_vit_5m_224"),
    timm("vit_tiny_r_s16_p8_224", **at(64)), timm("csatv2"),
    # transformers and mixers
    timm("vit_tiny_patch16_224", **at(64, depth=4)),
    timm("vit_relpos_small_patch16_224", **at(64, depth=3)),
    timm("deit_tiny_distilled_patch16_224", **at(64, depth=4)),
    timm("deit3_small_patch16_224", **at(64, depth=3)),
    timm("beit_base_patch16_224", **at(64, depth=3)),
    timm("eva02_tiny_patch14_224", **at(56, depth=4)),
    timm("samvit_base_patch16_224", **at(64, depth=3)), timm("cait_xxs24_224", **at(64, depth=4)),
    timm("coat_tiny", **at(64)), timm("convit_tiny", **at(64)), timm("crossvit_9_240", 240),
    timm("davit_tiny"), timm("gcvit_xxtiny", **at(64)), timm("hiera_tiny_224", **at(64)),
    timm("mvitv2_tiny", **at(64)), timm("nest_tiny", **at(64)), timm("pit_ti_224", **at(64)),
    timm("pvt_v2_b0"), timm("swin_tiny_patch4_window7_224", **at(64, window_size=4)),
    timm("swinv2_tiny_window8_256", **at(64)),
    timm("swinv2_cr_tiny_224", **at(64, window_size=2)),
    timm("tnt_s_patch16_224", **at(64, depth=3)), timm("twins_svt_small", **at(64)),
    timm("vitamin_small_224", **at(64)), timm("volo_d1_224", **at(64)),
    timm("xcit_nano_12_p16_224", **at(64)), timm("gmixer_12_224", **at(64)),
    timm("gmlp_ti16_224", **at(64)), timm("mixer_s32_224", **at(64)),
    timm("resmlp_12_224", **at(64)),
)  # fmt: skip

NETWORKS = TORCHVISION + TIMM


def build(network: Network) -> nn.Module:
    """The network with random weights and three classes, settled, in evaluation mode."""
    torch.manual_seed(0)
    if network.package == "timm":
        import timm as package

        net: nn.Module = package.create_model(network.name, num_classes=CLASSES, **network.options)
    else:
        import torchvision as package

        net = package.models.get_model(network.name, num_classes=CLASSES, **network.options)
    settle(net, images(network, 4))
    return net.eval()


def images(network: Network, n: int) -> Tensor:
    """The first n of four images [n, 3, size, size] in [0, 1]: soft patches and noise."""
    generator = torch.Generator().manual_seed(1)
    size = network.size
    coarse = torch.rand(4, 3, 5, 5, generator=generator)
    soft = nn.functional.interpolate(coarse, (size, size), mode="bilinear", align_corners=True)
    return (0.7 * soft + 0.3 * torch.rand(4, 3, size, size, generator=generator))[:n]


def settle(net: nn.Module, x: Tensor) -> None:
    """Makes a fresh network behave as a trained one: no parameter is zero, logits are moderate.

    BatchNorm's running statistics are those of x (fresh ones let activations vanish or grow with
    depth), parameters that start at zero are drawn, the classifier is scaled.
    """
    generator = torch.Generator().manual_seed(3)
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momentum = [norm.momentum for norm in norms]
    with torch.no_grad():
        for p in net.parameters():
            if p.abs().max() == 0:
                drawn = torch.randn(p.shape, generator=generator)
                p.copy_(drawn * (0.05 if p.dim() > 1 else 0.1))
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        net.train()(x)
        for norm, usual in zip(norms, momentum, strict=True):
            norm.momentum = usual
        spread = net.eval()(x).abs().max()
        heads = [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))
                 and m.weight.shape[0] == CLASSES]  # fmt: skip
        for head in heads:
            for p in head.parameters():
                p.mul_(2 / spread)


if __name__ == "__main__":
    print(*NETWORKS, sep="\n")
