"""The machine's part of a run: device, threads, determinism, and one seed per purpose."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isnet_cli.core.parallel.processes import are_several
from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    import torch

NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # torch on a CPU


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the first GPU, or the CPU.

    Raises:
        IsnetError: Kind "machine", when a device that was asked for is missing, or one GPU is asked
            for by several processes, which have one each.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and device.index is not None and are_several():
        raise IsnetError(
            "machine",
            f"device '{name}' for several processes, expected a GPU for each",
            fix="--device cuda, which is another GPU for each process",
        )
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


@contextmanager
def explain_limits(images: int) -> Iterator[None]:
    """Says what to set when memory does not suffice, or BatchNorm gets a single value per channel.

    Args:
        images: In a batch, about.

    Raises:
        IsnetError: Kind "machine" or "config", in place of torch's errors.
    """
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _no_memory(images) from error
    except RuntimeError as error:
        if any(words in str(error) for words in NO_MEMORY):
            raise _no_memory(images) from error
        raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise IsnetError(
            "config",
            "train.batch_size: a batch of one image whose map has shrunk to one pixel gives"
            " BatchNorm a single value per channel, expected two or more",
            fix="--set train.batch_size=8 (and two training images at least), or a larger"
            " model.input",
        ) from error


def _no_memory(images: int) -> IsnetError:
    return IsnetError(
        "machine",
        f"memory of the device: too little for batches of about {images} images",
        fix=f"--set train.batch_size={max(1, images // 2)} --set train.accumulate=2, a smaller"
        " model.input, or train.settings.isnet.memory_gb and recompute_maps",
    )
