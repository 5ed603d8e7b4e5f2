"""Training: curves, the last and the kept epoch, and what to do when there is none."""

from isnet_cli.report.blocks import Grid, Notice, Table
from isnet_cli.report.sections.training import build_training_section
from tests.report.sections.factory import letters, only, run

HISTORY = [
    {"epoch": str(e), "train_loss": str(1 / e), "val_loss": str(2 / e), "seconds": "30"}
    for e in (1, 2, 4)
]


def test_curves_and_figures_of_each_run() -> None:
    trained = run("one", history=HISTORY, card={"epoch": 2, "selected_by": "auc"})
    section = build_training_section([trained, run("two", missing={"train": "isnet train CONFIG"})])
    kept, final = only(section, Table)
    assert kept.rows == [("one", "3", "2", "auc", "1.5")]
    assert final.rows == [
        ("Loss", "training", "0.2500", "0.5000"),
        ("Loss", "validation", "0.5000", "1.0000"),
    ]
    (grid,) = only(section, Grid)
    assert grid.title == "one"
    assert "validation" in letters(grid.pictures[0])
    (notice,) = only(section, Notice)
    assert "two: isnet train CONFIG" in notice.text


def test_a_training_that_is_not_finished_shows_what_it_has() -> None:
    section = build_training_section([run(history=HISTORY)])
    kept, final = only(section, Table)
    assert kept.rows[0][2:4] == ("n/a", "loss")
    assert final.columns == ("figure", "images", "last epoch")
