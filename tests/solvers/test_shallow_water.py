"""The layer on the sphere: steady states stay, waves travel at their closed forms, mass is kept to the last bit."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from anchorbench.errors import AnchorbenchError, ConfigError, GridError
from anchorbench.fields import cell_means, degree_energies, synthesise, wind
from anchorbench.solvers.shallow_water import Layer, State, integrate, tendency, with_degrees
from anchorbench.solvers.sphere_balance import balanced, invariants, top_speed, with_balanced_divergence
from anchorbench.solvers.sphere_flows import (
    cells,
    jet,
    mountain,
    random_field,
    random_flow,
    random_orography,
    rossby_haurwitz,
    solid_rotation,
)
from anchorbench.solvers.sphere_truth import (
    SphereSpec,
    advance_cells,
    solve_rung,
    solve_sphere,
    terrain,
    truth_floor,
)

DAY = 86400.0
A, OMEGA, G = 6.37122e6, 7.292e-5, 9.80616


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def flow(layer, degrees, *, seed=0, speed=20.0, peak=4.0):
    return random_flow(layer, degrees, speed=speed, peak_degree=peak, generator=generator(seed))


def only(degrees, degree, m, value=1.0):
    c = torch.zeros(degrees, degrees, dtype=torch.complex128)
    c[degree, m] = value
    return c


def largest_change(a, b, grid):
    return float(synthesise(a - b, grid).abs().max())


# -- steady states -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tilt", [0.0, 0.05, math.pi / 2 - 0.05])
def test_geostrophic_rotation_about_any_axis_is_steady(tilt):
    """Williamson et al. (1992), test 2: u₀ = 2πa/12 days, g h₀ = 2.94e4 m²/s²."""
    speed, top = 2 * math.pi * A / (12 * DAY), 2.94e4
    sag = A * OMEGA * speed + speed**2 / 2
    layer = Layer((top - sag / 3) / G, tilt=tilt)  # ⟨sin²φ⟩ = 1/3
    state, grid = solid_rotation(layer, 22, speed=speed), cells(22)
    phi, lam = torch.deg2rad(grid.mesh())
    axis = torch.sin(phi) * math.cos(tilt) - torch.cos(lam) * torch.cos(phi) * math.sin(tilt)
    assert_close(synthesise(state.height, grid), (top - sag * axis**2) / G, rtol=0, atol=1e-9)
    later = integrate(state, layer, duration=5 * DAY, dt=3600.0)
    assert largest_change(later.height, state.height, grid) < 1e-8  # of 3000 m, after five days
    assert largest_change(later.vorticity, state.vorticity, grid) < 1e-11 * speed / A
    assert later.divergence.abs().max() < 1e-11 * speed / A


def test_a_lake_over_mountains_stays_at_rest_damped_or_not():
    ground = random_orography(16, height=800.0, generator=generator())
    layer = Layer(3000.0, orography=ground, damping_time=3600.0, damping_degree=15)
    still = torch.zeros(16, 16, dtype=torch.complex128)
    state = State(still, still, only(16, 0, 0, 3000.0))
    later = integrate(state, layer, duration=DAY, dt=1800.0)
    assert largest_change(later.height, state.height, cells(16)) < 1e-9
    assert top_speed(later, layer) < 1e-9


def test_balance_leaves_divergence_no_tendency():
    ground = random_orography(16, height=500.0, generator=generator(5))
    layer = Layer(4000.0, orography=ground)
    state = flow(layer, 16)
    rate = tendency(state, layer)
    scale = OMEGA * state.vorticity.abs().max()
    assert rate.divergence.abs().max() < 1e-12 * scale
    assert rate.vorticity.abs().max() > 0.01 * scale
    assert float(invariants(state, layer).depth) == pytest.approx(4000.0, rel=1e-13)


# -- waves ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("degree", "m"), [(1, 0), (5, 3), (15, 15)])
def test_a_gravity_wave_without_rotation_has_its_closed_frequency(degree, m):
    """δ = 0 at first: h = H + ε cos(ωt) Y_lm, ω² = g H l(l + 1)/a², in steps far longer than its period."""
    depth, size = 4000.0, 1e-4
    layer = Layer(depth, rotation=0.0)
    still = torch.zeros(16, 16, dtype=torch.complex128)
    state = State(still, still, only(16, 0, 0, depth) + only(16, degree, m, size))
    omega = math.sqrt(G * depth * degree * (degree + 1)) / A
    later = integrate(state, layer, duration=2 * DAY, dt=6 * 3600.0)
    assert later.height[degree, m].real.item() == pytest.approx(size * math.cos(2 * DAY * omega), abs=1e-5 * size)
    # δ = −∂h/∂t/H = (ε ω/H) sin ωt
    expected = size * omega / depth * math.sin(2 * DAY * omega)
    assert later.divergence[degree, m].real.item() == pytest.approx(expected, abs=1e-5 * size * omega / depth)


def test_a_rossby_haurwitz_wave_in_deep_fluid_travels_east_at_its_closed_rate():
    """Without divergence the pattern turns by (R(3 + R)ω − 2Ω)/((1 + R)(2 + R)) a second (Haurwitz 1940)."""
    layer, wave, rate = Layer(1e9), 4, 7.848e-6
    state = rossby_haurwitz(layer, 16, wave=wave, rate=rate)
    later = integrate(state, layer, duration=DAY, dt=1800.0)
    speed = (wave * (3 + wave) * rate - 2 * OMEGA) / ((1 + wave) * (2 + wave))
    turned = state.vorticity * torch.exp(-1j * torch.arange(16) * speed * DAY)
    assert_close(later.vorticity, turned, rtol=0, atol=1e-4 * rate)
    assert speed * DAY > 0.2  # it has gone somewhere


def test_damping_takes_each_degree_down_at_its_own_rate():
    """With hardly any flow ζ_l falls as exp(−ν_l t), ν_l = [l(l + 1)/(l_d(l_d + 1))]^p/τ."""
    layer = Layer(4000.0, rotation=0.0, damping_time=7200.0, damping_degree=7, damping_power=2)
    state = balanced(only(8, 7, 0, 1e-12) + only(8, 3, 2, 1e-12), layer)
    later = integrate(state, layer, duration=7200.0, dt=1800.0)
    assert later.vorticity[7, 0].real.item() == pytest.approx(1e-12 * math.exp(-1))
    assert later.vorticity[3, 2].real.item() == pytest.approx(1e-12 * math.exp(-((12 / 56) ** 2)))


# -- what is conserved ---------------------------------------------------------------------------------------------


def test_mass_is_kept_to_the_last_bit_by_flow_over_a_mountain():
    """Williamson et al. (1992), test 5, without damping: u₀ = 20 m/s, h₀ = 5960 m, a cone of 2000 m."""
    ground = mountain(22)
    surface = 5960.0 - (A * OMEGA * 20 + 200) / 3 / G
    start = solid_rotation(Layer(surface), 22, speed=20.0)
    layer = Layer(surface - float(ground[0, 0].real), orography=ground)
    later = integrate(start, layer, duration=5 * DAY, dt=3600.0)
    assert later.height[0, 0] == start.height[0, 0]
    assert later.vorticity[0, 0] == start.vorticity[0, 0]
    assert later.divergence[0, 0] == 0
    before, after = invariants(start, layer), invariants(later, layer)
    assert float(after.depth) == pytest.approx(float(before.depth), rel=1e-14)
    assert float(after.energy) == pytest.approx(float(before.energy), rel=1e-6)
    assert float(after.potential_enstrophy) == pytest.approx(float(before.potential_enstrophy), rel=2e-5)
    # The mountain makes waves; 30° N, 90° W is where it stands.
    assert largest_change(later.height, start.height, cells(22)) > 50
    row, column = divmod(int(synthesise(ground, cells(36)).argmax()), 72)
    assert (row, column) in ((23, 53), (23, 54), (24, 53), (24, 54))


def test_a_rossby_haurwitz_wave_keeps_mass_energy_and_potential_enstrophy():
    layer = Layer(9500.0)
    state = rossby_haurwitz(layer, 32)
    later = integrate(state, layer, duration=2 * DAY, dt=1800.0)
    before, after = invariants(state, layer), invariants(later, layer)
    assert later.height[0, 0] == state.height[0, 0]
    assert float(after.energy) == pytest.approx(float(before.energy), rel=1e-7)
    assert float(after.potential_enstrophy) == pytest.approx(float(before.potential_enstrophy), rel=1e-6)


def test_energy_of_rest_is_half_g_h_squared():
    still = torch.zeros(2, 4, 4, dtype=torch.complex128)
    rest = invariants(State(still, still, still + only(4, 0, 0, 100.0)), Layer(100.0, rotation=0.5))
    assert_close(rest.energy, torch.full((2,), G * 100.0**2 / 2, dtype=torch.float64))
    # ½ ⟨f²⟩/H with f = sin φ
    assert_close(rest.potential_enstrophy, torch.full((2,), 1 / 600, dtype=torch.float64))


# -- order and equations -------------------------------------------------------------------------------------------


def test_the_order_in_time_is_four():
    layer = Layer(5000.0)
    state = flow(layer, 12, speed=40.0)
    ends = [integrate(state, layer, duration=4 * 3600.0, dt=dt) for dt in (2400.0, 1200.0, 600.0)]
    for part in range(3):
        first, second = ((ends[i].parts[part] - ends[i + 1].parts[part]).abs().max() for i in (0, 1))
        assert math.log2(first / second) == pytest.approx(4, abs=0.25)


def test_a_short_step_follows_the_tendency():
    ground = random_orography(12, height=300.0, generator=generator(3))
    layer = Layer(5000.0, orography=ground, damping_time=6000.0, damping_degree=11, damping_power=1)
    state = flow(layer, 12)
    state = State(state.vorticity, 0.05 * state.vorticity, state.height)
    rate = tendency(state, layer)
    ahead = integrate(state, layer, duration=1.0, dt=1.0)
    for now, then, slope in zip(state.parts, ahead.parts, rate.parts, strict=True):
        assert_close(then - now, slope, rtol=0, atol=2e-3 * float(slope.abs().max()))


def test_the_tendency_is_the_equations_by_finite_differences():
    """∂D/∂t = −∇·(D v), checked on a fine grid by central differences in both angles."""
    layer = Layer(5000.0)
    state = flow(layer, 8, speed=30.0)
    state = State(state.vorticity, 0.1 * state.vorticity, state.height)
    grid = cells(360)
    u, v = wind(state.vorticity, state.divergence, grid, radius=A)
    depth, step = synthesise(state.height, grid), math.pi / 360
    phi, _ = torch.deg2rad(grid.mesh())
    east = (torch.roll(depth * u, -1, 1) - torch.roll(depth * u, 1, 1))[1:-1] / (2 * step)
    flux = depth * v * torch.cos(phi)
    north = (flux[2:] - flux[:-2]) / (2 * step)
    expected = -(east + north) / (A * torch.cos(phi[1:-1]))
    # The rate holds degrees up to 14 and is cut at 8: give the state room.
    rate = synthesise(tendency(state.with_degrees(16), layer).height, grid)[1:-1]
    assert_close(rate[20:-20], expected[20:-20], rtol=0, atol=2e-3 * float(expected.abs().max()))


def test_the_state_does_not_hang_on_what_is_solved_beside_it_but_for_rounding():
    layer = Layer(5000.0)
    one, two = flow(layer, 8, seed=1), flow(layer, 8, seed=2)
    both = State(*(torch.stack(pair) for pair in zip(one.parts, two.parts, strict=True)))
    later = integrate(both, layer, duration=7200.0, dt=1800.0)
    alone = integrate(two, layer, duration=7200.0, dt=1800.0)
    for together, apart in zip(later.parts, alone.parts, strict=True):
        assert_close(together[1], apart, rtol=0, atol=1e-12 * float(apart.abs().max()))


# -- initial states ------------------------------------------------------------------------------------------------


def test_galewskys_jet_blows_eighty_metres_a_second_at_forty_five_north():
    layer = Layer(10000.0)
    state, grid = jet(layer, 80, bump=0.0), cells(90)
    u, v = wind(state.vorticity, state.divergence, grid, radius=A)
    assert v.abs().max() < 1e-9
    assert u.max().item() == pytest.approx(80.0, rel=0.01)
    peak = int(u[:, 0].argmax())
    assert grid.coordinates(0)[peak].item() == pytest.approx(45.0, abs=1.0)
    # Gradient-wind balance: g ∂h/∂φ = −a u (f + u tan φ/a), integrated across the jet
    phi = torch.deg2rad(grid.coordinates(0))
    slope = -A * u[:, 0] * (2 * OMEGA * torch.sin(phi) + u[:, 0] * torch.tan(phi) / A)
    fall = synthesise(state.height, grid)[:, 0]
    assert G * (fall[75] - fall[60]).item() == pytest.approx(
        float((slope[60:75] + slope[61:76]).sum() * math.pi / 180), rel=0.01
    )
    bumped = synthesise(jet(layer, 80, longitude=90.0).height - state.height, cells(180))
    assert bumped.max().item() == pytest.approx(120 * math.cos(math.pi / 4), rel=0.05)
    row, column = divmod(int(bumped.argmax()), 360)
    assert (row - 135, column - 90) in ((-1, -1), (-1, 0), (0, -1), (0, 0))  # 45° N, 90° E is a corner of four cells


@pytest.mark.slow
def test_galewskys_jet_rolls_up_within_six_days():
    layer = Layer(10000.0, damping_time=3600.0, damping_degree=63)
    state = jet(layer, 64)
    later = integrate(state, layer, duration=6 * DAY, dt=1200.0)
    waves = [2 * c.abs().square()[:, 1:].sum().item() for c in (state.vorticity, later.vorticity)]
    assert waves[1] > 0.2 * degree_energies(later.vorticity, later.vorticity).sum().item()
    assert waves[0] < 1e-20


def test_random_flow_has_its_speed_exactly_and_its_peak():
    layer = Layer(5000.0)
    state = flow(layer, 24, speed=25.0, peak=6.0)
    u, v = wind(state.vorticity, state.divergence, cells(48), radius=A)
    square = degree_energies(state.vorticity, state.vorticity)
    degree = torch.arange(24, dtype=torch.float64)
    kinetic = torch.where(degree > 0, square * A**2 / (degree * (degree + 1)).clamp_min(1), 0.0)
    assert kinetic.sum().sqrt().item() == pytest.approx(25.0)
    areas = cells(48).area_weights()
    assert ((u**2 + v**2) * areas).mean().sqrt().item() == pytest.approx(25.0, rel=2e-3)
    assert kinetic[3:10].sum() > 0.8 * kinetic.sum()
    assert kinetic[:2].sum() == 0


def test_a_random_field_has_the_spectrum_that_was_asked_for_and_grows_by_degrees():
    spectrum = torch.linspace(1, 2, 12, dtype=torch.float64)
    draws = torch.stack([random_field(12, spectrum=spectrum, generator=generator(i)) for i in range(400)])
    # E_l of one draw scatters by √(2/(2l + 1)) of itself
    for degree, energy in enumerate(degree_energies(draws, draws).mean(0).tolist()):
        expected = float(spectrum[degree])
        assert energy == pytest.approx(expected, rel=4 * math.sqrt(2 / (2 * degree + 1) / 400))
    fewer = random_field(6, spectrum=spectrum[:6], generator=generator(7))
    assert_close(fewer, draws[7, :6, :6], rtol=0, atol=0)


def test_degrees_are_padded_with_zeros_and_cut():
    c = only(4, 3, 2) + only(4, 1, 0)
    assert_close(with_degrees(c, 6)[:4, :4], c)
    assert with_degrees(c, 6).abs().sum() == 2
    assert_close(with_degrees(c, 2), only(2, 1, 0))


# -- the truth -----------------------------------------------------------------------------------------------------

SPEC = SphereSpec(truth_rung=24, spin_up_rung=16, spin_up_hours=48, settle_hours=12, interval=6, frames=2, seed=4)


@pytest.fixture(scope="module")
def frames():
    made = []
    solve_sphere(SPEC, stream=0, group=0, on_frame=lambda i, state: made.append(state))
    return made


def test_frames_are_states_of_the_truths_degrees_one_interval_apart(frames):
    assert [frame.vorticity.shape for frame in frames] == [(4, 24, 24)] * 2
    again = SPEC.solved(frames[0], hours=6)
    assert_close(again.vorticity, frames[1].vorticity, rtol=0, atol=0)
    assert frames[0].divergence.abs().sum() > 0


def test_another_group_or_stream_is_another_flow(frames):
    for stream, group in ((1, 0), (0, 1)):
        other = []
        solve_sphere(SPEC, stream=stream, group=group, on_frame=lambda i, state, to=other: to.append(state))
        apart = (other[0].vorticity - frames[0].vorticity).norm() / frames[0].vorticity.norm()
        assert apart > 0.5


def test_the_divergence_that_balances_a_settled_flow_is_near_its_own(frames):
    settled = frames[1]
    found = with_balanced_divergence(settled, SPEC.layer())
    missed = (found.divergence - settled.divergence)[:, :12].norm() / settled.divergence[:, :12].norm()
    assert missed < 0.7  # δ = 0 misses by 1
    assert_close(found.vorticity, settled.vorticity)


def test_the_floor_is_the_same_equation_on_twice_the_rows_and_falls_with_the_truths_rows(frames):
    floor = truth_floor(SPEC, frames[0], frames[1], onto=(6, 12))
    rms = degree_energies(frames[1].vorticity, frames[1].vorticity).sum(-1).mean().sqrt().item()
    assert 0 < floor[6] < floor[12] < 0.05 * rms
    # A state of few degrees is solved as well on 48 rows as on 24.
    few = frames[0].with_degrees(4).with_degrees(24)
    assert truth_floor(SPEC, few, SPEC.solved(few, hours=6), onto=(12,))[12] < 1e-4 * rms


def test_the_solver_on_a_rung_gets_nearer_to_the_truth_as_the_rung_grows(frames):
    errors = []
    for rung in (6, 12, 24):
        solved = solve_rung(SPEC, frames[0], rung=rung)
        assert len(solved) == 2
        errors.append((solved[1].with_degrees(6).vorticity - frames[1].with_degrees(6).vorticity).norm().item())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] == 0  # the truth's own rung


def test_a_state_known_by_means_over_cells_goes_on_as_the_truth_does(frames):
    grid = cells(24)
    zeta, height = (cell_means(c, grid) for c in (frames[0].vorticity, frames[0].height))
    later = advance_cells(SPEC, zeta, height, grid=grid, hours=6)
    missed = (later.vorticity - frames[1].vorticity).norm() / (frames[0].vorticity - frames[1].vorticity).norm()
    assert missed < 0.1  # only the divergence had to be guessed


def test_orography_is_one_for_the_set_and_drawn_from_its_seed():
    first, second = (terrain("random", 500.0, 16, seed) for seed in (0, 1))
    assert first.abs().square().sum() != second.abs().square().sum()
    assert degree_energies(first, first).sum().sqrt().item() == pytest.approx(500.0)
    assert terrain("none", 500.0, 16, 0) is None
    assert synthesise(terrain("mountain", 2000.0, 48, 0), cells(72)).max() > 1700


# -- what cannot be ------------------------------------------------------------------------------------------------


def test_a_step_that_is_too_long_is_told_and_not_returned_as_nan():
    layer = Layer(5000.0)
    with pytest.raises(AnchorbenchError, match="blew up within"):
        integrate(flow(layer, 16, speed=80.0), layer, duration=60 * DAY, dt=DAY)


@pytest.mark.parametrize(
    ("call", "kind", "named"),
    [
        (lambda: Layer(0.0), ConfigError, "mean_depth is 0.0"),
        (lambda: Layer(1.0, damping_time=0.0), ConfigError, "damping_time"),
        (lambda: SphereSpec(truth_rung=16, spin_up_rung=32), ConfigError, "spin_up_rung 32 is not between"),
        (lambda: SphereSpec(settle_hours=-1), ConfigError, "settle_hours is -1"),
        (lambda: SphereSpec(speed=0), ConfigError, "speed is 0"),
        (lambda: SphereSpec(speed=math.nan), ConfigError, "speed is nan"),
    ],
)
def test_constants_that_make_no_flow_are_refused(call, kind, named):
    with pytest.raises(kind, match=named):
        call()


def test_parts_of_unlike_shape_are_no_state():
    c = only(4, 1, 0)
    with pytest.raises(GridError, match="one shape"):
        integrate(State(c, c, only(5, 1, 0)), Layer(1e3), duration=10.0, dt=10.0)
    with pytest.raises(ConfigError, match="in steps of 0"):
        integrate(State(c, c, c), Layer(1e3), duration=10.0, dt=0.0)


def test_a_flow_faster_than_its_steps_is_refused():
    spec = SphereSpec(truth_rung=8, spin_up_rung=8, spin_up_hours=0, settle_hours=0, frames=1, fastest=10.0)
    with pytest.raises(AnchorbenchError, match="m/s, and its time step is meant for 10"):
        solve_sphere(spec, stream=0, group=0, on_frame=lambda i, state: None)
