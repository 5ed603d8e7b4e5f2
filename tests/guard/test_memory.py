"""Freed memory stays with the process, and only where it was asked for."""

import subprocess
import sys

import pytest

from isnet_cli.guard.memory import keep_freed_memory

CODE = """
import sys
from pathlib import Path
from isnet_cli.guard.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
if sys.argv[2] == "tensor":
    import torch
    torch.ones(10)
    hold = lambda: torch.ones(20_000_000)
else:
    hold = lambda: bytearray(80_000_000)
def pages():
    return int(Path("/proc/self/statm").read_text().split()[0])
before = pages()
held = hold()
del held
print((pages() - before) * 4096)
"""


def kept(how: str, block: str, env: dict[str, str]) -> int:
    """Bytes of address space that remain of a freed block of 80 MB."""
    command = [sys.executable, "-c", CODE, how, block]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells the memory in use")
@pytest.mark.parametrize("block", ["bytes", pytest.param("tensor", marks=pytest.mark.slow)])
def test_a_freed_block_stays_if_asked_for(block: str, child_environment: dict[str, str]) -> None:
    assert kept("keep", block, child_environment) > 70_000_000
    assert kept("leave", block, child_environment) < 10_000_000


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
