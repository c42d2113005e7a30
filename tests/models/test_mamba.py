"""The selective scan: against the recurrence, around a box, against the differential equation."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from anchorbench.errors import ConfigError
from anchorbench.fields.grid import Grid
from anchorbench.models.mamba import Mamba, Scan, recur
from anchorbench.models.options import MambaOptions
from anchorbench.models.registry import call, validate_options

RATE, STEP = 0.75, 0.5  # A = -RATE, Δ = STEP on the train rung


def mamba(grid: Grid, channels: tuple[int, int] = (1, 1), **options) -> Mamba:
    torch.manual_seed(0)
    return Mamba(*channels, grid, MambaOptions(**{"width": 6, "layers": 2, "state": 3, **options}))


def fixed_scan() -> Scan:
    """Two channels, one state: channel 0 is held at 1 and sets B = C = 1, so that channel 1 is a linear filter."""
    scan = Scan(2, 1).double()
    scan.select.weight.data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    scan.step.bias.data.fill_(math.log(math.expm1(STEP)))
    scan.log_rate.data.fill_(math.log(RATE))
    scan.skip.data.zero_()
    return scan


def filtered(x: Tensor, *, stride: float = 1.0, periodic: bool = True, back: bool = False) -> Tensor:
    sequence = torch.stack((torch.ones_like(x), x), -1)[:, None]
    return fixed_scan()(sequence, stride=stride, periodic=periodic, back=back)[:, 0, 1]


def decays(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """a - 1 and b of three sequences of n steps, 0.1 < a < 0.9."""
    rng = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, n, 3, generator=rng, dtype=torch.float64)
    return 0.8 * a - 0.9, b


def one_by_one(less: Tensor, b: Tensor, h: Tensor) -> Tensor:
    out = []
    for i in range(len(b)):
        h = (1 + less[i]) * h + b[i]
        out.append(h)
    return torch.stack(out)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 150), st.booleans(), st.integers(0, 99))
def test_the_scan_in_chunks_is_the_recurrence_one_by_one(n, back, seed):
    less, b = decays(n, seed)
    want = one_by_one(*((t.flip(0) if back else t) for t in (less, b)), torch.zeros(3, dtype=torch.float64))
    assert_close(recur(less, b, back=back), want.flip(0) if back else want, rtol=1e-12, atol=1e-14)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 150), st.booleans(), st.integers(0, 99))
def test_around_the_box_the_state_before_the_first_step_is_that_after_the_last(n, back, seed):
    less, b = decays(n, seed)
    got = recur(less, b, 1 - (1 + less).prod(0), back=back)
    less, b, got = ((t.flip(0) if back else t) for t in (less, b, got))
    assert_close(one_by_one(less, b, got[-1]), got, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("n", [1, 7, 19])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
def test_its_gradient_is_that_of_finite_differences_and_the_second_one_too(n, back, periodic):
    def scan(less: Tensor, b: Tensor) -> Tensor:
        return recur(less, b, 1 - (1 + less).prod(0) if periodic else None, back=back)

    less, b = (t[:, :1].clone().requires_grad_() for t in decays(n))
    assert torch.autograd.gradcheck(scan, (less, b))
    assert torch.autograd.gradgradcheck(scan, (less, b))


def test_decays_that_vanish_leave_no_nan():
    less, b = torch.full((40, 1), -1.0, requires_grad=True), torch.ones(40, 1)
    h = recur(less, b)
    h.sum().backward()
    assert torch.equal(h, b)
    assert less.grad is not None
    assert less.grad.isfinite().all()


def test_around_the_box_is_what_many_laps_come_to():
    torch.manual_seed(1)
    scan, x = Scan(4, 3).double(), torch.randn(13, 2, 4, dtype=torch.float64)
    for back, lap in ((False, slice(-13, None)), (True, slice(13))):
        laps = scan(x.repeat(60, 1, 1), stride=1.0, periodic=False, back=back)[lap]
        assert_close(scan(x, stride=1.0, periodic=True, back=back), laps, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [9, 16, 40])
def test_a_wave_goes_through_with_the_held_steps_own_factor(n):
    # hᵢ = ā hᵢ₋₁ + b̄ xᵢ with x = e^{ikhi}: b̄/(1 - ā e^{-ikh}), ā = e^{-λΔ}, b̄ = (1 - ā)/λ.
    decay = math.exp(-RATE * STEP * 16 / n)
    k = 2 * math.pi * 3
    factor = (1 - decay) / RATE / (1 - decay * cmath.exp(-1j * k / n))
    angle = k * torch.arange(n, dtype=torch.float64) / n
    got = filtered(angle.cos(), stride=16 / n)
    assert_close(got, factor.real * angle.cos() - factor.imag * angle.sin(), rtol=0, atol=1e-12)


def test_physical_steps_converge_at_order_one_to_the_differential_equation():
    # dh/dt = -λ h + x, t in steps of the train rung, 16 STEP of them around the box: the wave's factor is 1/(λ + iω).
    omega = 2 * math.pi * 3 / (16 * STEP)
    exact = 1 / (RATE + 1j * omega)

    def error(n: int) -> float:
        angle = 2 * math.pi * 3 * torch.arange(n, dtype=torch.float64) / n
        want = exact.real * angle.cos() - exact.imag * angle.sin()
        return (filtered(angle.cos(), stride=16 / n) - want).abs().max().item()

    errors = [error(n) for n in (128, 256, 512)]
    assert 1.9 < errors[0] / errors[1] < 2.1
    assert 1.9 < errors[1] / errors[2] < 2.1


@pytest.mark.parametrize("n", [1, 16, 37])
def test_a_constant_has_the_same_answer_on_every_grid(n):
    # h = x/λ, whatever the step: exact holding has no error for what does not change.
    assert_close(filtered(torch.full((n,), 3.0).double(), stride=16 / n), torch.full((n,), 3 / RATE).double())


def test_without_periodicity_the_scan_begins_with_nothing():
    # The first point has one step of its own input: (1 - e^{-λΔ})/λ.
    for back, first in ((False, 0), (True, -1)):
        got = filtered(torch.ones(5).double(), periodic=False, back=back)
        assert got[first].item() == pytest.approx((1 - math.exp(-RATE * STEP)) / RATE)


@pytest.mark.parametrize("shift", [(1, 0), (5, 7)])
@pytest.mark.parametrize("units", ["physical", "grid"])
def test_a_shift_by_points_shifts_the_output_on_a_periodic_box(shift, units):
    train, grid = Grid((6, 8)), Grid((12, 15))
    model, u = mamba(train, units=units).double(), torch.randn(2, 1, *grid.shape, dtype=torch.float64)
    rolled = call(model, u.roll(shift, (2, 3)), grid, grid)
    assert_close(rolled, call(model, u, grid, grid).roll(shift, (2, 3)), rtol=0, atol=1e-12)


def touched(scan: str) -> Tensor:
    """Where a change at (2, 5) of 6 x 6 points between walls shows after one layer."""
    grid = Grid((6, 6), periodic=(False, False))
    model, u = mamba(grid, layers=1, scan=scan).double(), torch.randn(1, 1, 6, 6, dtype=torch.float64)
    other = u.clone()
    other[..., 2, 5] += 1.0
    return (call(model, other, grid, grid) - call(model, u, grid, grid))[0, 0].abs() > 1e-12


def test_line_by_line_a_point_reaches_its_row_and_column_and_in_one_sequence_all():
    cross = torch.zeros(6, 6, dtype=torch.bool)
    cross[2], cross[:, 5] = True, True
    assert torch.equal(touched("axes"), cross)
    assert touched("flat").all()


def test_units_differ_only_away_from_the_train_rung():
    train, fine = Grid((8, 8)), Grid((16, 16))
    physical, points = (mamba(train, units=units) for units in ("physical", "grid"))
    for grid, same in ((train, True), (fine, False)):
        u = torch.randn(1, 1, *grid.shape)
        assert torch.equal(call(physical, u, grid, grid), call(points, u, grid, grid)) is same


@pytest.mark.parametrize("shape", [(20,), (9, 12), (6, 5, 7)])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("scan", ["axes", "flat"])
def test_it_runs_in_one_two_and_three_dimensions_and_on_another_grid_for_its_output(shape, periodic, scan):
    grid = Grid(shape, periodic=(periodic,) * len(shape))
    model, u = mamba(grid, (3, 2), layers=1, scan=scan), torch.randn(2, 3, *shape)
    for out_grid in (grid, grid.with_shape(tuple(n + 3 for n in shape))):
        assert call(model, u, grid, out_grid).shape == (2, 2, *out_grid.shape)


def test_memories_begin_between_one_and_thirty_points():
    steps = torch.nn.functional.softplus(Scan(500, 2).step.bias)
    assert 1 / 30 - 1e-6 <= steps.min().item() < 0.05
    assert 0.7 < steps.max().item() <= 1 + 1e-6


def test_an_unknown_scan_is_refused():
    with pytest.raises(ConfigError, match="'axes' or 'flat'"):
        validate_options("mamba", {"scan": "zigzag"})
