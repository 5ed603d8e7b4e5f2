"""The state of an unfinished training: read without running code, checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isnet_cli.core.records.read import FaultyFileError, name_type
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import open_archive

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

FIX = "remove it to train anew from the first epoch"
NEEDED = {"AdamW": {"step", "exp_avg", "exp_avg_sq"}, "SGD": {"momentum_buffer"}}
PARTS = ("net", "optimizer", "progress")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote, onto the CPU; nothing in it is run.

    Raises:
        IsnetError: Kind "weights", when the file is damaged, or holds anything but plain data by
            name.
    """
    import torch

    try:
        with open_archive(path, path.stat().st_size) as file:  # tensors are not compressed
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load documents no set of exceptions
        raise IsnetError("weights", f"{path}: not a readable checkpoint", fix=FIX) from error
    if not isinstance(state, dict):
        found = name_type(state)
        raise IsnetError(
            "weights", f"{path}: {found}, expected the state of a training by name", fix=FIX
        )
    return state


def find_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """The checkpoint of this very training; None when there is none, or another's.

    Args:
        path: The file.
        identity: Hash of what the training depends on, as `save_checkpoint` got it.

    Raises:
        IsnetError: As `load_checkpoint`; or it lacks a part.
    """
    if not path.exists():
        return None
    state = load_checkpoint(path)
    if not isinstance(state.get("identity"), str):
        raise IsnetError("weights", f"{path}: no identity, expected that of a training", fix=FIX)
    return state if state["identity"] == identity else None


def check_checkpoint(
    state: Mapping[str, Any], path: Path, net: nn.Module, optimizer: Optimizer, epochs: int
) -> None:
    """Compares a checkpoint with the training that shall go on from it.

    Args:
        state: As `load_checkpoint` gave it.
        path: Its file, for messages.
        net: The network.
        optimizer: Of its parameters.
        epochs: Of the training.

    Raises:
        IsnetError: Kind "weights": names the place, what was found and what was expected.
    """
    lacking = [name for name in PARTS if name not in state]
    if lacking:
        found = f"no {', '.join(lacking)}"
        raise IsnetError("weights", f"{path}: {found}, expected the state of a training", fix=FIX)
    try:
        check_tensors(state["net"], net.state_dict(), "net")
        _check_optimizer(state["optimizer"], optimizer.state_dict(), optimizer)
        _check_progress(state["progress"], epochs)
    except FaultyFileError as error:
        raise IsnetError("weights", f"{path}: {error}", fix=FIX) from error


def check_tensors(found: Any, own: Mapping[str, Any], place: str) -> None:
    """Compares tensors by name: the same names, shapes and types, and finite numbers.

    Raises:
        FaultyFileError: They are not.
    """
    import torch

    if not isinstance(found, dict):
        raise FaultyFileError(f"{place}: found {name_type(found)}, expected tensors by name")
    for name in (*own, *found):
        if name not in found or name not in own:
            what = "missing" if name not in found else "not a part of the network"
            raise FaultyFileError(f"{place}.{name}: {what}")
        ours, theirs = own[name], found[name]
        if not isinstance(ours, torch.Tensor):
            continue
        if not isinstance(theirs, torch.Tensor):
            raise FaultyFileError(f"{place}.{name}: found {name_type(theirs)}, expected a tensor")
        if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
            raise FaultyFileError(
                f"{place}.{name}: found {theirs.dtype} {list(theirs.shape)}, expected"
                f" {ours.dtype} {list(ours.shape)}"
            )
        if theirs.is_floating_point() and not bool(torch.isfinite(theirs).all()):
            raise FaultyFileError(f"{place}.{name}: NaN or infinity, expected finite numbers")


