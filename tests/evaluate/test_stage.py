"""The evaluate stage: what it writes equals what the model says, image by image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.dataset import evaluation_sets
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import answers, scoring
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.evaluate.stage import apply_segmenter_setting
from isnet_cli.images.kept import load_image
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.resize import Frame
from isnet_cli.inference.model_files import load_model
from isnet_cli.inference.predictor import Predictor, open_predictor
from isnet_cli.stats.scores import RATES, scores
from isnet_lrp import relevance
from isnet_lrp.record.table import HANDLERS
from tests.evaluate.factory import (
    SIDE,
    StopAfter,
    edit_rows,
    finish_train,
    make_trained,
    save_random_model,
)
from tests.support.method_runs import network_config, trained
from tests.support.runs import lungs, make_run, small_config

SHAPES = {"kind": "shapes"}
METHOD = "segment_then_classify"


@pytest.fixture(autouse=True)
def _plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of curves are named, not drawn; tests of scoring draw them."""
    monkeypatch.setattr(scoring, "svg_text", lambda figure: "<svg/>")


def metrics(folder: RunFolder) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder.path / "evaluate" / "metrics.json").read_text())
    return content


def table(folder: RunFolder, place: str = "test/standard") -> list[dict[str, str]]:
    return read_csv(folder.path / "evaluate" / place / "predictions.csv")


def tree(path: Path) -> dict[str, bytes]:
    return {
        p.relative_to(path).as_posix(): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file()
    }


def by_hand(folder: RunFolder) -> dict[str, tuple[list[float], float]]:
    """Probabilities and outside share of each image, alone and step by step."""
    model = load_model(folder.path, torch.device("cpu"))
    found = {}
    for row in read_manifest(folder.path / "ingest" / "manifest.csv"):
        frame = Frame((row.height, row.width), (SIDE, SIDE))
        image = frame.to_network(load_image(folder.path / "ingest" / row.image_file))
        x = torch.from_numpy(image)[None, None]
        p = model.net(x).softmax(1)[0].tolist()
        R = relevance(model.net, x, "predicted", epsilon=0.01, zb=(0.0, 1.0)).maps[0, 0, 0].numpy()
        mask = frame.mask_to_network(lungs(row.height))
        found[row.key] = p, float(np.abs(R[~mask]).sum() / np.abs(R).sum())
    return found


def test_predictions_and_shares_equal_the_model_image_by_image(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    outcome = run_stage(evaluate, small_config(), folder, RunContext())
    expected, rows = by_hand(folder), table(folder)
    assert [row["key"] for row in rows] == list(expected)
    for row in rows:
        p, share = expected[row["key"]]
        assert [float(row["p_normal"]), float(row["p_sick"])] == pytest.approx(p, abs=1e-5)
        assert float(row["outside_share"]) == pytest.approx(share, abs=1e-4)
        assert row["predicted"] == ("normal" if p[0] >= p[1] else "sick")
    found = metrics(folder)["sets"]["test"]["standard"]
    shares = [share for _, share in expected.values()]
    assert found["relevance_outside"]["mean"] == pytest.approx(np.mean(shares), abs=1e-4)
    summary = outcome.summary["sets"]["test"]["standard"]
    assert summary["macro_f1"] == found["macro"]["f1"]
    assert summary["outside"] == found["relevance_outside"]["mean"]
    assert summary["n"] == 6


def test_metrics_are_the_scores_of_the_predictions(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 5, "hospital_b": 7})
    run_stage(evaluate, small_config(bias=SHAPES), folder, RunContext())
    content = metrics(folder)
    assert content["classes"] == ["normal", "sick"]
    assert list(content["sets"]) == ["test", "hospital_b"]
    for name, count in (("test", 5), ("hospital_b", 7)):
        for version in ("biased", "standard", "deceiving"):
            rows = table(folder, f"{name}/{version}")
            assert len(rows) == count
            p = [[float(row["p_normal"]), float(row["p_sick"])] for row in rows]
            labels = [content["classes"].index(row["label"]) for row in rows]
            part = content["sets"][name][version]
            expected = scores(p, labels, content["classes"])
            assert part["confusion"] == expected["confusion"]
            for rate in RATES:
                assert part["macro"][rate] == pytest.approx(expected["macro"][rate])
            own = json.loads(
                (folder.path / "evaluate" / name / version / "metrics.json").read_text()
            )
            assert own == {"set": name, "version": version, **part}
            assert all((folder.path / "evaluate" / file).is_file() for file in part["files"])


