"""The Darcy solver: its order, layers that it solves exactly, and what every solution obeys."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import AnchorbenchError, ConfigError, GridError
from anchorbench.fields import Grid, restrict
from anchorbench.solvers.darcy import fluxes, gaussian_field, log_normal, solve, square, two_phases


def medium(n: int, seed: int = 0, low: float = 0.1, high: float = 1.0) -> torch.Tensor:
    return two_phases(gaussian_field(n, rng=np.random.default_rng(seed), waves=min(32, n - 1)), low=low, high=high)


def order(errors: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in pairwise(errors)]


# -- smooth coefficients -----------------------------------------------------------------------------------------------


def manufactured(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """a = 1 + x/2 + y², u = sin πx sin 2πy and f = −∇·(a∇u) = 5π² a u − ½ u_x − 2y u_y, all at the centres."""
    y, x = square(n).mesh()
    px, py = math.pi * x, 2 * math.pi * y
    a, u = 1 + x / 2 + y**2, torch.sin(px) * torch.sin(py)
    u_x, u_y = math.pi * torch.cos(px) * torch.sin(py), 2 * math.pi * torch.sin(px) * torch.cos(py)
    return a, u, 5 * math.pi**2 * a * u - 0.5 * u_x - 2 * y * u_y


def test_the_error_falls_as_the_square_of_the_spacing_for_a_smooth_coefficient():
    errors = []
    for n in (16, 32, 64):
        a, u, f = manufactured(n)
        errors.append(float((solve(a, forcing=f) - u).square().mean().sqrt()))
    assert order(errors) == pytest.approx([2, 2], abs=0.1)


def test_a_uniform_medium_has_the_series_of_the_square():
    # u = Σ 16/(π⁴ m n (m² + n²)) sin πmx sin πny over odd m and n.
    m = np.arange(1, 200, 2)
    n = 64
    at = np.sin(np.outer(np.pi * (np.arange(n) + 0.5) / n, m))
    series = 16 / (np.pi**4 * np.outer(m, m) * (m[:, None] ** 2 + m**2))
    assert_close(
        solve(torch.ones(n, n, dtype=torch.float64)), torch.from_numpy(at @ series @ at.T), rtol=0, atol=0.2 / n**2
    )


def test_a_rectangle_with_cells_that_are_no_squares_is_solved_to_second_order():
    # u = sin(πx/2) sin(πy/3) on 3 x 2, a = 1: f = π² (1/4 + 1/9) u.
    errors = []
    for n in (8, 16, 32):
        grid = Grid((n, 3 * n), (3.0, 2.0), "cell", periodic=(False, False))
        y, x = grid.mesh()
        u = torch.sin(math.pi * x / 2) * torch.sin(math.pi * y / 3)
        f = math.pi**2 * (1 / 4 + 1 / 9) * u
        errors.append(float((solve(torch.ones_like(u), forcing=f, grid=grid) - u).abs().max()))
    assert order(errors) == pytest.approx([2, 2], abs=0.1)


# -- coefficients that jump --------------------------------------------------------------------------------------------


def layered(x: torch.Tensor, jump: float, left: float, right: float) -> torch.Tensor:
    """−(a u')' = 1 on [0, 1], u(0) = u(1) = 0, a = left below `jump`: a u' = c − x, c = ∫ x/a / ∫ 1/a."""
    c = (jump**2 / left + (1 - jump**2) / right) / (2 * (jump / left + (1 - jump) / right))
    at_jump = (c * jump - jump**2 / 2) / left
    return torch.where(x < jump, (c * x - x**2 / 2) / left, at_jump + (c * (x - jump) - (x**2 - jump**2) / 2) / right)


def layers(n: int, jump: float) -> tuple[Grid, torch.Tensor, torch.Tensor]:
    """Two layers across x on a strip whose rows are so high that they hardly feel each other: (Δy π)⁻² = 2e-7 a row."""
    grid = Grid((9, n), (6000.0, 1.0), "cell", periodic=(False, False))
    x = grid.coordinates(1)
    return grid, x, torch.full_like(x, 0.1).where(x < jump, torch.ones_like(x)).expand(9, n)


def test_the_flow_through_layers_that_end_at_faces_is_exact():
    # With f only in the first cell of a row, the rest of it is a chain of resistors, whatever h.
    n, jump = 16, 0.25
    grid, x, a = layers(n, jump)
    f = torch.zeros(9, n, dtype=torch.float64)
    f[:, 0] = n  # a unit of flow for each unit of height
    u = solve(a, forcing=f, grid=grid, method="direct")[4]
    # Resistances, in units of 1/n: half a cell to the left wall 5; from there to the jump 35; beyond it 12.
    left, rest = 5 / n, (35 + 12) / n
    first = left * rest / (left + rest)
    assert float(u[0]) == pytest.approx(first, rel=1e-9)
    # Beyond the jump a = 1: u is what passes times the way to the right wall.
    assert u[4:].tolist() == pytest.approx((first / rest * (1 - x[4:])).tolist(), rel=1e-9)


def test_layers_that_end_at_faces_have_second_order_and_others_first():
    def error(n: int, jump: float) -> float:
        grid, x, a = layers(n, jump)
        return float((solve(a, grid=grid)[4] - layered(x, jump, 0.1, 1.0)).abs().max())

    assert order([error(n, 0.25) for n in (16, 32, 64)]) == pytest.approx([2, 2], abs=0.05)
    # 3/10 lies 4/5 of a cell beyond a face on 256 and on 4096 cells: the factor of h is the same.
    inside = [error(n, 0.3) for n in (256, 4096)]
    assert order(inside)[0] / 4 == pytest.approx(1, abs=0.1)


def test_a_thresholded_field_converges_between_first_and_second_order():
    # The same cells, each cut in four and again: corners hold it below the second order of the smooth case.
    a = medium(16, seed=3)
    solved = []
    for times in (1, 2, 4, 8, 16):
        finer = a.repeat_interleave(times, 0).repeat_interleave(times, 1)
        solved.append(restrict(solve(finer), square(16), how="block_mean"))
    steps = [float((p - q).norm()) for p, q in pairwise(solved)]
    assert all(1.0 < p < 1.8 for p in order(steps))


# -- what every solution obeys -----------------------------------------------------------------------------------------


seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=15)
@given(seeds, st.sampled_from(["cg", "direct"]))
def test_what_leaves_through_the_walls_is_the_integral_of_the_forcing(seed, method):
    rng = np.random.default_rng(seed)
    a, f = medium(24, seed), torch.from_numpy(rng.normal(size=(24, 24)))
    grid = Grid((24, 24), (2.0, 3.0), "cell", periodic=(False, False))
    y, x = fluxes(a, solve(a, forcing=f, grid=grid, method=method), grid=grid)
    out = y[-1].sum() - y[0].sum() + x[:, -1].sum() - x[:, 0].sum()
    area = 6 / 24**2
    assert float(out) == pytest.approx(float(f.sum()) * area, abs=1e-8 * float(f.abs().sum()) * area)
    # And of each cell alone.
    assert_close(y.diff(dim=0) + x.diff(dim=1), f * area, rtol=0, atol=1e-8)


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_where_nothing_is_drained_the_pressure_is_positive_and_largest_inside(seed):
    rng = np.random.default_rng(seed)
    a = torch.from_numpy(np.exp(2 * rng.normal(size=(12, 12))))
    f = torch.from_numpy(rng.uniform(size=(12, 12)) * (rng.uniform(size=(12, 12)) < 0.2))
    f[5, 5] = 1.0
    u = solve(a, forcing=f)
    assert (u > 0).all()
    # Where f = 0 a cell lies between its neighbours and the walls: it is no strict maximum.
    padded = torch.nn.functional.pad(u, (1, 1, 1, 1))
    highest = torch.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]).amax(0)
    assert (u[f == 0] <= highest[f == 0] * (1 + 1e-9)).all()


