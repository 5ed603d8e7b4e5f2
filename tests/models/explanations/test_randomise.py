"""Shuffled weights: what moves, what stays."""

from __future__ import annotations

import torch

from isnet_models.backbones import build_backbone
from isnet_models.explanations.randomise import list_groups, shuffle_weights


def test_groups_go_from_the_head_down_and_hold_every_weight_once() -> None:
    net = build_backbone("small", 2, channels=1, dropout=0.0)
    groups = list_groups(net, 4)
    names = [name for group in groups for name in group]
    assert len(groups) == 4
    assert len(groups[0]) == 1
    assert isinstance(dict(net.named_modules())[names[0]], torch.nn.Linear)
    assert len(set(names)) == len(names)
    with_weights = {n.rpartition(".")[0] for n, _ in net.named_parameters()}
    assert set(names) == with_weights
    assert list_groups(torch.nn.Sequential(torch.nn.Linear(2, 2))) == [("0",)]


def test_shuffled_weights_keep_their_values_and_the_network_itself() -> None:
    net = build_backbone("small", 2, channels=1, dropout=0.0).eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    (head,), *_ = list_groups(net)
    twin = shuffle_weights(net, [head], torch.Generator().manual_seed(0))
    again = shuffle_weights(net, [head], torch.Generator().manual_seed(0))
    assert not twin.training
    for name, values in net.state_dict().items():
        assert torch.equal(values, before[name])
        other = twin.state_dict()[name]
        assert torch.equal(other, again.state_dict()[name])
        assert torch.equal(other.flatten().sort().values, values.flatten().sort().values)
        if not name.startswith(head):
            assert torch.equal(other, values)
    assert not torch.equal(
        twin.get_parameter(f"{head}.weight"), net.get_parameter(f"{head}.weight")
    )
