"""What networks do that an explanation must survive, or refuse by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from isnet_lrp import RelevanceWarning, UnsupportedOperation, relevance
from isnet_lrp.ops.product import CONSTANTS, FACTORS
from isnet_lrp.record.table import HANDLERS


class Net(nn.Module):
    """A network whose middle [B, 6, 4, 4] -> [B, 6, 4, 4] is given."""

    def __init__(self, middle: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.middle = middle
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.mix, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 3)
        self.mha = nn.MultiheadAttention(6, 2, batch_first=True)
        self.double()

    def block(self, x: Tensor) -> Tensor:
        return F.gelu(self.mix(F.relu(self.norm(x))) + x)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.middle(self, self.stem(x)).mean((2, 3)))
        return found


def images() -> Tensor:
    return torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).double()


def gradients(net: nn.Module) -> Tensor:
    found = relevance(net, images(), "selective", create_graph=True)
    loss = 100 * found.maps.square().sum() + found.logits.square().sum()
    parameters = [p for n, p in net.named_parameters() if "mha" not in n]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


@pytest.mark.parametrize("training", [False, True])
def test_checkpoints_inside_the_network_change_nothing(training: bool) -> None:
    plain = Net(Net.block).train(training)
    saving = Net(lambda net, x: checkpoint(net.block, x, use_reentrant=False)).train(training)
    assert torch.equal(gradients(saving), gradients(plain))
    for counted in (plain, saving):
        assert int(counted.norm.num_batches_tracked) == int(training)  # it ran once


def test_homogeneous_functions_warn_and_conserve() -> None:
    net = Net(lambda net, x: x.abs()).eval()
    nn.init.zeros_(net.stem.bias)
    nn.init.zeros_(net.head.bias)
    with pytest.warns(RelevanceWarning, match="abs: no relevance rule of its own"):
        found = relevance(net, images(), "all", epsilon=0.0)
    torch.testing.assert_close(found.maps.sum((2, 3, 4)), found.logits)


@pytest.mark.parametrize("name", ["log", "logsumexp"])
def test_functions_that_may_only_be_factors_are_named_elsewhere(name: str) -> None:
    def f(x: Tensor) -> Tensor:
        y = x.square() + 1
        return torch.log(y) if name == "log" else torch.logsumexp(y, 1, keepdim=True)

    factor = Net(lambda net, x: x * f(x)).eval()
    held = Net(lambda net, x: x * f(x).detach()).eval()
    ours, theirs = (relevance(n, images(), "all").maps for n in (factor, held))
    torch.testing.assert_close(ours, theirs)
    with pytest.raises(UnsupportedOperation, match=rf"^{name} "):
        relevance(Net(lambda net, x: x + f(x)).eval(), images())


def attended(net: Net, x: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
    t = x.flatten(2).transpose(1, 2)
    out, weights = net.mha(t, t, t, **options)
    return out.transpose(1, 2).view(x.shape), weights


def test_attention_hands_out_the_weights_it_used() -> None:
    seen: list[Tensor] = []

    def middle(net: Net, x: Tensor) -> Tensor:
        out, weights = attended(net, x)
        assert weights is not None
        seen.append(weights.detach())
        return out

    net = Net(middle).eval()
    with torch.no_grad():
        plain = net(images())
    found = relevance(net, images(), "all")
    torch.testing.assert_close(found.logits, plain)
    torch.testing.assert_close(seen[1], seen[0])
    lean = Net(lambda net, x: attended(net, x, need_weights=False)[0]).eval()
    torch.testing.assert_close(found.maps, relevance(lean, images(), "all").maps)


def test_padded_keys_get_no_relevance() -> None:
    blocked = torch.zeros(2, 16, dtype=torch.bool)
    blocked[:, 8:] = True
    net = Net(lambda net, x: attended(net, x, key_padding_mask=blocked)[0]).eval()
    with torch.no_grad():
        plain = net(images())
    found = relevance(net, images(), "all")
    torch.testing.assert_close(found.logits, plain)
    assert found.maps[:, :, :, 3].abs().max() == 0  # beyond the reach of the first eight places
    assert found.maps[:, :, :, 0].abs().max() > 0


@pytest.mark.parametrize("option", ["bias_k", "add_zero_attn"])
def test_rare_options_of_attention_are_named(option: str) -> None:
    net = Net(lambda net, x: attended(net, x)[0]).eval()
    given = {"add_bias_kv": True} if option == "bias_k" else {"add_zero_attn": True}
    net.mha = nn.MultiheadAttention(6, 2, batch_first=True, **given).double().eval()
    with pytest.raises(UnsupportedOperation, match=option):
        relevance(net, images())


def test_a_tensor_that_lends_its_shape_gets_nothing() -> None:
    def plain(net: Net, x: Tensor) -> Tensor:
        return x * net.head.weight[0].view(1, 6, 1, 1).expand(x.shape)

    def lent(net: Net, x: Tensor) -> Tensor:
        return x * net.head.weight[0].view(1, 6, 1, 1).expand_as(x).type_as(x)

    ours, theirs = (relevance(Net(m).eval(), images(), "all").maps for m in (lent, plain))
    torch.testing.assert_close(ours, theirs)


def test_every_name_with_a_rule_is_known_to_torch() -> None:
    import torchvision

    def known(name: str) -> bool:
        homes = (torch, F, Tensor, torch.special, torchvision.ops)
        return any(hasattr(home, name) for home in homes) or hasattr(
            torch.fft, name.removeprefix("fft_")
        )

    spelled = {"getitem", "setitem", "rsub", "rmatmul", "rdiv", "rpow"}
    assert set(HANDLERS) >= CONSTANTS | FACTORS
    assert {name for name in set(HANDLERS) - spelled if not known(name)} <= {
        "linalg_norm", "linalg_vector_norm", "vector_norm", "special_expit",
    }  # fmt: skip
