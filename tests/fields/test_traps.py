"""What goes wrong in well-known packages: each a test that it does not here.

The figures in the comments are what faulty versions were measured to give.
"""

import math

import pytest
import torch
from torch.testing import assert_close

from anchorbench.fields import (
    Grid,
    band_energies,
    mean_square,
    project,
    prolong,
    radial_spectrum,
    restrict,
    weighted_sums,
)

TAU = 2 * math.pi
RUNGS = (64, 128, 256)


def error_on(rung):
    """The same function on every rung: 40 waves in 13 ≤ |k|/2π ≤ 20, in all quadrants, of RMS 0.1 together."""
    rng = torch.Generator().manual_seed(7)
    band = [(i, j) for i in range(1, 21) for j in range(-20, 21) if 13 <= math.hypot(i, j) <= 20]
    chosen = [band[n] for n in torch.randperm(len(band), generator=rng)[:40].tolist()]
    phases = (TAU * torch.rand(40, generator=rng)).tolist()
    y, x = Grid((rung, rung)).mesh()
    waves = [torch.cos(TAU * (i * y + j * x) + phase) for (i, j), phase in zip(chosen, phases, strict=True)]
    # Different waves are orthogonal, each of mean square 1/2: together 20.
    return torch.stack(waves).sum(0) * (0.1 / math.sqrt(20))


def cosine(grid, k, phase=0.0):
    return torch.cos(TAU * k * grid.mesh().sum(0) + phase)


# -- metrics that hang on the grid ------------------------------------------------------------------------------------


def test_the_same_error_function_scores_the_same_rmse_on_every_grid():
    # Summed over pixels: 41, 164, 655, a divergence of slope +2.
    for rung in RUNGS:
        assert mean_square(error_on(rung), grid=Grid((rung, rung))).sqrt().item() == pytest.approx(0.1, rel=1e-12)


def test_the_same_error_function_has_the_same_band_energies_on_every_grid():
    # A root of a band's mean over its entries: 6.9e-3, 2.7e-3, 1.2e-3, a convergence of slope −1.27.  Bands in grid
    # units: the whole error moves from "high" to "mid".
    edges = [0.0, TAU * 12.5, TAU * 16, TAU * 20.5, math.inf]
    energies = [band_energies(error_on(rung), Grid((rung, rung)), edges) for rung in RUNGS]
    assert energies[0].sum().item() == pytest.approx(0.01)
    assert energies[0][[0, 3]].abs().max() < 1e-15
    for other in energies[1:]:
        assert_close(other, energies[0], rtol=1e-10, atol=1e-15)


def test_the_same_error_function_has_the_same_radial_spectrum_on_every_grid():
    # A peak of 0.060, 0.234, 0.952: growing with the number of points.
    spectra = [radial_spectrum(error_on(rung), Grid((rung, rung))) for rung in RUNGS]
    shared = len(spectra[0].k)
    for other in spectra[1:]:
        assert_close(other.k[:shared], spectra[0].k)
        assert_close(other.energy[:shared], spectra[0].energy, rtol=1e-10, atol=1e-15)
        assert other.energy[shared:].max() < 1e-15


def test_the_rings_end_below_the_nyquist_wavenumber():
    for rung in (15, 16, 64):
        grid = Grid((rung, rung))
        assert radial_spectrum(torch.ones(rung, rung), grid).k.max() < grid.k_nyquist


@pytest.mark.parametrize("centring", ["point", "cell"])
def test_an_error_along_5_minus_5_scores_as_one_along_5_5(centring):
    # Summed over the quadrant kx, ky ≥ 0: 6.2e-2 and 3e-9, of the same RMSE.
    grid = Grid((64, 64), centring=centring)
    y, x = grid.mesh()
    one, other = torch.cos(TAU * (5 * x + 5 * y)), torch.cos(TAU * (5 * x - 5 * y))
    edges = [0.0, TAU * 6, TAU * 8, math.inf]
    assert_close(band_energies(one, grid, edges), torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64))
    assert_close(band_energies(other, grid, edges), band_energies(one, grid, edges))
    assert_close(radial_spectrum(other, grid).energy, radial_spectrum(one, grid).energy)
    for low in (8, 12):
        coarse = grid.with_shape((low, low))
        assert_close(mean_square(project(other, coarse)), mean_square(project(one, coarse)))


def test_the_mean_of_the_batches_rmse_is_not_the_rmse_but_their_merged_sums_are():
    errors = torch.tensor([[3.0], [1.0], [1.0]])  # RMSE √(11/3) = 1.915
    batches = [errors[:1], errors[1:]]
    merged = [sum(part) for part in zip(*(weighted_sums(batch) for batch in batches), strict=True)]
    assert math.sqrt(merged[0] / merged[1]) == pytest.approx(math.sqrt(11 / 3))
    mean_of_roots = sum(mean_square(batch).sqrt().item() for batch in batches) / 2
    assert mean_of_roots == pytest.approx(2.0)  # (3 + 1)/2: and (3 + 1 + 1)/3 in batches of one


