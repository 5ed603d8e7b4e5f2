"""None"""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from isnet_cli.errors import IsnetError
from isnet_cli.stats.scores import (
    NO_IMAGES,
    RATES,
    choose_thresholds,
    decide,
    pr_points,
    roc_points,
    scores,
)
from tests.support.paths import ROOT

GOLDEN = ROOT.parent / "shared" / "golden" / "metrics.json"
ABC = ["a", "b", "c"]


def slow_auc(truth: list[bool], score: list[float]) -> float:
    """Mann-Whitney: share of (positive, negative) pairs in the right order, ties one half."""
    pairs = [
        (p, q)
        for (p, is_p), (q, is_q) in itertools.product(zip(score, truth, strict=True), repeat=2)
        if is_p and not is_q
    ]
    return sum(1.0 if p > q else 0.5 if p == q else 0.0 for p, q in pairs) / len(pairs)


def slow_ap(truth: list[bool], score: list[float]) -> float:
    """Sum over descending distinct thresholds of (recall step) x precision."""
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        chosen = [s >= threshold for s in score]
        tp = sum(c and t for c, t in zip(chosen, truth, strict=True))
        recall = tp / sum(truth)
        total += (recall - recall_before) * tp / sum(chosen)
        recall_before = recall
    return total


def slow_rates(truth: list[bool], chosen: list[bool], score: list[float]) -> dict[str, Any]:
    """Each rate from its definition, image by image; None where the definition divides by 0."""
    cells = {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
    for t, c in zip(truth, chosen, strict=True):
        cells[("t" if t == c else "f") + ("p" if c else "n")] += 1
    tp, fp, fn, tn = cells["tp"], cells["fp"], cells["fn"], cells["tn"]
    rates: dict[str, Any] = dict.fromkeys(RATES)
    if fp + tn:
        rates["specificity"] = tn / (tn + fp)
    if tp + fn == 0:
        return rates
    rates["recall"] = tp / (tp + fn)
    rates["precision"] = tp / (tp + fp) if tp + fp else None
    both = tp > 0
    rates["f1"] = (
        2 / ((tp + fp) / tp + (tp + fn) / tp) if both else 0.0
    )  # harmonic mean of precision and recall
    if fp + tn:
        rates["auc"], rates["ap"] = slow_auc(truth, score), slow_ap(truth, score)
    return rates


def random_case(seed: int, n: int, classes: int, *, ties: bool) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    raw = rng.integers(1, 4, (n, classes)) if ties else rng.random((n, classes)) + 0.01
    return raw / raw.sum(axis=1, keepdims=True), rng.integers(0, classes, n)


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for rate in RATES:
        if expected[rate] is None:
            assert found[rate] is None
            assert found["why"][rate]
        else:
            assert found[rate] == pytest.approx(expected[rate], abs=1e-12)
            assert rate not in found.get("why", {})


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(2, 4), st.booleans())
def test_multiclass_equals_the_definitions(seed: int, n: int, classes: int, ties: bool) -> None:
    p, y = random_case(seed, n, classes, ties=ties)
    names = [f"c{k}" for k in range(classes)]
    found = scores(p, y, names)
    predicted = [max(range(classes), key=lambda k, i=i: (p[i][k], -k)) for i in range(n)]
    confusion = [[0] * classes for _ in names]
    for t, q in zip(y, predicted, strict=True):
        confusion[t][q] += 1
    assert found["confusion"] == confusion
    assert found["accuracy"] == pytest.approx(sum(confusion[k][k] for k in range(classes)) / n)
    for k, name in enumerate(names):
        expected = slow_rates(
            [bool(t == k) for t in y], [q == k for q in predicted], p[:, k].tolist()
        )
        assert_same(found["per_class"][name], expected)
    for rate in RATES:
        values = [e[rate] for e in found["per_class"].values() if e[rate] is not None]
        if values:
            assert found["macro"][rate] == pytest.approx(math.fsum(values) / len(values))
        else:
            assert found["macro"][rate] is None
    assert found["balanced_accuracy"] == found["macro"]["recall"]
    json.dumps(found, allow_nan=False)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(1, 3))
