"""Training state on disk, for exact continuation; read with torch's safe loader only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isnet_cli.core.files import atomic_path
from isnet_cli.errors import IsnetError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers, strings, lists and dicts by rename."""
    import torch

    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote, onto the CPU.

    Raises:
        IsnetError: Kind "weights", when the file is damaged or holds anything but plain data.
    """
    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load documents no set of exceptions
        raise IsnetError(
            "weights",
            f"{path}: not a readable checkpoint ({type(error).__name__})",
            fix="remove it to train anew from the first epoch",
        ) from error
    return state


def own_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """The checkpoint of this very training; None when there is none, or another's.

    Args:
        path: The file.
        identity: Hash of what the training depends on, as `save_checkpoint` got it.

    Raises:
        IsnetError: As `load_checkpoint`.
    """
    state = load_checkpoint(path) if path.is_file() else {}
    return state if state.get("identity") == identity else None