def test_metrics_hold_intervals_reference_and_drops(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 5, "hospital_b": 7})
    config = small_config(bias=SHAPES, evaluate={"reference": "hospital_b"})
    outcome = run_stage(evaluate, config, folder, RunContext())
    content = metrics(folder)
    assert (content["schema"], content["reference"]) == (2, "hospital_b")
    pairs = [(one["from"], one["to"]) for one in content["shift"]]
    assert pairs == [
        *(
            ([n, "biased"], [n, v])
            for n in ("test", "hospital_b")
            for v in evaluation_sets.BIASED[1:]
        ),
        (["hospital_b", "standard"], ["test", "standard"]),
    ]
    first = content["shift"][0]["differences"]["accuracy"]
    accuracy = {v: content["sets"]["test"][v]["accuracy"] for v in evaluation_sets.BIASED}
    assert first["value"] == pytest.approx(accuracy["standard"] - accuracy["biased"])
    assert [one["to"] for one in outcome.summary["shift"]] == [to for _, to in pairs]
    cell = content["sets"]["test"]["standard"]["intervals"]["macro"]["f1"]
    shown = outcome.summary["sets"]["test"]["standard"]
    assert shown["macro_f1_range"] == [cell["low"], cell["high"]]
    with pytest.raises(IsnetError, match=r"evaluate\.reference"):
        run_stage(evaluate, small_config(evaluate={"reference": "x"}), folder, RunContext())


def test_versions_show_other_images_and_standard_shows_them_as_they_are(tmp_path: Path) -> None:
    plain, biased = make_trained(tmp_path / "a"), make_trained(tmp_path / "b")
    run_stage(evaluate, small_config(), plain, RunContext())
    run_stage(evaluate, small_config(bias=SHAPES), biased, RunContext())
    assert table(biased) == table(plain)
    p = {v: [row["p_sick"] for row in table(biased, f"test/{v}")] for v in evaluation_sets.BIASED}
    for one, other in (("biased", "standard"), ("biased", "deceiving")):
        assert all(a != b for a, b in zip(p[one], p[other], strict=True))
    assert not (plain.path / "evaluate" / "test" / "biased").exists()