def test_multilabel_equals_the_definitions(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.integers(0, 5, (n, classes)) / 4
    y = rng.choice([0.0, 1.0, np.nan], (n, classes), p=[0.4, 0.4, 0.2])
    limits = rng.integers(0, 5, classes) / 4
    names = [f"c{k}" for k in range(classes)]
    found = scores(p, y, names, limits.tolist())
    right = known = 0
    balanced = []
    for k, name in enumerate(names):
        rows = [i for i in range(n) if not math.isnan(y[i, k])]
        truth, chosen = [y[i, k] == 1 for i in rows], [p[i, k] >= limits[k] for i in rows]
        expected = slow_rates(truth, chosen, [p[i, k] for i in rows])
        assert_same(found["per_class"][name], expected)
        pairs = list(zip(truth, chosen, strict=True))
        counts = [[pairs.count((t, c)) for c in (False, True)] for t in (False, True)]
        assert found["confusion"][name] == counts
        right, known = right + counts[0][0] + counts[1][1], known + len(rows)
        if expected["recall"] is not None and expected["specificity"] is not None:
            balanced.append((expected["recall"] + expected["specificity"]) / 2)
    assert found["n"] == sum(any(not math.isnan(v) for v in row) for row in y)
    assert found["accuracy"] == (pytest.approx(right / known) if known else None)
    mean = pytest.approx(sum(balanced) / len(balanced)) if balanced else None
    assert found["balanced_accuracy"] == mean
    json.dumps(found, allow_nan=False)


@pytest.mark.shared
@pytest.mark.skipif(not GOLDEN.exists(), reason="golden numbers are not beside the checkout")
def test_golden_multiclass() -> None:
    golden = json.loads(GOLDEN.read_text())
    raw = np.exp(np.array(golden["scores"]))
    found = scores(raw / raw.sum(axis=1, keepdims=True), golden["labels"], ABC)
    assert found["confusion"] == golden["confusion_rows_true_cols_pred"]
    assert found["accuracy"] == pytest.approx(golden["accuracy"], abs=1e-15)
    rows = [*(found["per_class"][name] for name in ABC), found["macro"]]
    columns = ("precision", "recall", "f1")
    for row, expected in zip(
        rows, golden["performance_rows_classes_then_mean_cols_precision_recall_f1"], strict=True
    ):
        assert [row[c] for c in columns] == pytest.approx(expected, abs=0.0005 + 2e-6)


@pytest.mark.shared
@pytest.mark.skipif(not GOLDEN.exists(), reason="golden numbers are not beside the checkout")
def test_golden_auc() -> None:
    golden = json.loads(GOLDEN.read_text())["delong"]
    p = np.array(golden["scores"])
    found = scores(np.stack([1 - p, p], axis=1), golden["labels"], ["no", "yes"])
    assert found["per_class"]["yes"]["auc"] == pytest.approx(golden["auc"], abs=1e-12)
    assert found["per_class"]["no"]["auc"] == pytest.approx(golden["auc"], abs=1e-12)


def test_by_hand() -> None:
    p = [[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.9, 0.1]]
    found = scores(p, [0, 1, 1, 0], ["no", "yes"])
    assert found["confusion"] == [[2, 0], [1, 1]]
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    yes = found["per_class"]["yes"]
    assert (yes["n"], yes["positives"]) == (4, 2)
    assert (yes["precision"], yes["recall"], yes["specificity"]) == (1.0, 0.5, 1.0)
    assert yes["f1"] == pytest.approx(2 / 3)
    assert (yes["auc"], yes["ap"]) == (1.0, 1.0)
    assert "why" not in found
    assert "why" not in yes


def test_class_without_images_is_empty_with_a_reason_and_outside_the_macro() -> None:
    p = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]]
    found = scores(p, [0, 1, 1], ABC)
    missing = found["per_class"]["c"]
    reason = "no image of class 'c' in this set"
    for rate in ("precision", "recall", "f1", "auc", "ap"):
        assert missing[rate] is None
        assert missing["why"][rate] == reason
        assert found["macro"]["why"][rate] == f"mean of 2 of 3 classes: {reason}"
    assert missing["specificity"] == pytest.approx(2 / 3)
    assert found["macro"]["f1"] == pytest.approx((1.0 + 2 / 3) / 2)
    assert found["why"]["balanced_accuracy"].endswith(reason)


