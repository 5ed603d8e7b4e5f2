"""The memory of a process: kept between steps, measured, limited."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt(3)


def keep_freed_memory() -> bool:
    """Makes glibc keep freed blocks in this process.

    By default it returns large ones, and the next step pays for every page of them again: in a
    training step with relevance maps on a CPU that was up to a tenth of the time. The process
    keeps its peak memory until it ends.

    Returns:
        Whether it was done; False where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, -1))


def return_freed_memory() -> None:
    """Gives freed blocks back to the system."""
    if sys.platform.startswith("linux"):
        library = ctypes.CDLL(None)
        if hasattr(library, "malloc_trim"):
            library.malloc_trim(0)


def read_memory(process: int | None = None) -> int:
    """Bytes of physical memory that a process has; 0 where the system does not tell.

    Args:
        process: Its number; None: this one.
    """
    try:
        with open(f"/proc/{process or 'self'}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def limit_memory(more: int) -> None:
    """Lets this process take at most so many bytes more; further allocations fail.

    Linux counts what a process can write to (RLIMIT_DATA); elsewhere nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm", "rb") as file:
        data = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    limit = data + more if highest == resource.RLIM_INFINITY else min(data + more, highest)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, highest))


def read_waiting(process: int) -> float:
    """Seconds for which a process was ready but had no processor; 0 where the system does not tell.

    On a machine with other work that is no fault of the file that it reads.
    """
    try:
        with open(f"/proc/{process}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
