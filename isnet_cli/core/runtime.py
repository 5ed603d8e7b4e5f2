"""The machine's part of a run: device, threads, determinism, and one seed per purpose."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the first GPU, or the CPU.

    Raises:
        IsnetError: Kind "machine", when a device that was asked for is missing.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    missing = (device.type == "cuda" and not torch.cuda.is_available()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise IsnetError(
            "machine",
            f"device '{name}': not on this machine",
            fix="--device cpu, or --device auto to take what there is",
        )
    return device


def make_deterministic(on: bool) -> None:
    """Makes torch choose reproducible algorithms, or not; TF32 is off: it distorts gradients."""
    import torch

    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(on, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def derive_seed(seed: int, *purpose: object) -> int:
    """A seed for one purpose (``"order", 3``): a pure function, whatever was drawn before."""
    text = "\0".join([str(seed), *map(str, purpose)])
    return (
        int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")
        >> 1
    )


def make_generator(seed: int, *purpose: object) -> torch.Generator:
    """A random generator on the CPU for one purpose, seeded by `derive_seed`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


def thread_count(setting: int | None) -> int:
    """Number of threads that read or write files: `setting`, or min(4, cores) when it is None."""
    return setting if setting is not None else min(4, os.cpu_count() or 1)