def _check_optimizer(found: Any, own: dict[str, Any], optimizer: Optimizer) -> None:
    groups = found.get("param_groups") if isinstance(found, dict) else None
    states = found.get("state") if isinstance(found, dict) else None
    if not isinstance(groups, list) or not isinstance(states, dict):
        raise FaultyFileError("optimizer: expected param_groups (a list) and state (by number)")
    if len(groups) != len(own["param_groups"]):
        raise FaultyFileError(
            f"optimizer.param_groups: {len(groups)} groups, expected {len(own['param_groups'])}"
        )
    for number, (theirs, ours) in enumerate(zip(groups, own["param_groups"], strict=True)):
        place = f"optimizer.param_groups[{number}]"
        if not isinstance(theirs, dict) or theirs.keys() != ours.keys():
            raise FaultyFileError(f"{place}: expected {', '.join(ours)}")
        if theirs["params"] != ours["params"]:
            raise FaultyFileError(f"{place}.params: other parameters than the network has")
        for name, value in ours.items():
            given = theirs[name]
            if name != "params" and not _is_alike(given, value):
                raise FaultyFileError(
                    f"{place}.{name}: found {given!r:.40}, expected a value like {value!r:.40}"
                )
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, entry in states.items():
        if not isinstance(number, int) or not 0 <= number < len(parameters):
            raise FaultyFileError(
                f"optimizer.state[{number}]: the network has {len(parameters)} parameters"
            )
        _check_entry(entry, parameters[number], f"optimizer.state[{number}]")
        needed = NEEDED.get(type(optimizer).__name__, set())
        if not needed <= entry.keys():
            raise FaultyFileError(
                f"optimizer.state[{number}]: expected {', '.join(sorted(needed))}"
            )


def _check_entry(entry: Any, parameter: Tensor, place: str) -> None:
    """What an optimiser keeps of one parameter."""
    import torch

    if not isinstance(entry, dict):
        raise FaultyFileError(f"{place}: found {name_type(entry)}, expected values by name")
    for name, value in entry.items():
        if not isinstance(value, torch.Tensor):
            if value is not None and not isinstance(value, (int, float)):
                raise FaultyFileError(f"{place}.{name}: expected a tensor or a number")
        elif value.dim() and value.shape != parameter.shape:
            raise FaultyFileError(
                f"{place}.{name}: found {list(value.shape)}, expected {list(parameter.shape)}"
            )
        elif not bool(torch.isfinite(value).all()):
            raise FaultyFileError(f"{place}.{name}: NaN or infinity, expected finite numbers")


def _is_alike(found: Any, own: Any) -> bool:
    """Whether a setting of an optimiser is of the same kind, and finite and not negative."""
    if isinstance(own, bool) or own is None:
        return isinstance(found, bool) or found is None
    if isinstance(own, (int, float)):
        number = isinstance(found, (int, float)) and not isinstance(found, bool)
        return number and math.isfinite(found) and found >= 0
    if isinstance(own, (tuple, list)):
        same = isinstance(found, (tuple, list)) and len(found) == len(own)
        return same and all(map(_is_alike, found, own))
    return type(found) is type(own)


def _check_progress(found: Any, epochs: int) -> None:
    names = ("epoch", "history", "best")
    if not isinstance(found, dict) or set(found) != set(names):
        raise FaultyFileError(f"progress: expected {', '.join(names)}")
    epoch, history, best = (found[name] for name in names)
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 < epoch <= epochs:
        raise FaultyFileError(f"progress.epoch: found {epoch!r:.40}, expected 1 to {epochs}")
    if not isinstance(history, list) or len(history) != epoch:
        raise FaultyFileError(f"progress.history: expected a row for each of {epoch} epochs")
    for number, row in enumerate(history):
        place = f"progress.history[{number}]"
        if not isinstance(row, dict) or "epoch" not in row or not row.keys() >= {"lr", "seconds"}:
            raise FaultyFileError(f"{place}: expected figures by name, epoch, lr and seconds too")
        wrong = [n for n, v in row.items() if not isinstance(n, str) or not _is_figure(v)]
        if wrong:
            raise FaultyFileError(f"{place}.{wrong[0]}: expected a finite number, or NaN")
    if best is None:
        raise FaultyFileError("progress.best: found null, expected value and epoch")
    if not isinstance(best, dict) or set(best) != {"value", "epoch"}:
        raise FaultyFileError("progress.best: expected value and epoch")
    whole = isinstance(best["epoch"], (int, float)) and best["epoch"] in range(1, epoch + 1)
    if not whole or not _is_figure(best["value"]):
        raise FaultyFileError(f"progress.best: expected a value, and an epoch from 1 to {epoch}")


def _is_figure(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and not math.isinf(value)
