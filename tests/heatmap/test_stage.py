"""The heatmap stage: which images, which classes, and files that say what the model says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from isnet_cli.core.files import read_csv
from isnet_cli.core.journal import Journal
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.dataset import evaluation_sets
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.heatmap import files, writer
from isnet_cli.heatmap import stage as heatmap
from isnet_cli.heatmap.files import ImageMap
from isnet_cli.heatmap.stage import choose_images
from isnet_cli.heatmap.writer import NO_LABEL, SUSPECT, MapWriter
from isnet_cli.images.kept import load_image
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from isnet_cli.inference.model_files import load_model
from isnet_cli.inference.predictor import Predictor, open_predictor
from isnet_cli.labels.values import parse_label
from isnet_cli.stats.reliance import NO_MASK, NOT_FINITE, ZERO_MAP
from isnet_lrp import relevance
from isnet_lrp.record.table import HANDLERS
from isnet_models.explanations.gradcam import grad_cam
from tests.evaluate.factory import SIDE, StopAfter, edit_rows, make_trained
from tests.support.runs import lungs, make_run, small_config

VIEWER = ["png", "npz", "nifti", "dicom-sc", "dicom-seg"]
METHODS = ["gradcam", "grad_input", "integrated_gradients"]


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PANEL_SIDE", (80, 1024))


def index(folder: RunFolder) -> list[dict[str, str]]:
    return read_csv(folder.path / "heatmap" / "index.csv")


def arrays(folder: RunFolder, name: str) -> dict[str, Any]:
    with np.load(folder.path / "heatmap" / name, allow_pickle=False) as content:
        return dict(content)


def tree(path: Path) -> dict[str, bytes]:
    return {
        p.relative_to(path).as_posix(): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file()
    }


def settings(**heat: Any) -> Any:
    return small_config(heatmap=heat)


def test_maps_equal_the_relevance_of_each_image_alone(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 4})
    outcome = run_stage(heatmap, settings(target="all"), folder, RunContext())
    model = load_model(folder.path, torch.device("cpu"))
    lines = {(line["key"], line["target"]): line for line in index(folder)}
    rows = read_manifest(folder.path / "ingest" / "manifest.csv")
    assert set(lines) == {(row.key, name) for row in rows for name in ("normal", "sick")}
    for row in rows:
        frame = Frame((row.height, row.width), (SIDE, SIDE))
        image = frame.to_network(load_image(folder.path / "ingest" / row.image_file))
        x = torch.from_numpy(image)[None, None]
        found = relevance(model.net, x, "all", epsilon=0.01, zb=(0.0, 1.0))
        mask = frame.mask_to_network(lungs(row.height))
        for k, name in enumerate(("normal", "sick")):
            R = found.maps[0, k, 0].numpy()
            line = lines[row.key, name]
            content = arrays(folder, line["npz"])
            np.testing.assert_allclose(content["map"], R, atol=1e-4 * np.abs(R).max())
            share = np.abs(R[~mask]).sum() / np.abs(R).sum()
            assert float(line["outside_share"]) == pytest.approx(share, abs=1e-4)
            p = found.logits.softmax(1)[0, k].item()
            assert float(line["probability"]) == pytest.approx(p, abs=1e-5)
            logit = found.logits[0, k].item()
            error = abs(R.sum() - logit) / abs(logit)
            assert float(line["conservation_error"]) == pytest.approx(error, rel=1e-2, abs=1e-3)
            assert (content["image"] == [row.height, row.width]).all()
            assert line["error"] == ""
    assert (outcome.summary["images"], outcome.summary["maps"]) == (4, 8)
    assert outcome.summary["skipped"] == 0


def test_each_line_has_its_picture_and_its_arrays(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    run_stage(heatmap, settings(), folder, RunContext())
    lines = index(folder)
    assert len(lines) == 6
    for line in lines:
        assert line["target"] == line["predicted"]
        assert line["png"] == f"test/{line['key']}--{line['target']}.png"
        with Image.open(folder.path / "heatmap" / line["png"]) as picture:
            assert picture.mode == "RGB"
        assert arrays(folder, line["npz"])["map"].shape == (SIDE, SIDE)
    named = {line[kind] for line in lines for kind in ("png", "npz")}
    assert set(tree(folder.path / "heatmap")) == named | {"index.csv", "test/contact_sheet.png"}


def test_shares_agree_with_those_of_evaluate(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 4})
    config = small_config(bias={"kind": "shapes"}, heatmap={"formats": ["npz"]})
    run_stage(evaluate, config, folder, RunContext())
    run_stage(heatmap, config, folder, RunContext())
    for line in index(folder):
        place = folder.path / "evaluate" / line["set"] / line["version"] / "predictions.csv"
        other = {row["key"]: row for row in read_csv(place)}[line["key"]]
        assert line["predicted"] == other["predicted"]
        assert float(line["outside_share"]) == pytest.approx(
            float(other["outside_share"]), abs=1e-4
        )


def test_versions_of_a_biased_run_lie_side_by_side(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 2})
    config = small_config(bias={"kind": "shapes"}, heatmap={"target": "sick"})
    run_stage(heatmap, config, folder, RunContext())
    maps = {}
    for version in ("biased", "standard", "deceiving"):
        name = f"test/{version}/test/000--sick"
        assert (folder.path / "heatmap" / f"{name}.png").is_file()
        maps[version] = arrays(folder, f"{name}.npz")["map"]
    assert not np.array_equal(maps["biased"], maps["standard"])
    assert not np.array_equal(maps["biased"], maps["deceiving"])
    pictures = {
        version: (folder.path / f"heatmap/test/{version}/test/000--sick.png").read_bytes()
        for version in maps
    }
    assert len(set(pictures.values())) == 3


@pytest.mark.parametrize(("target", "names"), [("sick", {"sick"}), ("normal", {"normal"})])
def test_target_of_one_class(tmp_path: Path, target: str, names: set[str]) -> None:
    folder = make_trained(tmp_path / "run")
    run_stage(heatmap, settings(target=target, formats=["npz"]), folder, RunContext())
    assert {line["target"] for line in index(folder)} == names
    assert len(index(folder)) == 6


def test_target_true_explains_the_label_and_reports_images_without_one(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    edit_rows(folder, lambda row: {"label": ""} if row.key == "test/002" else {})
    outcome = run_stage(heatmap, settings(target="true", formats=["npz"]), folder, RunContext())
    for line in index(folder):
        assert line["target"] == line["label"]
        assert line["error"] == (NO_LABEL if line["key"] == "test/002" else "")
    assert outcome.summary["skipped"] == 1


def test_multilabel_true_explains_each_positive_label(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", multilabel=True)
    run_stage(heatmap, settings(target="true", formats=["npz"]), folder, RunContext())
    found = Counter((line["key"], line["target"]) for line in index(folder))
    for row in read_manifest(folder.path / "ingest" / "manifest.csv"):
        positive = [n for n, v in parse_label(row.label, "multilabel").items() if v == 1]
        assert sorted(t for key, t in found if key == row.key) == sorted(positive or [""])
    assert max(found.values()) == 1
    model = load_model(folder.path, torch.device("cpu"))
    row = next(
        r for r in read_manifest(folder.path / "ingest" / "manifest.csv") if "old=1" in r.label
    )
    x = torch.from_numpy(
        Frame((row.height, row.width), (SIDE, SIDE)).to_network(
            load_image(folder.path / "ingest" / row.image_file)
        )
    )[None, None]
    R = relevance(model.net, x, torch.tensor([1]), epsilon=0.01, zb=(0.0, 1.0)).maps[0, 0, 0]
    line = next(x for x in index(folder) if x["key"] == row.key and x["target"] == "old")
    found_map = arrays(folder, line["npz"])["map"]
    np.testing.assert_allclose(found_map, R.numpy(), atol=1e-4 * float(R.abs().max()))


def test_unknown_target_is_refused_with_the_choices(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    with pytest.raises(IsnetError, match=r"'covid', expected predicted, true, all .*normal, sick"):
        run_stage(heatmap, settings(target="covid"), folder, RunContext())


def test_a_network_without_relevance_rules_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(HANDLERS, "hardswish")  # as if its rule were unknown
    folder = make_trained(tmp_path / "run", arch="mobilenet_v3_small")
    with pytest.raises(IsnetError, match="no relevance maps") as caught:
        run_stage(heatmap, settings(), folder, RunContext())
    assert "densenet121" in caught.value.fix


def test_formats(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 2})
    run_stage(heatmap, settings(formats=["png"]), folder, RunContext())
    assert {Path(name).suffix for name in tree(folder.path / "heatmap")} == {".csv", ".png"}
    run_stage(heatmap, settings(formats=["npz"]), folder, RunContext())
    assert {Path(name).suffix for name in tree(folder.path / "heatmap")} == {".csv", ".npz"}


def rows_of(*labels: str) -> list[Row]:
    return [Row(key=f"{label}/{i}", label=label) for i, label in enumerate(labels)]


def test_choice_is_even_over_labels_and_in_the_order_of_the_manifest() -> None:
    rows = rows_of(*["a"] * 50, *["b"] * 3, *["c"] * 20)
    chosen = choose_images(rows, 13)
    assert Counter(row.label for row in chosen) == {"a": 5, "b": 3, "c": 5}
    assert chosen == [row for row in rows if row in chosen]


def test_choice_does_not_depend_on_the_order_and_grows_with_the_limit() -> None:
    rows = rows_of(*["a"] * 20, *["b"] * 20)
    few = {row.key for row in choose_images(rows, 7)}
    assert few == {row.key for row in choose_images(rows[::-1], 7)}
    assert few < {row.key for row in choose_images(rows, 9)}
    assert few != {row.key for row in rows[:7]}


@pytest.mark.parametrize("limit", [None, 3, 10])
def test_choice_of_all(limit: int | None) -> None:
    rows = rows_of("a", "b", "b")
    assert choose_images(rows, limit) == rows


def test_limit_holds_for_each_set(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"train": 4, "test": 6, "far": 3})
    run_stage(heatmap, settings(limit=2, formats=["npz"]), folder, RunContext())
    assert Counter(line["set"] for line in index(folder)) == {"test": 2, "far": 2}
    assert {line["label"] for line in index(folder)} == {"normal", "sick"}


def test_images_of_no_set_are_shown_in_a_run_without_sets(tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "model")
    folder = make_run(tmp_path / "run", sets={"test": 3})
    edit_rows(folder, lambda row: {"set": "", "label": ""})
    config = settings(model=str(trained.path), formats=["npz"])
    run_stage(heatmap, config, folder, RunContext())
    assert [line["set"] for line in index(folder)] == [evaluation_sets.UNNAMED] * 3
    assert all(line["npz"].startswith("images/test/") for line in index(folder))


def test_image_without_a_trusted_mask_is_drawn_and_says_why_there_is_no_share(
    tmp_path: Path,
) -> None:
    verdicts = {"test/000": "suspect", "test/001": "missing"}
    folder = make_trained(tmp_path / "run", sets={"test": 3}, verdicts=verdicts)
    outcome = run_stage(heatmap, settings(), folder, RunContext())
    assert [line["error"] for line in index(folder)] == [SUSPECT, NO_MASK, ""]
    assert [line["outside_share"] == "" for line in index(folder)] == [True, True, False]
    assert all((folder.path / "heatmap" / line["png"]).is_file() for line in index(folder))
    assert outcome.summary["skipped"] == 0


def test_a_broken_map_becomes_a_row_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 3})
    explain = Predictor.explain

    def broken(self: Predictor, *given: Any) -> Any:
        seen, maps = explain(self, *given)
        maps = maps.copy()
        maps[1, 0, 0, 3, 3] = np.nan
        return seen, maps

    monkeypatch.setattr(Predictor, "explain", broken)
    outcome = run_stage(heatmap, settings(), folder, RunContext())
    assert [line["error"] for line in index(folder)] == ["", NOT_FINITE, ""]
    assert [line["png"] == "" for line in index(folder)] == [False, True, False]
    assert (outcome.summary["maps"], outcome.summary["skipped"]) == (2, 1)


def test_interrupted_and_continued_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatmap, "choose_chunk_size", lambda config: 2)
    whole, cut = make_trained(tmp_path / "a"), make_trained(tmp_path / "b")
    run_stage(heatmap, settings(), whole, RunContext())
    stop = StopAfter(4).context()
    assert run_stage(heatmap, settings(), cut, stop).status == "incomplete"
    assert not (cut.path / "heatmap" / "index.csv").exists()
    loaded: list[int] = []
    load = Predictor.load
    monkeypatch.setattr(
        Predictor, "load", lambda self, rows: (loaded.append(len(rows)), load(self, rows))[1]
    )
    assert run_stage(heatmap, settings(), cut, RunContext()).status == "done"
    assert loaded == [2]
    assert tree(cut.path / "heatmap") == tree(whole.path / "heatmap")


def test_a_kill_between_images_loses_one_image_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_trained(tmp_path / "run")
    write = writer.files.write_bytes
    made: list[str] = []
    killed: list[bool] = []

    def counting(path: Path, content: bytes) -> None:
        if path.suffix in {".png", ".npz"} and path.name != "contact_sheet.png":
            made.append(path.name)
            if len(made) >= 6 and not killed:  # the arrays of the third image, and what follows
                raise KeyboardInterrupt
        write(path, content)

    seen: list[list[str]] = []
    look = heatmap._explain

    def noting(predictor: Any, dataset: Any, batch: Any, version: Any) -> Any:
        seen.append([dataset.rows[i].key for i in batch])
        return look(predictor, dataset, batch, version)

    monkeypatch.setattr(heatmap, "_explain", noting)
    monkeypatch.setattr(writer.files, "write_bytes", counting)
    with pytest.raises(KeyboardInterrupt):
        run_stage(heatmap, settings(), folder, RunContext())
    assert not (folder.path / "heatmap" / "index.csv").exists()
    before = len(made)
    killed.append(True)
    run_stage(heatmap, settings(), folder, RunContext())
    assert len(made) - before == 2 * 4  # two images were whole
    assert len(index(folder)) == 6
    assert seen[-1] == seen[0]  # the same batch: the last bits of a map depend on its neighbours
    whole = make_trained(tmp_path / "whole")
    run_stage(heatmap, settings(), whole, RunContext())
    assert tree(folder.path / "heatmap") == tree(whole.path / "heatmap")


@pytest.mark.slow
def test_any_part_of_a_batch_that_is_left_is_made_as_in_the_whole(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 9})
    config = settings(formats=["npz"], limit=20)
    run_stage(heatmap, config, folder, RunContext())
    expected, root = tree(folder.path / "heatmap"), folder.path / "heatmap"
    lines = index(folder)
    for left in range(1, 9):
        journal = Journal(root, heatmap._work(config, folder))
        done = MapWriter(open_predictor(config, None, folder), root, "test", "standard", "test")
        for line in lines[:-left]:
            row = Row(key=line["key"])
            journal.add(done.part(row), [line], [root / line["npz"]])
        journal.__exit__(None, None, None)
        for line in lines[-left:]:
            (root / line["npz"]).unlink()
        run_stage(heatmap, config, folder, RunContext(), force=True)
        assert tree(root) == expected


def test_second_identical_run_does_no_work_and_another_replaces_its_files(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    assert run_stage(heatmap, settings(), folder, RunContext()).status == "done"
    assert run_stage(heatmap, settings(), folder, RunContext()).status == "current"
    outcome = run_stage(heatmap, settings(target="sick", limit=2), folder, RunContext())
    assert outcome.status == "done"
    named = {line[kind] for line in index(folder) for kind in ("png", "npz")}
    assert len(named) == 4
    assert set(tree(folder.path / "heatmap")) == named | {"index.csv", "test/contact_sheet.png"}


def test_maps_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    a, b = make_trained(tmp_path / "a"), make_trained(tmp_path / "b")
    for folder in (a, b):
        run_stage(heatmap, settings(limit=2), folder, RunContext())
    assert tree(a.path / "heatmap") == tree(b.path / "heatmap")


def test_class_names_that_are_no_file_names(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 2}, classes=["no/finding", "a b", "a_b"])
    edit_rows(folder, lambda row: {"label": ""})
    run_stage(heatmap, settings(target="all"), folder, RunContext())
    lines = index(folder)
    assert {line["target"] for line in lines} == {"no/finding", "a b", "a_b"}
    assert len({line["png"] for line in lines}) == 6
    assert all((folder.path / "heatmap" / line["png"]).is_file() for line in lines)


def test_every_format_is_named_and_replaced_formats_are_removed(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 2})
    run_stage(heatmap, settings(formats=VIEWER), folder, RunContext())
    line = index(folder)[0]
    stem = f"test/{line['key']}--{line['target']}"
    ends = {"png": "png", "npz": "npz", "nifti": "nii.gz", "dicom-sc": "sc.dcm"}
    ends |= {"dicom-seg": "seg.dcm"}
    assert {kind: line[kind] for kind in VIEWER} == {k: f"{stem}.{e}" for k, e in ends.items()}
    assert line["dicom-image"] == f"test/{line['key']}.image.dcm"
    named = {line[kind] for line in index(folder) for kind in (*VIEWER, "dicom-image")}
    assert set(tree(folder.path / "heatmap")) == named | {
        "index.csv", "test/contact_sheet.png", ".salt"
    }  # fmt: skip
    run_stage(heatmap, settings(formats=["npz"]), folder, RunContext())
    assert {Path(name).suffix for name in tree(folder.path / "heatmap")} == {".csv", ".npz", ""}


def test_identifiers_are_the_same_each_time_in_a_run_and_new_in_another(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        folder = make_trained(tmp_path / name, sets={"test": 1})
        for limit in (1, 2):  # the second time everything is made anew
            run_stage(heatmap, settings(formats=["dicom-sc"], limit=limit), folder, RunContext())
            found.append((folder.path / "heatmap" / index(folder)[0]["dicom-sc"]).read_bytes())
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert found[0] != found[2]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", ["all", "predicted", "true"])
def test_methods_write_their_maps(tmp_path: Path, method: str, target: str) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 3})
    run_stage(
        heatmap, settings(method=method, target=target, formats=["npz"]), folder, RunContext()
    )
    lines = index(folder)
    assert len(lines) == (6 if target == "all" else 3)
    for line in lines:
        assert line["method"] == method
        values = arrays(folder, line["npz"])["map"]
        assert (line["conservation_error"] == "") == (method == "gradcam")
        if np.abs(values).sum() > 0:
            assert 0 <= float(line["outside_share"]) <= 1
        else:  # nothing in the last feature map speaks for the class
            assert (method, line["error"], line["outside_share"]) == ("gradcam", ZERO_MAP, "")
        if method == "integrated_gradients":
            assert float(line["conservation_error"]) < 0.05
        if target == "true":
            assert line["target"] == line["label"]


def test_grad_cam_maps_are_those_of_each_image_alone(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 3}, input=[64, 64])
    run_stage(
        heatmap, settings(method="gradcam", target="all", formats=["npz"]), folder, RunContext()
    )
    model = load_model(folder.path, torch.device("cpu"))
    lines = {(line["key"], line["target"]): line for line in index(folder)}
    total = 0.0
    for row in read_manifest(folder.path / "ingest" / "manifest.csv"):
        image = load_image(folder.path / "ingest" / row.image_file)
        x = torch.from_numpy(Frame((row.height, row.width), (64, 64)).to_network(image))[None, None]
        expected = grad_cam(model.net, x, "all").maps[0, :, 0].numpy()
        for k, name in enumerate(("normal", "sick")):
            found = arrays(folder, lines[row.key, name]["npz"])["map"]
            np.testing.assert_allclose(found, expected[k], atol=1e-4 * expected.max())
        total += expected.sum()
    assert total > 0


@pytest.mark.parametrize("family", ["block", "z+"])
def test_families_are_those_of_the_engine(tmp_path: Path, family: Any) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 1})
    run_stage(
        heatmap, settings(family=family, formats=["npz"], target="sick"), folder, RunContext()
    )
    (line,) = index(folder)
    model = load_model(folder.path, torch.device("cpu"))
    (row,) = read_manifest(folder.path / "ingest" / "manifest.csv")
    image = Frame((row.height, row.width), (SIDE, SIDE)).to_network(
        load_image(folder.path / "ingest" / row.image_file)
    )
    x, sick = torch.from_numpy(image)[None, None], torch.tensor([1])
    R = relevance(model.net, x, sick, family=family, epsilon=0.01, zb=(0.0, 1.0)).maps[0, 0, 0]
    found = arrays(folder, line["npz"])["map"]
    np.testing.assert_allclose(found, R.numpy(), atol=1e-4 * float(R.abs().max()))
    assert line["method"] == f"lrp {family}"


def test_images_of_a_set_share_a_colour_scale_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[str, float | None]] = []
    draw = writer.panel_png

    def spy(found: ImageMap, title: str, facts: list[str]) -> bytes:
        limits.append((title, found.limit))
        return draw(found, title, facts)

    monkeypatch.setattr(writer, "panel_png", spy)
    folder = make_trained(tmp_path / "run", sets={"test": 4, "far": 2})
    run_stage(heatmap, settings(scale="set"), folder, RunContext())
    sets = {
        name: {limit for title, limit in limits if f"· {name}" in title} for name in ("test", "far")
    }
    assert all(len(found) == 1 for found in sets.values())
    assert sets["test"] != sets["far"]
    limits.clear()
    run_stage(heatmap, settings(scale="image"), folder, RunContext())
    assert {limit for _, limit in limits} == {None}


def test_a_shared_scale_survives_an_interruption(tmp_path: Path) -> None:
    whole, cut = make_trained(tmp_path / "a"), make_trained(tmp_path / "b")
    run_stage(heatmap, settings(scale="set"), whole, RunContext())
    assert run_stage(heatmap, settings(scale="set"), cut, StopAfter(3).context()).status == (
        "incomplete"
    )
    assert run_stage(heatmap, settings(scale="set"), cut, RunContext()).status == "done"
    assert tree(cut.path / "heatmap") == tree(whole.path / "heatmap")


def test_annotated_findings_are_drawn_and_kept(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 2})
    boxes = tmp_path / "b.csv"
    boxes.write_text("image,x,y,width,height\ntest/001,10,10,20,16\ntest/001,30,30,12,12\n")
    config = small_config(heatmap={"formats": ["png", "npz"]})
    drawn = small_config(heatmap={"formats": ["png", "npz"]}, evaluate={"annotations": str(boxes)})
    before, plain = heatmap.fingerprint(drawn, folder), heatmap.fingerprint(config, folder)
    assert before != plain
    run_stage(heatmap, config, folder, RunContext())
    bare = {line["key"]: line for line in index(folder)}
    without = {key: (folder.path / "heatmap" / bare[key]["png"]).read_bytes() for key in bare}
    run_stage(heatmap, drawn, folder, RunContext(), replace=True)
    for key, picture in without.items():
        content = arrays(folder, bare[key]["npz"])
        now = (folder.path / "heatmap" / bare[key]["png"]).read_bytes()
        assert (now != picture) == (key == "test/001")
        assert ("findings" in content) == (key == "test/001")
    found = arrays(folder, bare["test/001"]["npz"])["findings"]
    assert [np.argwhere(one).min(0).tolist() for one in found] == [[10, 10], [30, 30]]
    assert [int(one.sum()) for one in found] == [20 * 16, 12 * 12]
    boxes.write_text("image,x,y,width,height\nother,10,10,20,16\n")
    assert heatmap.fingerprint(drawn, folder) != before
    run_stage(heatmap, drawn, folder, RunContext(), replace=True)  # images without any are fine
    assert "findings" not in arrays(folder, bare["test/001"]["npz"])


def test_a_map_of_a_label_shows_the_findings_of_that_label(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 1}, multilabel=True)
    predictor = open_predictor(small_config(data={"labels": {"task": "multilabel"}}), None, folder)
    masks = [np.eye(3, dtype=bool) for _ in range(4)]
    masks[3][:] = False
    found = writer.Explained(
        np.zeros(2), np.zeros(2), {}, np.zeros((3, 3), bool),
        findings=list(zip(["Sick", "old", "", ""], masks, strict=True)),
    )  # fmt: skip
    maps = MapWriter(predictor, tmp_path, "test", "standard", "test")
    assert [id(m) for m in maps._choose_findings(found, 0)] == [id(masks[0]), id(masks[2])]
    assert [id(m) for m in maps._choose_findings(found, 1)] == [id(masks[1]), id(masks[2])]