# -- resamplers that draw curves of their own ------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("n", [16, 32, 64, 128])
def test_the_resampler_draws_no_convergence_curve(n, dims):
    # Bicubic with aligned corners: 0.36, 0.18, 0.086, 0.043 in one dimension, 0.49 to 0.060 in two.
    coarse, fine = Grid((n,) * dims), Grid((2 * n,) * dims)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        error = prolong(cosine(coarse, 3).to(dtype), fine) - cosine(fine, 3).to(dtype)
        assert (error.square().mean() / 0.5).sqrt() < tolerance


@pytest.mark.parametrize("n", [15, 16])
def test_three_dimensions_of_odd_size_resample_as_well_as_of_even_size(n):
    # 0.71 at 15, where 16 is fine.
    for m in (n + 1, 2 * n, 2 * n + 1):
        small, large = Grid((n,) * 3), Grid((m,) * 3)
        assert_close(prolong(cosine(small, 3, 0.4), large), cosine(large, 3, 0.4), rtol=0, atol=1e-12)
        assert_close(restrict(cosine(large, 3, 0.4), small), cosine(small, 3, 0.4), rtol=0, atol=1e-12)


def test_an_index_decimated_truth_is_aliased_and_a_spectrally_restricted_one_is_not():
    fine, coarse = Grid((64, 64)), Grid((16, 16))
    truth = cosine(fine, 3) + cosine(fine, 13)  # on 16 points 13 looks like −3: it doubles the resolved wave
    assert_close(restrict(truth, coarse, how="stride"), 2 * cosine(coarse, 3), rtol=0, atol=1e-12)
    assert_close(restrict(truth, coarse), cosine(coarse, 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 10])
@pytest.mark.parametrize("n", [7, 8, 16, 17, 64, 65, 96])
def test_resampling_to_the_same_size_is_the_identity_whatever_the_channels(n, channels):
    # Scaled by 12.8 or 1024, with the number of channels.
    grid = Grid((n, n))
    u = project(torch.randn(2, channels, n, n, dtype=torch.float64), grid)
    assert_close(restrict(u, grid), u, rtol=0, atol=1e-12)
    assert_close(prolong(u, grid), u, rtol=0, atol=1e-12)
    assert_close(prolong(u, Grid((2 * n, n + 1))).mean((-2, -1)), u.mean((-2, -1)))


@pytest.mark.parametrize("n", [16, 17, 64, 85, 128, 255, 510])
def test_a_low_pass_keeps_the_waves_below_and_no_other_on_odd_and_even_grids(n):
    # A shift undone the wrong way round gives errors of 2.6 on odd grids.
    grid = Grid((n,))
    for k in range(0, n // 2, max(1, n // 40)):
        u = cosine(grid, k, 0.7)
        assert_close(project(u, Grid((12,))), u if k < 6 else torch.zeros_like(u), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [16, 31, 63])
def test_n_and_n_plus_one_samples_of_one_field_are_the_same_field(n):
    # Fifteen times worse on 31 points than on 32.
    a, b, fine = Grid((n, n)), Grid((n + 1, n + 1)), Grid((96, 96))
    assert_close(prolong(cosine(a, 5, 0.2), fine), prolong(cosine(b, 5, 0.2), fine), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(8, 16), (9, 16), (64, 128), (130, 160)])
def test_zero_padding_puts_no_energy_at_or_beyond_the_coarse_nyquist(n, m):
    # A spike of 0.1 at n/2, from a Nyquist entry that was not real.
    u = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    energy = torch.fft.fft2(prolong(u, Grid((m, m))), norm="forward").abs()
    k = torch.fft.fftfreq(m, 1 / m).abs()
    beyond = (k[:, None] >= n / 2) | (k >= n / 2)
    assert energy[beyond].max() < 1e-13 < energy[~beyond].max()


@pytest.mark.parametrize("shape", [(16, 16), (15, 16), (15, 15), (160, 150)])
def test_the_low_pass_keeps_a_wave_with_its_mirror_on_odd_and_even_grids(shape):
    # A mask in which 11 of 36 entries lacked their mirror, and the mean lay in shell 1.
    impulse = torch.zeros(shape, dtype=torch.float64)
    impulse[0, 0] = 1.0
    numbers = [torch.fft.fftfreq(n, 1 / n).abs() for n in shape]
    for low in (8, min(shape)):
        kept = torch.fft.fft2(project(impulse, Grid((low, low))))  # the mask itself: 1 or 0, real
        mask = (numbers[0][:, None] < low / 2) & (numbers[1] < low / 2)
        assert_close(kept, mask.to(kept.dtype), rtol=0, atol=1e-12)


@pytest.mark.parametrize("centring", ["point", "cell"])
def test_every_cosine_below_the_coarse_nyquist_keeps_its_amplitude_and_place(centring):
    # 128 to 16, bicubic: amplitude 0.628 at k = 7, and shifted by 3.5 fine points.
    fine, coarse = Grid((128,), centring=centring), Grid((16,), centring=centring)
    for k in range(8):
        assert_close(restrict(cosine(fine, k, 0.5), coarse), cosine(coarse, k, 0.5), rtol=0, atol=1e-12)
