"""The demo's images are drawn once, completed after a stop, and never mixed with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.files import read_csv
from isnet_cli.core.run_context import RunContext
from isnet_cli.demo.images import count_images, locate_lesion, locate_lungs, make_images
from isnet_cli.errors import IsnetError
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.read import read_images
from isnet_cli.phantoms.collection import plan_images

PLANS = plan_images(4, 2, 0, 96)


def stamps(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_images_lungs_and_labels_belong_together(tmp_path: Path) -> None:
    make_images(tmp_path, PLANS, RunContext())
    rows = read_csv(tmp_path / "labels.csv")
    assert [row["file"] for row in rows] == [plan.file for plan in PLANS]
    for plan in PLANS:
        (image,) = read_images(tmp_path / "images" / plan.file)
        assert load_mask(locate_lungs(tmp_path, plan.key)).shape == image.pixels.shape
        lesion = load_mask(locate_lesion(tmp_path, plan.key))
        assert lesion.shape == image.pixels.shape
        assert lesion.any() == plan.disease
    assert not list(tmp_path.rglob(".*"))


def test_a_second_call_writes_nothing_but_the_missing(tmp_path: Path) -> None:
    make_images(tmp_path, PLANS, RunContext())
    before = stamps(tmp_path)
    make_images(tmp_path, PLANS, RunContext())
    kept = {name for name, time in stamps(tmp_path).items() if before[name] == time}
    assert {name for name in before if not name.endswith("images.json")} <= kept
    lost = tmp_path / "images" / PLANS[1].file
    content = lost.read_bytes()
    lost.unlink()
    make_images(tmp_path, PLANS, RunContext())
    assert lost.read_bytes() == content


def test_images_of_another_plan_are_refused(tmp_path: Path) -> None:
    make_images(tmp_path, PLANS, RunContext())
    with pytest.raises(IsnetError, match="another demonstration") as caught:
        make_images(tmp_path, plan_images(4, 2, 1, 96), RunContext())
    assert caught.value.kind == "data"


def test_own_images_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.png").write_bytes(b"precious")
    with pytest.raises(IsnetError, match="of your own"):
        make_images(tmp_path, PLANS, RunContext())
    assert [p.name for p in tmp_path.rglob("*")] == ["images", "mine.png"]


def test_a_stop_is_obeyed_and_the_next_call_continues(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_images(tmp_path, PLANS, RunContext(stop_requested=lambda: True))
    assert not (tmp_path / "labels.csv").exists()
    make_images(tmp_path, PLANS, RunContext())
    assert all((tmp_path / "images" / plan.file).is_file() for plan in PLANS)
    assert (tmp_path / "labels.csv").is_file()


def test_description_counts() -> None:
    facts = count_images(PLANS)
    assert facts["images"] == len(PLANS)
    assert facts["patients"] == 6
    assert facts["hospital_b"] == 2
    assert sum(facts["kinds"].values()) == len(PLANS)
