"""Pointing game, share on the finding, and sameness, on maps whose right values are plain."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.stats.localisation import (
    NO_FINDING,
    NO_RELEVANCE,
    NOT_FINITE,
    average,
    measure_localisation,
    measure_sameness,
    scale_tolerance,
)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Four maps [4, 20, 20] and one finding of 4 x 4 pixels in each."""
    maps, findings = np.zeros((4, 20, 20)), np.zeros((4, 20, 20), bool)
    findings[:, 8:12, 8:12] = True
    maps[0, 9, 9] = 3.0  # on it
    maps[1, 9, 13] = 3.0  # two pixels beside it
    maps[2, 9, 14] = 3.0  # three pixels beside it
    maps[3, 9, 9], maps[3, 2, 2] = 1.0, 3.0  # a weaker place on it
    return maps, findings


def test_a_hit_is_the_strongest_place_on_the_finding_or_near_it() -> None:
    maps, findings = scene()
    found = measure_localisation(maps, findings)
    assert found.hit.tolist() == [1, 1, 0, 0]
    assert found.inside_share.tolist() == [1, 0, 0, 0.25]
    assert measure_localisation(maps, findings, slack=0).hit.tolist() == [1, 0, 0, 0]
    assert measure_localisation(maps, findings, slack=3).hit.tolist() == [1, 1, 1, 0]


def test_negative_relevance_is_no_evidence() -> None:
    maps, findings = scene()
    maps[0, 2, 2] = -9.0
    assert measure_localisation(maps, findings).hit[0] == 1
    assert measure_localisation(maps, findings).inside_share[0] == 1
    assert measure_localisation(-maps[3:], findings[3:]).why.tolist() == [NO_RELEVANCE]


def test_a_blur_prefers_a_patch_to_a_spike() -> None:
    maps, findings = np.zeros((1, 20, 20)), np.zeros((1, 20, 20), bool)
    findings[:, 8:12, 8:12] = True
    maps[0, 8:12, 8:12], maps[0, 2, 2] = 1.0, 1.5
    assert measure_localisation(maps, findings, blur=0).hit.tolist() == [0]
    assert measure_localisation(maps, findings, blur=1).hit.tolist() == [1]


def test_chance_is_the_findings_part_of_the_lungs() -> None:
    maps, findings = scene()
    lungs = np.zeros_like(findings)
    lungs[:, :, :10] = True  # half of the finding
    assert measure_localisation(maps, findings, lungs, slack=0).chance == pytest.approx(8 / 200)
    assert measure_localisation(maps, findings, slack=0).chance == pytest.approx(16 / 400)
    assert measure_localisation(maps, findings, slack=1).chance == pytest.approx(32 / 400)
    assert np.isnan(measure_localisation(maps, findings, 0 * lungs).chance).all()
    assert measure_localisation(maps, findings, lungs, slack=3).area == pytest.approx(8 / 200)
    assert np.isnan(measure_localisation(maps, findings, 0 * lungs).area).all()
    even = measure_localisation(np.where(lungs, 0.3, 0.0), findings, lungs)
    assert even.inside_share == pytest.approx(even.area)


def test_tolerances_are_the_same_share_of_maps_of_any_size() -> None:
    assert scale_tolerance((96, 96)) == (1.0, 2)
    assert scale_tolerance((192, 256)) == (2.0, 4)
    assert scale_tolerance((224, 224)) == (pytest.approx(7 / 3), 5)


def test_channels_are_summed() -> None:
    maps, findings = scene()
    doubled = np.stack([maps, -maps], axis=1)
    doubled[:, 1, 9, 9] += 1
    assert measure_localisation(doubled, findings).hit.tolist() == [1, 1, 1, 1]


def test_what_cannot_be_measured_says_why() -> None:
    maps, findings = scene()
    findings[0], maps[1], maps[2, 0, 0] = False, 0, np.nan
    found = measure_localisation(maps, findings)
    assert found.why.tolist() == [NO_FINDING, NO_RELEVANCE, NOT_FINITE, ""]
    for figure in (found.hit, found.inside_share, found.chance):
        assert np.isnan(figure).tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match="do not match"):
        measure_localisation(maps, findings[:, :10])
    with pytest.raises(ValueError, match="negative"):
        measure_localisation(maps, findings, slack=-1)


def test_sameness_is_one_for_one_map_and_low_for_different_ones() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, 16, 16))
    assert measure_sameness(np.repeat(one, 5, 0)) == pytest.approx(1)
    scaled = one * np.array([1.0, -2.0, 0.1])[:, None, None]
    assert measure_sameness(scaled) == pytest.approx(1)  # neither scale nor sign counts
    other = rng.normal(size=(50, 16, 16))
    assert measure_sameness(other) < 0.3
    assert np.isnan(measure_sameness(one))
    assert np.isnan(measure_sameness(np.ones((4, 3, 3))))
    withheld = np.concatenate([scaled, np.full((1, 16, 16), np.nan), np.zeros((1, 16, 16))])
    assert measure_sameness(withheld) == pytest.approx(1)


def test_average_leaves_nan_out() -> None:
    assert average([1.0, np.nan, 3.0]) == 2.0
    assert average([np.nan]) is None
