"""Checkpoints of another structure are refused, place and all, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from isnet_cli.core.records.checkpoints import check_checkpoint, find_checkpoint
from isnet_cli.errors import IsnetError


def trained() -> tuple[nn.Module, torch.optim.Optimizer, dict[str, Any]]:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    row = {"epoch": 1.0, "lr": 1e-3, "seconds": 1.0, "val_auc": float("nan")}
    progress = {"epoch": 1, "history": [row], "best": {"value": 0.5, "epoch": 1.0}}
    state = {"identity": "a", "net": net.state_dict(), "optimizer": optimizer.state_dict()}
    return net, optimizer, {**state, "progress": progress}


def test_a_sound_checkpoint_is_taken() -> None:
    net, optimizer, state = trained()
    check_checkpoint(state, Path("last.ckpt"), net, optimizer, 2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("net"), "no net"),
        (lambda s: s.update(net=[]), "net: found a list"),
        (lambda s: s["net"].pop("bias"), "net.bias: missing"),
        (lambda s: s["net"].update(more=torch.ones(1)), "net.more: not a part"),
        (lambda s: s["net"].update(bias=torch.ones(3)), r"net.bias: found torch.float32 \[3\]"),
        (lambda s: s["net"].update(bias=torch.ones(2).double()), "torch.float64"),
        (lambda s: s["net"].update(bias=torch.full((2,), torch.nan)), "net.bias: NaN"),
        (lambda s: s.update(optimizer=None), "optimizer: expected param_groups"),
        (lambda s: s["optimizer"].update(param_groups=[]), "0 groups, expected 1"),
        (lambda s: s["optimizer"]["param_groups"][0].update(lr=float("nan")), "lr: found nan"),
        (lambda s: s["optimizer"]["param_groups"][0].update(params=[0]), "other parameters"),
        (lambda s: s["optimizer"]["state"].update({7: {}}), r"state\[7\]"),
        (lambda s: s["optimizer"]["state"][0].pop("exp_avg"), "expected exp_avg"),
        (lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.ones(9)), "exp_avg: found"),
        (lambda s: s["progress"].update(epoch=3), "epoch: found 3, expected 1 to 2"),
        (lambda s: s["progress"].update(epoch=True), "epoch: found True"),
        (lambda s: s["progress"].update(history=[]), "a row for each of 1 epochs"),
        (lambda s: s["progress"]["history"][0].update(lr="x"), r"history\[0\].lr"),
        (lambda s: s["progress"].update(best={"value": 1.0}), "best: expected value and epoch"),
    ],
)
def test_another_structure_is_refused(change: Callable[[dict[str, Any]], Any], says: str) -> None:
    net, optimizer, state = trained()
    state["net"] = dict(state["net"])
    change(state)
    with pytest.raises(IsnetError, match=says) as caught:
        check_checkpoint(state, Path("last.ckpt"), net, optimizer, 2)
    assert (caught.value.exit_code, "remove it" in caught.value.fix) == (5, True)


@pytest.mark.parametrize("state", [[1], "x", {"net": {}}, {"identity": 5}, None])
def test_what_is_no_training_is_refused(tmp_path: Path, state: Any) -> None:
    torch.save(state, tmp_path / "last.ckpt")
    with pytest.raises(IsnetError) as caught:
        find_checkpoint(tmp_path / "last.ckpt", "a")
    assert caught.value.exit_code == 5
