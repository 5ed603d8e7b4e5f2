"""Freed memory that stays costs no page faults the next time."""

import subprocess
import sys

import pytest

from isnet_cli.runs.allocator import keep_freed_memory

CODE = """
import resource, sys
from isnet_cli.runs.allocator import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
import torch
def step():
    parts = [torch.ones(1_000_000) for _ in range(20)]  # 80 MB
    return float(sum(parts[1:], parts[0])[0])
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, env: dict[str, str]) -> int:
    command = [sys.executable, "-c", CODE, how]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_the_next_step_finds_its_memory(child_environment: dict[str, str]) -> None:
    assert 2 * faults("keep", child_environment) < faults("leave", child_environment)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
