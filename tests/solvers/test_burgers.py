"""The Burgers solver against closed forms, its order, and what the equation keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import jv
from torch.testing import assert_close

from anchorbench.errors import AnchorbenchError, ConfigError, GridError
from anchorbench.fields import Grid, prolong, restrict
from anchorbench.solvers.burgers import BurgersFlow, energy, integrate, line, random_velocity, trajectory

TURN = 2 * math.pi


def points(n: int, length: float = 1.0) -> torch.Tensor:
    return line(n, length).coordinates(0)


def cole_hopf(x: torch.Tensor, t: float, *, viscosity: float, a: float = 0.9, length: float = 1.0, drift: float = 0.0):
    """u = −2ν φ_x/φ with φ = 1 + a e^{−νk²t} cos kx, φ_t = ν φ_xx; seen from a frame that moves by −drift."""
    k = TURN / length
    decayed = a * math.exp(-viscosity * k**2 * t)
    angle = k * (x - drift * t)
    return drift + 2 * viscosity * k * decayed * torch.sin(angle) / (1 + decayed * torch.cos(angle))


def slope(u: torch.Tensor, length: float = 1.0) -> torch.Tensor:
    """∂u/∂x by its waves."""
    k = TURN / length * torch.arange(u.shape[-1] // 2 + 1, dtype=torch.float64)
    return torch.fft.irfft(1j * k * torch.fft.rfft(u), n=u.shape[-1])


# -- closed forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dealias", ["two_thirds", "padded"])
@pytest.mark.parametrize("n", [191, 192])
def test_the_cole_hopf_solution_is_met_to_rounding(n, dealias):
    # Its waves fall as e^{−0.467 m}: at m = 63 by 1.6e-13.
    u = cole_hopf(points(n), 0.0, viscosity=0.05)
    later = integrate(u, BurgersFlow(0.05), duration=0.1, courant=0.1, dealias=dealias)
    assert_close(later, cole_hopf(points(n), 0.1, viscosity=0.05), rtol=0, atol=5e-11)


@settings(deadline=None, max_examples=15)
@given(st.floats(0.1, 10), st.floats(-2, 2), st.floats(0.02, 0.2))
def test_a_longer_box_and_a_mean_flow_change_nothing_but_units_and_place(length, drift, viscosity):
    grid, nu, t = line(128, length), viscosity * length, 0.1 * length
    x = grid.coordinates(0)
    start = cole_hopf(x, 0.0, viscosity=nu, a=0.6, length=length, drift=drift)
    later = integrate(start, BurgersFlow(nu), duration=t, grid=grid, courant=0.25)
    assert_close(later, cole_hopf(x, t, viscosity=nu, a=0.6, length=length, drift=drift), rtol=0, atol=1e-7)


def test_the_error_falls_exponentially_with_the_grid():
    def error(n: int) -> float:
        u = integrate(
            cole_hopf(points(n), 0, viscosity=0.05), BurgersFlow(0.05), duration=0.1, dt=1e-3, dealias="padded"
        )
        return float((u - cole_hopf(points(n), 0.1, viscosity=0.05)).abs().max())

    errors = [error(n) for n in (16, 32, 64)]
    # By a factor e^{−0.467 (m' − m)} at least, from m = 7 to 15 to 31: 1/42 and 1/1760.
    assert errors[1] < errors[0] / 20
    assert errors[2] < errors[1] / 1000


def test_before_the_first_shock_an_inviscid_sine_has_fubinis_waves():
    # u₀ = −sin 2πx meets itself at t = 1/2π; at s = t/t_shock its waves are −2 J_m(m s)/(m s), falling as e^{−0.3 m}.
    n, s = 256, 0.6
    u = integrate(-torch.sin(TURN * points(n)), BurgersFlow(0.0), duration=s / TURN, courant=0.2)
    m = np.arange(1, 120)
    expected = -(2 * jv(m, m * s) / (m * s)) @ np.sin(TURN * np.outer(m, points(n).numpy()))
    assert_close(u, torch.from_numpy(expected), rtol=0, atol=1e-9)


# -- order -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("viscosity", [0.0, 0.02])
def test_the_time_step_is_of_fourth_order(viscosity):
    start = torch.sin(TURN * points(64)) + 0.5 * torch.cos(2 * TURN * points(64))

    def at(dt: float) -> torch.Tensor:
        return integrate(start, BurgersFlow(viscosity), duration=0.04, dt=dt, dealias="padded")

    # Richardson: halving the step divides the change by 2⁴.
    coarse, middle, fine = (at(0.04 / n) for n in (8, 16, 32))
    order = math.log2(float((coarse - middle).norm() / (middle - fine).norm()))
    assert order == pytest.approx(4, abs=0.25)


# -- what is kept ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([63, 64]), st.sampled_from(["two_thirds", "padded"]), st.floats(-1, 1)
)
def test_momentum_is_kept_to_rounding(seed, n, dealias, mean):
    u = random_velocity(n, rng=np.random.default_rng(seed), waves=15) + mean
    later = integrate(u, BurgersFlow(1e-3), duration=0.2, dealias=dealias)
    assert float(later.mean()) == pytest.approx(mean, abs=1e-13)


def test_energy_is_lost_to_viscosity_alone():
    # dE/dt = −ν⟨u_x²⟩, the derivative by a five-point stencil: its error is δ⁴ E⁽⁵⁾/30.
    nu, delta = 0.01, 1e-3
    u = random_velocity(512, rng=np.random.default_rng(1), waves=8)
    before = integrate(u, BurgersFlow(nu), duration=0.1, courant=0.2)
    e = [float(energy(v)) for v in trajectory(before, BurgersFlow(nu), interval=delta, frames=5, courant=0.2)]
    now = integrate(before, BurgersFlow(nu), duration=2 * delta, courant=0.2)
    rate = (e[0] - 8 * e[1] + 8 * e[3] - e[4]) / (12 * delta)
    assert rate == pytest.approx(-nu * float(slope(now).square().mean()), rel=1e-6)


@pytest.mark.parametrize("dealias", ["two_thirds", "padded"])
def test_without_viscosity_energy_is_kept_even_where_the_waves_are_cut(dealias):
    # The truncated equation keeps it past the shock too, when the solution no longer means anything.
    u = integrate(
        random_velocity(64, rng=np.random.default_rng(2), waves=10), BurgersFlow(0.0), duration=0.0, dealias=dealias
    )
    later = integrate(u, BurgersFlow(0.0), duration=0.2, courant=0.05, dealias=dealias)
    assert float(energy(later)) == pytest.approx(float(energy(u)), rel=1e-5)


def test_the_speed_of_a_viscous_flow_never_rises():
    u = random_velocity(512, rng=np.random.default_rng(3), waves=16)
    tops = trajectory(u, BurgersFlow(5e-3), interval=0.02, frames=8).abs().amax(-1)
    assert (tops.diff() < 1e-6).all()


# -- grids, batches, options -------------------------------------------------------------------------------------------


def test_the_padded_form_advances_every_wave_and_the_other_two_thirds():
    u = random_velocity(64, rng=np.random.default_rng(4), waves=31)
    still = {d: integrate(u, BurgersFlow(1e-3), duration=0.0, dealias=d) for d in ("padded", "two_thirds")}
    assert_close(still["padded"], u, rtol=0, atol=1e-14)
    assert_close(still["two_thirds"], prolong(restrict(u, line(43)), line(64)), rtol=0, atol=1e-14)


def test_a_finer_rung_is_nearer_to_the_truth_in_the_band_that_both_know():
    flow = BurgersFlow(5e-3)
    u = integrate(random_velocity(512, rng=np.random.default_rng(5), waves=16), flow, duration=0.05)
    truth = restrict(integrate(u, flow, duration=0.1), line(32))
    errors = []
    for n in (32, 64, 128):
        solved = integrate(restrict(u, line(n)), flow, duration=0.1, dealias="padded")
        errors.append(float((restrict(solved, line(32)) - truth).norm() / truth.norm()))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_with_a_fixed_step_a_sample_is_the_same_alone_and_in_company():
    u = torch.stack([random_velocity(64, rng=np.random.default_rng(i), waves=8) for i in range(6)])
    together = integrate(u.reshape(2, 3, 64), BurgersFlow(1e-2), duration=0.1, dt=1e-3)
    assert together.shape == (2, 3, 64)
    assert_close(together[1, 1], integrate(u[4], BurgersFlow(1e-2), duration=0.1, dt=1e-3), rtol=0, atol=1e-14)


def test_a_trajectory_begins_at_the_start_and_goes_on_as_integrate_does():
    u = random_velocity(64, rng=np.random.default_rng(6), waves=8)
    frames = trajectory(u, BurgersFlow(1e-2), interval=0.05, frames=3, dt=1e-3)
    assert_close(frames[0], u, rtol=0, atol=1e-14)
    assert_close(frames[2], integrate(u, BurgersFlow(1e-2), duration=0.1, dt=1e-3), rtol=0, atol=1e-13)


def test_cells_and_points_are_advanced_alike():
    u = random_velocity(64, rng=np.random.default_rng(7), waves=8)
    cells = Grid((64,), (1.0,), "cell")
    assert torch.equal(
        integrate(u, BurgersFlow(1e-2), duration=0.1, grid=cells), integrate(u, BurgersFlow(1e-2), duration=0.1)
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 15))
def test_a_random_start_is_one_field_on_every_grid_with_mean_0_and_its_rms(seed, waves):
    fields = [random_velocity(n, rng=np.random.default_rng(seed), waves=waves, rms=2.0) for n in (32, 96)]
    assert_close(fields[0], fields[1][::3])
    assert float(fields[1].mean()) == pytest.approx(0, abs=1e-14)
    assert float(fields[1].square().mean()) == pytest.approx(4)


def test_a_start_needs_a_grid_that_carries_its_waves():
    with pytest.raises(ConfigError, match="32 points do not carry 16 waves"):
        random_velocity(32, rng=np.random.default_rng(0), waves=16)


@pytest.mark.parametrize("viscosity", [-1.0, math.nan, math.inf])
def test_a_viscosity_is_finite_and_not_negative(viscosity):
    with pytest.raises(ConfigError, match="viscosity"):
        BurgersFlow(viscosity)


@pytest.mark.parametrize(
    ("shape", "options", "error", "named"),
    [
        ((3,), {}, GridError, "4 points or more"),
        ((0, 8), {}, GridError, "one field or more"),
        ((8,), {"grid": line(16)}, GridError, "do not lie on"),
        ((8,), {"grid": Grid((8,), periodic=(False,))}, GridError, "periodic line"),
        ((8, 8), {"grid": Grid((8, 8))}, GridError, "periodic line"),
        ((8,), {"courant": 0.0}, AnchorbenchError, "courant is 0"),
        ((8,), {"dt": -1.0}, AnchorbenchError, "dt is -1"),
        ((8,), {"dealias": "three_halves"}, AnchorbenchError, "no dealiasing 'three_halves'"),
        ((8,), {"dtype": torch.float16}, AnchorbenchError, "float16"),
        ((8,), {"duration": -0.1}, AnchorbenchError, "duration"),
    ],
)
def test_what_cannot_be_solved_is_one_error(shape, options, error, named):
    with pytest.raises(error, match=named):
        integrate(torch.ones(shape), BurgersFlow(1e-2), **{"duration": 0.1, **options})


def test_a_start_that_is_not_finite_and_a_step_that_is_too_long_are_told():
    with pytest.raises(AnchorbenchError, match="not finite"):
        integrate(torch.full((8,), math.nan), BurgersFlow(1e-2), duration=0.1)
    u = 100 * random_velocity(64, rng=np.random.default_rng(0), waves=20)
    with pytest.raises(AnchorbenchError, match="blew up on 64 points"):
        integrate(u, BurgersFlow(0.0), duration=10.0, dt=0.1)
