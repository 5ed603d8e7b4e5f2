"""Who holds a run: one process as a whole, or several, each a share of a stage."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from isnet_cli.core.files import HOLDER, LOCK, write_json
from isnet_cli.core.parallel.shares import WHOLE, Share, parse_name
from isnet_cli.core.records.read import FaultyFileError, parse_json, read_text
from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import clear_leftovers
from isnet_cli.guard.opening import check_regular

MOMENT = 60.0  # seconds that a share waits for others to register


@contextlib.contextmanager
def hold_run(path: Path, share: Share = WHOLE) -> Iterator[None]:
    """Holds a run folder for this process; the system frees it when the process ends, however.

    What a killed process left half written in the run is removed first. Commands that do a share
    each hold the run together, each its own share.

    Args:
        path: The folder; created when missing.
        share: What is to be done.

    Raises:
        IsnetError: Kind "machine", when another process holds it, or the folder cannot be written
            to; kind "data", when a link in it leads out.
    """
    name = LOCK if share.whole else f"{LOCK}-{share.name}"
    with contextlib.ExitStack() as held:
        try:
            path.mkdir(parents=True, exist_ok=True)
            refuse_links(path)
            if os.path.lexists(path / name):
                check_regular(path / name)
            holder = _read_holder(path / HOLDER)
            held.enter_context(FileLock(path / name, timeout=0))
            if share.whole:
                _refuse_shares(path)
                clear_leftovers(path, locked=True)
                write_json(path / HOLDER, {"process": os.getpid(), "host": platform.node()})
        except Timeout as error:
            what = f"{path}" if share.whole else f"{path}: shard {share.name}"
            raise IsnetError(
                "machine",
                f"{what}: in use by another isnet process{holder}",
                fix="wait for it, or choose another folder with -o",
            ) from error
        except NotImplementedError as error:  # a file system without locks
            raise IsnetError(
                "machine",
                f"{path}: its file system has no locks, without which two processes could"
                " write at once",
                fix="-o DIR on another file system",
            ) from error
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise IsnetError(
                "machine",
                f"{path}: cannot be written to ({(error.strerror or '').lower()})",
                fix="-o DIR writes elsewhere; what the run holds is used from where it is",
            ) from error
        try:
            yield
        finally:
            if share.whole:
                (path / HOLDER).unlink(missing_ok=True)


@contextlib.contextmanager
def register_share(path: Path) -> Iterator[None]:
    """Holds the run at `path` as a whole for a moment, while this process holds a share of it.

    Raises:
        IsnetError: Kind "machine", when a process works on the whole run.
    """
    try:
        with FileLock(path / LOCK, timeout=MOMENT):
            yield
    except Timeout as error:
        raise IsnetError(
            "machine",
            f"{path}: in use by an isnet process that does no share of it",
            fix="wait for it, or choose another folder with -o",
        ) from error


def list_shares_at_work(path: Path, own: Share = WHOLE) -> list[str]:
    """Names of the shares of the run at `path` that other processes work on now."""
    found = []
    for lock in sorted(path.glob(f"{LOCK}-*")):
        share = parse_name(lock.name.removeprefix(f"{LOCK}-"))
        if share is None or share == own:
            continue
        try:
            with FileLock(lock, timeout=0):
                pass
        except Timeout:
            found.append(share.name)
    return found


def refuse_other_settings(path: Path, settings: str, own: Share) -> None:
    """Makes sure that other shares of the run at `path` are at work on the same settings.

    Args:
        path: The run folder.
        settings: The configuration as ``isnet.yaml`` of the run has it.
        own: This process's share.

    Raises:
        IsnetError: Kind "config".
    """
    record, others = path / "isnet.yaml", list_shares_at_work(path, own)
    if others and record.is_file() and read_text(record) != settings:
        raise IsnetError(
            "config",
            f"{path}: shard {others[0]} is at work with other settings",
            fix="the same configuration and options for every shard",
        )


def _refuse_shares(path: Path) -> None:
    if names := list_shares_at_work(path):
        raise IsnetError(
            "machine",
            f"{path}: shard {names[0]} is at work in another isnet process",
            fix="wait for it; isnet merge RUN then puts the shards together",
        )
    for lock in path.glob(f"{LOCK}-*"):
        lock.unlink(missing_ok=True)


def refuse_links(folder: Path) -> None:
    """Refuses a run folder with a link through which results would land elsewhere.

    The folder itself may be a link. Linked files below its top are replaced, not written through.

    Raises:
        IsnetError: Kind "data", naming the link.
    """
    root = Path(os.path.realpath(folder))
    for top, folders, names in os.walk(folder):
        for name in [*folders, *(names if top == str(folder) else ())]:
            path = Path(top, name)
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise IsnetError(
                    "data",
                    f"{path}: a link that leads out of the run folder, expected a file or folder",
                    fix="put a copy in its place; the run folder as a whole may be a link",
                )


def _read_holder(path: Path) -> str:
    """Which process has the lock, where it could be found out; for a message."""
    try:
        found = parse_json(read_text(path))
        number, host = int(found["process"]), str(found["host"])
    except (FaultyFileError, OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
    where = "on this machine" if host == platform.node() else f"on {host}"
    return f" (process {number} {where})"
