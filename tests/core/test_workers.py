from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isnet_cli.core import workers
from isnet_cli.core.workers import run_tasks, worker_count
from isnet_cli.guard.memory import read_waiting
from isnet_cli.guard.worker import Budget, Lost


def double(number: int) -> int:
    return 2 * number


def deadly(number: int) -> int:
    if number == 7:
        os._exit(3)
    return number


def lone_survivor(path: str) -> bool:
    """Dies the first time only: an innocent task that was under way when another died."""
    if not Path(path).exists():
        Path(path).touch()
        os._exit(3)
    return True


@pytest.mark.parametrize("count", [0, 2])
def test_every_task_is_done_once(count: int) -> None:
    found = list(run_tasks(double, range(40), count))
    assert sorted(found) == [(n, 2 * n) for n in range(40)]


def test_no_tasks() -> None:
    assert list(run_tasks(double, [], 2)) == []


def test_a_task_that_kills_its_process_costs_itself_alone() -> None:
    """What waited behind it is done by another process."""
    found = dict(run_tasks(deadly, range(30), 2))
    assert found.pop(7) is Lost.CRASHED
    assert found == {n: n for n in range(30) if n != 7}


def test_a_task_that_was_only_near_is_done_again(tmp_path: Path) -> None:
    assert list(run_tasks(lone_survivor, [str(tmp_path / "flag")], 1)) == [(0, True)]


def test_an_abandoned_loop_ends_its_processes() -> None:
    loop = run_tasks(double, range(1000), 2)
    next(loop)
    loop.close()


def test_work_goes_on_where_processes_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise OSError(11, "no more processes")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
    for count in (5, 50):
        found = dict(run_tasks(_here_only, range(count), 2))
        assert found == {n: n for n in range(count)}


def _here_only(number: int) -> int:
    if os.getpid() != HOME:
        os._exit(3)
    return number


HOME = int(os.environ.setdefault("ISNET_TEST_HOME", str(os.getpid())))  # inherited by processes


