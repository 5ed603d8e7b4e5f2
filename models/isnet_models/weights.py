"""Verified weight files: safetensors, written by rename, hashed before every load."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from isnet_models.registry import WeightsError


def save_weights(state: Mapping[str, Tensor], path: Path, *, half: bool = False) -> str:
    """Writes a state dictionary and returns the file's SHA-256.

    Args:
        state: Tensors by name; copied to CPU.
        path: The ``.safetensors`` file; appears whole or not at all.
        half: Store floating-point tensors as float16 (half the size, 3 decimal digits).

    Raises:
        WeightsError: A value is not finite, or too large for float16.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        kept = tensor.detach().cpu().contiguous()
        if half and kept.is_floating_point():
            kept = kept.to(torch.float16)
        if kept.is_floating_point() and not bool(torch.isfinite(kept).all()):
            raise WeightsError(f"{path.name}: {name} is not finite")
        tensors[name] = kept.clone()  # tied tensors must not share memory in the file
    content = safetensors.torch.save(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Reads a state dictionary; floating-point tensors come back as float32, on CPU.

    Args:
        path: The ``.safetensors`` file. Nothing in it is executed, whatever it is.
        sha256: Expected hash; the very bytes that were hashed are loaded. None: not checked.

    Raises:
        WeightsError: Missing, another hash, or not a whole safetensors file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    if sha256 is not None:
        found = hashlib.sha256(content).hexdigest()
        if found != sha256.lower():
            raise WeightsError(
                f"{path}: SHA-256 is {found[:12]}…, expected {sha256[:12]}…: damaged or replaced"
            )
    try:
        state = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file") from error
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
