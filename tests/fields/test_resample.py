"""Restriction, prolongation and projection, against closed forms."""

import math
from itertools import product

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import GridError
from anchorbench.fields import Grid, inner, project, prolong, restrict, restrict_weights
from anchorbench.fields.resample_fourier import project_fft, project_spectral, resample_fft, resample_spectral
from anchorbench.fields.resample_points import interpolation

CELLS = ("block_mean", "conservative")
EXTENT = (1.0, 2.5, 0.7)
centrings = st.sampled_from(["point", "cell"])


def wave(grid, numbers, phase=0.3):
    """cos(Σ 2π mᵢ xᵢ / Lᵢ + phase) at the grid's own points."""
    angle = sum(2 * math.pi * m / length * x for m, length, x in zip(numbers, grid.extent, grid.mesh(), strict=True))
    return torch.cos(angle + phase)


def noise(shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@st.composite
def pairs(draw, dims=(1, 2, 3), largest=20):
    """A fine and a coarse grid of one box, any sizes, odd and even, whether they divide or not."""
    d = draw(st.sampled_from(dims))
    fine = [draw(st.integers(1, largest if d < 3 else 9)) for _ in range(d)]
    coarse = [draw(st.integers(1, n)) for n in fine]
    grid = Grid(tuple(fine), extent=EXTENT[:d], centring=draw(centrings))
    return grid, grid.with_shape(tuple(coarse))


@st.composite
def nested_pairs(draw):
    d = draw(st.sampled_from((1, 2, 3)))
    coarse = [draw(st.integers(1, 4)) for _ in range(d)]
    grid = Grid(tuple(n * draw(st.integers(1, 4)) for n in coarse), extent=EXTENT[:d], centring=draw(centrings))
    return grid, grid.with_shape(tuple(coarse))


seeds = st.integers(0, 2**31)


# -- spectral ------------------------------------------------------------------------------------------------------


@given(pairs(), st.data(), st.floats(0, 6.3))
def test_a_wave_below_nyquist_survives_any_restriction_in_amplitude_and_phase(grids, data, phase):
    fine, coarse = grids
    numbers = [data.draw(st.integers(-((n - 1) // 2), (n - 1) // 2)) for n in coarse.shape]
    assert_close(restrict(wave(fine, numbers, phase), coarse), wave(coarse, numbers, phase), rtol=0, atol=1e-12)


@given(pairs(), st.data(), st.floats(0, 6.3))
def test_a_wave_below_nyquist_survives_any_prolongation_in_amplitude_and_phase(grids, data, phase):
    fine, coarse = grids
    numbers = [data.draw(st.integers(-((n - 1) // 2), (n - 1) // 2)) for n in coarse.shape]
    assert_close(prolong(wave(coarse, numbers, phase), fine), wave(fine, numbers, phase), rtol=0, atol=1e-12)


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize("centring", ["point", "cell"])
def test_plane_waves_of_every_octant_come_through_alike(signs, centring):
    fine = Grid((15, 16, 12), centring=centring)
    coarse = fine.with_shape((9, 10, 7))
    numbers = [s * m for s, m in zip(signs, (4, 4, 3), strict=True)]
    assert_close(restrict(wave(fine, numbers), coarse), wave(coarse, numbers), rtol=0, atol=1e-12)


@pytest.mark.parametrize("centring", ["point", "cell"])
@pytest.mark.parametrize(("n", "m"), [(128, 16), (64, 17), (266, 131), (264, 130)])
def test_every_wave_from_nyquist_up_is_dropped_and_every_wave_below_is_kept(n, m, centring):
    fine = Grid((n,), centring=centring)
    coarse = fine.with_shape((m,))
    for k in range(n // 2):
        expected = wave(coarse, [k]) if k < m / 2 else torch.zeros(m, dtype=torch.float64)
        assert_close(restrict(wave(fine, [k]), coarse), expected, rtol=0, atol=1e-12)


def test_the_nyquist_wave_of_an_even_grid_is_dropped_both_ways_and_at_equal_size():
    grid = Grid((8,))
    nyquist = torch.tensor([1.0, -1.0] * 4, dtype=torch.float64)
    for dropped in (restrict(nyquist, grid), prolong(nyquist, grid.with_shape((16,))), project(nyquist, grid)):
        assert dropped.abs().max() < 1e-15
    assert torch.equal(project(nyquist, Grid((9,))), nyquist)


@settings(max_examples=40)
@given(pairs(), seeds)
def test_the_matrix_form_is_the_fft_form(grids, seed):
    fine, coarse = grids
    u, c = noise((2, *fine.shape), seed), noise((2, *coarse.shape), seed)
    assert_close(resample_spectral(u, fine, coarse), resample_fft(u, fine, coarse), rtol=0, atol=1e-12)
    assert_close(resample_spectral(c, coarse, fine), resample_fft(c, coarse, fine), rtol=0, atol=1e-12)
    assert_close(project_spectral(u, fine, coarse), project_fft(u, fine, coarse), rtol=0, atol=1e-12)


def test_above_the_matrix_size_the_fft_form_takes_over_with_the_same_result():
    fine, coarse = Grid((160, 150), centring="cell"), Grid((140, 131), centring="cell")
    u = noise(fine.shape)
    in_steps = restrict(restrict(u, coarse), coarse.with_shape((32, 33)))
    assert_close(in_steps, restrict(u, coarse.with_shape((32, 33))), rtol=0, atol=1e-12)
    assert_close(project(u, coarse), prolong(restrict(u, coarse), fine), rtol=0, atol=1e-12)


def test_projecting_onto_a_grid_finer_on_one_axis_leaves_that_axis_alone():
    fine = Grid((8, 12))
    u = noise(fine.shape)
    only_y = project(u, Grid((4, 13)))
    assert_close(only_y, torch.stack([project(column, Grid((4,))) for column in u.T], dim=1))
    assert_close(only_y, project_fft(u, fine, Grid((4, 13))))


# -- means over cells ------------------------------------------------------------------------------------------------


def test_block_mean_keeps_mass():
    u = torch.tensor([[0.0, 4.0], [8.0, 0.0]])  # mean 3
    assert restrict(u, Grid((1, 1)), how="block_mean").item() == 3.0


def test_a_masked_block_mean_is_the_mean_of_what_is_valid_and_zero_where_nothing_is():
    u = torch.tensor([[1.0, math.nan, 5.0, 5.0], [3.0, 9.0, math.nan, 5.0]])
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.5, 0.0, 0.0]])
    # First block (1 + 3 + 9/2) / (1 + 1 + 1/2) = 3.4; second holds nothing valid.
    for how in CELLS:
        assert_close(restrict(u, Grid((1, 2)), how=how, weights=weights), torch.tensor([[3.4, 0.0]]))
        assert_close(restrict_weights(weights, Grid((1, 2)), how=how), torch.tensor([[0.625, 0.0]]))


def test_conservative_shares_a_cell_out_by_overlap():
    u = torch.tensor([3.0, 6.0, 9.0])  # onto halves: (3 + 6/2) / 1.5 and (6/2 + 9) / 1.5
    assert_close(restrict(u, Grid((2,)), how="conservative"), torch.tensor([4.0, 8.0]))
    assert_close(prolong(torch.tensor([2.0, 4.0]), Grid((3,)), how="conservative"), torch.tensor([2.0, 3.0, 4.0]))


@given(pairs(), seeds)
def test_conservative_keeps_mass_from_any_size_to_any_size(grids, seed):
    fine, coarse = grids
    u, c = noise(fine.shape, seed), noise(coarse.shape, seed)
    assert_close(restrict(u, coarse, how="conservative").mean(), u.mean())
    assert_close(prolong(c, fine, how="conservative").mean(), c.mean())
    assert_close(project(u, coarse, how="conservative").mean(), u.mean())


@given(pairs(), seeds)
def test_conservative_keeps_the_mass_of_what_is_valid(grids, seed):
    fine, coarse = grids
    u = noise(fine.shape, seed)
    weights = (noise(fine.shape, seed + 1) > 0).double()
    kept = restrict(u, coarse, how="conservative", weights=weights)
    below = restrict_weights(weights, coarse, how="conservative")
    assert_close((below * kept).mean(), (weights * u).mean())


@given(nested_pairs(), seeds)
def test_where_cells_nest_conservative_is_block_mean(grids, seed):
    fine, coarse = grids
    u, c = noise(fine.shape, seed), noise(coarse.shape, seed)
    weights = noise(fine.shape, seed + 1).clamp_min(0)
    for w in (None, weights):
        a, b = (restrict(u, coarse, how=how, weights=w) for how in CELLS)
        assert_close(a, b)
        a, b = (project(u, coarse, how=how, weights=w) for how in CELLS)
        assert_close(a, b)
    assert_close(prolong(c, fine, how="conservative"), prolong(c, fine, how="block_mean"))


@pytest.mark.parametrize("kind", ["planar", "latlon"])
@pytest.mark.parametrize("how", CELLS)
def test_masked_means_compose(how, kind):
    grid = Grid((64, 64), extent=(180.0, 360.0), centring="cell", kind=kind)
    u = noise((3, *grid.shape))
    weights = (noise((3, *grid.shape), 1) > 0.8).double()  # 21 % valid: whole blocks are empty
    mid, low = grid.coarsened(2), grid.coarsened(4)
    half = restrict(u, mid, how=how, weights=weights)
    half_weights = restrict_weights(weights, mid, how=how)
    assert (half_weights == 0).any()
    assert_close(restrict(half, low, how=how, weights=half_weights), restrict(u, low, how=how, weights=weights))
    assert_close(restrict_weights(half_weights, low, how=how), restrict_weights(weights, low, how=how))


def test_a_mean_on_the_sphere_is_weighted_by_area():
    grid = Grid((4, 1), extent=(180.0, 360.0), centring="cell", kind="latlon")
    u = torch.tensor([[1.0], [2.0], [2.0], [1.0]], dtype=torch.float64)
    low, high = math.cos(math.radians(67.5)), math.cos(math.radians(22.5))
    assert_close(restrict(u, grid.with_shape((2, 1)), how="block_mean")[0, 0].item(), (low + 2 * high) / (low + high))


# -- points ----------------------------------------------------------------------------------------------------------


def test_stride_takes_the_shared_points():
    u = torch.arange(12.0)
    assert restrict(u, Grid((4,)), how="stride").tolist() == [0.0, 3.0, 6.0, 9.0]
    # Centres of 4 cells among those of 12: (n + 1/2)/4 = (3n + 1 + 1/2)/12.
    assert restrict(u, Grid((4,), centring="cell"), how="stride").tolist() == [1.0, 4.0, 7.0, 10.0]
    masked = restrict(u, Grid((4,)), how="stride", weights=(u != 6).float())
    assert masked.tolist() == [0.0, 3.0, 0.0, 9.0]
    assert project(u, Grid((4,)), how="stride").tolist() == [0, 0, 0, 3, 0, 0, 6, 0, 0, 9, 0, 0]


def test_stride_aliases_a_wave_beyond_nyquist_into_one_below():
    fine, coarse = Grid((64,)), Grid((16,))
    assert_close(restrict(wave(fine, [13]), coarse, how="stride"), wave(coarse, [13 - 16]), rtol=0, atol=1e-12)
    assert restrict(wave(fine, [13]), coarse).abs().max() < 1e-12


@pytest.mark.parametrize("centring", ["point", "cell"])
@pytest.mark.parametrize(("how", "order"), [("bilinear", 2), ("bicubic", 3)])
def test_interpolation_on_a_periodic_axis_has_its_order_and_no_shift(how, order, centring):
    errors = []
    for n in (32, 64, 128):
        coarse, fine = Grid((n,), centring=centring), Grid((3 * n,), centring=centring)
        errors.append((prolong(wave(coarse, [3]), fine, how=how) - wave(fine, [3])).abs().max().item())
    # At order p, half the spacing leaves 2⁻ᵖ of the error.
    assert errors[1] / errors[2] > 0.9 * 2**order
    assert errors[2] < (6 * math.pi / 128) ** 2 / 8 * 1.01  # (kh)²/8: linear interpolation's bound, no half-pixel shift


def test_bilinear_on_cells_with_ends_is_torch_interpolate():
    u = noise((2, 5, 7))
    grid = Grid((10, 21), centring="cell", periodic=(False, False))
    theirs = torch.nn.functional.interpolate(u[:, None], size=(10, 21), mode="bilinear", align_corners=False)[:, 0]
    assert_close(prolong(u, grid, how="bilinear"), theirs)


def test_bicubic_is_exact_for_a_quadratic_away_from_the_ends():
    read = interpolation(48, 16, "bicubic", True, False)
    coarse, fine = ((torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (16, 48))
    error = read @ (coarse**2 - coarse) - (fine**2 - fine)
    assert error[6:-6].abs().max() < 1e-14


@given(pairs(), st.sampled_from(["spectral", "conservative", "bilinear", "bicubic"]), st.floats(-9, 9))
def test_constants_stay_constant(grids, how, value):
    fine, coarse = grids
    u = torch.full(fine.shape, value, dtype=torch.float64)
    c = restrict(u, coarse, how=how)
    assert_close(c, torch.full(coarse.shape, value, dtype=torch.float64))
    assert_close(prolong(c, fine, how=how), u)


# -- restrict, prolong and P together ----------------------------------------------------------------------------------


@given(pairs(), seeds)
def test_spectral_restrict_after_prolong_is_the_identity_on_resolved_fields(grids, seed):
    fine, coarse = grids
    resolved = project(noise(coarse.shape, seed), coarse)
    assert_close(restrict(prolong(resolved, fine), coarse), resolved, rtol=0, atol=1e-12)


@given(nested_pairs(), seeds, st.sampled_from(["block_mean", "stride"]))
def test_restrict_after_prolong_is_the_identity_on_cells_and_shared_points(grids, seed, how):
    fine, coarse = grids
    assume(how == "block_mean" or fine.centring == "point")
    c = noise(coarse.shape, seed)
    assert_close(restrict(prolong(c, fine, how=how), coarse, how=how), c)


@given(pairs(), seeds, st.sampled_from(["spectral", "conservative"]))
def test_nothing_of_a_prolonged_field_lies_outside_p(grids, seed, how):
    fine, coarse = grids
    up = prolong(noise(coarse.shape, seed), fine, how=how)
    assert_close(project(up, coarse, how=how), up, rtol=0, atol=1e-11)


@given(pairs(), seeds, st.sampled_from(["spectral", "conservative"]))
def test_p_is_an_orthogonal_projection_between_any_sizes(grids, seed, how):
    fine, coarse = grids
    u, v = noise(fine.shape, seed), noise(fine.shape, seed + 1)
    pu = project(u, coarse, how=how)
    assert_close(project(pu, coarse, how=how), pu, rtol=0, atol=1e-11)
    assert abs(inner(pu, v - project(v, coarse, how=how), grid=fine)) < 1e-11


@given(nested_pairs(), seeds, st.sampled_from([*CELLS, "stride"]), st.booleans())
def test_p_is_an_orthogonal_projection_in_the_masked_inner_product(grids, seed, how, masked):
    fine, coarse = grids
    assume(how != "stride" or fine.centring == "point")
    u, v = noise((2, *fine.shape), seed), noise((2, *fine.shape), seed + 1)
    weights = noise(fine.shape, seed + 2).clamp_min(0) if masked else None
    pu, pv = (project(x, coarse, how=how, weights=weights) for x in (u, v))
    assert_close(project(pu, coarse, how=how, weights=weights), pu)
    assert inner(pu, v - pv, grid=fine, weights=weights).abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_p_on_the_sphere_is_orthogonal_in_the_area_weighted_inner_product(shape):
    fine = Grid((12, 24), extent=(180.0, 360.0), centring="cell", kind="latlon", periodic=(False, True))
    u, v = noise(fine.shape), noise(fine.shape, 1)
    pu, pv = (project(x, fine.with_shape(shape), how="conservative") for x in (u, v))
    assert_close(project(pu, fine.with_shape(shape), how="conservative"), pu)
    assert abs(inner(pu, v - pv, grid=fine)) < 1e-14
    one = torch.ones_like(u)
    assert_close(inner(pu, one, grid=fine), inner(u, one, grid=fine))


@given(pairs(), seeds)
def test_what_p_keeps_and_drops_adds_up_in_the_mean_square(grids, seed):
    fine, coarse = grids
    u = noise(fine.shape, seed)
    for how in ("spectral", "conservative"):
        pu = project(u, coarse, how=how)
        assert_close(u.square().mean(), pu.square().mean() + (u - pu).square().mean())


# -- dtypes, gradients, modes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["spectral", *CELLS, "stride", "bilinear", "bicubic"])
def test_float32_agrees_with_float64_to_its_own_digits_and_keeps_its_dtype(how):
    fine, coarse = Grid((48, 36)), Grid((16, 12))
    u = noise((2, *fine.shape))
    assert restrict(u.float(), coarse, how=how).dtype == torch.float32
    assert_close(restrict(u.float(), coarse, how=how).double(), restrict(u, coarse, how=how), rtol=0, atol=3e-6)
    c = restrict(u, coarse, how=how)
    assert_close(prolong(c.float(), fine, how=how).double(), prolong(c, fine, how=how), rtol=0, atol=3e-6)
    assert restrict(u.bfloat16(), coarse, how=how).dtype == torch.bfloat16


def test_no_speed_setting_lowers_the_precision_of_a_resampled_field():
    fine, coarse = Grid((48, 48)), Grid((20, 20))
    u = noise((2, *fine.shape)).float()
    plain = restrict(u, coarse)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(restrict(u, coarse), plain)
    torch.set_float32_matmul_precision("medium")
    try:
        assert_close(restrict(u, coarse), plain, rtol=0, atol=2e-6)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("how", ["spectral", *CELLS, "stride", "bilinear", "bicubic"])
@pytest.mark.parametrize("centring", ["point", "cell"])
def test_gradients_flow(how, centring):
    fine, coarse = Grid((6, 9), centring=centring), Grid((2, 3), centring=centring)
    if how == "stride" and centring == "cell":
        coarse = Grid((2, 9), centring=centring)
    u = noise(fine.shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: restrict(x, coarse, how=how), u)
    assert torch.autograd.gradcheck(lambda x: prolong(x, fine, how=how), noise(coarse.shape).requires_grad_())
    if how not in ("bilinear", "bicubic"):
        assert torch.autograd.gradcheck(lambda x: project(x, coarse, how=how), u)


def test_gradients_flow_through_the_fft_form_and_around_masked_nans():
    fine, coarse = Grid((6, 5), centring="cell"), Grid((4, 3), centring="cell")
    assert torch.autograd.gradcheck(lambda x: resample_fft(x, fine, coarse), noise(fine.shape).requires_grad_())
    assert torch.autograd.gradcheck(lambda x: project_fft(x, fine, coarse), noise(fine.shape).requires_grad_())
    u = torch.tensor([1.0, math.nan], requires_grad=True)
    restrict(u, Grid((1,)), how="block_mean", weights=torch.tensor([1.0, 0.0])).backward()
    assert u.grad.tolist() == [1.0, 0.0]


def test_a_matrix_first_met_in_inference_mode_still_trains():
    fine, coarse = Grid((14,)), Grid((11,))
    with torch.inference_mode():
        restrict(noise(fine.shape), coarse)
    u = noise(fine.shape).requires_grad_()
    restrict(u, coarse).sum().backward()
    assert u.grad is not None


def test_leading_axes_are_carried_along_and_may_be_empty():
    fine, coarse = Grid((6, 8)), Grid((3, 4))
    u = noise((2, 3, *fine.shape))
    for how in ("spectral", "block_mean", "bicubic"):
        together = restrict(u, coarse, how=how)
        assert together.shape == (2, 3, 3, 4)
        assert_close(together[1, 2], restrict(u[1, 2], coarse, how=how))
        assert restrict(u[:0], coarse, how=how).shape == (0, 3, 3, 4)


def test_weights_broadcast_over_channels():
    u, weights = noise((2, 3, 4, 4)), (noise((2, 1, 4, 4), 1) > 0).double()
    mean = restrict(u, Grid((2, 2)), how="block_mean", weights=weights)
    assert_close(mean[1, 2], restrict(u[1, 2], Grid((2, 2)), how="block_mean", weights=weights[1, 0]))


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda u: restrict(u, Grid((9, 4))), "coarser"),
        (lambda u: prolong(u, Grid((9, 4))), "coarser"),
        (lambda u: restrict(u, Grid((3, 8)), how="block_mean"), "does not divide"),
        (lambda u: restrict(u, Grid((3, 8)), how="stride"), "whole step"),
        (lambda u: restrict(u, Grid((4, 8), centring="cell"), how="stride"), "share no centres"),
        (lambda u: prolong(u, Grid((12, 8)), how="block_mean"), "does not divide"),
        (lambda u: restrict(u, Grid((4, 4)), how="fourier"), "no restriction 'fourier'"),
        (lambda u: restrict(u, Grid((4, 4), periodic=(True, False))), "periodic"),
        (lambda u: project(u, Grid((4, 4), kind="latlon")), "latlon"),
        (lambda u: restrict(u, Grid((4, 4)), weights=u), "takes no weights"),
        (lambda u: restrict(u, Grid((4, 4)), how="block_mean", weights=u[:3]), "do not fit"),
        (lambda u: restrict_weights(u, Grid((4, 4)), how="spectral"), "takes no weights"),
        (lambda u: project(u, Grid((4, 4)), how="bicubic"), "no projection"),
        (lambda u: project(u, Grid((9, 9)), how="bilinear"), "no projection"),
        (lambda u: project(u, Grid((3, 4)), how="conservative", weights=u), "no projection with a mask"),
        (lambda u: restrict(u.long(), Grid((4, 4))), "floating-point"),
        (lambda u: restrict(u[0], Grid((4, 4))), "has not the 2 axes"),
    ],
)
def test_grids_that_do_not_fit_are_refused_with_what_to_do(call, says):
    with pytest.raises(GridError, match=says):
        call(torch.ones(8, 8))
