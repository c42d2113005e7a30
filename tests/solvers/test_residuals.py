"""What the equation leaves: nothing of its own solution, at the order that is claimed."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from anchorbench.errors import AnchorbenchError, GridError
from anchorbench.fields import Grid
from anchorbench.solvers import Flow, box, integrate, integrate_3d, integrate_burgers, random_vorticity
from anchorbench.solvers.burgers import BurgersFlow, line, random_velocity
from anchorbench.solvers.darcy import solve, square
from anchorbench.solvers.navier_stokes import rhs
from anchorbench.solvers.navier_stokes_3d import cube, taylor_green
from anchorbench.solvers.navier_stokes_3d import rhs as rhs_3d
from anchorbench.solvers.residuals import (
    burgers_rate,
    darcy_residual,
    step_residual,
    velocity_rate,
    vorticity_rate,
)
from anchorbench.solvers.stepper_3d import Flow3d


def rms(r):
    return float(r.square().mean().sqrt())


def orders(values):
    return [math.log2(a / b) for a, b in pairwise(values)]


SCHEMES = pytest.mark.parametrize("scheme", ["trapezoidal", "midpoint"])


@SCHEMES
def test_a_step_of_burgers_leaves_the_square_of_the_time_step(scheme):
    flow, u = BurgersFlow(0.02), random_velocity(128, rng=np.random.default_rng(1), waves=4)[None]
    left = []
    for dt in (4e-3, 2e-3, 1e-3):
        later = integrate_burgers(u, flow, duration=dt, dt=dt / 16, grid=line(128), dealias="padded")
        left.append(rms(step_residual(u, later, lambda v: burgers_rate(v, flow, line(128)), dt=dt, scheme=scheme)))
    assert orders(left) == pytest.approx([2, 2], abs=0.15)


def test_a_trapezoid_leaves_a_twelfth_of_the_third_derivative():
    """Of u' = −u, u = e^−t: R = (e^−dt − 1)/dt + (1 + e^−dt)/2 = dt²/12 + O(dt³)."""
    dt, one = 1e-3, torch.ones(1, dtype=torch.float64)
    left = step_residual(one, one * math.exp(-dt), lambda u: -u, dt=dt)
    assert float(left) == pytest.approx(dt**2 / 12, rel=2e-3)


def test_the_spectral_rate_of_turbulence_is_the_solvers_own_right_hand_side():
    flow = Flow(viscosity=2e-3, drag=0.1, forcing_wavenumber=3)
    w = random_vorticity(2, 48, generator=torch.Generator().manual_seed(2), peak_wavenumber=4.0).double()
    own = rhs(w, flow, dealias="padded")
    assert rms(vorticity_rate(w, flow, box(48)) - own) < 1e-9 * rms(own)


def test_a_step_of_turbulence_leaves_the_square_of_the_time_step():
    flow = Flow(viscosity=5e-3, drag=0.1, forcing_wavenumber=2)
    w = random_vorticity(1, 32, generator=torch.Generator().manual_seed(3), peak_wavenumber=3.0).double()
    left = []
    for dt in (0.04, 0.02, 0.01):
        later = integrate(w, flow, duration=dt, dt=dt / 8, dealias="padded", grid=box(32))
        left.append(rms(step_residual(w, later, lambda x: vorticity_rate(x, flow, box(32)), dt=dt)))
    assert orders(left) == pytest.approx([2, 2], abs=0.15)


def test_the_spectral_rate_in_three_dimensions_is_the_solvers_own_right_hand_side():
    flow = Flow3d(viscosity=1e-2, injection=0.5, forcing_wavenumber=2.0)
    u = integrate_3d(taylor_green(16, dtype=torch.float64)[None], flow, duration=0.5)
    own = rhs_3d(u, flow, dealias="padded")
    assert rms(velocity_rate(u, flow, cube(16)) - own) < 1e-9 * rms(own)


