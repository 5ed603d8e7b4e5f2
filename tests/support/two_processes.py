"""Runs a piece of work in several processes that may talk to each other (gloo, on the CPU)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def in_two_processes(work: Callable[[int], Any], place: Path) -> Any:
    """`in_processes` of two."""
    return in_processes(work, place, 2)


def in_processes(work: Callable[[int], Any], place: Path, count: int) -> Any:
    """What `work` gives in the process of rank 0: tensors in lists and dicts.

    Args:
        work: A function of a module; called with the rank, from 0.
        place: A folder without an earlier meeting.
        count: Number of processes.
    """
    path = place / "found.pt"
    torch.multiprocessing.spawn(_enter, (work, place / "meeting", path, count), nprocs=count)
    return torch.load(path, weights_only=True)


def _enter(rank: int, work: Callable[[int], Any], meeting: Path, path: Path, count: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    try:
        found = work(rank)
        if rank == 0:
            torch.save(found, path)
    finally:
        dist.destroy_process_group()