def test_class_that_is_never_predicted_has_no_precision_but_f1_zero() -> None:
    found = scores([[0.9, 0.1], [0.8, 0.2]], [0, 1], ["no", "yes"])
    yes = found["per_class"]["yes"]
    assert (yes["precision"], yes["recall"], yes["f1"]) == (None, 0.0, 0.0)
    assert yes["why"] == {"precision": "no image was predicted as 'yes'"}
    assert found["macro"]["precision"] == 0.5
    assert found["macro"]["f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_ties_in_probability_go_to_the_first_class_and_count_half_in_the_area() -> None:
    found = scores([[0.5, 0.5]] * 4, [0, 0, 1, 1], ["no", "yes"])
    assert found["confusion"] == [[2, 0], [2, 0]]
    assert found["per_class"]["yes"]["auc"] == 0.5


def test_one_image() -> None:
    found = scores([[0.3, 0.7]], [1], ["no", "yes"])
    yes = found["per_class"]["yes"]
    assert (found["n"], found["accuracy"], yes["f1"]) == (1, 1.0, 1.0)
    assert yes["specificity"] is None
    assert yes["why"]["auc"] == "every image of this set is of class 'yes'"
    assert found["macro"]["auc"] is None
    assert found["macro"]["why"]["auc"].startswith("mean of 0 of 2 classes")


@pytest.mark.parametrize(
    ("labels", "p"),
    [([], np.zeros((0, 2))), ([-1, -1], [[0.5, 0.5]] * 2), (np.full((1, 2), np.nan), [[0.5] * 2])],
)
def test_no_labelled_image_gives_no_score_and_no_crash(labels: Any, p: Any) -> None:
    found = scores(p, np.array(labels, float), ["no", "yes"])
    assert (found["n"], found["accuracy"], found["balanced_accuracy"]) == (0, None, None)
    assert found["why"]["accuracy"] == NO_IMAGES
    assert all(found["macro"][rate] is None for rate in RATES)
    json.dumps(found, allow_nan=False)


def test_unlabelled_images_are_left_out() -> None:
    p = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    assert scores(p, [0, 1, -1], ["no", "yes"]) == scores(p[:2], [0, 1], ["no", "yes"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_probabilities_are_an_error_that_counts_them(bad: float) -> None:
    with pytest.raises(IsnetError, match="1 of 2 images got NaN") as caught:
        scores([[0.5, 0.5], [bad, 0.5]], [0, 1], ["no", "yes"])
    assert caught.value.kind == "weights"
    assert caught.value.fix


@pytest.mark.parametrize(
    ("p", "labels", "thresholds", "match"),
    [
        ([[0.5, 0.5]], [2], None, "class indices -1 to 1"),
        ([[0.5, 0.5]], [0.5], None, "class indices"),
        ([[0.5, 0.5]], [0, 1], None, "labels for 2 images"),
        ([[0.5, 0.5, 0.5]], [0], None, "expected probabilities"),
        ([[1.5, 0.5]], [0], None, "span"),
        ([[0.5, 0.5]], [0], [0.5, 0.5], "multi-label"),
        ([[0.5, 0.5]], [[0.0, 2.0]], None, "0, 1 and NaN"),
        ([[0.5, 0.5]], [[0.0]], None, "expected labels"),
        ([[0.5, 0.5]], [[0.0, 1.0]], [0.5], "expected 2 thresholds"),
        ([[0.5, 0.5]], [[0.0, 1.0]], [0.5, 1.5], "expected 2 thresholds"),
    ],
)
def test_values_out_of_range_are_refused(p: Any, labels: Any, thresholds: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        scores(p, labels, ["no", "yes"], thresholds)


def test_threshold_is_reached_at_equality() -> None:
    assert decide([[0.5, 0.49], [0.2, 0.9]], None, 2).tolist() == [[True, False], [False, True]]
    assert decide([[0.5, 0.5]], [0.6, 0.4], 2).tolist() == [[False, True]]


def test_roc_points_enclose_the_area_and_miss_unknown_labels() -> None:
    rng = np.random.default_rng(3)
    score, truth = rng.integers(0, 6, 40) / 5, rng.choice([0.0, 1.0, np.nan], 40)
    points = roc_points(score, truth)
    assert points is not None
    fpr, tpr = points
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    known = ~np.isnan(truth)
    expected = slow_auc((truth[known] == 1).tolist(), score[known].tolist())
    assert np.trapezoid(tpr, fpr) == pytest.approx(expected)


@pytest.mark.parametrize("truth", [[], [1, 1], [0, 0], [np.nan, 1.0]])
def test_no_roc_curve_without_both_kinds(truth: list[float]) -> None:
    assert roc_points([0.5] * len(truth), truth) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_steps_of_the_precision_recall_curve_enclose_the_average_precision(
    seed: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    score, truth = rng.integers(0, 6, n) / 5, rng.choice([0.0, 1.0, np.nan], n)
    known = truth[~np.isnan(truth)]
    points = pr_points(score, truth)
    if not known.sum():
        assert points is None
        return
    assert points is not None
    recall, precision = (np.array(side) for side in points)
    assert (recall[0], recall[-1]) == (0, 1)
    expected = slow_ap((known == 1).tolist(), score[~np.isnan(truth)].tolist())
    assert (np.diff(recall) * precision[1:]).sum() == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30))
def test_no_other_threshold_is_better(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    p, y = rng.integers(0, 8, (n, 1)) / 7, rng.integers(0, 2, (n, 1)).astype(float)
    found = choose_thresholds(p, y, ["a"])
    if not 0 < y.sum() < n:
        assert found["thresholds"] == [0.5]
        assert "a" in found["threshold_rule"]["why"]
        return
    chosen = p[:, 0] >= np.linspace(0, 1, 57)[:, None]
    tried = 2 * (chosen @ y[:, 0]) / (chosen.sum(axis=1) + y.sum())
    limit = found["thresholds"][0]
    own = f1_score(y[:, 0], p[:, 0] >= limit)
    assert own == pytest.approx(max(tried))
    assert found["threshold_rule"]["f1"]["a"] == pytest.approx(own)
    assert 0 <= limit <= 1
    # Evaluation decides by the stored threshold and finds the same F1.
    assert scores(p, y, ["a"], [limit])["per_class"]["a"]["f1"] == pytest.approx(own)


def test_the_threshold_lies_between_images() -> None:
    p = [[0.1], [0.2], [0.6], [0.9]]
    found = choose_thresholds(p, [[0.0], [0.0], [1.0], [1.0]], ["a"])
    assert found["thresholds"] == [pytest.approx(0.4)]
    assert found["threshold_rule"]["f1"] == {"a": 1.0}


def test_labels_without_both_kinds_keep_one_half() -> None:
    labels = [[1.0, np.nan, 0.0, 1.0], [1.0, np.nan, 0.0, 0.0]]
    found = choose_thresholds([[0.2] * 4, [0.3] * 4], labels, ["a", "b", "c", "d"])
    assert found["thresholds"][:3] == [0.5] * 3
    why = found["threshold_rule"]["why"]
    assert why == {
        "a": "no validation image without 'a'",
        "b": "no validation image with 'b'",
        "c": "no validation image with 'c'",
    }


def test_unknown_labels_are_left_out() -> None:
    p, y = [[0.1], [0.9], [0.5]], [[0.0], [1.0], [np.nan]]
    assert choose_thresholds(p, y, ["a"]) == choose_thresholds(p[:2], y[:2], ["a"])


def test_bad_input_is_refused() -> None:
    with pytest.raises(IsnetError, match="NaN"):
        choose_thresholds([[np.nan]], [[1.0]], ["a"])
    with pytest.raises(ValueError, match="labels"):
        choose_thresholds([[0.5]], [1.0], ["a"])
