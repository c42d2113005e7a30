"""Spherical harmonics on latlon grids: exact below half the rows, orthogonal there, and winds to their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import eval_legendre, sph_harm_y
from torch.testing import assert_close

from anchorbench.errors import GridError
from anchorbench.fields import (
    Grid,
    analyse,
    band_energies,
    cell_means,
    covers_sphere,
    cross_spectrum,
    degree_energies,
    from_cell_means,
    n_degrees,
    project,
    prolong,
    quadrature_weights,
    radial_spectrum,
    restrict,
    synthesise,
    vorticity_divergence,
    wind,
)
from anchorbench.fields.legendre import latitudes, legendre, legendre_part

seeds = st.integers(0, 2**31)
few = settings(deadline=None, max_examples=20)


def globe(rows, columns=None, centring="cell", west=0.0):
    return Grid((rows, columns or 2 * rows), (180.0, 360.0), centring, "latlon", origin=(-90.0, west))


@st.composite
def globes(draw):
    """Grids of the whole sphere, cells or with poles, odd and even, their first meridian anywhere."""
    rows, columns = draw(st.integers(3, 20)), draw(st.integers(3, 33))
    return globe(rows, columns, draw(st.sampled_from(["cell", "point"])), draw(st.sampled_from([0.0, -180.0, 7.3])))


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def coefficients(*lead, degrees, seed=0):
    """Random ones of a real field: 0 where m > l, real where m = 0."""
    parts = noise(2, *lead, degrees, degrees, seed=seed)
    c = torch.complex(parts[0], parts[1]).tril()
    c[..., 0] = c[..., 0].real.to(c.dtype)
    return c


def radians(grid):
    return torch.deg2rad(grid.mesh())


# -- latitudes and functions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 8, 33, 64])
@pytest.mark.parametrize("rows", ["cells", "poles", "gauss"])
def test_the_quadrature_is_exact_below_as_many_degrees_as_rows_and_twice_that_for_gauss(rows, n):
    phi, w = latitudes(rows, n)
    x = torch.sin(phi)
    assert w.min() > 0
    assert (phi.diff() > 0).all()
    for p in range(2 * n if rows == "gauss" else n):
        # ½ ∫ xᵖ dx over [−1, 1] is 1/(p + 1), or 0 for odd p
        assert (w * x**p).sum().item() == pytest.approx(0.0 if p % 2 else 1 / (p + 1), abs=1e-14)


def test_gauss_with_many_rows_keeps_its_digits():
    phi, w = latitudes("gauss", 400)
    for p in (0, 2, 100, 798):
        assert (w * torch.sin(phi) ** p).sum().item() == pytest.approx(1 / (p + 1), abs=1e-14)


def test_functions_are_root_four_pi_times_the_orthonormal_harmonics():
    phi = torch.linspace(-math.pi / 2, math.pi / 2, 13, dtype=torch.float64)
    ours = legendre(phi, 30)
    for degree in (0, 1, 2, 13, 29):
        for m in range(degree + 1):
            theirs = math.sqrt(4 * math.pi) * sph_harm_y(degree, m, math.pi / 2 - phi.numpy(), 0.0).real
            assert_close(ours[m, degree], torch.from_numpy(theirs), rtol=0, atol=1e-12)
    assert not ours[5, :5].any()


def test_at_high_degree_the_sum_over_orders_is_still_the_addition_theorem():
    # Σ_m |Y_lm|² = 2l + 1 at every point, also beside the pole
    phi = torch.deg2rad(torch.tensor([0.0, 37.0, 89.9], dtype=torch.float64))
    top = legendre(phi, 700)[:, -1] ** 2
    assert_close(2 * top.sum(0) - top[0], torch.full((3,), 2 * 699 + 1.0, dtype=torch.float64), rtol=1e-9, atol=0)


def test_slope_and_turn_satisfy_legendres_equation_and_are_finite_at_the_poles():
    # mean over the sphere of |∇Y|² is l(l + 1): (dP/dφ)² + (m P/cos φ)²
    phi, w = latitudes("gauss", 40)
    slope, turn = (legendre_part(phi, 32, part) for part in ("slope", "turn"))
    degree = torch.arange(32, dtype=torch.float64)
    expected = (degree * (degree + 1)).expand(32, 32).triu()
    assert_close((w * (slope**2 + turn**2)).sum(-1), expected, rtol=1e-11, atol=1e-11)
    poles = torch.tensor([-math.pi / 2, math.pi / 2], dtype=torch.float64)
    # Y_11 ∝ −√(3/2) cos φ: its slope at the north pole is √(3/2), and so is the size of m P/cos φ
    assert legendre_part(poles, 4, "slope")[1, 1, 1].item() == pytest.approx(math.sqrt(1.5))
    assert legendre_part(poles, 4, "turn")[1, 1, 1].item() == pytest.approx(-math.sqrt(1.5))


# -- analysis and synthesis ----------------------------------------------------------------------------------------


@few
@given(globes(), seeds)
def test_every_harmonic_below_half_the_rows_survives_the_round_trip(grid, seed):
    c = coefficients(2, degrees=n_degrees(grid), seed=seed)
    assert_close(analyse(synthesise(c, grid), grid), c, rtol=0, atol=1e-12)


@few
@given(globes(), seeds)
def test_the_energies_of_all_degrees_sum_to_the_mean_square(grid, seed):
    c = coefficients(degrees=n_degrees(grid), seed=seed)
    u = synthesise(c, grid)
    mean_square = (quadrature_weights(grid) * u**2).mean()
    assert_close(degree_energies(c, c).sum(), mean_square, rtol=1e-12, atol=0)


def test_half_the_rows_is_where_exactness_ends():
    assert [n_degrees(globe(n)) for n in (8, 9, 32)] == [4, 5, 16]
    assert n_degrees(globe(121, 240, "point")) == 61
    assert n_degrees(globe(32, 9)) == 5  # nine columns tell five orders apart
    with pytest.raises(GridError, match="8 x 16 points carry 4 degrees, not 5"):
        analyse(noise(8, 16), globe(8), degrees=5)


@pytest.mark.parametrize("west", [0.0, -180.5])
def test_fields_have_the_coefficients_of_their_closed_forms_wherever_longitudes_begin(west):
    grid = globe(12, 30, west=west)
    phi, lam = radians(grid)
    # 5 + √3 sin φ + √15 sin φ cos φ cos λ · 0.7: degrees 0, 1 and 2; Y_21 = −√(15/2) sin φ cos φ e^{iλ}
    u = 5 + math.sqrt(3) * torch.sin(phi) + 0.7 * math.sqrt(15) * torch.sin(phi) * torch.cos(phi) * torch.cos(lam)
    expected = torch.zeros(6, 6, dtype=torch.complex128)
    expected[0, 0], expected[1, 0], expected[2, 1] = 5, 1, -0.7 / math.sqrt(2)
    assert_close(analyse(u, grid), expected, rtol=0, atol=1e-13)
    assert_close(synthesise(expected, grid), u, rtol=0, atol=1e-13)


def test_synthesis_agrees_with_scipy_point_by_point():
    grid = globe(7, 11, "point", west=20.0)
    phi, lam = radians(grid)
    c = torch.zeros(4, 4, dtype=torch.complex128)
    c[3, 2] = 0.3 - 0.7j
    harmonic = math.sqrt(4 * math.pi) * sph_harm_y(3, 2, math.pi / 2 - phi.numpy(), lam.numpy())
    assert_close(synthesise(c, grid), torch.from_numpy(2 * ((0.3 - 0.7j) * harmonic).real), rtol=0, atol=1e-13)


@pytest.mark.parametrize("axis", [(0.0, 0.0), (0.4, 2.0), (1.5, -1.0)])
def test_a_zonal_harmonic_about_any_axis_stays_in_its_degree(axis):
    # P_l(cos γ), γ the angle to the axis, has mean square 1/(2l + 1), all of it in degree l.
    grid, degree = globe(24), 7
    phi, lam = radians(grid)
    cosine = torch.sin(phi) * math.sin(axis[0]) + torch.cos(phi) * math.cos(axis[0]) * torch.cos(lam - axis[1])
    u = torch.from_numpy(eval_legendre(degree, cosine.numpy()))
    expected = torch.zeros(12, dtype=torch.float64)
    expected[degree] = 1 / (2 * degree + 1)
    assert_close(radial_spectrum(u, grid).energy, expected, rtol=0, atol=1e-14)


# -- winds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("centring", "tilt"), [("cell", 0.0), ("cell", 0.9), ("point", 0.0), ("point", 1.5)])
def test_rotation_about_any_axis_has_its_vorticity_and_no_divergence(centring, tilt):
    # u = U (cos φ cos α + cos λ sin φ sin α), v = −U sin λ sin α; ζ = 2U/a (sin φ cos α − cos λ cos φ sin α)
    grid, speed, radius = globe(9, 18, centring), 40.0, 6.4e6
    phi, lam = radians(grid)
    u = speed * (torch.cos(phi) * math.cos(tilt) + torch.cos(lam) * torch.sin(phi) * math.sin(tilt))
    v = -speed * torch.sin(lam) * math.sin(tilt)
    zeta = 2 * speed / radius * (torch.sin(phi) * math.cos(tilt) - torch.cos(lam) * torch.cos(phi) * math.sin(tilt))
    curl, div = vorticity_divergence(u, v, grid, radius=radius)
    assert_close(synthesise(curl, grid), zeta, rtol=0, atol=1e-19)
    assert div.abs().max() < 1e-19
    for ours, exact in zip(wind(curl, div, grid, radius=radius), (u, v), strict=True):
        assert_close(ours, exact, rtol=0, atol=1e-12)


def test_a_gradient_has_the_laplacian_as_divergence_and_no_vorticity():
    # χ = cos³φ cos 3λ is a harmonic of degree 3: ∇²χ = −12 χ on the unit sphere
    grid = globe(10)
    phi, lam = radians(grid)
    u, v = -3 * torch.cos(phi) ** 2 * torch.sin(3 * lam), -3 * torch.cos(phi) ** 2 * torch.sin(phi) * torch.cos(3 * lam)
    curl, div = vorticity_divergence(u, v, grid, radius=1.0)
    assert curl.abs().max() < 1e-14
    assert_close(synthesise(div, grid), -12 * torch.cos(phi) ** 3 * torch.cos(3 * lam), rtol=0, atol=1e-13)


@few
@given(globes(), seeds)
def test_vorticity_and_divergence_come_back_from_their_wind(grid, seed):
    vorticity, divergence = coefficients(2, degrees=n_degrees(grid), seed=seed)
    vorticity[0], divergence[0] = 0, 0
    u, v = wind(vorticity, divergence, grid, radius=2.0)
    curl, div = vorticity_divergence(u, v, grid, radius=2.0)
    assert_close(curl, vorticity, rtol=0, atol=1e-12)
    assert_close(div, divergence, rtol=0, atol=1e-12)


# -- spectra -------------------------------------------------------------------------------------------------------


@few
@given(globes(), seeds)
def test_spectrum_and_corner_sum_to_the_mean_square_of_any_field(grid, seed):
    u = noise(3, *grid.shape, seed=seed)
    spectrum = radial_spectrum(u, grid)
    assert spectrum.k.tolist() == list(range(n_degrees(grid)))
    total = (quadrature_weights(grid) * u**2).mean((-2, -1))
    assert_close(spectrum.energy.sum(-1) + spectrum.corner, total, rtol=1e-12, atol=0)
    assert (spectrum.corner >= 0).all()


def test_a_field_has_one_spectrum_on_every_rung():
    c = coefficients(degrees=8)
    on = [radial_spectrum(synthesise(c, globe(n)), globe(n)) for n in (16, 24, 33)]
    for spectrum in on:
        assert_close(spectrum.energy[:8], degree_energies(c, c), rtol=1e-12, atol=0)
        assert spectrum.corner.item() == pytest.approx(0, abs=1e-12)


def test_bands_are_degrees_and_a_band_without_end_holds_the_rest():
    grid = globe(16)
    c = torch.zeros(8, 8, dtype=torch.complex128)
    c[2, 1], c[5, 0], c[7, 7] = 1, 2, 3  # energies 2, 4 and 18
    u = synthesise(c, grid) + 0.1 * noise(16, 32)
    rest = radial_spectrum(u, grid).corner.item()
    u0 = synthesise(c, grid)
    assert_close(band_energies(u0, grid, [0, 5, 7]), torch.tensor([2.0, 4.0], dtype=torch.float64))
    assert_close(band_energies(u0, grid, [2, 2.5, 99]), torch.tensor([2.0, 22.0], dtype=torch.float64))
    with_rest, without = band_energies(u, grid, [7, math.inf]), band_energies(u, grid, [7, 8])
    assert (with_rest - without).item() == pytest.approx(rest)
    assert rest > 0.001


def test_the_co_spectrum_of_two_fields_is_the_mean_of_their_product_by_degree():
    grid = globe(12)
    a, b = coefficients(2, degrees=6)
    cross = cross_spectrum(synthesise(a, grid), synthesise(b, grid), grid)
    product = (quadrature_weights(grid) * synthesise(a, grid) * synthesise(b, grid)).mean()
    assert_close(cross.co.energy.sum() + cross.co.corner, product, rtol=1e-12, atol=0)
    one = cross_spectrum(synthesise(a, grid), -2 * synthesise(a, grid), grid)
    assert_close(one.coherence, torch.ones(6, dtype=torch.float64))


def test_a_part_of_the_sphere_keeps_the_planar_rings():
    part = Grid((16, 16), (40.0, 40.0), "cell", "latlon", origin=(30.0, 0.0))
    plane = Grid((16, 16), (40.0, 40.0), "cell", periodic=(False, False))
    u = noise(16, 16)
    assert not covers_sphere(part)
    assert_close(radial_spectrum(u, part, taper="hann").energy, radial_spectrum(u, plane, taper="hann").energy)


# -- resampling ----------------------------------------------------------------------------------------------------


@st.composite
def pairs(draw):
    fine = draw(globes())
    return fine, fine.with_shape((draw(st.integers(2, fine.shape[0])), draw(st.integers(2, fine.shape[1]))))


@few
@given(pairs(), seeds)
def test_spectral_projection_on_the_sphere_is_orthogonal_under_the_quadrature(grids, seed):
    fine, coarse = grids
    u, v = noise(2, *fine.shape, seed=seed)
    w = quadrature_weights(fine)
    pu, pv = project(u, coarse), project(v, coarse)
    assert_close(project(pu, coarse), pu, rtol=0, atol=1e-12)  # P² = P
    assert_close((w * pu * v).mean(), (w * u * pv).mean(), rtol=0, atol=1e-13)  # self-adjoint
    split = (w * pu**2).mean() + (w * (u - pu) ** 2).mean()
    assert_close(split, (w * u**2).mean(), rtol=1e-12, atol=0)


@few
@given(pairs(), seeds)
def test_restrict_after_prolong_is_the_identity_on_what_the_coarse_sphere_holds(grids, seed):
    fine, coarse = grids
    c = project(noise(*coarse.shape, seed=seed), coarse)
    finer = prolong(c, fine)
    assert_close(restrict(finer, coarse), c, rtol=0, atol=1e-12)
    assert_close(project(finer, coarse), finer, rtol=0, atol=1e-12)  # (I − P) prolong = 0
    assert_close(prolong(restrict(finer, coarse), fine), project(finer, coarse), rtol=0, atol=1e-12)


def test_truncation_is_triangular_at_half_the_rows_of_the_coarse_grid():
    fine, coarse = globe(32), globe(8)
    kept, dropped = torch.zeros(2, 16, 16, dtype=torch.complex128)
    kept[3, 3] = 1
    dropped[4, 0] = 1
    assert_close(project(synthesise(kept, fine), coarse), synthesise(kept, fine), rtol=0, atol=1e-13)
    assert project(synthesise(dropped, fine), coarse).abs().max() < 1e-13
    assert_close(restrict(synthesise(kept, fine), coarse), synthesise(kept[:4, :4], coarse), rtol=0, atol=1e-13)


def test_the_mean_over_the_sphere_is_kept_by_every_way_down_and_up():
    u = noise(24, 48)
    fine, coarse = globe(24), globe(8)
    mean = (quadrature_weights(fine) * u).mean()
    there = restrict(u, coarse)
    assert_close((quadrature_weights(coarse) * there).mean(), mean)
    assert_close((quadrature_weights(fine) * prolong(there, fine)).mean(), mean)


def test_a_finer_target_leaves_a_field_as_it_is():
    u = noise(8, 16)
    assert project(u, globe(16)) is u


def test_float32_fields_stay_float32_and_gradients_flow():
    u = noise(16, 32).float().requires_grad_()
    down = restrict(u, globe(8))
    assert down.dtype == torch.float32
    down.square().sum().backward()
    assert u.grad is not None
    assert_close(restrict(u.detach().double(), globe(8)), down.detach().double(), rtol=0, atol=1e-5)


# -- means over cells ----------------------------------------------------------------------------------------------


def test_the_mean_of_sine_over_a_band_is_its_closed_form():
    # √3 sin φ is Y_10; its mean over the area of a band from a to b is √3 (sin a + sin b)/2
    c = torch.zeros(2, 2, dtype=torch.complex128)
    c[1, 0] = 1
    s = torch.sin(torch.deg2rad(globe(6).edges(0)))
    expected = math.sqrt(3) * (s[1:] + s[:-1]) / 2
    assert_close(cell_means(c, globe(6)), expected[:, None].expand(6, 12), rtol=0, atol=1e-15)


def test_means_over_columns_are_integrals_of_the_wave():
    # √(3/2) · 2 cos φ cos λ: over a column from λ₀ to λ₁ the mean of cos λ is (sin λ₁ − sin λ₀)/Δ
    c = torch.zeros(2, 2, dtype=torch.complex128)
    c[1, 1] = -1
    grid = globe(5, 8, west=10.0)
    lam = torch.deg2rad(grid.edges(1))
    row = cell_means(c, grid)[2]
    shape = (torch.sin(lam[1:]) - torch.sin(lam[:-1])) / (lam[1] - lam[0])
    assert_close(row / row[0], shape / shape[0], rtol=1e-12, atol=0)


@few
@given(st.integers(2, 6), st.integers(2, 4), seeds)
def test_means_over_cells_are_restrictions_of_finer_means_whatever_the_degrees(rows, factor, seed):
    c = coefficients(degrees=3 * rows, seed=seed)
    fine = cell_means(c, globe(factor * rows))
    assert_close(restrict(fine, globe(rows), how="conservative"), cell_means(c, globe(rows)), rtol=0, atol=1e-11)


@few
@given(st.integers(2, 24), seeds)
def test_as_many_degrees_as_rows_come_back_from_means_over_cells(rows, seed):
    c = coefficients(2, degrees=rows, seed=seed)
    assert_close(from_cell_means(cell_means(c, globe(rows)), globe(rows), degrees=rows), c, rtol=0, atol=1e-11)


# -- what cannot be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda u: restrict(u, Grid((4, 8), (90.0, 360.0), "cell", "latlon", origin=(0.0, 0.0))), "the whole sphere"),
        (lambda u: analyse(u, Grid((8, 16))), "the whole sphere"),
        (lambda u: analyse(u, globe(9)), "not on a grid"),
        (lambda u: radial_spectrum(u, globe(9)), "not on a grid"),
        (lambda u: radial_spectrum(u, globe(8), taper="hamming"), "no taper 'hamming'"),
        (lambda u: analyse(u.long(), globe(8)), "floating-point"),
        (lambda u: synthesise(u, globe(8)), "coefficients are complex"),
        (lambda u: synthesise(torch.zeros(3, 4, dtype=torch.complex128), globe(8)), "coefficients are complex"),
        (lambda u: vorticity_divergence(u, u[:4], globe(8), radius=1.0), "same points"),
        (lambda u: cell_means(coefficients(degrees=3), globe(9, 16, "point")), "centring 'cell'"),
        (lambda u: from_cell_means(u, globe(8), degrees=9), "do not tell 9 degrees apart"),
    ],
)
def test_what_the_sphere_cannot_do_is_one_clear_error(call, named):
    with pytest.raises(GridError, match=named):
        call(noise(8, 16))


def test_quadrature_weights_have_mean_one_and_are_near_the_areas():
    for grid in (globe(16), globe(17, 32, "point")):
        weights = quadrature_weights(grid)
        assert weights.mean().item() == pytest.approx(1.0)
        assert np.abs((weights - grid.area_weights()).numpy()).max() < 0.02
