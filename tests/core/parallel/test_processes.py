"""What processes tell each other, and that one alone needs nobody."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from isnet_cli.core.parallel.processes import (
    ALONE,
    Processes,
    are_several,
    explain_loss,
    join_processes,
    refuse_differences,
)
from isnet_cli.errors import IsnetError
from tests.support.two_processes import in_processes


def test_one_process_alone_hears_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not are_several()
    assert join_processes() is ALONE
    assert ALONE.leads
    assert ALONE.broadcast({"a": 1}) == {"a": 1}
    assert ALONE.gather(2) == [2]
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert torch.equal(ALONE.sum(torch.ones(2)), torch.ones(2))
    assert ALONE.is_first_to_fail()
    ALONE.wait()
    ALONE.leave()


def work(count: int, rank: int) -> list[torch.Tensor]:
    some = Processes(rank, count)
    said = some.gather({"rank": rank, "value": 0.1 + rank, "text": "x" * rank})
    assert said == [{"rank": r, "value": 0.1 + r, "text": "x" * r} for r in range(count)]
    figures = some.broadcast({"auc": math.nan, "loss": 0.1 + 0.2} if rank == 0 else {"auc": 1.0})
    assert math.isnan(figures["auc"])
    assert figures["loss"] == 0.1 + 0.2
    flags = [some.any(rank == count - 1), some.any(False)]
    with pytest.raises(IsnetError, match="process 1: the configuration is another"):
        refuse_differences(some, {"version": "1", "the configuration": str(min(rank, 1))})
    refuse_differences(some, {"version": "1"})
    return [some.sum(torch.tensor([1.0, rank])), torch.tensor(flags)]


@pytest.mark.slow  # processes
def test_all_processes_hear_the_same(tmp_path: Path) -> None:
    total, flags = in_processes(partial(work, 3), tmp_path, 3)
    assert total.tolist() == [3.0, 3.0]
    assert flags.tolist() == [True, False]


@pytest.mark.parametrize(
    "environment",
    [{}, {"RANK": "0"}, {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "x"}],
)
def test_processes_that_cannot_meet_say_how_to_start_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(IsnetError, match="cannot reach each other") as caught:
        join_processes()
    assert caught.value.kind == "machine"


def test_the_end_of_another_process_is_told_as_such() -> None:
    with (
        pytest.raises(IsnetError, match="another process of this command has ended"),
        explain_loss(),
    ):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    with pytest.raises(RuntimeError, match="size of tensor"), explain_loss():
        raise RuntimeError("The size of tensor a must match")


def work_beside_a_dead_one(rank: int) -> list[torch.Tensor]:
    some = Processes(rank, 2)
    some.wait()
    if rank == 1:
        os._exit(0)
    with pytest.raises(IsnetError, match="another process of this command has ended"):
        talk_for_long(some)
    return []


def talk_for_long(some: Processes) -> None:
    for _ in range(100):
        some.wait()


@pytest.mark.slow  # processes
def test_a_dead_process_is_noticed_at_once(tmp_path: Path) -> None:
    assert in_processes(work_beside_a_dead_one, tmp_path, 2) == []