def test_set_without_labels_has_predictions_and_empty_scores_with_a_reason(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    edit_rows(folder, lambda row: {"label": ""})
    said: list[str] = []
    run_stage(evaluate, small_config(bias=SHAPES), folder, RunContext(say=said.append))
    found = metrics(folder)["sets"]["test"]
    assert list(found) == ["standard"]
    part = found["standard"]
    assert (part["images"], part["n"], part["accuracy"]) == (6, 0, None)
    assert part["macro"]["f1"] is None
    assert part["why"]["accuracy"]
    assert part["relevance_outside"]["n"] == 6
    assert len(table(folder)) == 6
    assert part["files"] == ["test/standard/predictions.csv", "test/standard/metrics.json"]
    assert any("no labels" in line for line in said)


def test_images_without_label_are_predicted_but_take_no_part_in_scores(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    edit_rows(folder, lambda row: {"label": ""} if row.key.endswith("5") else {})
    run_stage(evaluate, small_config(bias=SHAPES), folder, RunContext())
    found = metrics(folder)["sets"]["test"]
    assert (found["standard"]["images"], found["standard"]["n"]) == (6, 5)
    assert (found["biased"]["images"], found["biased"]["n"]) == (5, 5)


def test_a_class_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    edit_rows(folder, lambda row: {"label": "covid"} if row.label == "sick" else {})
    with pytest.raises(
        IsnetError, match=r"set 'test'.*'covid' \(3 images\).*normal, sick"
    ) as caught:
        run_stage(evaluate, small_config(), folder, RunContext())
    assert caught.value.kind == "data"
    assert caught.value.fix


def test_one_class_per_image_for_a_model_of_several_is_refused(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", multilabel=True)
    edit_rows(folder, lambda row: {"label": "sick"})
    with pytest.raises(IsnetError, match="one class per image"):
        run_stage(evaluate, small_config(), folder, RunContext())


def test_input_size_channels_and_classes_come_from_the_card(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", input=[40, 24], channels=3, classes=["sick", "normal"])
    config = small_config(model={"input": [64, 64], "channels": 1})
    run_stage(evaluate, config, folder, RunContext())
    assert metrics(folder)["classes"] == ["sick", "normal"]
    assert metrics(folder)["model"]["input"] == [40, 24]
    assert list(table(folder)[0])[3:5] == ["p_sick", "p_normal"]


def test_multilabel_uses_thresholds_and_leaves_unknown_labels_out(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", multilabel=True)
    run_stage(evaluate, small_config(), folder, RunContext())
    part = metrics(folder)["sets"]["test"]["standard"]
    assert part["task"] == "multilabel"
    assert part["per_class"]["sick"]["n"] == 6
    assert part["per_class"]["old"]["n"] == 4  # every third is unknown
    for row in table(folder):
        expected = [n for n, t in (("sick", 0.4), ("old", 0.6)) if float(row[f"p_{n}"]) >= t]
        assert row["predicted"] == ";".join(expected)
    assert "test/standard/confusion.svg" not in part["files"]


def test_a_suspect_mask_gives_no_share_unless_kept(tmp_path: Path) -> None:
    verdicts = {"test/000": "suspect", "test/001": "missing"}
    folder = make_trained(tmp_path / "run", verdicts=verdicts)
    run_stage(evaluate, small_config(), folder, RunContext())
    assert [row["outside_share"] == "" for row in table(folder)] == [True, True, *[False] * 4]
    assert metrics(folder)["sets"]["test"]["standard"]["relevance_outside"]["n"] == 4
    run_stage(evaluate, small_config(masks={"on_suspect": "keep"}), folder, RunContext())
    assert [row["outside_share"] == "" for row in table(folder)] == [False, True, *[False] * 4]


def test_relevance_can_be_left_out(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    run_stage(evaluate, small_config(), folder, RunContext())
    with_maps = table(folder)
    run_stage(evaluate, small_config(evaluate={"relevance": False}), folder, RunContext())
    reliance = metrics(folder)["sets"]["test"]["standard"]["relevance_outside"]
    assert (reliance["mean"], reliance["why"]) == (None, evaluate.OFF)
    for row, other in zip(table(folder), with_maps, strict=True):
        assert row["outside_share"] == ""
        assert float(row["p_sick"]) == pytest.approx(float(other["p_sick"]), abs=1e-6)


def test_a_network_without_relevance_rules_is_scored_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(HANDLERS, "hardswish")  # as if its rule were unknown
    folder = make_trained(tmp_path / "run", arch="mobilenet_v3_small", method="standard")
    warned: list[str] = []
    context = RunContext(warn=lambda category, text: warned.append(text))
    run_stage(evaluate, small_config(), folder, context)
    part = metrics(folder)["sets"]["test"]["standard"]
    assert part["accuracy"] is not None
    assert "no relevance rule" in part["relevance_outside"]["why"]
    assert any("no relevance rule" in text for text in warned)


def test_default_sets_are_all_but_train_and_val(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"train": 4, "val": 2, "test": 3, "far": 2})
    run_stage(evaluate, small_config(), folder, RunContext())
    assert list(metrics(folder)["sets"]) == ["test", "far"]


def test_val_is_scored_when_it_is_asked_for_alone(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"train": 4, "val": 2})
    warned: list[str] = []
    context = RunContext(warn=lambda category, text: warned.append(text))
    with pytest.raises(IsnetError, match="no image outside the sets train and val") as caught:
        run_stage(evaluate, small_config(), folder, context)
    assert "evaluate.sets: [val]" in caught.value.fix
    run_stage(evaluate, small_config(evaluate={"sets": ["val"]}), folder, context)
    assert list(metrics(folder)["sets"]) == ["val"]
    assert warned == ["set 'val' took part in training: its scores are optimistic"]


def test_images_of_no_set_are_scored_when_there_are_no_sets(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    edit_rows(folder, lambda row: {"set": ""})
    run_stage(evaluate, small_config(), folder, RunContext())
    assert list(metrics(folder)["sets"]) == [evaluation_sets.UNNAMED]


def test_skipped_images_are_not_looked_at(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    edit_rows(folder, lambda row: {"status": "skipped"} if row.key == "test/003" else {})
    run_stage(evaluate, small_config(), folder, RunContext())
    assert "test/003" not in [row["key"] for row in table(folder)]


@pytest.mark.parametrize(
    ("sets", "asked", "kind", "match"),
    [
        ({"test": 2}, ["tset"], "config", "no image in set tset, expected some of test"),
        ({"train": 2}, None, "data", "no image outside the sets train and val"),
    ],
)
def test_sets_that_do_not_exist(
    tmp_path: Path, sets: dict[str, int], asked: list[str] | None, kind: str, match: str
) -> None:
    folder = make_trained(tmp_path / "run", sets=sets)
    with pytest.raises(IsnetError, match=match) as caught:
        run_stage(evaluate, small_config(evaluate={"sets": asked}), folder, RunContext())
    assert caught.value.kind == kind


@pytest.mark.parametrize("inside", ["", "train"])
def test_the_model_of_another_run(tmp_path: Path, inside: str) -> None:
    trained = make_trained(tmp_path / "a")
    run_stage(evaluate, small_config(), trained, RunContext())
    bare = make_run(tmp_path / "b", sets={"test": 6})
    other = small_config(evaluate={"model": str(tmp_path / "a" / inside)})
    run_stage(evaluate, other, bare, RunContext())
    assert table(bare) == table(trained)


def test_no_model_is_an_error_of_its_kind(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", sets={"test": 2})
    with pytest.raises(IsnetError, match="'train' is not finished"):
        run_stage(evaluate, small_config(), folder, RunContext())
    config = small_config(evaluate={"model": str(tmp_path / "nothing")})
    with pytest.raises(IsnetError, match="no trained model") as caught:
        run_stage(evaluate, config, folder, RunContext())
    assert caught.value.kind == "weights"


def test_a_model_that_diverged_is_an_error(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", sets={"test": 4})

    def diverge(net: torch.nn.Module) -> None:
        torch.nn.init.constant_(list(net.parameters())[-2], 3e38)  # finite, but no logit is

    save_random_model(folder.path / "train", diverge)
    finish_train(folder)
    with pytest.raises(IsnetError, match="4 of 4 images got NaN"):
        run_stage(evaluate, small_config(), folder, RunContext())


def test_a_mask_that_vanished_is_an_error_with_a_fix(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    (folder.path / "masks" / "test" / "002.png").unlink()
    with pytest.raises(IsnetError, match="mask") as caught:
        run_stage(evaluate, small_config(), folder, RunContext())
    assert caught.value.fix == "isnet masks CONFIG"


def test_second_identical_run_does_no_work(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    assert run_stage(evaluate, small_config(), folder, RunContext()).status == "done"
    smaller = small_config(evaluate={"batch_size": 2})
    assert run_stage(evaluate, smaller, folder, RunContext()).status == "current"


@pytest.mark.parametrize(
    "change",
    [
        {"bias": SHAPES},
        {"evaluate": {"relevance": False}},
        {"evaluate": {"background": False}},
        {"seed": 1},
        {"masks": {"on_suspect": "keep"}},
        {"evaluate": {"sets": ["test"]}},
        {"evaluate": {"reference": "test"}},
        {"evaluate": {"adapt": "batch_norm"}},
        {"evaluate": {"intervals": {"prior": "uniform"}}},
    ],
)
def test_fingerprint_follows_what_the_result_depends_on(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = make_trained(tmp_path / "run")
    plain = evaluate.fingerprint(small_config(), folder)
    assert evaluate.fingerprint(small_config(**change), folder) != plain


def test_fingerprint_follows_images_and_model(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    seen = {evaluate.fingerprint(small_config(), folder)}
    edit_rows(folder, lambda row: {"source": "B"})
    seen.add(evaluate.fingerprint(small_config(), folder))
    save_random_model(folder.path / "train", epoch=2)
    with pytest.raises(IsnetError, match=r"train/model\.json was changed since it was written"):
        evaluate.fingerprint(small_config(), folder)
    folder.finish("train", "t2", [folder.path / "train" / "model.json"], {})
    seen.add(evaluate.fingerprint(small_config(), folder))
    assert len(seen) == 3


def test_interrupted_and_continued_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "choose_chunk_size", lambda config: 2)
    whole, cut = make_trained(tmp_path / "a"), make_trained(tmp_path / "b")
    config = small_config(bias=SHAPES, evaluate={"background": False})
    run_stage(evaluate, config, whole, RunContext())
    stop = StopAfter(2 * 2 * 3).context()  # two pairs of images in three versions
    assert run_stage(evaluate, config, cut, stop).status == "incomplete"
    loaded: list[int] = []
    load = Predictor.load
    monkeypatch.setattr(
        Predictor, "load", lambda self, rows: (loaded.append(len(rows)), load(self, rows))[1]
    )
    assert run_stage(evaluate, config, cut, RunContext()).status == "done"
    assert loaded == [2]  # the third pair; the first two were done
    assert tree(cut.path / "evaluate") == tree(whole.path / "evaluate")


def test_the_result_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    a, b = make_trained(tmp_path / "a"), make_trained(tmp_path / "b")
    run_stage(evaluate, small_config(evaluate={"batch_size": 1}), a, RunContext())
    run_stage(evaluate, small_config(evaluate={"batch_size": 32}), b, RunContext())
    for one, other in zip(table(a), table(b), strict=True):
        for column in ("p_sick", "outside_share"):
            assert float(one[column]) == pytest.approx(float(other[column]), abs=2e-6)


def test_files_of_a_set_that_is_no_longer_evaluated_go_away(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 3, "far": 3})
    run_stage(evaluate, small_config(), folder, RunContext())
    note = folder.path / "evaluate" / "my notes.txt"
    note.write_text("not the stage's")
    run_stage(evaluate, small_config(evaluate={"sets": ["far"]}), folder, RunContext())
    assert not (folder.path / "evaluate" / "test").exists()
    assert (folder.path / "evaluate" / "far" / "standard" / "predictions.csv").exists()
    assert note.exists()


def test_evaluated_with_and_without(tmp_path: Path) -> None:
    folder, said, tables = trained(METHOD, tmp_path), [], []
    for asked in (True, False):
        config = network_config(METHOD, tmp_path, evaluate={"segmenter": asked})
        assert run_stage(evaluate, config, folder, RunContext(), replace=True).status == "done"
        place = folder.path / "evaluate"
        said.append(json.loads((place / "metrics.json").read_text())["model"]["segmenter"])
        tables.append(read_csv(place / "test" / "standard" / "predictions.csv"))
    assert said == ["segment", "whole"]
    assert [r["p_sick"] for r in tables[0]] != [r["p_sick"] for r in tables[1]]
    net = open_predictor(config, None, folder).model.net
    images = open_predictor(config, None, folder)
    rows = [r["key"] for r in tables[1]]
    assert rows
    x = torch.rand(2, 1, 32, 32)
    ablated = apply_segmenter_setting(images)
    with torch.no_grad():
        expected = net.classifier(x).double().softmax(1)
    torch.testing.assert_close(torch.from_numpy(ablated.predict(x).probabilities), expected)


def test_a_model_trained_for_whole_images_says_so(tmp_path: Path) -> None:
    config = network_config(METHOD, tmp_path, {"at_test": "whole"})
    folder = trained(METHOD, tmp_path, config)
    found = apply_segmenter_setting(open_predictor(config, None, folder))
    assert found.describe()["model"]["segmenter"] == "whole"


def test_earlier_evaluations_stay_up_to_date(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    kept = small_config(evaluate={"segmenter": True})
    assert evaluate.fingerprint(small_config(), folder) == evaluate.fingerprint(kept, folder)
    other = small_config(evaluate={"segmenter": False})
    assert evaluate.fingerprint(other, folder) != evaluate.fingerprint(kept, folder)


def test_a_model_without_segmenter_is_refused(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run")
    found = open_predictor(small_config(), None, folder)
    assert apply_segmenter_setting(found) is found
    config = small_config(evaluate={"segmenter": False})
    with pytest.raises(IsnetError, match="model of method isnet has no segmenter") as caught:
        apply_segmenter_setting(open_predictor(config, None, folder))
    assert caught.value.kind == "config"
