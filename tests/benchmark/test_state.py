"""What each task of a benchmark would find, and what it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.benchmark.state import State, states, tasks_of
from isnet_cli.errors import IsnetError
from tests.benchmark.factory import in_process, loaded, write


def plans(file: Path, output: Path) -> dict[str, State]:
    return states(*loaded(file, output), output)


def test_tasks_are_images_then_cells_with_what_they_wait_for(tmp_path: Path) -> None:
    methods = "  standard: {model.weights: 'cell:isnet/train/model.safetensors'}\n  isnet: {}\n"
    file = write(tmp_path, methods=methods)
    found = tasks_of(*loaded(file, tmp_path / "out"))
    assert [(task.name, task.until, task.waits) for task in found] == [
        ("images/all-seed-0", "masks", ()),
        (
            "cells/all/standard/seed-0",
            "evaluate",
            ("images/all-seed-0", "cells/all/isnet/seed-0"),
        ),
        ("cells/all/isnet/seed-0", "evaluate", ("images/all-seed-0",)),
    ]
    file.write_text(file.read_text() + "heatmaps: true\n")
    assert tasks_of(*loaded(file, tmp_path / "out"))[1].until == "heatmap"


def test_states_follow_the_work(tmp_path: Path) -> None:
    file, output = write(tmp_path, methods="  standard: {}\n"), tmp_path / "out"
    images, cell = "images/all-seed-0", "cells/all/standard/seed-0"
    assert plans(file, output) == {images: State("new"), cell: State("new")}
    launch = in_process(output)
    first, second = tasks_of(*loaded(file, output))
    launch(first)
    assert plans(file, output) == {images: State("current"), cell: State("new")}
    launch(second)
    assert plans(file, output) == {images: State("current"), cell: State("current")}
    text = file.read_text()
    file.write_text(text.replace("train.epochs: 1", "train.epochs: 2"))
    assert plans(file, output) == {
        images: State("current"), cell: State("outdated", ("train.epochs",)),
    }  # fmt: skip
    file.write_text(text.replace("train.epochs: 1", "train.epochs: 1\n  data.max_side: 64"))
    found = plans(file, output)
    assert found[images] == State("outdated", ("data.max_side",))
    assert found[cell] == State("outdated", ("data.max_side",))
    file.write_text(text)
    (tmp_path / "xrays" / "f00.png").unlink()
    found = plans(file, output)
    assert (found[images], found[cell]) == (State("outdated"), State("undecided"))


def test_missing_images_are_an_error_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, set="  data.images: nowhere\n")
    with pytest.raises(IsnetError, match="nowhere") as caught:
        plans(file, tmp_path / "out")
    assert caught.value.kind == "data"


def test_images_that_are_still_to_be_drawn_are_new(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text() + "drawn: {}\n")
    assert {one.plan for one in plans(file, tmp_path / "out").values()} == {"new"}
