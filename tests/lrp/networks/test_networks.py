"""Networks of torchvision and timm run untouched, and their maps are the rules' maps."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.network_list import NETWORKS, TIMM, TORCHVISION, Network, build, images
from benchmarks.networks import Passed, conservation_error, count_passed
from isnet_lrp import UnsupportedOperation, relevance
from tests.lrp.oracles.surrogate import surrogate_maps

# In `make test`: small, and each with operations that the others lack.
QUICK = {
    "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "vit_tiny_patch16_224",
}  # fmt: skip
# In `make test-slow`: a sample of the families and of their operations, for a few minutes. All the
# other networks are tried by `make test-networks`.
SAMPLE = {
    "starnet_s1", "convnextv2_atto", "mobilevit_xxs", "resnet18", "densenet121", "efficientnet_b0",
    "vit_b_32", "swin_t", "mnasnet0_5", "resnet10t", "resnetblur18", "skresnet18", "resnest14d",
    "resnetv2_18", "nf_resnet26", "lcnet_035", "mobilenetv4_conv_small_035", "repghostnet_050",
    "ghostnet_050", "fasternet_t0", "hgnetv2_b0", "mixnet_s", "tf_efficientnet_cc_b0_4e",
    "mobileone_s0", "inception_next_atto", "poolformer_s12", "mambaout_femto", "mobilevitv2_050",
    "edgenext_xx_small", "efficientvit_b0", "efficientformerv2_s0", "iformer_t", "cait_xxs24_224",
    "eva02_tiny_patch14_224", "pit_ti_224", "convit_tiny", "deit_tiny_distilled_patch16_224",
    "levit_128s", "pvt_v2_b0", "xcit_nano_12_p16_224", "gmlp_ti16_224", "mixer_s32_224",
}  # fmt: skip
NOT_CONSERVED = {"coat_tiny", "csatv2", "iformer_t"}  # docs/networks.md says why
ROUGH = {"iformer_t", "mobilenetv4_hybrid_medium"}  # round more in float32, by threads
IN_FLOAT32 = {"efficientvit_b0", "resnetv2_50d_evos", "resnetv2_50d_frn"}  # in part
# ReLU, piecewise linear operations and BatchNorm alone: their maps are gradient x input.
PURE = {
    "torchvision-alexnet", "torchvision-densenet121", "torchvision-googlenet",
    "torchvision-inception_v3", "torchvision-mnasnet0_5", "torchvision-regnet_x_400mf",
    "torchvision-resnet18", "torchvision-resnext50_32x4d", "torchvision-shufflenet_v2_x0_5",
    "torchvision-squeezenet1_1", "torchvision-vgg11_bn", "torchvision-wide_resnet50_2",
    "timm-resnet10t", "timm-resnetblur18", "timm-resnetaa34d", "timm-res2net50_26w_4s",
    "timm-resnetv2_18", "timm-nf_resnet26", "timm-densenetblur121d", "timm-dla34",
    "timm-hgnetv2_b0", "timm-mobileone_s0", "timm-fbnetc_100", "timm-hrnet_w18_small",
    "timm-selecsls42", "timm-legacy_xception", "timm-xception41p", "timm-inception_v4",
    "timm-inception_resnet_v2", "timm-nasnetalarge", "timm-pnasnet5large", "timm-repvgg_a0",
    "timm-vgg11_bn", "timm-mobilenetv4_conv_small_035",
}  # fmt: skip
Z_PLUS = {  # quick ones, with a z+ rule for every operation, and without
    "squeezenet1_1": True, "mobilenet_v3_small": True, "starnet_s1": True, "ghostnet_050": True,
    "convnextv2_atto": True, "vit_tiny_patch16_224": False, "levit_128s": False,
}  # fmt: skip


def mark(name: str) -> list[pytest.MarkDecorator]:
    if name in QUICK:
        return []
    return [pytest.mark.slow if name in SAMPLE else pytest.mark.exhaustive]


def cases(keep: set[str] | None = None) -> list[object]:
    return [
        pytest.param(n, id=str(n), marks=mark(n.name))
        for n in NETWORKS
        if keep is None or str(n) in keep or n.name in keep
    ]


@pytest.fixture(scope="module", params=cases())
def network(request: pytest.FixtureRequest) -> Network:
    found: Network = request.param
    return found


@pytest.fixture(scope="module")
def built(network: Network) -> Iterator[nn.Module]:
    yield build(network)
    if network.name not in QUICK:
        gc.collect()  # networks are large: their cycles go before the next one comes


@pytest.fixture
def net(built: nn.Module) -> nn.Module:
    return copy.deepcopy(built)


def error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    return float((ours - theirs).detach().abs().max() / theirs.abs().max())


def test_every_family_is_listed() -> None:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    stems = ("alexnet", "convnext", "densenet", "efficientnet_b", "efficientnet_v2", "googlenet",
             "inception", "maxvit", "mnasnet", "mobilenet_v2", "mobilenet_v3", "regnet_x",
             "regnet_y", "resnet", "resnext", "wide_resnet", "shufflenet", "squeezenet",
             "swin_v2", "swin_", "vgg", "vit")  # fmt: skip
    assert [n for n in names if not n.startswith(stems)] == []
    listed = [network.name for network in TORCHVISION]
    assert [stem for stem in stems if not any(n.startswith(stem) for n in listed)] == []
    assert len({network.name for network in TIMM}) == len(TIMM) >= 100
    assert {network.name for network in NETWORKS} >= QUICK | SAMPLE
    assert {str(network) for network in NETWORKS} >= PURE


def test_runs_untouched(network: Network, net: nn.Module) -> None:
    x = images(network, 2)
    with torch.no_grad():
        plain = net(x)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    kinds = [type(module) for module in net.modules()]
    drawn = torch.get_rng_state()
    for target, maps in (("all", 3), ("selective", 1)):
        result = relevance(net, x, target, create_graph=True)  # type: ignore[arg-type]
        assert result.maps.shape == (2, maps, *x.shape[1:])
        assert result.maps.isfinite().all()
        assert result.maps.abs().amax((1, 2, 3, 4)).min() > 0
        assert error(result.logits, plain) < (2e-4 if network.name in ROUGH else 5e-6)
        (result.maps.square().mean() + F.cross_entropy(result.logits, torch.tensor([0, 1]))
         ).backward()  # fmt: skip
    reached = [p.grad for p in net.parameters() if p.grad is not None]
    assert len(reached) > 0.9 * len(list(net.parameters())) - 12  # heads and biases kept in caches
    assert all(bool(grad.isfinite().all()) for grad in reached)
    assert not any(module.training for module in net.modules())
    assert [type(module) for module in net.modules()] == kinds
    assert torch.equal(torch.get_rng_state(), drawn)
    after = net.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_maps_equal_those_of_the_changed_network(network: Network, net: nn.Module) -> None:
    net, x = net.double(), images(network, 2).double()
    slow = {epsilon: surrogate_maps(net, x, epsilon) for epsilon in (0.01, 0.0)}
    for epsilon, (expected, logits) in slow.items():
        result = relevance(net, x, "all", epsilon=epsilon)
        assert error(result.logits, logits) < (1e-5 if network.name in IN_FLOAT32 else 1e-11)
        assert error(result.maps, expected) < (1e-5 if network.name in IN_FLOAT32 else 1e-9)


@pytest.mark.parametrize("network", cases(PURE), indirect=True, scope="module")
def test_relu_networks_give_gradient_times_input(network: Network, net: nn.Module) -> None:
    net, x = net.double(), images(network, 2).double()
    result = relevance(net, x, "all", epsilon=0.0)
    image = x.clone().requires_grad_()
    logits = net(image)
    expected = [
        x * torch.autograd.grad(logits[:, k].sum(), image, retain_graph=True)[0] for k in range(3)
    ]
    assert error(result.maps, torch.stack(expected, 1)) < 1e-11


def test_rules_are_exact_for_relu_networks_and_no_other(network: Network, net: nn.Module) -> None:
    found = count_passed(net, images(network, 1))
    exact = found.rules == () and found.smooth == 0
    assert exact == (str(network) in PURE)
    assert found.relu + found.smooth + found.norm + found.gate > 0


def test_relevance_is_conserved_without_biases(network: Network, net: nn.Module) -> None:
    lost = conservation_error(net, images(network, 4))
    if network.name in NOT_CONSERVED:
        assert 1e-4 < lost < 2
    else:
        assert lost < (1e-5 if network.name in IN_FLOAT32 else 1e-9)


def test_block_runs_wherever_flex_runs(network: Network, net: nn.Module) -> None:
    net, x = net.double(), images(network, 2).double()
    block = relevance(net, x, "predicted", family="block").maps
    flex = relevance(net, x, "predicted").maps
    assert block.isfinite().all()
    assert block.abs().sum() > 0
    assert error(block, flex) > 1e-6  # more sites
    tiny = relevance(net, x, "predicted", family="block", epsilon=1e-13).maps
    assert error(tiny, relevance(net, x, "predicted", epsilon=1e-13).maps) < 1e-3  # which vanish


@pytest.mark.parametrize("network", cases(set(Z_PLUS)), indirect=True, scope="module")
def test_z_plus_runs_on_convolutional_networks_and_names_what_it_cannot(
    network: Network, net: nn.Module
) -> None:
    x = images(network, 1)
    if Z_PLUS[network.name]:
        maps = relevance(net, x, family="z+").maps
        assert maps.isfinite().all()
        assert maps.abs().sum() > 0
        assert relevance(net, x, family="dual").maps.shape[1] == 2
    else:
        for family in ("z+", "dual"):
            with pytest.raises(UnsupportedOperation, match=r"(attention|matmul): no rule by signs"):
                relevance(net, x, family=family)  # type: ignore[arg-type]


def test_sites_are_counted_on_the_way_of_relevance() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
            self.gate, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.silu(F.relu(self.norm(self.conv(x))))
            gate = torch.sigmoid(self.gate(F.relu(x.mean((2, 3)))))
            out: Tensor = self.head((x.amax((2, 3)) * gate).abs())
            return out

    with pytest.warns(match="abs"):
        found = count_passed(Small().eval(), torch.rand(1, 3, 4, 4))
    assert found == Passed(1, 1, 1, 0, 1, ("act", "grad", "gate"))
