"""Phantoms repeat, vary, keep their signs inside the lungs and their letters outside."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from isnet_cli.phantoms.phantom import Phantom, make_phantom, make_phantoms

SIZE = 192


@cache
def draw(patient: int, disease: bool, hospital: str = "A") -> Phantom:
    """The first image of a patient; shared, so nobody writes to it."""
    return make_phantom(patient, 0, disease, hospital, size=SIZE)


def parts(mask: np.ndarray) -> list[int]:
    """Sizes of the 4-connected parts, largest first (plain flood fill by label spreading)."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        around = np.stack(
            (padded[2:, 1:-1], padded[:-2, 1:-1], padded[1:-1, 2:], padded[1:-1, :-2])
        )
        spread = np.where(mask, np.maximum(labels, around.max(axis=0)), 0)
        if np.array_equal(spread, labels):
            return sorted(np.bincount(labels[labels > 0])[1:].tolist(), reverse=True)
        labels = spread


@pytest.mark.parametrize("hospital", ["A", "B"])
@pytest.mark.parametrize("patient", range(4))
def test_an_image_is_complete(patient: int, hospital: str) -> None:
    drawn = draw(patient, patient % 2 == 0, hospital)
    assert drawn.pixels.dtype == np.float32
    assert drawn.lungs.dtype == bool
    assert drawn.pixels.shape == drawn.lungs.shape
    assert max(drawn.pixels.shape) == SIZE
    assert drawn.pixels.min() >= 0
    assert drawn.pixels.max() <= 1
    assert bool(drawn.signs) == drawn.disease == (patient % 2 == 0)
    assert 330 < SIZE * drawn.spacing < 450  # mm
    share = drawn.lungs.mean()
    assert 0.15 < share < 0.5
    sizes = [n for n in parts(drawn.lungs) if n > 0]
    assert sizes[1] > 0.35 * sizes[0]
    assert sum(sizes[:2]) > 0.97 * sum(sizes)


@pytest.mark.parametrize("hospital", ["A", "B"])
def test_lungs_are_darker_than_the_body_between_and_below_them(hospital: str) -> None:
    for patient in range(3):
        drawn = draw(patient, False, hospital)
        rows, columns = np.nonzero(drawn.lungs)
        centre = (int(columns.min()) + int(columns.max())) // 2
        middle = slice(centre - 4, centre + 4)
        heart = drawn.pixels[int(np.percentile(rows, 60)) : int(np.percentile(rows, 80)), middle]
        below = drawn.pixels[rows.max() - 3, middle]
        lungs = np.median(drawn.pixels[drawn.lungs])
        assert lungs + 0.15 < heart.mean()
        assert lungs + 0.15 < below.mean()


def test_the_same_arguments_give_the_same_image() -> None:
    one, other = (make_phantom(3, 1, True, "B", 5, 96) for _ in range(2))
    assert np.array_equal(one.pixels, other.pixels)
    assert np.array_equal(one.lungs, other.lungs)
    assert np.array_equal(one.lesion, other.lesion)


@pytest.mark.parametrize(
    "change", [{"patient": 4}, {"image": 2}, {"seed": 6}, {"hospital": "B"}, {"disease": True}]
)
def test_each_argument_matters(change: dict[str, object]) -> None:
    arguments = {"patient": 3, "image": 1, "disease": False, "hospital": "A", "seed": 5}
    one = make_phantom(**arguments, size=96)  # type: ignore[arg-type]
    other = make_phantom(**{**arguments, **change}, size=96)  # type: ignore[arg-type]
    assert one.pixels.shape != other.pixels.shape or np.abs(one.pixels - other.pixels).max() > 0.05


@pytest.mark.parametrize(
    "patient", [*range(4), *(pytest.param(n, marks=pytest.mark.slow) for n in range(4, 8))]
)
def test_signs_lie_in_the_lungs(patient: int) -> None:
    """The same image with and without disease differs in the lungs and nowhere else.

    Scattered light reaches a little further, hence the small tolerance outside.
    """
    well, ill = draw(patient, False), draw(patient, True)
    assert np.array_equal(well.lungs, ill.lungs)
    change = np.abs(well.pixels - ill.pixels)
    inside = change[well.lungs].sum()
    assert change[well.lungs].max() > 0.12
    assert inside > 0.6 * change.sum()


@pytest.mark.parametrize("hospital", ["A", "B"])
def test_a_lesion_is_where_the_image_differs_from_the_well_one(hospital: str) -> None:
    for patient in range(4):
        well, ill = draw(patient, False, hospital), draw(patient, True, hospital)
        assert not well.lesion.any()
        assert ill.lesion.dtype == bool
        assert ill.lesion.shape == ill.pixels.shape
        assert 0.004 < ill.lesion.mean() < 0.25
        assert (ill.lesion & ill.lungs).sum() > 0.9 * ill.lesion.sum()
        change = np.abs(ill.pixels - well.pixels)
        assert change[ill.lesion].mean() > 8 * change[~ill.lesion].mean()
        seen = change > 0.04
        assert (seen & ill.lesion).sum() > 0.5 * (seen | ill.lesion).sum()


@pytest.mark.parametrize("hospital", ["A", "B"])
def test_letters_do_not_depend_on_the_disease(hospital: str) -> None:
    for patient in range(4):
        well = draw(patient, False, hospital)
        ill = draw(patient, True, hospital)
        h, w = well.pixels.shape
        corner = np.s_[: h // 12, : w // 5]
        assert np.abs(well.pixels[corner] - ill.pixels[corner]).mean() < 0.02


def test_hospitals_look_different() -> None:
    def spread(hospital: str) -> tuple[float, float]:
        images = [draw(i, False, hospital).pixels for i in range(4)]
        return (
            float(np.mean([(f > 0.97).mean() for f in images])),
            float(np.mean([(f < 0.02).mean() for f in images])),
        )

    (white_a, black_a), (white_b, black_b) = spread("A"), spread("B")
    assert white_b > white_a + 0.1
    assert black_b > black_a + 0.03


def test_size_changes_the_resolution_not_the_image() -> None:
    small, large = make_phantom(2, 0, size=128), make_phantom(2, 0, size=256)
    assert small.pixels.shape[0] * 2 == pytest.approx(large.pixels.shape[0], abs=2)
    assert small.lungs.mean() == pytest.approx(large.lungs.mean(), abs=0.02)


def test_phantoms_yields_patients_of_both_kinds_and_hospitals() -> None:
    drawn: list[Phantom] = list(make_phantoms(6, seed=1, size=96))
    assert len(drawn) == 6
    assert len({p.patient for p in drawn}) == 6
    assert {p.hospital for p in drawn} == {"A", "B"}
    assert {p.disease for p in drawn} == {True, False}
    again = next(make_phantoms(1, seed=1, size=96))
    assert np.array_equal(again.pixels, drawn[0].pixels)
