"""Phantoms: their transform against quadrature, theorems of Fourier, and exactness from rung to rung."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.errors import GridError
from anchorbench.fields import Grid, restrict
from anchorbench.solvers import Phantom, ellipsoids, random_head

QUICK = settings(deadline=None, max_examples=20)
BOX = Grid((64, 64), (10.0, 10.0), unit="mm")

numbers = st.floats(-1.5, 1.5, allow_nan=False)


def turn(rng: np.random.Generator, d: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def one(rng: np.random.Generator, d: int, *, ripple: float = 0.4) -> Phantom:
    """An ellipsoid of any attitude, semi-axes 0.3 to 2, inside the box of length 10."""
    return ellipsoids(
        rng.uniform(4, 6, (1, d)),
        rng.uniform(0.3, 2, (1, d)),
        np.array([rng.uniform(0.5, 2)]),
        rotation=turn(rng, d)[None],
        ripple=np.array([ripple]),
        wave=rng.normal(size=(1, d)) * 3,
        phase=rng.uniform(0, 6, 1),
    )


def quadrature(phantom: Phantom, k: np.ndarray, n: int = 60) -> complex:
    """∫ f exp(−i k·x) dx over one ellipsoid in its own polar coordinates: x = c + √M y, |y| ≤ 1, dx = √|M| dy."""
    (centre,), (shape,), d = phantom.centre, phantom.shape, phantom.ndim
    nodes, weights = np.polynomial.legendre.leggauss(n)
    r, wr = (nodes + 1) / 2, weights / 2
    angle = np.arange(2 * n) * math.pi / n
    if d == 2:
        y = np.stack([r[:, None] * np.cos(angle), r[:, None] * np.sin(angle)], -1)
        w = (wr * r)[:, None] * np.full(2 * n, math.pi / n)
    else:
        sine = np.sqrt(1 - nodes**2)
        ring = np.stack(
            np.broadcast_arrays(sine[:, None] * np.cos(angle), sine[:, None] * np.sin(angle), nodes[:, None])
        )
        y = r[:, None, None, None] * np.moveaxis(ring, 0, -1)
        w = (wr * r**2)[:, None, None] * weights[None, :, None] * np.full(2 * n, math.pi / n)
    delta = y @ np.linalg.cholesky(shape).T
    f = phantom.intensity[0] * (1 + phantom.ripple[0] * np.cos(delta @ phantom.wave[0] + phantom.phase[0]))
    total = (w * f * np.exp(-1j * (delta + centre) @ k)).sum()
    return complex(total * math.sqrt(np.linalg.det(shape)))


def at(phantom: Phantom, k: np.ndarray, **options) -> complex:
    return complex(phantom.transform(*(np.array([x]) for x in k), **options)[0])


@QUICK
@given(seed=st.integers(0, 10**6), d=st.sampled_from([2, 3]), reach=st.sampled_from([0.02, 1.0, 8.0]))
def test_the_transform_is_the_integral_that_quadrature_finds(seed, d, reach):
    rng = np.random.default_rng(seed)
    phantom = one(rng, d)
    k = rng.normal(size=d) * reach
    assert at(phantom, k) == pytest.approx(quadrature(phantom, k), abs=1e-9)


def test_at_wave_zero_stand_the_area_of_an_ellipse_and_the_volume_of_an_ellipsoid():
    assert at(ellipsoids([[5, 5]], [[2, 3]], [0.5]), np.zeros(2)) == pytest.approx(0.5 * math.pi * 2 * 3)
    assert at(ellipsoids([[5, 5, 5]], [[2, 3, 1]], [1]), np.zeros(3)) == pytest.approx(4 / 3 * math.pi * 2 * 3 * 1)


@pytest.mark.parametrize("points", [8, 9, 32])
def test_the_mean_of_the_image_is_the_area_over_the_box_on_every_rung(points):
    disk = ellipsoids([[5, 4]], [[2, 3]], [1])
    assert disk.on(BOX.with_rung(points)).mean() == pytest.approx(math.pi * 2 * 3 / 100)


@QUICK
@given(seed=st.integers(0, 10**6), shift=st.tuples(numbers, numbers))
def test_a_shift_turns_the_phase_and_nothing_else(seed, shift):
    rng = np.random.default_rng(seed)
    phantom, k = one(rng, 2), rng.normal(size=2) * 3
    moved = replace(phantom, centre=phantom.centre + shift)
    assert at(moved, k) == pytest.approx(at(phantom, k) * np.exp(-1j * k @ np.array(shift)), abs=1e-12)


@QUICK
@given(seed=st.integers(0, 10**6), d=st.sampled_from([2, 3]))
def test_a_turned_phantom_has_the_turned_transform(seed, d):
    rng = np.random.default_rng(seed)
    phantom, r, k = one(rng, d), turn(rng, d), rng.normal(size=d) * 3
    turned = replace(
        phantom, centre=phantom.centre @ r.T, shape=r @ phantom.shape @ r.T, wave=phantom.wave @ r.T
    )  # x -> R x
    assert at(turned, k) == pytest.approx(at(phantom, r.T @ k), abs=1e-10)


def test_energy_rises_to_the_areas_as_the_band_widens_and_what_lacks_falls_like_one_over_n():
    disk = ellipsoids([[5, 5]], [[2.0, 3.0]], [1])
    whole = math.pi * 2 * 3 / 100  # ⟨1²⟩ over the box: Parseval
    lacks = [whole - (disk.on(BOX.with_rung(n)) ** 2).mean() for n in (32, 64, 128, 256)]
    assert all(a > b > 0 for a, b in pairwise(lacks))
    # |F|² ~ k⁻³, so that the tail beyond K is ∫ k⁻³ k dk ~ 1/K: it halves
    assert [b / a for a, b in pairwise(lacks)] == pytest.approx([0.5] * 3, abs=0.08)


@pytest.mark.parametrize("blur", [0.0, 0.3])
@pytest.mark.parametrize(("fine", "coarse"), [(64, 32), (64, 48), (63, 31), (64, 21)])
def test_a_rung_restricted_from_the_finest_is_the_rung_drawn_directly(fine, coarse, blur):
    rng = np.random.default_rng(3)
    head = random_head(rng, folds=20, details=5, size=10 / 256)
    section = replace(head, centre=head.centre + 5).section(0, 5.1)
    finest = torch.from_numpy(section.on(BOX.with_rung(fine), blur=blur))
    direct = section.on(BOX.with_rung(coarse), blur=blur)
    np.testing.assert_allclose(restrict(finest, BOX.with_rung(coarse)).numpy(), direct, atol=1e-13)


def test_the_same_holds_in_three_dimensions_and_in_a_box_that_is_no_cube():
    phantom = one(np.random.default_rng(5), 3)
    grid = Grid((12, 24, 18), (10.0, 20.0, 15.0))
    fine, coarse = phantom.on(grid), phantom.on(grid.with_rung(8))
    assert fine.shape == (12, 24, 18)
    np.testing.assert_allclose(restrict(torch.from_numpy(fine), grid.with_rung(8)).numpy(), coarse, atol=1e-13)


def test_an_edge_rings_below_zero_as_in_a_scanner_and_a_blur_of_two_cells_ends_it():
    disk = ellipsoids([[5, 5]], [[3, 3]], [1])
    sharp, soft = disk.on(BOX), disk.on(BOX, blur=2 * 10 / 64)
    assert -0.2 < sharp.min() < -0.05
    assert 1.05 < sharp.max() < 1.2
    assert soft.min() > -1e-6
    assert soft.max() < 1 + 1e-6
    assert soft.mean() == pytest.approx(sharp.mean())


@QUICK
@given(seed=st.integers(0, 10**6), axis=st.integers(0, 2), place=st.floats(3, 7))
def test_a_section_is_the_solid_in_that_plane_point_by_point(seed, axis, place):
    rng = np.random.default_rng(seed)
    head = random_head(rng, folds=4, details=4, size=10 / 256)
    head = replace(head, centre=head.centre + 5)
    points = rng.uniform(0, 10, (200, 2))
    in_space = np.insert(points, axis, place, axis=1)
    np.testing.assert_allclose(head.section(axis, place).values(points), head.values(in_space), atol=1e-9)


def test_areas_of_sections_add_up_to_the_volume():
    phantom = replace(one(np.random.default_rng(8), 3, ripple=0.0), intensity=np.ones(1))
    reach = math.sqrt(phantom.shape[0, 1, 1])
    nodes, weights = np.polynomial.legendre.leggauss(4)  # the area is a parabola of the place: exact
    areas = [at(phantom.section(1, phantom.centre[0, 1] + reach * x), np.zeros(2)).real for x in nodes]
    assert reach * np.dot(weights, areas) == pytest.approx(4 / 3 * math.pi * math.sqrt(np.linalg.det(phantom.shape[0])))


def test_a_plane_that_misses_everything_is_empty_and_its_image_zero():
    empty = ellipsoids([[5, 5, 5]], [[1, 1, 1]], [1]).section(0, 6.5)
    assert len(empty) == 0
    assert not empty.on(BOX).any()


def test_what_cannot_be_drawn_is_refused():
    disk = ellipsoids([[5, 5]], [[1, 1]], [1])
    for grid in (Grid((8, 8, 8)), Grid((8, 8), centring="cell"), Grid((8, 8), periodic=(True, False))):
        with pytest.raises(GridError, match="drawn on points of a periodic box"):
            disk.on(grid)
    with pytest.raises(GridError, match="semi-axes are positive"):
        ellipsoids([[5, 5]], [[1, 0]], [1])
    with pytest.raises(GridError, match="2 or 3 dimensions, not 1"):
        ellipsoids([[5]], [[1]], [1])
    with pytest.raises(GridError, match="taken of three"):
        disk.section(0, 5)


def test_heads_differ_by_their_generator_and_only_by_it():
    first, again, other = (random_head(np.random.default_rng(seed), folds=9, details=3) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.shape, again.shape)
    np.testing.assert_array_equal(first.wave, again.wave)
    assert not np.allclose(first.shape, other.shape)
    assert len(first) == 8 + 9 + 3


def test_brightness_has_the_order_of_a_t1_weighted_image():
    head = random_head(np.random.default_rng(0), folds=0, details=0, texture=0.0)
    places = {
        "white": [40, 0, 0],
        "grey": [0, 85, 0],
        "ventricle": [11, 10, 0],
        "skull": [0, 0, 82],
        "air": [0, 0, 120],
    }
    bright = {name: float(head.values(np.array(place, dtype=float))) for name, place in places.items()}
    assert bright["air"] == 0.0
    assert bright["skull"] < bright["ventricle"] < bright["grey"] < bright["white"]
