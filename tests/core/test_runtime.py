"""Devices, seeds and checkpoints."""

from __future__ import annotations

import pytest
import torch

from isnet_cli.core.runtime import choose_device, derive_seed, make_generator, thread_count
from isnet_cli.errors import IsnetError


def test_auto_takes_what_there_is_and_asked_for_is_never_replaced() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(IsnetError, match="not on this machine"):
        choose_device("cuda:99")


def test_one_gpu_is_not_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(IsnetError, match="'cuda:0' for several processes, expected a GPU for each"):
        choose_device("cuda:0")


def test_seeds_differ_by_purpose_and_repeat() -> None:
    assert derive_seed(0, "order", 1) == derive_seed(0, "order", 1)
    seeds = {derive_seed(s, p, e) for s in (0, 1) for p in ("order", "augment") for e in (0, 1)}
    assert len(seeds) == 8
    assert all(0 <= s < 2**63 for s in seeds)
    first, again = (torch.rand(3, generator=make_generator(1, "x")) for _ in range(2))
    assert torch.equal(first, again)
    assert thread_count(7) == 7
    assert 1 <= thread_count(None) <= 4