@settings(deadline=None, max_examples=10)
@given(seeds)
def test_what_a_source_does_elsewhere_a_source_there_does_here(seed):
    # The matrix is symmetric: G(p, q) = G(q, p).
    rng = np.random.default_rng(seed)
    a = torch.from_numpy(np.exp(rng.normal(size=(2, 10, 10)).mean(0)))
    (p, q), (r, s) = rng.integers(0, 10, size=(2, 2))
    here, there = torch.zeros(2, 10, 10, dtype=torch.float64)
    here[p, q], there[r, s] = 1.0, 1.0
    assert float(solve(a, forcing=here)[r, s]) == pytest.approx(float(solve(a, forcing=there)[p, q]), rel=1e-6)


@pytest.mark.parametrize("turn", [lambda u: u.flip(-1), lambda u: u.flip(-2), lambda u: u.mT, lambda u: u.mT.flip(-1)])
def test_a_turned_or_mirrored_medium_has_the_turned_pressure(turn):
    a = medium(16, seed=1)
    assert_close(solve(turn(a), method="direct"), turn(solve(a, method="direct")), rtol=1e-10, atol=0)


@settings(deadline=None, max_examples=10)
@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_pressure_grows_with_the_forcing_and_falls_with_the_coefficient(c, g):
    a = medium(12, seed=2)
    assert_close(solve(c * a, forcing=g), g / c * solve(a), rtol=1e-7, atol=0)


