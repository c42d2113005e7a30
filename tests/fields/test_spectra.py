"""Spectra: Parseval, closed forms, and the fast form against the definition."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import GridError
from anchorbench.fields import Grid, band_energies, cross_spectrum, radial_spectrum, radial_spectrum_plain

TAU = 2 * math.pi


def noise(shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def wave(grid, numbers, phase=0.3):
    """cos(Σ 2π mᵢ xᵢ / Lᵢ + phase)."""
    angle = sum(TAU * m / length * x for m, length, x in zip(numbers, grid.extent, grid.mesh(), strict=True))
    return torch.cos(angle + phase)


@st.composite
def grids(draw):
    d = draw(st.sampled_from((1, 2, 3)))
    shape = tuple(draw(st.integers(1, 18 if d < 3 else 8)) for _ in range(d))
    extent = tuple(draw(st.sampled_from((1.0, 1.2, 3.0, TAU))) for _ in range(d))
    return Grid(shape, extent=extent, centring=draw(st.sampled_from(["point", "cell"])))


@given(grids(), st.integers(0, 99))
def test_rings_and_corner_sum_to_the_mean_square(grid, seed):
    u = noise((2, *grid.shape), seed) + 1
    spectrum = radial_spectrum(u, grid)
    assert_close(spectrum.energy.sum(-1) + spectrum.corner, u.square().flatten(1).mean(1))


@given(grids(), st.integers(0, 99))
def test_the_fast_form_is_the_definition(grid, seed):
    u = noise((2, 1, *grid.shape), seed) + 1
    fast, plain = radial_spectrum(u, grid), radial_spectrum_plain(u, grid)
    assert_close(fast.k, plain.k)
    assert_close(fast.energy, plain.energy, rtol=0, atol=1e-12)
    assert_close(fast.corner, plain.corner, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(128, 128), (100, 131)])
def test_the_fast_form_for_large_fields_is_the_definition_too(shape):
    grid, u = Grid(shape), noise((13, *shape)).float()  # more than one chunk, one product a field
    fast, plain = radial_spectrum(u, grid), radial_spectrum_plain(u.double(), grid)
    assert fast.energy.dtype == torch.float32
    assert_close(fast.energy.double(), plain.energy, rtol=2e-5, atol=1e-7)
    assert_close(fast.corner.double(), plain.corner, rtol=1e-5, atol=0)


@given(grids(), st.data())
def test_a_wave_lies_in_the_ring_of_its_wavenumber_with_energy_one_half(grid, data):
    numbers = [data.draw(st.integers(-((n - 1) // 2), (n - 1) // 2)) for n in grid.shape]
    dk = TAU / max(grid.extent)
    k = math.hypot(*(TAU * m / length for m, length in zip(numbers, grid.extent, strict=True)))
    ring = math.floor(k / dk + 0.5 + 1e-9)
    spectrum = radial_spectrum(wave(grid, numbers), grid)
    energy = torch.zeros_like(spectrum.energy)
    expected = 0.5 if any(numbers) else math.cos(0.3) ** 2
    if ring < len(energy):
        energy[ring] = expected
        assert spectrum.k[ring].item() == pytest.approx(ring * dk)
    assert_close(spectrum.energy, energy, rtol=0, atol=1e-12)
    assert spectrum.corner.item() == pytest.approx(0 if ring < len(energy) else expected, abs=1e-12)


@pytest.mark.parametrize(("n", "rings"), [(16, 8), (15, 8), (17, 9), (1, 1)])
def test_the_last_ring_is_the_last_whole_one(n, rings):
    # Even 16: waves up to 7 whole, 8 only half there.  Odd 15: up to 7.  Odd 17: up to 8.
    assert len(radial_spectrum(torch.ones(n, n), Grid((n, n))).k) == rings


def test_the_nyquist_wave_is_corner_energy():
    u = torch.tensor([1.0, -1.0] * 4)
    spectrum = radial_spectrum(u, Grid((8,)))
    assert (spectrum.energy.abs().max().item(), spectrum.corner.item()) == (0.0, 1.0)


def test_a_longer_box_has_finer_rings():
    grid = Grid((32, 64), extent=(math.pi, TAU))  # dk = 1; the wave (3, 4) of this box is k = (6, 4), |k| = 7.2
    spectrum = radial_spectrum(wave(grid, (3, 4)), grid)
    assert spectrum.k[:3].tolist() == [0.0, 1.0, 2.0]
    assert spectrum.energy[7].item() == pytest.approx(0.5)


def test_bands_are_closed_below_open_above_and_hold_every_quadrant():
    grid = Grid((32, 32))
    edges = [0.0, TAU * 5.0, TAU * 10.0, math.inf]  # (3, 4) lies on the second edge, (6, 8) on the third
    for sy, sx in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        energies = band_energies(torch.stack([wave(grid, (3 * sy, 4 * sx)), wave(grid, (6 * sy, 8 * sx))]), grid, edges)
        assert_close(
            energies, torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64), rtol=0, atol=1e-12
        )


def test_energy_outside_all_bands_is_left_out():
    grid = Grid((16,))
    u = wave(grid, (1,)) + wave(grid, (5,))
    assert band_energies(u, grid, [TAU * 2, TAU * 4]).item() == pytest.approx(0.0, abs=1e-15)
    assert band_energies(u, grid, [TAU * 0.5, TAU * 4]).item() == pytest.approx(0.5)


@given(grids(), st.integers(0, 99))
def test_the_co_spectrum_sums_to_the_mean_product(grid, seed):
    a, b = noise((2, *grid.shape), seed), noise((2, *grid.shape), seed + 1)
    cross = cross_spectrum(a, b, grid)
    assert_close(cross.co.energy.sum(-1) + cross.co.corner, (a * b).flatten(1).mean(1))
    assert_close(cross.a.energy, radial_spectrum(a, grid).energy)
    assert (cross.coherence <= 1 + 1e-9).all()


def test_coherence_is_one_for_a_scaled_field_zero_in_quadrature_and_taken_of_means():
    grid = Grid((32, 32))
    a = noise((6, 32, 32))
    assert_close(cross_spectrum(a, -3 * a, grid).coherence, torch.ones(6, 16, dtype=torch.float64))
    quadrature = cross_spectrum(wave(grid, (2, 3), 0.0), wave(grid, (2, 3), math.pi / 2), grid)
    assert quadrature.coherence[4].item() == pytest.approx(0.0, abs=1e-12)  # |(2, 3)| = 3.6
    # cos(x) with cos(x ± 60°): each coherent to 1/4, as one pool co = 1/2 · 1/2, powers 1/2: again 1/4.
    one, others = wave(grid, (2, 3), 0.0), torch.stack([wave(grid, (2, 3), s * math.pi / 3) for s in (1, -1)])
    assert cross_spectrum(one.expand(2, -1, -1), others, grid).pooled().coherence[4].item() == pytest.approx(0.25)
    # In phase once and against phase once: each coherent, the pool not at all.
    mixed = cross_spectrum(torch.stack([one, one]), torch.stack([one, -one]), grid)
    assert mixed.coherence[:, 4].tolist() == pytest.approx([1.0, 1.0])
    assert mixed.pooled().coherence[4].item() == pytest.approx(0.0, abs=1e-20)


def test_a_taper_keeps_a_constant_in_ring_zero_and_does_nothing_on_a_periodic_box():
    open_box = Grid((24, 20), periodic=(False, True))
    constant = radial_spectrum(torch.full((24, 20), 3.0, dtype=torch.float64), open_box, taper="hann")
    assert constant.energy[0].item() == pytest.approx(9.0)
    assert constant.energy[1:].sum().item() + constant.corner.item() == pytest.approx(0.0, abs=1e-20)
    u, closed = noise((24, 20)), Grid((24, 20))
    assert torch.equal(radial_spectrum(u, closed, taper="hann").energy, radial_spectrum(u, closed).energy)


def test_a_taper_keeps_the_energy_of_white_noise_and_silences_a_jump():
    grid = Grid((64,), periodic=(False,))
    tapered = radial_spectrum(noise((4000, 64)), grid, taper="hann").pooled()
    # Of variance 1: 4000 fields with some 33 free values each leave 0.4 %; three of those.
    assert tapered.energy.sum().item() + tapered.corner.item() == pytest.approx(1.0, abs=0.02)
    ramp = grid.coordinates(0)
    plain, quiet = radial_spectrum(ramp, grid), radial_spectrum(ramp, grid, taper="hann")
    assert quiet.energy[8:].sum() < 1e-3 * plain.energy[8:].sum()


def test_gradients_flow_in_both_forms_and_of_large_fields():
    grid = Grid((5, 6))
    for form in (radial_spectrum, radial_spectrum_plain):
        assert torch.autograd.gradcheck(lambda x, form=form: form(x, grid).energy, noise((2, 5, 6)).requires_grad_())
    # mean(u²) has the gradient 2u/n, by whichever rings it is summed.
    u, large = noise((2, 128, 128)).requires_grad_(), Grid((128, 128))
    spectrum = radial_spectrum(u, large)
    (spectrum.energy.sum() + spectrum.corner.sum()).backward()
    assert_close(u.grad, 2 * u.detach() / large.n_points)


def test_a_matrix_first_met_in_inference_mode_still_trains():
    grid = Grid((7, 12))
    with torch.inference_mode():
        radial_spectrum(noise(grid.shape), grid)
    u = noise(grid.shape).requires_grad_()
    radial_spectrum(u, grid).energy.sum().backward()
    assert u.grad is not None


def test_no_fields_have_no_spectra():
    assert radial_spectrum(torch.ones(0, 3, 8, 8), Grid((8, 8))).energy.shape == (0, 3, 4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda u: radial_spectrum(u, Grid((9, 8))), "not on a grid"),
        (lambda u: radial_spectrum(u, Grid((8, 8)), taper="hamming"), "no taper 'hamming'"),
        (lambda u: radial_spectrum(u.int(), Grid((8, 8))), "floating-point"),
        (lambda u: band_energies(u, Grid((8, 8)), [1.0]), "two or more"),
        (lambda u: band_energies(u, Grid((8, 8)), [2.0, 1.0]), "rise"),
        (lambda u: cross_spectrum(u, u[:4], Grid((8, 8))), "same points"),
    ],
)
def test_what_does_not_fit_is_refused(call, says):
    with pytest.raises(GridError, match=says):
        call(torch.ones(8, 8))
