"""Runs a piece of work in two processes that may talk to each other (gloo, on the CPU)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def in_two_processes(work: Callable[[int], Any], place: Path) -> Any:
    """What `work` gives in the process of rank 0: tensors in lists and dicts.

    Args:
        work: A function of a module; called with the rank, 0 or 1.
        place: An empty folder.
    """
    path = place / "found.pt"
    torch.multiprocessing.spawn(_enter, (work, place / "meeting", path), nprocs=2)
    return torch.load(path, weights_only=True)


def _enter(rank: int, work: Callable[[int], Any], meeting: Path, path: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        found = work(rank)
        if rank == 0:
            torch.save(found, path)
    finally:
        dist.destroy_process_group()
