"""What is said of a network's size before training is what happens with real images."""

from __future__ import annotations

import pytest
import torch
from torchvision import models as zoo

from isnet_cli.config.load import load
from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_cli.train.setup import build_untrained, check_size, find_segmenter

ODD = (33, 47)  # px: no network is made for it
TIMM = (
    *("cait_xxs24_224", "coat_tiny", "convit_tiny", "convnext_atto", "crossvit_tiny_240"),
    *("deit_tiny_patch16_224", "densenet121", "efficientformer_l1", "efficientnet_b0"),
    *("ghostnet_100", "hrnet_w18_small", "levit_128s", "mixer_s32_224", "mobilenetv3_small_100"),
    *("mobilevit_xxs", "nfnet_l0", "pvt_v2_b0", "resnet18", "swin_tiny_patch4_window7_224"),
    *("tf_efficientnet_lite0", "vit_tiny_patch16_224", "xcit_nano_12_p16_224"),
)
LARGE = {
    "regnet_y_32gf",
    "regnet_y_128gf",
    "vit_h_14",
    "vit_l_16",
    "vit_l_32",
}  # for small machines
NETWORKS = (
    *(name for name in zoo.list_models(module=zoo) if name not in LARGE),
    *(f"timm/{name}" for name in TIMM),
)


def find_refusal(config: Config) -> IsnetError | None:
    try:
        check_size(config)
    except IsnetError as error:
        return error
    return None


@pytest.mark.exhaustive
@pytest.mark.parametrize("arch", NETWORKS)
def test_the_check_of_a_size_foretells_what_the_network_does(arch: str) -> None:
    words = [f"model.arch={arch}", f"model.input=[{ODD[0]}, {ODD[1]}]", "train.method=standard"]
    config = load(None, words)
    refused = find_refusal(config)
    if refused is not None:
        assert refused.exit_code == 3
        assert refused.message.startswith(f"model.input: {arch} does not take images of 33 x 47 px")
        assert refused.fix.startswith(("--set model.input=", "another model.arch"))
        if refused.fix.startswith("--set"):
            check_size(load(None, [*words, refused.fix.removeprefix("--set ")]))
        return
    net = build_untrained(config, 2, find_segmenter(config)).train()
    with torch.no_grad():
        found = net(torch.rand(2, config.model.channels, *ODD))
    assert tuple(found.shape) == (2, 2)
