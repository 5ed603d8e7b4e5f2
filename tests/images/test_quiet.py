from __future__ import annotations

import logging
import os
import threading
import warnings

import pytest

from isnet_cli.images.quiet import mute_stderr, quiet


def shout(name: str) -> None:
    logging.getLogger(name).error("an error of %s", name)
    warnings.warn(f"a warning of {name}", UserWarning, stacklevel=2)


def test_warnings_and_records_of_every_logger_are_silenced_and_come_back(caplog) -> None:
    logging.getLogger("pydicom.deep.down").setLevel(logging.DEBUG)
    with quiet():
        shout("pydicom")
        shout("pydicom.deep.down")
    assert caplog.records == []
    with pytest.warns(UserWarning, match="a warning of outside"):
        shout("outside")
    assert [record.name for record in caplog.records] == ["outside"]


def test_silence_ends_after_an_exception_and_nests(caplog) -> None:
    with pytest.raises(KeyError), quiet(), quiet():
        raise KeyError
    with quiet():
        with quiet():
            pass
        shout("inside")
    logging.getLogger("after").error("heard")
    assert [record.name for record in caplog.records] == ["after"]


def test_the_silence_of_one_thread_outlives_that_of_another(caplog) -> None:
    inside, go = threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            inside.set()
            go.wait(10)
            shout("a header")

    thread = threading.Thread(target=other)
    with quiet():
        thread.start()
        inside.wait(0.3)
    go.set()
    thread.join()
    assert caplog.records == []
    assert logging.root.manager.disable == 0


def test_stderr_is_muted_below_python_and_comes_back(capfd) -> None:
    with mute_stderr():
        os.write(2, b"from a C library")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
    with pytest.raises(ValueError, match="kept"), mute_stderr():
        raise ValueError("kept")
    os.write(2, b"again")
    assert capfd.readouterr().err == "again"


def test_a_process_without_stderr_is_served(monkeypatch) -> None:
    def closed(number: int) -> int:
        raise OSError(number)

    monkeypatch.setattr(os, "dup", closed)
    with mute_stderr():
        pass


def test_no_file_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        with mute_stderr():
            pass
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
