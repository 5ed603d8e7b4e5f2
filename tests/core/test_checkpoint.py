"""Checkpoints hold plain data and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from isnet_cli.core.checkpoint import load_checkpoint, own_checkpoint, save_checkpoint
from isnet_cli.errors import IsnetError


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    state = {"net": {"w": torch.randn(3)}, "epoch": 4, "history": [{"a": 0.1}], "best": None}
    save_checkpoint(tmp_path / "c.ckpt", state)
    back = load_checkpoint(tmp_path / "c.ckpt")
    assert torch.equal(back["net"]["w"], state["net"]["w"])
    assert back["history"] == [{"a": 0.1}]


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_checkpoint_with_code_or_damage_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"x": Evil()}, tmp_path / "evil.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04 rubbish")
    for name in ("evil.ckpt", "cut.ckpt", "none.ckpt"):
        with pytest.raises(IsnetError, match="not a readable checkpoint"):
            load_checkpoint(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_only_the_checkpoint_of_the_same_training_is_given(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert own_checkpoint(path, "a") is None
    save_checkpoint(path, {"identity": "a", "epoch": 3})
    assert own_checkpoint(path, "a") == {"identity": "a", "epoch": 3}
    assert own_checkpoint(path, "b") is None
