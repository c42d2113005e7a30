"""Cells of the sphere: areas exact, mass kept between any grids, projections orthogonal in the areas."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import GridError
from anchorbench.fields import Grid, inner, mean_square, project, prolong, restrict, restrict_weights
from anchorbench.fields.resample_cells import nested, overlap_mean

GLOBE = {"extent": (180.0, 360.0), "kind": "latlon"}
seeds = st.integers(0, 2**31)


def noise(shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def integral(u, grid):
    """∫ u dA / ∫ dA, from the areas of the cells."""
    return inner(u, torch.ones_like(u), grid=grid)


@st.composite
def pairs(draw):
    """A fine and a coarse grid of one box on the sphere, with poles or cells, whole or a part, nested or not."""
    centring = draw(st.sampled_from(["point", "cell"]))
    fine = (draw(st.integers(3, 25)), draw(st.integers(2, 25)))
    coarse = (draw(st.integers(2, fine[0])), draw(st.integers(2, fine[1])))
    box = draw(st.sampled_from([GLOBE, {"extent": (30.0, 50.0), "kind": "latlon", "origin": (38.0, -12.0)}]))
    grid = Grid(fine, centring=centring, **box)
    return grid, grid.with_shape(coarse)


@settings(deadline=None, max_examples=25)
@given(pairs(), seeds)
def test_conservative_keeps_the_area_integral_from_any_grid_to_any_grid(grids, seed):
    fine, coarse = grids
    u, c = noise(fine.shape, seed), noise(coarse.shape, seed)
    assert_close(integral(restrict(u, coarse, how="conservative"), coarse), integral(u, fine), rtol=0, atol=1e-14)
    assert_close(integral(prolong(c, fine, how="conservative"), fine), integral(c, coarse), rtol=0, atol=1e-14)
    assert_close(integral(project(u, coarse, how="conservative"), fine), integral(u, fine), rtol=0, atol=1e-13)


def test_a_quarter_degree_goes_to_one_and_a_half_and_on_to_anything_with_its_mass():
    fine = Grid((721, 8), **GLOBE)
    u = noise(fine.shape)
    for shape in ((121, 4), (120, 3), (61, 2)):
        coarse = fine.with_shape(shape)
        assert_close(integral(restrict(u, coarse, how="conservative"), coarse), integral(u, fine), rtol=0, atol=1e-15)


def test_the_sine_of_latitude_keeps_its_closed_form_in_every_band():
    # The mean of sin φ over the area of a band from a to b is (sin a + sin b)/2.
    def bands(grid):
        s = torch.sin(torch.deg2rad(grid.edges(0)))
        return ((s[1:] + s[:-1]) / 2)[:, None].expand(grid.shape)

    for centring, coarse in (("cell", (6, 4)), ("point", (7, 4))):
        coarse = Grid(coarse, centring=centring, **GLOBE)
        fine = coarse.with_shape(tuple(n + 2 * m for n, m in zip(coarse.shape, coarse.intervals, strict=True)))
        assert_close(restrict(bands(fine), coarse, how="conservative"), bands(coarse))
        assert_close(restrict(bands(fine), coarse, how="block_mean"), bands(coarse))


def test_a_cap_at_the_pole_is_shared_out_by_its_area():
    fine, coarse = Grid((5, 1), **GLOBE), Grid((3, 1), **GLOBE)  # edges 22.5, 67.5, 90 and 45, 90 degrees
    u = torch.tensor([[0.0], [0.0], [0.0], [0.0], [1.0]], dtype=torch.float64)
    s = [math.sin(math.radians(x)) for x in (45, 67.5)]
    assert restrict(u, coarse, how="conservative")[2, 0].item() == pytest.approx((1 - s[1]) / (1 - s[0]))
    assert not nested(coarse, fine)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.sampled_from([1, 3, 5]), st.sampled_from([1, 3]), st.booleans(), seeds)
def test_two_steps_are_one_where_cells_around_points_nest(n, first, second, masked, seed):
    low = Grid((n + 1, n), **GLOBE)
    mid = low.with_shape((n * first + 1, n * first))
    fine = low.with_shape((n * first * second + 1, n * first * second))
    u, weights = noise(fine.shape, seed), (noise(fine.shape, seed + 1) > 0).double() if masked else None
    below = None if weights is None else restrict_weights(weights, mid, how="conservative")
    half = restrict(u, mid, how="conservative", weights=weights)
    assert_close(
        restrict(half, low, how="conservative", weights=below),
        restrict(u, low, how="conservative", weights=weights),
    )
    assert nested(low, mid)
    assert nested(mid, fine)


@settings(deadline=None, max_examples=25)
@given(pairs(), seeds)
def test_conservative_keeps_the_mass_of_what_is_valid_and_never_reads_the_rest(grids, seed):
    fine, coarse = grids
    valid = noise(fine.shape, seed + 1) > 0
    u = torch.where(valid, noise(fine.shape, seed), math.nan)
    kept = restrict(u, coarse, how="conservative", weights=valid)
    below = restrict_weights(valid.double(), coarse, how="conservative")
    whole = integral(torch.where(valid, u, 0.0), fine)
    assert_close(integral(below * kept, coarse), whole, rtol=0, atol=1e-14)
    assert below.max() <= 1 + 1e-14


@settings(deadline=None, max_examples=25)
@given(pairs(), seeds)
def test_p_is_orthogonal_in_the_areas_whether_or_not_cells_nest(grids, seed):
    fine, coarse = grids
    u, v = noise(fine.shape, seed), noise(fine.shape, seed + 1)
    pu, pv = (project(x, coarse, how="conservative") for x in (u, v))
    assert_close(project(pu, coarse, how="conservative"), pu, rtol=0, atol=1e-10)
    assert abs(inner(pu, v - pv, grid=fine)) < 1e-10
    total = mean_square(pu, grid=fine) + mean_square(u - pu, grid=fine)
    assert_close(total, mean_square(u, grid=fine), rtol=1e-10, atol=0)


def test_p_is_orthogonal_between_a_quarter_degree_and_one_and_a_half():
    fine, coarse = Grid((721, 6), **GLOBE), Grid((121, 1), **GLOBE)
    u, v = noise(fine.shape), noise(fine.shape, 1)
    pu, pv = (project(x, coarse, how="conservative") for x in (u, v))
    assert_close(project(pu, coarse, how="conservative"), pu, rtol=0, atol=1e-12)
    assert abs(inner(pu, v - pv, grid=fine)) < 1e-14


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 5), st.sampled_from([3, 5]), st.sampled_from(["point", "cell"]), st.booleans(), seeds)
def test_the_resolved_part_of_the_truth_is_one_field_on_all_rungs_that_nest(n, step, centring, masked, seed):
    low = Grid((n + 1, n), centring=centring, **GLOBE)
    fine = low.with_shape(tuple(step * k + j - k for j, k in zip(low.shape, low.intervals, strict=True)))
    assume(nested(low, fine))
    u = noise(fine.shape, seed)
    weights = (noise(fine.shape, seed + 1) > -1).double() if masked else None
    below = restrict_weights(weights, low, how="conservative") if masked else None
    coarse = restrict(u, low, how="conservative", weights=weights)
    kept = project(u, low, how="conservative", weights=weights)
    assert_close(restrict(kept, low, how="conservative", weights=weights), coarse)
    if masked:
        assert_close(mean_square(kept, grid=fine, weights=weights), mean_square(coarse, grid=low, weights=below))
    else:
        assert_close(mean_square(kept, grid=fine), mean_square(coarse, grid=low))
        assert_close(prolong(coarse, fine, how="block_mean"), kept)


def test_a_poled_grid_goes_onto_cells_with_its_mass_and_around_the_date_line():
    poled = Grid((13, 24), **GLOBE)
    banded = Grid((6, 12), centring="cell", extent=(180.0, 360.0), kind="latlon", origin=(-90.0, -7.5))
    u = noise(poled.shape)
    out = overlap_mean(u, poled, banded)
    assert_close(integral(out, banded), integral(u, poled), rtol=0, atol=1e-15)
    # Columns from -7.5 by 30 degrees are whole pairs of columns around 0, 15, 30, ... degrees.
    one = torch.zeros_like(u)
    one[:, :2] = 1.0
    assert_close(overlap_mean(one, poled, banded)[:, 0], torch.ones(6, dtype=torch.float64))
    assert overlap_mean(one, poled, banded)[:, 1:].abs().max() == 0.0


def test_cells_around_points_are_no_whole_blocks_of_each_other_at_an_even_ratio():
    fine = Grid((13, 24), **GLOBE)
    with pytest.raises(GridError, match="needs whole blocks"):
        restrict(noise(fine.shape), fine.coarsened(2), how="block_mean")
    with pytest.raises(GridError, match="no projection with a mask"):
        project(noise(fine.shape), fine.coarsened(2), how="conservative", weights=torch.ones(fine.shape))


def test_stride_and_interpolation_keep_both_poles():
    fine = Grid((13, 24), **GLOBE)
    coarse = fine.with_rung(7)
    latitude = fine.mesh()[0]
    assert_close(restrict(latitude, coarse, how="stride"), coarse.mesh()[0])
    assert_close(restrict(prolong(coarse.mesh()[0], fine, how="stride"), coarse, how="stride"), coarse.mesh()[0])
    assert_close(prolong(coarse.mesh()[0], fine, how="bilinear"), latitude)
    with pytest.raises(GridError, match="whole step"):
        restrict(latitude, fine.with_shape((1, 24)), how="stride")


def test_points_between_walls_of_a_plane_are_half_cells_at_the_walls():
    fine, coarse = Grid((5,), periodic=(False,)), Grid((3,), periodic=(False,))
    # Edges in quarters: 0, 1/2, 3/2, 5/2, 7/2, 4 and 0, 1, 3, 4.
    u = torch.tensor([8.0, 0.0, 4.0, 0.0, 0.0], dtype=torch.float64)
    assert restrict(u, coarse, how="conservative").tolist() == [4.0, 2.0, 0.0]
    assert_close(integral(restrict(u, coarse, how="conservative"), coarse), integral(u, fine))
    v = noise((5,))
    pu, pv = project(u, coarse, how="conservative"), project(v, coarse, how="conservative")
    assert abs(inner(pu, v - pv, grid=fine)) < 1e-15


def test_gradients_flow_through_overlaps_and_projections_of_the_sphere():
    fine, coarse = Grid((5, 6), **GLOBE), Grid((4, 4), **GLOBE)
    for act in (restrict, project):
        assert torch.autograd.gradcheck(
            lambda x, act=act: act(x, coarse, how="conservative"), noise(fine.shape).requires_grad_()
        )
