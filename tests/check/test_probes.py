"""Cross-validated answers: known signals, no signal, pairs counted by hand, too few images."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isnet_cli.check.probes import DRAWS, FEWEST, FOLDS, Question, measure_areas, run_probe


def question(answers: np.ndarray, *classes: str, name: str = "class") -> Question:
    return Question(name, classes, np.asarray(answers, np.int64))


def images(n: int, signal: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features of noise, the first shifted by `signal` with the class; and patients."""
    rng = np.random.default_rng(seed)
    answers = np.arange(n) % 2
    features = rng.normal(0, 1, (n, 30)).astype(np.float32)
    features[:, 0] += signal * answers
    return features, answers, [f"p{i}" for i in range(n)]


@pytest.mark.parametrize("seed", range(3))
def test_areas_equal_a_loop_over_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, count, draws = 30, 3, 4
    p = rng.integers(0, 6, (n, count)) / 5.0  # ties
    truth, strata = rng.integers(0, count, n), rng.integers(0, 3, n)
    weights = rng.integers(0, 3, (draws, n)).astype(float)
    found = measure_areas(p, truth, strata, weights)
    for k in range(count):
        for d in range(draws):
            right = total = 0.0
            for i in range(n):
                for j in range(n):
                    if truth[i] == k != truth[j] and strata[i] == strata[j]:
                        weight = weights[d, i] * weights[d, j]
                        total += weight
                        right += weight * ((p[i, k] > p[j, k]) + 0.5 * (p[i, k] == p[j, k]))
            assert found[k, d] == pytest.approx(right / total)


def test_a_plain_signal_is_told_and_its_interval_is_narrow() -> None:
    features, answers, patients = images(120, 20.0)
    found = run_probe(features, [question(answers, "a", "b")], patients, ["s"] * 120)
    assert (found["n"], found["auc"], found["low"], found["high"]) == (120, 1.0, 1.0, 1.0)
    assert found["per_class"] == {"a": 1.0, "b": 1.0}
    assert found["within"]["auc"] == 1.0
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_without_signal_the_answer_is_chance() -> None:
    values, covered = [], 0
    for seed in range(12):
        features, answers, patients = images(100, 0.0, seed)
        found = run_probe(features, [question(answers, "a", "b")], patients, ["s"] * 100, seed)
        values.append(found["auc"])
        covered += found["low"] <= 0.5 <= found["high"]
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)
    assert covered >= 10


def test_what_is_told_by_the_stratum_alone_is_not_told_within_it() -> None:
    rng = np.random.default_rng(0)
    n = 200
    stratum = np.arange(n) % 2
    answers = np.where(rng.random(n) < 0.9, stratum, 1 - stratum)
    features = rng.normal(0, 1, (n, 20)).astype(np.float32)
    features[:, 0] += 30 * stratum
    patients = [f"p{i}" for i in range(n)]
    strata = [str(s) for s in stratum]
    found = run_probe(features, [question(answers, "a", "b")], patients, strata)
    assert found["auc"] > 0.85
    assert found["within"]["low"] < 0.5 < found["within"]["high"]
    alone = run_probe(features, [question(stratum, "a", "b")], patients, strata)
    assert alone["within"]["auc"] is None
    assert alone["within"]["why"]


def test_images_of_a_patient_share_a_fold() -> None:
    """Features that name the patient tell nothing of others, though images repeat."""
    rng = np.random.default_rng(1)
    features, answers, patients = [], [], []
    for patient in range(40):
        own = rng.normal(0, 1, 200)
        for _ in range(5):
            features.append(own + rng.normal(0, 0.01, 200))
            answers.append(patient % 2)
            patients.append(f"p{patient}")
    table = np.array(features, np.float32)
    asked = [question(np.array(answers), "a", "b")]
    kept = run_probe(table, asked, patients, ["s"] * 200)
    assert kept["auc"] < 0.75
    torn = run_probe(table, asked, [f"f{i}" for i in range(200)], ["s"] * 200)
    assert torn["auc"] == 1.0
    assert kept["high"] - kept["low"] > 0.1  # forty patients, not two hundred images


def test_classes_with_too_few_images_or_patients_are_left_out() -> None:
    features, answers, patients = images(60, 8.0)
    answers[:FEWEST] = 2
    patients[:FEWEST] = ["one"] * FEWEST
    answers[FEWEST : FEWEST + 4] = 3
    found = run_probe(features, [question(answers, "a", "b", "c", "d")], patients, ["s"] * 60)
    assert found["left_out"] == {"c": FEWEST, "d": 4}
    assert set(found["per_class"]) == {"a", "b"}
    assert found["n"] == 60 - FEWEST - 4
    few = run_probe(
        features[:12], [question(answers[:12] % 2, "a", "b")], patients[:12], ["s"] * 12
    )
    assert (few["auc"], few["n"]) == (None, 0)
    assert f"{FEWEST} images of {FOLDS} patients" in few["why"]
    none = run_probe(features[:0], [question(answers[:0], "a")], [], [])
    assert none["auc"] is None


def test_several_labels_are_averaged_and_unknown_answers_are_left_out() -> None:
    features, answers, patients = images(120, 20.0)
    noise = np.random.default_rng(5).integers(0, 2, 120)
    noise[:30] = -1
    asked = [
        question(answers, "no", "yes", name="told"),
        question(noise, "no", "yes", name="noise"),
        question(np.zeros(120), "no", "yes", name="never"),
    ]
    found = run_probe(features, asked, patients, ["s"] * 120)
    assert set(found["per_class"]) == {"told", "noise"}
    assert found["per_class"]["told"] == 1.0
    assert found["auc"] == pytest.approx((1.0 + found["per_class"]["noise"]) / 2)
    assert found["left_out"] == {"never=yes": 0}


def test_the_same_seed_gives_the_same_answer() -> None:
    features, answers, patients = images(60, 1.0)
    asked = [question(answers, "a", "b")]
    a, b = (run_probe(features, asked, patients, ["s"] * 60, 3) for _ in range(2))
    assert a == b
    assert a != run_probe(features, asked, patients, ["s"] * 60, 4)
    assert DRAWS >= 200
