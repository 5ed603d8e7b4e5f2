"""Verified weight files: safetensors, written by rename, hashed before every load."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from isnet_models.registry import WeightsError, read_regular

LARGEST = 4_000_000_000  # bytes of a weight file; the largest network of torchvision has 2.5 GB
LONGEST_HEADER = 16_000_000  # bytes of its header, which names the tensors


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
        WeightsError: Missing, another hash, not a whole safetensors file, or NaN in it.
    """
    try:
        content = read_regular(path, LARGEST)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    if sha256 is not None:
        found = hashlib.sha256(content).hexdigest()
        if found != sha256.lower():
            raise WeightsError(
                f"{path}: SHA-256 is {found[:12]}…, expected {sha256[:12]}…: damaged or replaced"
            )
    if LONGEST_HEADER < int.from_bytes(content[:8], "little") <= len(content):
        raise WeightsError(f"{path}: its header is larger than {LONGEST_HEADER // 1_000_000} MB")
    try:
        state = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file") from error
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path}: {name} holds NaN or infinity, expected finite numbers")
    return tensors


def load_state(net: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Puts tensors into `net`; each has to be there in its shape and kind of number.

    Args:
        net: The network.
        state: Tensors by name.
        what: Where they come from, for messages.

    Raises:
        WeightsError: A tensor is missing, too many, or of another shape or kind.
    """
    own = net.state_dict()
    for name in (*own, *state):
        if name not in state:
            raise WeightsError(f"{what}: no tensor '{name}', which the network has")
        if name not in own:
            raise WeightsError(f"{what}: tensor '{name}', which the network does not have")
        ours, theirs = own[name], state[name]
        if ours.shape != theirs.shape:
            raise WeightsError(
                f"{what}: '{name}' is {list(theirs.shape)}, expected {list(ours.shape)}"
            )
        if _number_kind(ours) != _number_kind(theirs):
            raise WeightsError(f"{what}: '{name}' is {theirs.dtype}, expected {ours.dtype}")
    net.load_state_dict(dict(state))


def _number_kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex() or tensor.dtype == torch.bool
