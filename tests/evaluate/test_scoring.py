"""Scores of one set as the stage writes them: intervals by patient, curves, drops, briefs."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate.scoring import (
    compute_shifts,
    reference_set,
    score_part,
    summarise_scores,
    summarise_shifts,
)
from isnet_cli.images.types import Row
from isnet_cli.stats.scores import scores
from tests.stats.factory import random_predictions

QUICK = {"draws": 1000, "bootstrap": 200}


def a_config(**evaluate: Any) -> Config:
    return Config.model_validate({"evaluate": {"intervals": QUICK, **evaluate}})


def predictor(classes: list[str], config: Config, *, several: bool = False) -> Any:
    return SimpleNamespace(
        classes=classes,
        config=config,
        task="multilabel" if several else "multiclass",
        thresholds=[0.4] * len(classes) if several else None,
    )


def rows_of(labels: Any, names: list[str], per_patient: int = 1) -> list[Row]:
    rows = []
    for i, label in enumerate(labels):
        if np.ndim(label):
            words = {0.0: "0", 1.0: "1"}
            text = ";".join(f"{n}={words.get(v, '?')}" for n, v in zip(names, label, strict=True))
        else:
            text = "" if label < 0 else names[label]
        rows.append(Row(key=f"f{i}", patient=f"{i // per_patient:012x}", label=text))
    return rows


def test_metrics_are_scores_with_intervals_and_calibration() -> None:
    p, y, names = random_predictions(0, 60, 3)
    found = score_part(("test", "standard"), rows_of(y, names), p, predictor(names, a_config()))
    json.dumps(found.metrics, allow_nan=False)
    expected = scores(p, y, names)
    assert expected.items() <= found.metrics.items()
    assert found.metrics["patients"] == 60
    assert found.metrics["intervals"]["macro"]["f1"]["method"] == "dirichlet"
    assert found.metrics["calibration"]["brier"] > 0
    assert list(found.pictures) == ["roc.svg", "pr.svg", "confusion.svg", "reliability.svg"]
    assert all("test, standard" in text for text in found.pictures.values())


def test_patients_of_the_manifest_are_the_clusters() -> None:
    p, y, names = random_predictions(0, 60, 2)
    rows = rows_of(y, names, per_patient=3)
    found = score_part(("test", "standard"), rows, p, predictor(names, a_config()))
    assert found.metrics["patients"] == 20
    assert found.metrics["intervals"]["accuracy"]["method"] == "bootstrap"


def test_several_labels_use_their_thresholds() -> None:
    p, y, names = random_predictions(1, 50, 3, multilabel=True)
    model = predictor(names, a_config(), several=True)
    found = score_part(("test", "standard"), rows_of(y, names), p, model)
    expected = scores(p, y, names, [0.4] * 3)
    assert found.metrics["confusion"] == expected["confusion"]
    assert list(found.pictures) == ["roc.svg", "pr.svg", "reliability.svg"]


def test_a_set_without_labels_has_neither_pictures_nor_intervals() -> None:
    p, _, names = random_predictions(2, 5, 2)
    found = score_part(
        ("t", "standard"), rows_of(np.full(5, -1), names), p, predictor(names, a_config())
    )
    assert found.pictures == {}
    assert found.metrics["intervals"]["why"]
    brief = summarise_scores(found.metrics)
    assert brief.pop("n") == 0
    assert set(brief) == {f"macro_{r}{e}" for r in ("f1", "auc") for e in ("", "_range")}
    assert set(brief.values()) == {None}


def test_draws_depend_on_seed_set_and_version() -> None:
    p, y, names = random_predictions(3, 40, 2)
    rows = rows_of(y, names)

    def low(key: tuple[str, str], seed: int = 0) -> float:
        config = a_config().model_copy(update={"seed": seed})
        found = score_part(key, rows, p, predictor(names, config)).metrics
        return float(found["intervals"]["accuracy"]["low"])

    assert low(("a", "standard")) == low(("a", "standard"))
    assert len({low(("a", "standard")), low(("b", "standard")), low(("a", "standard"), 1)}) == 3


def test_the_reference_is_the_first_set_or_the_chosen_one() -> None:
    assert reference_set(a_config(), ["a", "b"]) == "a"
    assert reference_set(a_config(reference="b"), ["a", "b"]) == "b"
    with pytest.raises(IsnetError, match="'c' is not scored, expected one of a, b") as caught:
        reference_set(a_config(reference="c"), ["a", "b"])
    assert caught.value.kind == "config"


def test_drops_between_sets_and_their_briefs() -> None:
    config, tests = a_config(), {}
    for name, seed in (("near", 4), ("far", 5)):
        p, y, names = random_predictions(seed, 60, 2)
        part = score_part((name, "standard"), rows_of(y, names), p, predictor(names, config))
        tests[name, "standard"] = part.test
    found = compute_shifts(config, tests, "near")
    assert [(one["from"], one["to"]) for one in found] == [
        (["near", "standard"], ["far", "standard"])
    ]
    brief = summarise_shifts(found)[0]
    cell = found[0]["differences"]["macro"]["auc"]
    assert brief["macro_auc"] == {end: cell[end] for end in ("value", "low", "high")}
    assert brief["macro_f1"]["value"] == pytest.approx(
        tests["far", "standard"].metrics["macro"]["f1"]
        - tests["near", "standard"].metrics["macro"]["f1"]
    )
