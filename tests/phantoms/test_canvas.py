"""Path lengths of tubes, domes and blurs against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.phantoms.canvas import (
    Grid,
    Tubes,
    blur,
    draw_clouds,
    draw_dome,
    interpolate_curve,
    move_points,
    smoothstep,
)
from tests.phantoms.factory import sheet


def test_projection_and_coordinates_are_inverse() -> None:
    grid = sheet(tilt=0.1)
    x, y = grid.xy
    for row, column in ((10, 20), (150, 33)):
        back = grid.project(np.array([float(x[row, column]), float(y[row, column])]))
        assert back == pytest.approx([column, row], abs=1e-3)


def test_turning_the_patient_moves_what_lies_in_front() -> None:
    grid = sheet(turn=0.1)
    front, back = grid.project(np.array([[0.0, 5.0, 10.0], [0.0, 5.0, -10.0]]))
    assert front[0] - back[0] == pytest.approx(20 * np.sin(0.1) * grid.scale)
    assert front[1] == back[1]


@pytest.mark.parametrize("radius", [0.6, 1.0, 1.7])
def test_a_straight_tube_has_the_chord_of_a_cylinder(radius: float) -> None:
    grid = Grid(160, 160, 10.0, (80, 80))
    tubes = Tubes(grid)
    line = np.stack([np.linspace(-6, 6, 600), np.zeros(600), np.zeros(600)], axis=-1)
    tubes.add(line, radius, 1.0)
    profile = tubes.path()[:, 80]
    y = (np.arange(160) - 80) / 10.0
    chord = 2 * np.sqrt(np.maximum(radius**2 - y**2, 0))
    assert np.abs(profile - chord).mean() < 0.06 * radius  # the rim is antialiased
    assert profile[80] == pytest.approx(2 * radius, rel=0.05)
    assert profile.sum() / 10.0 == pytest.approx(np.pi * radius**2, rel=0.02)


def test_a_tube_along_the_ray_is_as_bright_as_it_is_long() -> None:
    grid = Grid(64, 64, 10.0, (32, 32))
    tubes = Tubes(grid)
    ray = np.stack([np.zeros(300), np.zeros(300), np.linspace(-4, 4, 300)], axis=-1)
    tubes.add(ray, 0.8, 0.5)
    assert tubes.path()[32, 32] == pytest.approx(0.5 * 8, rel=0.03)


def test_a_thin_tube_keeps_its_cross_section() -> None:
    grid = Grid(64, 64, 5.0, (32, 32))
    tubes = Tubes(grid)
    tubes.add(np.stack([np.linspace(-5, 5, 400), np.zeros(400), np.zeros(400)], -1), 0.05, 1.0)
    assert tubes.path()[:, 32].sum() / 5.0 == pytest.approx(np.pi * 0.05**2, rel=0.03)


def test_tubes_add_up_and_none_is_nothing() -> None:
    grid = sheet(96, 4.0)
    line = np.stack([np.linspace(-5, 5, 300), np.full(300, 4.0), np.zeros(300)], axis=-1)
    one, two = Tubes(grid), Tubes(grid)
    one.add(line, 0.7, 1.0)
    two.add(line, 0.7, 1.0)
    two.add(line, 0.7, -1.0)
    assert one.path().max() > 1
    assert np.abs(two.path()).max() < 1e-4
    assert not Tubes(grid).path().any()


def test_a_polygon_covers_its_area() -> None:
    grid = sheet()
    corners = np.array([[-5.0, 5.0], [5.0, 5.0], [5.0, 11.0], [-5.0, 11.0]])
    assert grid.polygon(corners).sum() / grid.scale**2 == pytest.approx(60, rel=0.03)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 3.9, 9.0])
def test_blur_spreads_a_point_and_keeps_its_sum(sigma: float) -> None:
    image = np.zeros((121, 111), np.float32)
    image[60, 55] = 1
    out = blur(image, sigma)
    rows, columns = np.mgrid[0:121, 0:111]
    assert out.sum() == pytest.approx(1, abs=0.01)
    assert np.sqrt((out * (rows - 60) ** 2).sum()) == pytest.approx(sigma, rel=0.15, abs=0.15)
    assert np.sqrt((out * (columns - 55) ** 2).sum()) == pytest.approx(sigma, rel=0.15, abs=0.15)


def test_blur_keeps_a_constant_picture() -> None:
    for sigma in (1.0, 12.0):
        assert np.allclose(blur(np.full((40, 50), 0.7, np.float32), sigma), 0.7, atol=1e-5)


def test_clouds_have_unit_deviation_and_repeat() -> None:
    grid = sheet(256, 10.0)
    fields = [draw_clouds(np.random.default_rng(seed), grid, 1.0, 3, 0.6) for seed in range(4)]
    assert np.std(fields) == pytest.approx(1, abs=0.15)
    assert abs(np.mean(fields)) < 0.1
    assert np.array_equal(fields[0], draw_clouds(np.random.default_rng(0), grid, 1.0, 3, 0.6))


def test_dome_is_a_half_ellipsoid() -> None:
    x = np.array([0.0, 3.0, 0.0, 1.5, 4.0], np.float32)
    y = np.array([0.0, 0.0, 2.0, 0.0, 0.0], np.float32)
    expected = [1, 0, 0, np.sqrt(0.75), 0]
    assert draw_dome(x, y, (0, 0), (3, 2), 0.0) == pytest.approx(expected, abs=1e-6)
    assert draw_dome(y, x, (0, 0), (3, 2), np.pi / 2) == pytest.approx(expected, abs=1e-3)


def test_smoothstep_runs_either_way() -> None:
    values = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    assert smoothstep(values, 0, 2) == pytest.approx([0, 0, 0.5, 1, 1])
    assert smoothstep(values, 2, 0) == pytest.approx([1, 1, 0.5, 0, 0])


def test_curve_passes_through_its_knots() -> None:
    knots = np.array([[0.0, 0, 0], [1, 2, 0], [3, 2, 1], [4, 0, 0]])
    points = interpolate_curve(knots, 301)
    assert points[0] == pytest.approx(knots[0])
    assert points[-1] == pytest.approx(knots[-1], abs=1e-6)
    for knot in knots:
        assert np.linalg.norm(points - knot, axis=1).min() < 0.02
    assert move_points(knots, 1, 0, -1)[2] == pytest.approx([4, 2, 0])
