"""The processes that torchrun started for one command, and what they tell each other.

What they tell is text and numbers as JSON, never pickled objects.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    import torch

FAILED = "isnet/failed"  # counter of the processes that had an error to report
PATIENCE = timedelta(days=7)  # one process may work alone for long; a dead one is noticed at once


@dataclass(frozen=True)
class Processes:
    """This process among those of its command.

    Attributes:
        rank: Its number, from 0; process 0 alone writes and prints.
        count: How many there are.
        store: Of torchrun; None where this process is alone.
    """

    rank: int = 0
    count: int = 1
    store: Any = None

    @property
    def leads(self) -> bool:
        """Whether this is process 0, which writes."""
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """The value of process 0, JSON-able, for all."""
        return self.gather(value if self.leads else None)[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, JSON-able, by rank, for all."""
        if self.count == 1:
            return [value]
        import torch
        import torch.distributed as dist

        sent = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        with explain_loss():
            lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
            dist.all_gather(lengths, torch.tensor([len(sent)]))
            most = max(int(length) for length in lengths)
            padded = torch.zeros(most, dtype=torch.uint8)
            padded[: len(sent)] = sent
            found = [torch.zeros(most, dtype=torch.uint8) for _ in range(self.count)]
            dist.all_gather(found, padded)
        texts = zip(found, lengths, strict=True)
        return [json.loads(bytes(text[: int(n)].tolist())) for text, n in texts]

    def any(self, mine: bool) -> bool:
        """Whether any process says so."""
        if self.count == 1:
            return mine
        import torch
        import torch.distributed as dist

        flag = torch.tensor([int(mine)])
        with explain_loss():
            dist.all_reduce(flag)
        return bool(flag)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of the processes' tensors of one shape."""
        if self.count == 1:
            return values
        import torch.distributed as dist

        total = values.clone()
        with explain_loss():
            dist.all_reduce(total)
        return total

    def wait(self) -> None:
        """Returns once every process is here."""
        self.any(False)

    def leave(self) -> None:
        """Ends the talk, after work that went well."""
        if self.count > 1:
            import torch.distributed as dist

            self.wait()
            dist.destroy_process_group()

    def is_first_to_fail(self) -> bool:
        """Whether no other process has reported an error: one error is printed, not one of each."""
        if self.store is None:  # alone, or they have not met
            return not are_several() or os.environ.get("RANK") == "0"
        try:
            return bool(self.store.add(FAILED, 1) == 1)
        except RuntimeError:  # the store ended with its process
            return self.leads


ALONE = Processes()


def are_several() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def join_processes() -> Processes:
    """Meets the other processes that torchrun started; `ALONE` where there are none.

    Raises:
        IsnetError: Kind "machine": they cannot be reached, or there are more on this machine than
            GPUs.
    """
    if not are_several():
        return ALONE
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, count = next(rendezvous("env://", timeout=timedelta(minutes=5)))
        cuda = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo", store=store,
            rank=rank, world_size=count, timeout=PATIENCE,
        )  # fmt: skip
    except (RuntimeError, ValueError, KeyError) as error:
        raise IsnetError(
            "machine",
            "the processes of this command cannot reach each other, expected torchrun to have"
            " started all of them",
            fix="torchrun --nproc-per-node N -m isnet_cli run CONFIG",
        ) from error
    local = int(os.environ.get("LOCAL_RANK") or 0)
    if cuda:
        if local >= torch.cuda.device_count():
            raise IsnetError(
                "machine",
                f"process {rank}: GPU {local} asked for, and this machine has"
                f" {torch.cuda.device_count()}",
                fix=f"--nproc-per-node {torch.cuda.device_count()}",
            )
        torch.cuda.set_device(local)
    return Processes(rank, count, store)


@contextlib.contextmanager
def explain_loss() -> Iterator[None]:
    """Says that another process has ended, in place of torch's error.

    Raises:
        IsnetError: Kind "machine".
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        lost = ("connection", "peer", "gloo", "nccl", "timed out", "socket")
        if not any(word in words for word in lost):
            raise
        raise IsnetError(
            "machine",
            "another process of this command has ended, and all of them with it",
            fix="the same command continues from what was finished; its log says which one it was",
        ) from error


def refuse_differences(processes: Processes, facts: dict[str, str]) -> None:
    """Makes sure that all processes work on the same thing.

    Args:
        processes: All of them.
        facts: What has to be equal, by name.

    Raises:
        IsnetError: Kind "config": names what differs and in which process.
    """
    every = processes.gather(facts)
    for rank, found in enumerate(every):
        for name, value in every[0].items():
            if found.get(name) != value:
                raise IsnetError(
                    "config",
                    f"process {rank}: {name} is another than that of process 0",
                    fix="the same command, files and versions on every machine",
                )
