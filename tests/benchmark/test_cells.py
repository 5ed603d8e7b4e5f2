"""A benchmark's cells, its tasks and their state."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.benchmark.cells import (
    CellGrid,
    TaskState,
    cell_name,
    find_states,
    list_tasks,
    refuse_cells,
)
from isnet_cli.errors import IsnetError
from tests.benchmark.factory import in_process, loaded, write


def grid(folder: Path, **parts: str) -> CellGrid:
    return loaded(write(folder, **parts), folder / "out")[1]


def test_every_combination_is_a_cell_seed_by_seed(tmp_path: Path) -> None:
    data = "  shapes: {bias.kind: shapes}\n  clean: {}\n"
    found = grid(tmp_path, seeds="3, 1", data=data)
    assert [cell.name for cell in found.cells] == [
        f"{data}/{method}/seed-{seed}"
        for seed in (3, 1)
        for data in ("shapes", "clean")
        for method in ("standard", "isnet")
    ]
    for cell in found.cells:
        assert (cell.config.seed, cell.config.name) == (cell.seed, "tiny")
        assert cell.config.train.method == cell.method
        assert cell.config.bias.kind == ("shapes" if cell.data == "shapes" else "none")
        assert cell.config.train.epochs == 1
        assert cell.config.data.images == str(tmp_path / "xrays")


def test_later_layers_win(tmp_path: Path) -> None:
    found = grid(
        tmp_path,
        set="  train.epochs: 2\n  train.batch_size: 2\n  model.dropout: 0.1\n",
        data="  all: {train.batch_size: 3, model.dropout: 0.2}\n",
        methods="  standard: {model.dropout: 0.3}\n",
    )
    config = found.cells[0].config
    assert (config.train.epochs, config.train.batch_size, config.model.dropout) == (2, 3, 0.3)


def test_rows_may_name_a_method_or_keep_the_base_s(tmp_path: Path) -> None:
    methods = (
        "  a: {train.method: standard}\n  b: {train: {method: grad_input}}\n"
        "  c: {train.settings.isnet.heatmap_weight: 0.2}\n  isnet: {train.method: standard}\n"
    )
    found = {cell.method: cell.config.train for cell in grid(tmp_path, methods=methods).cells}
    assert {name: train.method for name, train in found.items()} == {
        "a": "standard", "b": "grad_input", "c": "isnet", "isnet": "standard",
    }  # fmt: skip
    assert found["c"].settings_of("isnet").heatmap_weight == 0.2


def test_images_are_shared_where_their_settings_are_the_same(tmp_path: Path) -> None:
    data = "  one: {}\n  two: {bias.kind: shapes}\n  three: {data.max_side: 64}\n"
    found = grid(tmp_path, seeds="0, 1", data=data)
    assert list(found.images) == ["one-seed-0", "three-seed-0", "one-seed-1", "three-seed-1"]
    for cell in found.cells:
        expected = f"{'one' if cell.data != 'three' else 'three'}-seed-{cell.seed}"
        assert cell.images == expected
        assert cell.config.upstream == str(tmp_path / "out" / "images" / expected)
    assert found.images["three-seed-1"].data.max_side == 64
    assert found.images["three-seed-1"].seed == 1
    assert found.images["three-seed-1"].upstream is None


def test_one_division_of_the_images_for_all_seeds(tmp_path: Path) -> None:
    file = write(tmp_path, seeds="0, 1")
    file.write_text(file.read_text() + "images_seed: 7\n")
    found = loaded(file, tmp_path / "out")[1]
    assert list(found.images) == ["all-seed-7"]
    assert found.images["all-seed-7"].seed == 7
    assert {cell.config.seed for cell in found.cells} == {0, 1}


def test_a_row_may_have_images_of_its_own_or_those_of_a_run(tmp_path: Path) -> None:
    methods = "  standard: {}\n  isnet: {masks.threshold: 0.4}\n  grad_input: {upstream: runs/a}\n"
    found = grid(tmp_path, methods=methods)
    assert [cell.images for cell in found.cells] == ["all-seed-0", "all--isnet--seed-0", ""]
    assert found.cells[2].config.upstream == str(tmp_path / "runs" / "a")


def test_phantoms_take_the_place_of_the_base_s(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text() + "phantoms: {}\n")
    config = loaded(file, tmp_path / "out")[1].cells[0].config
    assert config.data.images == str(tmp_path / "out" / "phantoms" / "images")
    assert config.data.labels.file == str(tmp_path / "out" / "phantoms" / "labels.csv")
    file = write(tmp_path, methods="  standard: {data.collections: {north: {images: /north}}}\n")
    file.write_text(file.read_text() + "phantoms: {}\n")
    assert loaded(file, tmp_path / "out")[1].cells[0].config.data.collections == {}


def test_references_to_other_cells_are_folders_and_an_order(tmp_path: Path) -> None:
    methods = (
        "  student: {train.method: standard, model.pretrained: "
        "'cell:standard/train/model.safetensors'}\n  standard: {}\n"
    )
    found = grid(tmp_path, seeds="0, 5", methods=methods)
    for cell in found.cells:
        if cell.method == "standard":
            assert cell.waits == ()
            continue
        assert cell.waits == ("standard",)
        run = tmp_path / "out" / "cells" / cell_name("all", "standard", cell.seed)
        assert cell.config.model.pretrained == str(run / "train" / "model.safetensors")


def test_references_inside_nested_settings(tmp_path: Path) -> None:
    inside = "{train: {method: standard, settings: {isnet: {layers: ['cell:isnet']}}}}"
    methods = f"  isnet: {{}}\n  student: {inside}\n"
    cell = grid(tmp_path, methods=methods).cells[1]
    assert cell.waits == ("isnet",)
    assert cell.config.train.settings_of("isnet").layers == (
        str(tmp_path / "out" / "cells" / "all" / "isnet" / "seed-0"),
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"methods": "  standard: {model.pretrained: 'cell:isnt'}\n"}, "'cell:isnt': no such row"),
        ({"methods": "  standard: {model.pretrained: 'cell:standard'}\n"}, "standard -> standard"),
        (
            {
                "methods": "  standard: {model.pretrained: 'cell:isnet'}\n"
                "  isnet: {model.pretrained: 'cell:standard'}\n"
            },
            "wait for each other: standard -> isnet -> standard",
        ),
        ({"methods": "  standrd: {}\n"}, "b.yaml:10: methods.standrd: 'standrd' is unknown"),
        (
            {"methods": "  standard: {}\n  isnet: {train.epoch: 3}\n"},
            "b.yaml:11: methods.isnet: train.epoch: unknown key, did you mean 'epochs'?",
        ),
        ({"methods": "  x: {train.method: nothing}\n"}, "methods.x: train.method: 'nothing'"),
        ({"set": "  train.epochs: many\n"}, "b.yaml:5: set: train.epochs: found 'many'"),
        (
            {
                "data": "  several: {data.labels.task: multilabel}\n",
                "methods": "  isnet: {train.settings.isnet.variant: selective}\n",
            },
            "does not exist with data.labels.task: multilabel",
        ),
    ],
)
def test_faults_of_all_cells_are_found_and_named_by_row(
    tmp_path: Path, parts: dict[str, str], message: str
) -> None:
    with pytest.raises(IsnetError) as caught:
        grid(tmp_path, seeds="0, 1", **parts)
    assert caught.value.kind == "config"
    assert caught.value.render().count(message) == 1


def test_many_faults_are_one_message() -> None:
    error = refuse_cells(Path("b.yaml"), [f"fault {i}" for i in range(60)])
    assert error.message == "b.yaml: 60 faults"
    assert error.details[-1] == "... and 10 more"


def plans(file: Path, output: Path) -> dict[str, TaskState]:
    return find_states(*loaded(file, output), output)


def test_tasks_are_images_then_cells_with_what_they_wait_for(tmp_path: Path) -> None:
    methods = "  standard: {model.pretrained: 'cell:isnet/train/model.safetensors'}\n  isnet: {}\n"
    file = write(tmp_path, methods=methods)
    found = list_tasks(*loaded(file, tmp_path / "out"))
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
    assert list_tasks(*loaded(file, tmp_path / "out"))[1].until == "heatmap"


def test_states_follow_the_work(tmp_path: Path) -> None:
    file, output = write(tmp_path, methods="  standard: {}\n"), tmp_path / "out"
    images, cell = "images/all-seed-0", "cells/all/standard/seed-0"
    assert plans(file, output) == {images: TaskState("new"), cell: TaskState("new")}
    launch = in_process(output)
    first, second = list_tasks(*loaded(file, output))
    launch(first)
    assert plans(file, output) == {images: TaskState("current"), cell: TaskState("new")}
    launch(second)
    assert plans(file, output) == {images: TaskState("current"), cell: TaskState("current")}
    text = file.read_text()
    file.write_text(text.replace("train.epochs: 1", "train.epochs: 2"))
    assert plans(file, output) == {
        images: TaskState("current"), cell: TaskState("outdated", ("train.epochs",)),
    }  # fmt: skip
    file.write_text(text.replace("train.epochs: 1", "train.epochs: 1\n  data.max_side: 64"))
    found = plans(file, output)
    assert found[images] == TaskState("outdated", ("data.max_side",))
    assert found[cell] == TaskState("outdated", ("data.max_side",))
    file.write_text(text)
    (tmp_path / "xrays" / "f00.png").unlink()
    found = plans(file, output)
    assert (found[images], found[cell]) == (TaskState("outdated"), TaskState("depends"))


def test_missing_images_are_an_error_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, set="  data.images: nowhere\n")
    with pytest.raises(IsnetError, match="nowhere") as caught:
        plans(file, tmp_path / "out")
    assert caught.value.kind == "data"


def test_images_that_are_still_to_be_made_are_new(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text() + "phantoms: {}\n")
    assert {one.plan for one in plans(file, tmp_path / "out").values()} == {"new"}
