"""The rain cascade against its own closed forms: marginals, spectrum, memory by octave, advection, no seam."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, radial_spectrum
from anchorbench.solvers import RainSpec, orographic_factor, rain_fields
from anchorbench.solvers.rain import air, amplitudes, generator_of, lifetimes, octaves, rain_of
from anchorbench.solvers.steering import Steering, carried, shifted

SPEC = RainSpec(shape=(64, 64), spacing=1.0, interval=5.0, frames=3)


def gaussian(spec: RainSpec, seed: int = 0) -> torch.Tensor:
    """rfft2 of one field of the cascade."""
    return next(air(spec, generator_of(seed, 0)))[0]


# -- the marginal ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(wet=st.floats(0.02, 1.0), median=st.floats(0.01, 2.0), log_std=st.floats(0.0, 1.5))
def test_of_a_standard_normal_the_wet_share_is_wet_and_log_normal(wet, median, log_std):
    spec = replace(SPEC, wet_share=wet, median=median, log_std=log_std)
    n = 200_000
    z = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)  # the n quantiles of N(0, 1)
    rain = rain_of(z, spec)
    assert (rain > 0).double().mean().item() == pytest.approx(wet, abs=2 / n)
    falling = rain[rain > 0]
    for p in (0.1, 0.5, 0.99):
        quantile = median * math.exp(log_std * float(torch.special.ndtri(torch.tensor(p, dtype=torch.float64))))
        assert falling.quantile(p).item() == pytest.approx(quantile, rel=2e-3 / min(1.0, wet * 10))
    # ⟨r⟩ = w · median · exp(σ²/2); ⟨r²⟩ = w · median² · exp(2σ²), of which the last quantile misses a little
    assert rain.mean().item() == pytest.approx(wet * median * math.exp(log_std**2 / 2), rel=3e-3)


def test_rain_begins_at_zero_and_rises_with_z():
    z = torch.linspace(-3, 6, 2001, dtype=torch.float64)
    spec = replace(SPEC, wet_share=0.2, median=1.0)
    rain = rain_of(z, spec)
    edge = float(torch.special.ndtri(torch.tensor(0.8, dtype=torch.float64)))  # Φ(z) = 1 − 0.2
    assert (rain[z < edge] == 0).all()
    assert (rain[z > edge].diff() > 0).all()
    assert rain_of(torch.tensor([edge + 1e-9], dtype=torch.float64), spec).item() < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_heaviest_rain_is_finite_and_exact(dtype):
    # where all is wet, q = Φ(−z) and r = median · exp(log_std · z); a wet share w < 1 only divides q
    z = torch.linspace(-2, 9, 400, dtype=dtype)
    rain = rain_of(z, replace(SPEC, wet_share=1.0, median=0.5, log_std=1.3))
    assert_close(rain, 0.5 * torch.exp(1.3 * z), rtol=1e-3 if dtype == torch.float32 else 1e-9, atol=0)
    drier = rain_of(z, replace(SPEC, wet_share=0.2, median=0.5, log_std=1.3))
    assert torch.isfinite(drier).all()
    assert (drier[z > 1].diff() > 0).all()


# -- the spectrum ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 64), (48, 63), (33, 20)])
def test_the_gaussian_field_has_variance_one(shape):
    a = amplitudes(shape, 2.0, slope=1.7, outer_scale=40.0)
    # mean over all n waves of |a|², the left-out mirrors counted
    mirrored = torch.fft.fft2(torch.fft.irfft2(a.to(torch.complex128), s=shape)).abs()
    assert mirrored.square().mean().item() == pytest.approx(1.0, rel=1e-9)
    assert a[0, 0] == 0


@pytest.mark.parametrize("slope", [1.0, 2.0, 3.0])
def test_below_the_outer_scale_a_ring_holds_k_to_the_minus_slope(slope):
    # a ring of radius k has 2πk waves, each with |a|²: 2πk (k² + k0²)^(−(slope + 1)/2) → k^−slope
    spec = replace(SPEC, shape=(128, 128), slope=slope, outer_scale=128.0, mean_share=0.0)
    grid = Grid((128, 128), (128.0, 128.0))
    fields = torch.stack([torch.fft.irfft2(gaussian(spec, seed)) for seed in range(40)])
    spectrum = radial_spectrum(fields, grid).pooled()
    rings = slice(6, 40)
    fit = np.polyfit(spectrum.k[rings].log().numpy(), spectrum.energy[rings].log().numpy(), 1)[0]
    assert fit == pytest.approx(-slope, abs=0.06)
    total = float(spectrum.energy.sum() + spectrum.corner)
    assert total == pytest.approx(1.0, rel=0.15)


def test_above_the_outer_scale_every_wave_has_the_same_power():
    a = amplitudes((256, 256), 1.0, slope=2.0, outer_scale=8.0)
    # 256 and 128 km against 8: (1 + (8/λ)²)^(−3/4)
    assert (a[0, 2] / a[0, 1]).item() == pytest.approx(((1 + (8 / 128) ** 2) / (1 + (8 / 256) ** 2)) ** -0.75)
    assert (a[0, 2] / a[0, 1]).item() > 0.99


# -- the memory --------------------------------------------------------------------------------------------------------


def test_an_octave_holds_the_waves_of_two_to_the_j_to_two_to_the_j_plus_one_km():
    j = octaves((64, 64), 1.0)
    # along x: waves of 64/m km
    assert j[0, 1:].tolist() == [math.floor(math.log2(64 / m)) for m in range(1, 33)]
    assert j[0, 2] == 5
    assert octaves((64, 64), 2.0)[0, 4] == 5  # 128 km / 4
    tau = lifetimes(replace(SPEC, lifetime=40.0, lifetime_exponent=1.5))
    assert tau[0, 2].item() == 40.0
    assert tau[0, 1].item() == pytest.approx(40.0 * 2**1.5)
    assert tau[0, 4].item() == pytest.approx(40.0 * 2**-1.5)


def test_each_octave_forgets_itself_at_its_own_rate():
    spec = replace(SPEC, frames=120, lifetime=40.0, mean_share=0.0)
    steps = torch.stack([spectrum for spectrum, _ in air(spec, generator_of(3, 0))])
    j, tau = octaves(spec.shape, spec.spacing), lifetimes(spec)
    for octave in (1, 2, 3, 4, 5):
        waves = (j == octave) & (amplitudes(spec.shape, 1.0, slope=2.0, outer_scale=128.0) > 0)
        for lag in (1, 2):
            product = (steps[lag:, waves] * steps[:-lag, waves].conj()).real.mean()
            found = float(product / steps[:, waves].abs().square().mean())
            promised = math.exp(-lag * spec.interval / float(tau[waves][0]))
            # 118 steps of n waves, correlated over τ: a deviation of about √(2 τ / (118 · 5 min · n))
            doubt = math.sqrt(2 * max(float(tau[waves][0]), 5.0) / (590 * int(waves.sum())))
            assert found == pytest.approx(promised, abs=4 * doubt), (octave, lag)


def test_the_memory_is_stationary_and_two_half_steps_are_one():
    spec = replace(SPEC, frames=60, lifetime=20.0)
    power = torch.stack([s.abs().square().sum() for s, _ in air(spec, generator_of(0, 0))])
    assert power[:20].mean().item() == pytest.approx(power[-20:].mean().item(), rel=0.25)
    tau = lifetimes(spec)
    assert_close(torch.exp(-2.5 / tau) ** 2, torch.exp(-5.0 / tau))


def test_the_mean_holds_its_share_and_lives_as_long_as_it_is_told():
    spec = replace(SPEC, shape=(4, 4), frames=4000, mean_share=0.3, mean_lifetime=20.0)
    mean = np.array([m for _, m in air(spec, generator_of(1, 0))])
    assert mean.var() == pytest.approx(0.3, abs=0.05)
    assert np.corrcoef(mean[1:], mean[:-1])[0, 1] == pytest.approx(math.exp(-5 / 20), abs=0.03)


# -- the flow ----------------------------------------------------------------------------------------------------------


def test_a_frozen_field_moves_by_whole_cells_exactly():
    # 24 and −36 km/h are 2 and −3 cells of a kilometre in 5 minutes
    frozen = replace(SPEC, lifetime=math.inf, mean_lifetime=math.inf, wet_share=1.0, velocity=(24.0, -36.0))
    fields = rain_fields(frozen, n_trajectories=1, seed=5)[0]
    for frame in (1, 2):
        assert_close(fields[frame], torch.roll(fields[0], (2 * frame, -3 * frame), (0, 1)), rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(d_y=st.floats(-50, 50), d_x=st.floats(-50, 50), odd=st.booleans())
def test_a_shift_by_any_distance_can_be_taken_back(d_y, d_x, odd):
    shape = (15, 21) if odd else (16, 20)
    spectrum = gaussian(replace(SPEC, shape=shape)).to(torch.complex128)
    once = shifted(spectrum, shape, (16.0, 20.0), by=(d_y, d_x))
    back = shifted(torch.fft.rfft2(once), shape, (16.0, 20.0), by=(-d_y, -d_x))
    assert_close(back, torch.fft.irfft2(spectrum, s=shape), rtol=1e-9, atol=1e-9)
    assert once.square().mean().item() == pytest.approx(back.square().mean().item(), rel=1e-9)


def test_reading_at_moved_positions_is_the_shift_to_a_few_per_cent():
    spec = replace(SPEC, slope=2.5)
    spectrum = gaussian(spec)
    flow = Steering((13.3, -7.7), spec.extent)
    positions = flow.back(flow.start(spec.shape), 0.5)
    exact = shifted(spectrum, spec.shape, spec.extent, by=flow.drift(0.5))
    read = carried(spectrum, spec.shape, spec.extent, positions)
    assert ((read - exact).square().mean() / exact.square().mean()).sqrt().item() < 0.03


def test_read_at_its_own_points_a_field_is_itself():
    for shape in ((16, 20), (15, 21)):
        spec = replace(SPEC, shape=shape)
        spectrum = gaussian(spec)
        here = Steering((0.0, 0.0), spec.extent).start(shape)
        assert_close(
            carried(spectrum, shape, spec.extent, here), torch.fft.irfft2(spectrum, s=shape), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("m", [1, 8, 16, 24, 31])
def test_reading_between_the_points_changes_no_wave_by_more_than_three_per_cent(m):
    wave = 2 * math.pi * m / 64
    field = torch.cos(wave * torch.arange(64, dtype=torch.float64) + 0.3).expand(64, 64)
    anywhere = 64 * torch.rand(2, 100, 100, generator=generator_of(0, 0), dtype=torch.float64)
    exact = torch.cos(wave * anywhere[1] + 0.3)
    error = carried(torch.fft.rfft2(field), (64, 64), (64.0, 64.0), anywhere) - exact
    assert (error.square().mean() / exact.square().mean()).sqrt().item() < 0.03


def test_the_eddying_has_no_divergence_and_the_speed_it_is_told():
    extent = (60.0, 90.0)
    flow = Steering.drawn(extent, speed=30.0, spread=0.0, swirl=0.5, velocity=None, rng=generator_of(2, 0))
    assert math.hypot(*flow.velocity) == pytest.approx(30.0)
    at = flow.start((120, 180))  # half a kilometre
    u = flow.at(at)
    eddies = u - torch.tensor(flow.velocity).view(2, 1, 1)
    assert eddies.square().sum(0).mean().sqrt().item() == pytest.approx(15.0, rel=1e-6)
    divergence = (u[0].roll(-1, 0) - u[0].roll(1, 0)) + (u[1].roll(-1, 1) - u[1].roll(1, 1))
    gradient = (u[0].roll(-1, 1) - u[0].roll(1, 1)).square().mean().sqrt()
    assert divergence.square().mean().sqrt() < 2e-3 * gradient


def test_going_back_is_of_fourth_order_and_can_be_undone():
    flow = Steering.drawn((80.0, 80.0), speed=30.0, spread=0.0, swirl=0.5, velocity=None, rng=generator_of(4, 0))
    start = flow.start((8, 8))

    def gone(steps: int) -> torch.Tensor:
        positions = start
        for _ in range(steps):
            positions = flow.back(positions, 0.8 / steps)
        return positions

    truth = gone(256)
    coarse, fine = ((gone(steps) - truth).abs().max().item() for steps in (8, 16))
    assert 10 < coarse / fine < 25  # 2⁴
    assert_close(flow.back(flow.back(start, 1 / 12), -1 / 12), start, rtol=0, atol=1e-4)  # km, over five minutes


def test_speeds_have_the_mean_they_are_told():
    speeds = [
        math.hypot(
            *Steering.drawn(
                (1.0, 1.0), speed=30.0, spread=0.4, swirl=0.0, velocity=None, rng=generator_of(0, i)
            ).velocity
        )
        for i in range(2000)
    ]
    # log-normal: a deviation of 30 √(exp(0.16) − 1) = 12.5, of the mean of 2000 0.28
    assert np.mean(speeds) == pytest.approx(30.0, abs=1.1)
    assert np.log(speeds).std() == pytest.approx(0.4, abs=0.03)


# -- the fields --------------------------------------------------------------------------------------------------------


def test_over_many_events_the_wet_share_is_the_one_that_was_asked_for():
    spec = replace(SPEC, frames=1, outer_scale=8.0, mean_share=0.0, wet_share=0.3, median=1.0, log_std=0.5)
    rain = rain_fields(spec, n_trajectories=60, seed=1)
    assert (rain > 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert rain[rain > 0].log().std().item() == pytest.approx(0.5, abs=0.02)
    assert rain[rain > 0].median().item() == pytest.approx(1.0, rel=0.03)


def test_a_frame_of_several_instants_is_their_mean():
    velocity = (12.0, 24.0)
    one = replace(SPEC, frames=6, interval=5.0, velocity=velocity)
    three = replace(SPEC, frames=2, interval=15.0, substeps=3, velocity=velocity)
    instants = rain_fields(one, n_trajectories=1, seed=3)
    assert_close(rain_fields(three, n_trajectories=1, seed=3)[0], instants[0].view(2, 3, 64, 64).mean(1))


@pytest.mark.parametrize("swirl", [0.0, 0.4])
def test_an_event_depends_on_its_seed_and_number_alone(swirl):
    spec = replace(SPEC, shape=(32, 32), swirl=swirl)
    all_four = rain_fields(spec, n_trajectories=4, seed=7)
    assert torch.equal(rain_fields(spec, n_trajectories=2, seed=7, first=2), all_four[2:])
    assert not torch.equal(rain_fields(spec, n_trajectories=4, seed=8), all_four)
    assert not torch.equal(all_four[0], all_four[1])


@pytest.mark.parametrize("swirl", [0.0, 0.4])
def test_a_corner_is_cut_from_the_torus(swirl):
    spec = replace(SPEC, swirl=swirl)
    whole = rain_fields(spec, n_trajectories=1, seed=2)
    assert_close(rain_fields(spec, n_trajectories=1, seed=2, cells=(24, 40)), whole[..., :24, :40])
    with pytest.raises(ConfigError, match="65 x 64 cells cannot be cut from a torus of 64 x 64"):
        rain_fields(spec, n_trajectories=1, seed=2, cells=(65, 64))


@pytest.mark.parametrize("swirl", [0.0, 0.4])
def test_the_torus_has_no_seam(swirl):
    spec = replace(SPEC, wet_share=1.0, swirl=swirl, frames=4)
    fields = rain_fields(spec, n_trajectories=12, seed=0).clamp_min(1e-6).log()[:, -1]
    for axis in (-2, -1):
        steps = (fields - fields.roll(1, axis)).square().mean(0)
        over_the_edge = steps.select(axis, 0).mean().sqrt()
        inside = steps.narrow(axis, 1, 63).mean().sqrt()
        assert float(over_the_edge / inside) == pytest.approx(1.0, abs=0.2)


def test_progress_rises_to_one_and_the_random_state_of_torch_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    shares: list[float] = []
    rain_fields(replace(SPEC, shape=(8, 8)), n_trajectories=2, seed=0, progress=shares.append)
    assert shares == [pytest.approx((i + 1) / 6) for i in range(6)]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_orographic_factor_has_mean_one_and_multiplies():
    relief = 1000 * torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    f = orographic_factor(relief, strength=0.5)
    assert f.mean().item() == pytest.approx(1.0)
    # standardised heights are 0.5 √5 apart: mean 1.5, deviation √1.25
    assert (f[1, 1] / f[0, 0]).item() == pytest.approx(math.exp(0.5 * 3 / math.sqrt(1.25)), rel=1e-5)
    assert torch.equal(orographic_factor(relief, strength=0.0), torch.ones(2, 2))
    assert torch.equal(orographic_factor(torch.full((2, 2), 7.0), strength=0.5), torch.ones(2, 2))  # flat
    spec = replace(SPEC, frames=1)
    bare = rain_fields(spec, n_trajectories=1, seed=0, cells=(2, 2))
    assert_close(rain_fields(spec, n_trajectories=1, seed=0, cells=(2, 2), factor=f), bare * f)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"lifetime": 0.0}, "lifetime is 0"),
        ({"median": math.nan}, "median is nan"),
        ({"swirl": -0.1}, "swirl is -0.1"),
        ({"wet_share": 0.0}, "wet_share 0.0 is not in"),
        ({"mean_share": 1.0}, "mean_share 1.0 not in"),
        ({"shape": (64, 3)}, "64 x 3 cells carries no rain"),
    ],
)
def test_what_makes_no_rain_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        replace(SPEC, **change)