@pytest.mark.parametrize("n", [32, 33])
def test_finite_differences_are_of_second_order(n):
    """u = sin 2πx: F = −π sin 4πx − 4π² ν sin 2πx."""
    flow, left = BurgersFlow(0.1), []
    for points in (n, 2 * n, 4 * n):
        x = line(points).coordinates(0)
        exact = -math.pi * torch.sin(4 * math.pi * x) - 0.4 * math.pi**2 * torch.sin(2 * math.pi * x)
        rate = burgers_rate(torch.sin(2 * math.pi * x), flow, line(points), derivatives="finite")
        left.append(rms(rate - exact))
    assert orders(left) == pytest.approx([2, 2], abs=0.05)


def test_nothing_is_left_of_the_darcy_solvers_own_solution():
    a = torch.exp(torch.randn(1, 24, 24, generator=torch.Generator().manual_seed(4), dtype=torch.float64))
    left = darcy_residual(a, solve(a, forcing=2.0), forcing=2.0, grid=square(24))
    assert float(left.abs().max()) < 1e-6


def _smooth(n):
    """a = 1 + x/2 and u = sin πx sin πy, the means of cells to second order; f = −∇·(a∇u)."""
    x, y = (square(n).coordinates(i) for i in (1, 0))
    x, y = x[None, :], y[:, None]
    a, u = 1 + 0.5 * x + 0 * y, torch.sin(math.pi * x) * torch.sin(math.pi * y)
    f = 2 * math.pi**2 * a * u - 0.5 * math.pi * torch.cos(math.pi * x) * torch.sin(math.pi * y)
    return a, u, f


def test_wide_differences_are_of_second_order_where_the_coefficient_is_smooth():
    left = []
    for n in (32, 64, 128):
        a, u, f = _smooth(n)
        left.append(rms(darcy_residual(a, u, forcing=0.0, grid=square(n), stencil="wide") - f[2:-2, 2:-2]))
    assert orders(left) == pytest.approx([2, 2], abs=0.1)


def test_wide_differences_do_not_vanish_at_the_solution_across_jumps_and_do_not_shrink():
    """The defect of the published physics loss (D8): what it punishes is its own stencil."""
    left = []
    for n in (32, 64):
        a = torch.where(torch.arange(n) < n // 2, 1.0, 10.0).double().expand(n, n)
        left.append(rms(darcy_residual(a, solve(a), forcing=1.0, grid=square(n), stencil="wide")))
    assert left[0] > 0.5
    assert left[1] > left[0]


def test_wide_differences_are_blind_to_a_chessboard_and_faces_are_not():
    n = 16
    i = torch.arange(n)
    board = ((i[:, None] + i) % 2).double() - 0.5
    one = torch.ones(n, n, dtype=torch.float64)
    assert rms(darcy_residual(one, board, forcing=0.0, grid=square(n), stencil="wide")) < 1e-9
    assert rms(darcy_residual(one, board, forcing=0.0, grid=square(n))) > 100


@pytest.mark.parametrize("derivatives", ["spectral", "finite"])
def test_the_residual_has_the_gradient_that_differences_of_it_show(derivatives):
    flow = BurgersFlow(0.05)
    u = torch.randn(1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5), requires_grad=True)

    before = u.detach().clone()

    def residual(after):
        return step_residual(before, after, lambda v: burgers_rate(v, flow, line(8), derivatives=derivatives), dt=0.1)

    assert torch.autograd.gradcheck(residual, u)


def test_what_is_no_step_no_box_and_no_word_is_refused():
    u = torch.zeros(1, 8, dtype=torch.float64)
    with pytest.raises(AnchorbenchError, match="dt above 0"):
        step_residual(u, u, lambda v: v, dt=0.0)
    with pytest.raises(AnchorbenchError, match="scheme"):
        step_residual(u, u, lambda v: v, dt=1.0, scheme="euler")
    with pytest.raises(GridError, match="periodic"):
        burgers_rate(u, BurgersFlow(0.1), Grid((8,), extent=(1.0,), periodic=(False,)))
    with pytest.raises(AnchorbenchError, match="stencil"):
        darcy_residual(torch.ones(8, 8), torch.ones(8, 8), forcing=1.0, grid=square(8), stencil="narrow")