def test_a_script_without_main_guard_still_works(
    tmp_path: Path, child_environment: dict[str, str]
) -> None:
    """Processes that start by importing such a script would start it again."""
    script = tmp_path / "script.py"
    script.write_text(
        "from operator import neg\n"
        "from isnet_cli.core.workers import run_tasks\n"
        "print(sorted(run_tasks(neg, [1, 2, 3], 1)))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=child_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[(0, -1), (1, -2), (2, -3)]"


ORPHANS = """
import ctypes, os, sys, time
from pathlib import Path
from isnet_cli.core.workers import Budget, Lost, run_tasks, worker_count
def slow(number):
    Path(sys.argv[1], str(os.getpid())).touch()
    if sys.argv[2] == "hanging":
        ctypes.PyDLL(None).sleep(600)
    time.sleep(0.2)
if __name__ == "__main__":
    list(run_tasks(slow, range(int(sys.argv[3])), 2))
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("state", ["working", "hanging"])
@pytest.mark.parametrize("tasks", [20, 10_000])
def test_processes_end_with_a_killed_parent(
    state: str, tasks: int, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    script, notes = tmp_path / "script.py", tmp_path / "notes"
    script.write_text(ORPHANS)
    notes.mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(notes), state, str(tasks)], env=child_environment
    )
    until = time.monotonic() + 60
    while len(list(notes.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    started = [int(path.name) for path in notes.iterdir()]
    assert len(started) == 2
    assert all(map(alive, started))
    os.kill(started[0], signal.SIGTERM)  # as to a whole service: the parent alone decides
    parent.kill()
    parent.wait()
    while any(map(alive, started)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, started))


HOW = """
import os, sys, threading
from isnet_cli.core.run_context import WATCHER
from isnet_cli.core.workers import Budget, run_tasks
def tell(number):
    return "forkserver" if "isnet_worker" not in sys.modules else "fork"
if __name__ == "__main__":
    sys.modules["isnet_worker"] = sys  # only a copy of this process has it
    case, done = sys.argv[1], threading.Event()
    if case == "torch":
        sys.modules["torch"] = sys
    if case in ("thread", "watcher"):
        name = WATCHER if case == "watcher" else "work"
        threading.Thread(target=done.wait, name=name, daemon=True).start()
    tasks = range(100 if case == "many" else 3)
    print({how for _, how in run_tasks(tell, tasks, 1, budget=Budget(60, 1 << 30))})
    print("multiprocessing.forkserver" in sys.modules)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux alone")
@pytest.mark.parametrize(
    ("case", "how"),
    [("few", "fork"), ("watcher", "fork"), ("thread", "forkserver"), ("torch", "forkserver"),
     ("many", "forkserver")],
)  # fmt: skip
def test_few_tasks_get_a_copy_where_no_thread_works(
    case: str, how: str, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(HOW)
    done = subprocess.run(
        [sys.executable, str(script), case],
        env=child_environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [f"{{'{how}'}}", str(how == "forkserver")]


def test_a_large_process_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory would count against the budget of each task."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(workers.threading, "enumerate", lambda: [])
    monkeypatch.setattr(workers, "read_memory", lambda: 1 << 28)
    assert workers._may_fork(None) == workers._may_fork(Budget(20, 2 << 30))
    assert not workers._may_fork(Budget(20, 1 << 28))


def hang(number: int) -> int:
    """As a decoder does that never returns: in C, with Python's lock held."""
    if number == 1:
        ctypes.PyDLL(None).sleep(600)
    return number


def take_memory(number: int) -> int:
    if number == 1:
        return len(bytearray(900_000_000))  # refused when it is asked for
    if number == 2:
        with mmap.mmap(-1, 900_000_000) as shared:  # not counted by the system, but seen
            for at in range(0, len(shared), 4096):
                shared[at] = 1
    return number


def test_a_task_that_hangs_in_c_code_is_ended() -> None:
    began = time.monotonic()
    found = dict(run_tasks(hang, range(4), 1, budget=Budget(0.3, 1 << 30)))
    assert found == {0: 0, 1: Lost.SLOW, 2: 2, 3: 3}
    assert time.monotonic() - began < 10


def rest(number: int) -> int:
    time.sleep(0.8)
    return number


def test_waiting_for_a_processor_is_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with other work is no fault of the file."""
    tight = Budget(0.2, 1 << 30)
    assert dict(run_tasks(rest, [5], 1, budget=tight)) == {0: Lost.SLOW}
    monkeypatch.setattr(workers, "read_waiting", lambda pid: time.monotonic())
    assert dict(run_tasks(rest, [5], 1, budget=tight)) == {0: 5}


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux")
def test_the_system_tells_how_long_a_process_waited() -> None:
    assert 0 <= read_waiting(os.getpid()) < 1e6
    assert read_waiting(2**30) == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_a_task_that_takes_too_much_memory_is_ended() -> None:
    found = dict(run_tasks(take_memory, range(4), 1, budget=Budget(60, 500_000_000)))
    assert found == {0: 0, 1: Lost.LARGE, 2: Lost.LARGE, 3: 3}


def test_without_processes_memory_errors_are_results() -> None:
    def full(number: int) -> int:
        raise MemoryError

    assert list(run_tasks(full, [0], 0)) == [(0, Lost.LARGE)]


def test_a_wish_to_stop_ends_tasks_that_hang() -> None:
    began, asked = time.monotonic(), [False]
    found = []
    for index, _ in run_tasks(hang, [0, 1, 1, 1], 2, stop=lambda: asked[0]):
        found.append(index)
        asked[0] = True
    assert found == [0]
    assert time.monotonic() - began < 10


def test_number_of_processes() -> None:
    assert worker_count(3, 100) == 3
    assert worker_count(8, 2) == 2
    assert worker_count(0, 100) == 0
    assert worker_count(None, 3) == 0
    assert 1 <= worker_count(None, 1000) <= 4
