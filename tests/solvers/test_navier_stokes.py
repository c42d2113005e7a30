"""The solver against closed forms, budgets, symmetries, and its own plain form."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.errors import AnchorbenchError, GridError
from anchorbench.fields.grid import Grid
from anchorbench.fields.resample import prolong, restrict
from anchorbench.solvers import (
    Flow,
    box,
    energy,
    enstrophy,
    integrate,
    random_vorticity,
    rhs,
    rhs_plain,
    trajectory,
    velocity,
)
from anchorbench.solvers.stepper import Stepper

EULER = Flow(viscosity=0.0, drag=0.0, forcing_amplitude=0.0)
DECAYING = Flow(viscosity=1e-2, drag=0.1, forcing_amplitude=0.0)
KOLMOGOROV = Flow(viscosity=2e-3, drag=0.1, forcing_wavenumber=4, forcing_amplitude=1.0)
SIZES = (8, 9, 15, 24, 27, 48)


def mesh(n):
    return box(n).mesh()


def smooth(batch, n, *, seed=0, peak=2.0, rms=3.0):
    generator = torch.Generator().manual_seed(seed)
    return random_vorticity(batch, n, generator=generator, peak_wavenumber=peak, rms=rms, dtype=torch.float64)


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


# -- closed forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_taylor_greens_vortex_decays_at_twice_its_viscous_rate_and_the_drag(dtype, tolerance, batch):
    y, x = mesh(32)
    start = (4 * torch.sin(2 * x) * torch.sin(2 * y)).to(dtype)  # |k|² = 8
    end = integrate(start.expand(batch, 32, 32), DECAYING, duration=1.7)
    assert distance(end, (start * math.exp(-(8 * 0.01 + 0.1) * 1.7)).expand_as(end)) < tolerance


@pytest.mark.parametrize("dealias", ["two_thirds", "padded"])
def test_waves_of_one_length_do_not_transport_each_other(dealias):
    # |(0,5)| = |(3,4)| = |(4,-3)| = 5: ω = 25 ψ, so u·∇ω = 25 u·∇ψ = 0, though no single product of two waves vanishes.
    y, x = mesh(24)
    start = torch.cos(5 * y) + 2 * torch.sin(3 * y + 4 * x) - torch.cos(4 * y - 3 * x + 0.3)
    end = integrate(start, DECAYING, duration=0.9, dealias=dealias)
    assert distance(end, start * math.exp(-(25 * 0.01 + 0.1) * 0.9)) < 1e-11


@pytest.mark.parametrize("form", [rhs, rhs_plain])
@pytest.mark.parametrize("batch", [1, 2])
def test_two_crossed_shear_flows_carry_vorticity_as_worked_out_by_hand(form, batch):
    # ψ = cos x + cos(2y)/2, so u = −sin 2y, v = sin x, ω = cos x + 2 cos 2y, and
    # −u·∇ω = −(−sin 2y)(−sin x) − sin x (−4 sin 2y) = 3 sin x sin 2y.
    y, x = mesh(16)
    vorticity = (torch.cos(x) + 2 * torch.cos(2 * y)).expand(batch, 16, 16)
    expected = 3 * torch.sin(x) * torch.sin(2 * y)
    torch.testing.assert_close(form(vorticity, EULER), expected.expand(batch, 16, 16), atol=1e-13, rtol=0)


def test_velocity_is_the_curl_of_the_stream_function():
    y, x = mesh(16)
    vorticity = torch.cos(x) + 2 * torch.cos(2 * y)
    u, v = velocity(vorticity)
    torch.testing.assert_close(u, -torch.sin(2 * y), atol=1e-14, rtol=0)
    torch.testing.assert_close(v, torch.sin(x), atol=1e-14, rtol=0)
    assert energy(vorticity).item() == pytest.approx(0.5)  # (1/2 + 1/2)/2
    assert enstrophy(vorticity).item() == pytest.approx(1.25)  # (1/2 + 4/2)/2


@pytest.mark.parametrize("dealias", ["two_thirds", "padded"])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_laminar_kolmogorov_flow_stays(dealias, batch):
    flow = Flow(viscosity=1e-2, drag=0.1)
    laminar = flow.forcing(box(32), dtype=torch.float64) / (0.01 * 16 + 0.1)
    end = integrate(laminar.expand(batch, 32, 32), flow, duration=1.0, dealias=dealias)
    assert distance(end, laminar.expand_as(end)) < 1e-11


@pytest.mark.parametrize(("viscosity", "drag"), [(0.02, 0.1), (0.0, 0.0)])
def test_a_fluid_at_rest_is_set_in_motion_by_the_forcing_alone(viscosity, drag):
    # dω/dt = f − L ω: ω = f (1 − e^{−Lt})/L, and f t where L = 0
    flow = Flow(viscosity=viscosity, drag=drag, forcing_wavenumber=3, forcing_amplitude=0.5)
    rate = 9 * viscosity + drag
    grown = (1 - math.exp(-rate * 2.0)) / rate if rate else 2.0
    y, _ = mesh(16)
    end = integrate(torch.zeros(3, 16, 16, dtype=torch.float64), flow, duration=2.0)
    torch.testing.assert_close(end, (-1.5 * grown * torch.cos(3 * y)).expand_as(end), atol=1e-12, rtol=0)


def test_forcing_pushes_the_fluid_along_x_by_the_sine_of_y():
    # ∂v/∂x − ∂u/∂y of (χ sin k_f y, 0), at k_f y = 0: −χ k_f
    forcing = Flow(viscosity=0.0, forcing_wavenumber=4, forcing_amplitude=0.5).forcing(box(32))
    assert forcing.shape == (32, 32)
    assert forcing[0, 5].item() == -2.0
    torch.testing.assert_close(forcing[:, 0], forcing[:, 7])


def test_forcing_is_zero_on_a_grid_that_cannot_carry_it():
    assert KOLMOGOROV.forcing(box(8)).abs().max() == 0  # k_f = 4 is its Nyquist wave
    assert KOLMOGOROV.forcing(box(9)).abs().max() > 3


# -- order, budgets, convergence ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_the_error_falls_with_the_fourth_power_of_the_step(batch):
    start = smooth(batch, 32, rms=4.0)
    ends = [integrate(start, KOLMOGOROV, duration=0.5, dt=0.5 / n) for n in (16, 32, 64, 512)]
    errors = [distance(end, ends[-1]) for end in ends[:-1]]
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(3.7 < slope < 4.4 for slope in slopes), (errors, slopes)


def simpson(values, interval):
    return interval / 3 * (values[0] + values[-1] + 4 * values[1:-1:2].sum(0) + 2 * values[2:-1:2].sum(0))


@pytest.mark.parametrize("dealias", ["two_thirds", "padded"])
def test_energy_and_enstrophy_change_by_what_is_put_in_and_taken_out(dealias):
    n, h = 32, 0.01
    path = trajectory(smooth(2, n), KOLMOGOROV, interval=h, frames=41, dealias=dealias)
    y, _ = mesh(n)
    nu, mu = KOLMOGOROV.viscosity, KOLMOGOROV.drag
    work = (velocity(path)[..., 0, :, :] * torch.sin(4 * y)).mean((-2, -1))
    energy_rate = -2 * nu * enstrophy(path) - 2 * mu * energy(path) + work

    waves = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    k2 = waves[:, None] ** 2 + waves**2
    palinstrophy = 0.5 * (k2 * torch.fft.fft2(path, norm="forward").abs() ** 2).sum((-2, -1))
    source = (path * KOLMOGOROV.forcing(box(n), dtype=torch.float64)).mean((-2, -1))
    enstrophy_rate = -2 * nu * palinstrophy - 2 * mu * enstrophy(path) + source

    for quantity, rate in ((energy(path), energy_rate), (enstrophy(path), enstrophy_rate)):
        change = quantity[-1] - quantity[0]
        assert change.abs().min() > 1e-3
        torch.testing.assert_close(simpson(rate, h), change, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dealias", ["two_thirds", "padded"])
def test_without_viscosity_drag_and_forcing_energy_and_enstrophy_are_kept(dealias):
    start = integrate(smooth(2, 32), EULER, duration=0.0, dealias=dealias)
    end = integrate(start, EULER, duration=1.0, dt=1 / 400, dealias=dealias)
    assert distance(end, start) > 0.1
    torch.testing.assert_close(energy(end), energy(start), rtol=1e-9, atol=0)
    torch.testing.assert_close(enstrophy(end), enstrophy(start), rtol=1e-8, atol=0)


def test_the_error_falls_faster_than_any_power_of_the_grid():
    def at_16_points(n):
        y, x = mesh(n)
        start = torch.sin(x) * torch.cos(y) + torch.cos(2 * x + y) + 0.5 * torch.sin(2 * y)
        end = integrate(start, Flow(viscosity=2e-2, forcing_amplitude=0.0), duration=1.0, dt=0.01)
        return end[:: n // 16, :: n // 16]

    reference = at_16_points(128)
    coarse, middle, fine = (distance(at_16_points(n), reference) for n in (16, 32, 64))
    assert coarse / middle > 10
    assert middle / fine > (coarse / middle) ** 1.5  # a power law would keep the ratio
    assert fine < 1e-8


@pytest.mark.parametrize("batch", [1, 2])
def test_padding_resolves_more_than_the_two_thirds_rule_on_the_same_grid(batch):
    start = prolong(smooth(batch, 16, rms=4.0), box(96))
    truth = restrict(integrate(start, KOLMOGOROV, duration=0.3), box(24))
    coarse = restrict(start, box(24))
    errors = [distance(integrate(coarse, KOLMOGOROV, duration=0.3, dealias=d), truth) for d in ("padded", "two_thirds")]
    assert errors[0] < errors[1] / 2


# -- the fast form is the plain form -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    n=st.sampled_from(SIZES),
    batch=st.integers(1, 5),
    dealias=st.sampled_from(["two_thirds", "padded"]),
    seed=st.integers(0, 999),
)
def test_packed_pairs_have_the_plain_right_hand_side(n, batch, dealias, seed):
    vorticity = smooth(batch, n, seed=seed)
    plain = rhs_plain(vorticity, KOLMOGOROV, dealias=dealias)
    assert distance(rhs(vorticity, KOLMOGOROV, dealias=dealias), plain) < 1e-12


@pytest.mark.parametrize("n", [8, 9, 24])
def test_padded_products_are_exact_for_every_mode_of_the_rung(n):
    # Waves below n/2 make products below n, which 4n points under the two-thirds rule hold without aliasing.
    vorticity = restrict(smooth(2, 4 * n, peak=n / 4), box(n))
    exact = restrict(rhs(prolong(vorticity, box(4 * n)), DECAYING), box(n))
    assert distance(rhs(vorticity, DECAYING, dealias="padded"), exact) < 1e-12


@pytest.mark.parametrize("n", SIZES)
def test_a_lone_sample_and_a_packed_one_go_the_same_way(n):
    start = smooth(3, n)
    together = integrate(start, KOLMOGOROV, duration=0.3, dt=0.01, dealias="padded")
    for alone, one in zip(start, together, strict=True):
        assert distance(integrate(alone, KOLMOGOROV, duration=0.3, dt=0.01, dealias="padded"), one) < 1e-11


def test_at_a_fixed_step_a_sample_does_not_feel_its_partner():
    calm, wild = smooth(1, 32, seed=1), smooth(1, 32, seed=2, rms=30.0)
    beside_calm = integrate(torch.cat((calm, calm)), KOLMOGOROV, duration=0.2, dt=0.002)[0]
    beside_wild = integrate(torch.cat((calm, wild)), KOLMOGOROV, duration=0.2, dt=0.002)[0]
    assert distance(beside_wild, beside_calm) < 1e-11


def test_a_batch_cut_into_blocks_gives_what_one_block_gives(monkeypatch):
    start = smooth(9, 16)
    whole = integrate(start, KOLMOGOROV, duration=0.5)
    monkeypatch.setattr("anchorbench.solvers.stepper.CACHE_BYTES", 1)  # one pair a block
    assert distance(integrate(start, KOLMOGOROV, duration=0.5), whole) < 1e-12


# -- symmetries, shapes, steps -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=10)
@given(across=st.integers(0, 23), along=st.integers(0, 3), batch=st.integers(1, 2))
def test_a_shifted_start_gives_a_shifted_end(across, along, batch):
    # Kolmogorov's forcing repeats every 24/4 = 6 points of y, and everywhere along x.
    start, shift = smooth(batch, 24), (6 * along, across)
    shifted = integrate(start.roll(shift, (-2, -1)), KOLMOGOROV, duration=0.3, dt=0.01)
    assert distance(shifted, integrate(start, KOLMOGOROV, duration=0.3, dt=0.01).roll(shift, (-2, -1))) < 1e-11


@pytest.mark.parametrize("shape", [(16, 16), (3, 16, 16), (2, 1, 3, 16, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_axes_and_precision_come_back_as_they_went_in(shape, dtype):
    start = smooth(math.prod(shape[:-2]), 16).to(dtype).reshape(shape)
    end = integrate(start, KOLMOGOROV, duration=0.1, grid=box(16))
    assert (end.shape, end.dtype) == (shape, dtype)
    assert integrate(start, KOLMOGOROV, duration=0.1, dtype=torch.float64).dtype == torch.float64


def test_the_input_is_left_as_it_was():
    start = smooth(2, 16)
    kept = start.clone()
    integrate(start, KOLMOGOROV, duration=0.1)
    assert torch.equal(start, kept)


def test_a_path_in_frames_is_the_path_in_one_go():
    start, seen = smooth(2, 24), []
    path = trajectory(start, KOLMOGOROV, interval=0.1, frames=4, dt=0.01, on_frame=lambda i, frame: seen.append(i))
    assert seen == [0, 1, 2, 3]
    assert distance(path[0], integrate(start, KOLMOGOROV, duration=0.0)) < 1e-14
    assert distance(path[3], integrate(start, KOLMOGOROV, duration=0.3, dt=0.01)) < 1e-11


def test_a_smaller_courant_number_takes_a_smaller_error():
    start = smooth(2, 32, rms=4.0)
    reference = integrate(start, KOLMOGOROV, duration=0.5, dt=5e-4)
    wide, narrow = (distance(integrate(start, KOLMOGOROV, duration=0.5, courant=c), reference) for c in (1.5, 0.75))
    assert narrow < wide / 8
    assert narrow < 1e-4


def test_a_flow_that_starts_almost_at_rest_is_stepped_by_the_speed_that_it_gains():
    start = 1e-6 * smooth(1, 24)
    strong = Flow(viscosity=1e-3, drag=0.0, forcing_amplitude=4.0)
    reference = integrate(start, strong, duration=2.0, dt=1e-3)
    laminar = strong.forcing(box(24), dtype=torch.float64)
    laminar *= (reference * laminar).sum() / laminar.square().sum()
    grown = reference - laminar  # the instability, which a step over the whole duration would miss
    assert grown.norm() > 1e-4
    assert (integrate(start, strong, duration=2.0) - reference).norm() < 0.05 * grown.norm()


def test_the_empty_half_of_an_odd_batchs_last_pair_stays_at_rest():
    stepper = Stepper(smooth(3, 16), KOLMOGOROV, k_max=5)
    stepper.advance(1.0, courant=0.75, step=None)
    pairs = torch.fft.ifft2(stepper.state, norm="forward")
    assert pairs.real[-1].abs().max() > 1
    assert pairs.imag[-1].abs().max() < 1e-12


@pytest.mark.parametrize("options", [{}, {"dt": 0.003}, {"dt": 0.1}, {"dt": 5.0}, {"courant": 2.0}])
def test_steps_land_on_the_duration_exactly(options):
    y, x = mesh(16)
    start = 30 * torch.sin(x) * torch.sin(y)
    end = integrate(start, DECAYING, duration=1 / 3, **options)
    assert distance(end, start * math.exp(-(2 * 0.01 + 0.1) / 3)) < 1e-12


def test_random_vorticity_has_the_asked_rms_its_peak_and_no_mean():
    fields = smooth(3, 64, peak=6.0, rms=2.5)
    torch.testing.assert_close(fields.square().mean((-2, -1)).sqrt(), torch.full((3,), 2.5, dtype=torch.float64))
    assert fields.mean((-2, -1)).abs().max() < 1e-12
    power = torch.fft.rfft2(fields).abs().square().mean(0)
    assert power[0, 6] > 20 * power[0, 20]
    assert torch.equal(fields, smooth(3, 64, peak=6.0, rms=2.5))


@pytest.mark.parametrize("duration", [1.0, 2.0])
def test_a_last_step_that_overflows_is_not_returned(duration):
    start = smooth(2, 16, rms=1e18).to(torch.float32)
    with pytest.raises(AnchorbenchError, match="blew up"):
        integrate(start, KOLMOGOROV, duration=duration, dt=1.0)


# -- what a person can get wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_solution_that_blows_up_is_one_clear_error(batch, dtype):
    with pytest.raises(AnchorbenchError, match=r"blew up on 32 points with time steps of 1\n.*smaller dt"):
        integrate(smooth(batch, 32, rms=50.0).to(dtype), KOLMOGOROV, duration=60.0, dt=1.0)


@pytest.mark.parametrize(
    ("field", "options", "error"),
    [
        (torch.zeros(16, 8), {}, GridError),
        (torch.zeros(3, 3), {}, GridError),
        (torch.zeros(16), {}, GridError),
        (torch.zeros(16, 16), {"grid": box(8)}, GridError),
        (torch.zeros(16, 16), {"grid": Grid((16, 16))}, GridError),
        (torch.zeros(16, 16), {"dealias": "half"}, AnchorbenchError),
        (torch.zeros(16, 16), {"dt": 0.0}, AnchorbenchError),
        (torch.zeros(16, 16), {"courant": -1.0}, AnchorbenchError),
        (torch.zeros(16, 16), {"duration": -1.0}, AnchorbenchError),
        (torch.zeros(16, 16), {"dtype": torch.float16}, AnchorbenchError),
        (torch.full((16, 16), math.nan), {}, AnchorbenchError),
        (torch.zeros(0, 16, 16), {}, GridError),
    ],
)
def test_what_cannot_be_solved_is_refused(field, options, error):
    with pytest.raises(error):
        integrate(field, KOLMOGOROV, **{"duration": 0.1, **options})


@pytest.mark.parametrize("options", [{"viscosity": -1.0}, {"viscosity": math.nan}, {"drag": -0.1}])
def test_a_flow_that_gains_energy_from_friction_is_refused(options):
    with pytest.raises(AnchorbenchError, match="not negative"):
        Flow(**{"viscosity": 1e-3, **options})


@pytest.mark.parametrize("wavenumber", [0, 2.5])
def test_a_forcing_that_the_box_does_not_carry_is_refused(wavenumber):
    with pytest.raises(AnchorbenchError, match="whole"):
        Flow(viscosity=1e-3, forcing_wavenumber=wavenumber)