def test_both_methods_agree_and_a_batch_is_solved_sample_by_sample():
    a = torch.stack([medium(20, seed=s) for s in range(4)]).reshape(2, 2, 20, 20)
    f = torch.linspace(0, 1, 20, dtype=torch.float64)
    by_cg, direct = (solve(a, forcing=f, method=m) for m in ("cg", "direct"))
    assert_close(by_cg, direct, rtol=0, atol=1e-9)
    assert torch.equal(solve(a[1, 0], forcing=f), by_cg[1, 0])


def test_a_high_contrast_is_solved_directly():
    a = log_normal(gaussian_field(32, rng=np.random.default_rng(0), waves=16), median=1.0, deviation=4.0)
    assert a.max() / a.min() > 1000
    y, x = fluxes(a, solve(a))
    assert_close(y.diff(dim=0) + x.diff(dim=1), torch.full_like(a, 1 / 32**2), rtol=1e-6, atol=0)


def test_float32_comes_back_as_float32_and_no_forcing_moves_nothing():
    a = medium(8).float()
    assert solve(a).dtype == torch.float32
    assert torch.equal(solve(a, forcing=0.0), torch.zeros(8, 8))


# -- media -------------------------------------------------------------------------------------------------------------


def test_a_random_field_is_the_same_on_every_grid():
    coarse, fine = (gaussian_field(n, rng=np.random.default_rng(5), waves=6) for n in (10, 30))
    assert_close(coarse, fine[1::3, 1::3])  # the centres of 10 cells are those of every third of 30


def test_a_random_field_has_mean_0_over_the_square_and_variance_1_on_average():
    fields = torch.stack([gaussian_field(16, rng=np.random.default_rng(i), waves=15) for i in range(400)])
    assert float(fields.mean((-2, -1)).abs().max()) < 1e-12
    # The lowest two of its waves carry most: the variance of a sample's variance is about 1, of the mean's 1/20.
    assert float(fields.square().mean()) == pytest.approx(1, abs=4 / 20)


def test_two_phases_are_two_values_and_change_places_with_the_sign():
    g = gaussian_field(16, rng=np.random.default_rng(1), waves=8)
    a, b = two_phases(g, low=0.1, high=1.0), two_phases(-g, low=0.1, high=1.0)
    assert a.unique().tolist() == [0.1, 1.0]
    assert_close(a * b, torch.full_like(a, 0.1))


def test_a_field_needs_cells_that_carry_its_waves():
    with pytest.raises(ConfigError, match="16 cells do not carry 16 half waves"):
        gaussian_field(16, rng=np.random.default_rng(0), waves=16)


@pytest.mark.parametrize(
    ("a", "options", "error", "named"),
    [
        (torch.ones(4), {}, GridError, "not \\(4,\\)"),
        (torch.ones(4, 1), {}, GridError, "2 x 2"),
        (torch.ones(0, 4, 4), {}, GridError, "0, 4, 4"),
        (torch.ones(4, 4), {"grid": square(8)}, GridError, "do not lie on"),
        (torch.ones(4, 4), {"grid": Grid((4, 4))}, GridError, "with walls"),
        (torch.ones(4, 4), {"grid": Grid((4, 4), centring="cell")}, GridError, "with walls"),
        (torch.zeros(4, 4), {}, AnchorbenchError, "not positive"),
        (torch.full((4, 4), math.nan), {}, AnchorbenchError, "not positive"),
        (torch.ones(4, 4), {"forcing": math.inf}, AnchorbenchError, "forcing is not finite"),
        (torch.ones(4, 4), {"method": "multigrid"}, AnchorbenchError, "no method 'multigrid'"),
    ],
)
def test_what_cannot_be_solved_is_one_error(a, options, error, named):
    with pytest.raises(error, match=named):
        solve(a, **options)
