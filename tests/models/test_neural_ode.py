"""The neural ODE: Runge-Kutta against its polynomial, taps in physical units, borders."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from anchorbench.errors import ConfigError
from anchorbench.fields.grid import Grid
from anchorbench.models.neural_ode import NeuralODE, rk4
from anchorbench.models.options import NeuralOdeOptions
from anchorbench.models.registry import call, validate_options

TRAIN = Grid((16,))


def polynomial(z: complex) -> complex:
    return 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24


def ode(grid: Grid, channels: tuple[int, int] = (1, 1), **options) -> NeuralODE:
    torch.manual_seed(0)
    return NeuralODE(*channels, grid, NeuralOdeOptions(**{"width": 4, "steps": 2, **options}))


def linear(taps: list[float], *, steps: int, units: str = "physical") -> NeuralODE:
    """dv/dt = Σⱼ tapsⱼ v(x + j h), one channel, nothing before and after."""
    model = ode(TRAIN, width=1, layers=1, steps=steps, units=units).double()
    for layer in (model.lift, model.project):
        layer.weight.data.fill_(1.0)
        layer.bias.data.zero_()
    model.tendency.convs[0].weight.data = torch.tensor([[taps]], dtype=torch.float64)
    return model


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("n", [16, 48])
@pytest.mark.parametrize("units", ["physical", "grid"])
def test_a_linear_right_hand_side_gives_the_polynomial_of_its_symbol(steps, n, units):
    # A wave is an eigenfunction: m = Σⱼ wⱼ e^{ikjh}; each step multiplies by 1 + z + ... + z⁴/24, z = m/steps.
    taps, k = [0.7, -1.1, 0.2], 2 * math.pi * 3
    h = 1 / 16 if units == "physical" else 1 / n
    m = sum(w * cmath.exp(1j * k * j * h) for j, w in zip((-1, 0, 1), taps, strict=True))
    factor = polynomial(m / steps) ** steps
    angle = k * torch.arange(n, dtype=torch.float64) / n
    want = factor.real * angle.cos() - factor.imag * angle.sin()
    got = call(linear(taps, steps=steps, units=units), angle.cos()[None, None], Grid((n,)), Grid((n,)))
    assert_close(got[0, 0], want, rtol=0, atol=1e-12)


def test_twice_the_steps_leave_a_sixteenth_of_the_error():
    one = torch.ones(1, dtype=torch.float64)
    coarse, fine = ((rk4(torch.neg, one, steps=n, time=2.0) - math.exp(-2)).abs().item() for n in (16, 32))
    assert 15 < coarse / fine < 18


def test_the_gradient_goes_through_the_steps():
    # One step of dv/dt = λ v from 1: d/dλ (1 + λ + λ²/2 + λ³/6 + λ⁴/24) = 1 + λ + λ²/2 + λ³/6, at λ = 2: 19/3.
    rate = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    rk4(lambda v: rate * v, torch.ones((), dtype=torch.float64), steps=1).backward()
    assert rate.grad is not None
    assert rate.grad.item() == pytest.approx(19 / 3, abs=1e-12)


def test_physical_taps_see_only_the_points_of_the_train_rung_and_taps_in_points_do_not():
    coarse, fine = Grid((8, 8)), Grid((16, 16))
    u = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    for units, same in (("physical", True), ("grid", False)):
        model = ode(coarse, units=units).double()
        on_fine, on_coarse = call(model, u, fine, fine)[..., ::2, ::2], call(model, u[..., ::2, ::2], coarse, coarse)
        assert torch.allclose(on_fine, on_coarse, rtol=0, atol=1e-12) is same


@pytest.mark.parametrize("shift", [(1, 0), (5, 7)])
def test_a_shift_by_points_shifts_the_output_on_a_periodic_box(shift):
    grid = Grid((12, 15))
    model, u = ode(grid).double(), torch.randn(2, 1, *grid.shape, dtype=torch.float64)
    rolled = call(model, u.roll(shift, (2, 3)), grid, grid)
    assert_close(rolled, call(model, u, grid, grid).roll(shift, (2, 3)), rtol=0, atol=1e-12)


def test_a_constant_stays_one_between_walls_on_every_grid():
    train = Grid((6, 7), periodic=(False, True))
    model = ode(train).double()
    outs = [
        call(model, torch.full((1, 1, *g.shape), 0.4, dtype=torch.float64), g, g)
        for g in (train, train.with_shape((13, 9)))
    ]
    for out in outs:
        # Taps between points are float32.
        assert_close(out, outs[0].flatten()[0].expand_as(out), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(20,), (9, 12), (6, 5, 8)])
@pytest.mark.parametrize("periodic", [True, False])
def test_it_runs_in_one_two_and_three_dimensions_and_on_another_grid_for_its_output(shape, periodic):
    grid = Grid(shape, periodic=(periodic,) * len(shape))
    finer = grid.with_shape(tuple(n + 3 for n in shape))
    model, u = ode(grid, (3, 2)), torch.randn(2, 3, *shape)
    for out_grid in (grid, finer):
        assert call(model, u, grid, out_grid).shape == (2, 2, *out_grid.shape)


def test_the_order_of_convolution_and_activation_is_as_written():
    # f(v) = K₂ σ(K₁ v + b₁) + b₂ with kernels of one point: 3 relu(2 v − 1) + 5 at v = 1 is 8, at v = 0 is 5.
    model = ode(TRAIN, width=1, layers=2, kernel=1, activation="relu")
    for conv, weight in zip(model.tendency.convs, (2.0, 3.0), strict=True):
        conv.weight.data.fill_(weight)
    for bias, value in zip(model.tendency.biases, (-1.0, 5.0), strict=True):
        bias.data.fill_(value)

    def tendency(v: float) -> Tensor:
        return model.tendency(torch.full((1, 16, 1), v), TRAIN)

    assert tendency(1.0).unique().item() == 8.0
    assert tendency(0.0).unique().item() == 5.0


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="an odd number of points"):
        validate_options("neural_ode", {"kernel": 4})
