"""The spectral convolution against a plain FFT, and the wave that each weight acts on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from anchorbench.models.dft import analyse, kept
from anchorbench.models.fno import SpectralConv


def by_fft(x: Tensor, conv: SpectralConv) -> Tensor:
    """The same operator written with rfftn and irfftn, one wave after another."""
    x = x.movedim(-1, 1)
    shape, modes = x.shape[2:], conv.modes
    axes = tuple(range(2, x.ndim))
    spectrum = torch.fft.rfftn(x, dim=axes, norm="forward")
    out = torch.zeros(x.shape[0], conv.weight.shape[-2], *spectrum.shape[2:], dtype=spectrum.dtype)
    weight = torch.view_as_complex(conv.weight.detach().to(x.dtype).contiguous())
    waves: list[tuple[int, ...]] = [()]
    for axis, (n, m) in enumerate(zip(shape, modes, strict=True)):
        if axis == len(shape) - 1:
            ks = [k for k in range(m // 2 + 1) if 2 * k <= n]
        else:
            ks = [k for k in range(-(m // 2), m - m // 2) if -n <= 2 * k < n]
        waves = [(*wave, k) for wave in waves for k in ks]
    for wave in waves:
        at = tuple(k % n for k, n in zip(wave, shape, strict=True))
        row = tuple(k + (0 if axis == len(shape) - 1 else modes[axis] // 2) for axis, k in enumerate(wave))
        out[(slice(None), slice(None), *at)] = spectrum[(slice(None), slice(None), *at)] @ weight[row]
    return torch.fft.irfftn(out, s=shape, dim=axes, norm="forward").movedim(1, -1)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_spectral_convolution_equals_the_fft_on_odd_and_even_grids_finer_and_coarser_than_its_modes(data):
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3), label="shape")
    modes = tuple(data.draw(st.integers(1, 10), label="modes") for _ in shape)
    torch.manual_seed(0)
    conv = SpectralConv(2, 3, modes).double()
    x = torch.randn(2, *shape, 2, dtype=torch.float64)
    assert_close(conv(x), by_fft(x, conv), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(64, 64), (63, 65), (16, 40)])
def test_float32_is_within_1e_6_of_the_fft_in_float64(shape):
    torch.manual_seed(0)
    conv = SpectralConv(4, 4, (16, 16))
    x = torch.randn(2, *shape, 4)
    want = by_fft(x.double(), conv)
    assert (conv(x) - want).abs().max() < 1e-6 * want.abs().max()


@pytest.mark.parametrize("n", [16, 17, 64, 85, 128, 255, 510])
def test_weights_of_one_are_a_low_pass_on_any_number_of_points(n):
    conv = SpectralConv(1, 1, (9, 9))  # |k| ≤ 4
    conv.weight.data.zero_()
    conv.weight.data[..., 0] = 1
    x, y = (2 * torch.pi * torch.arange(m) / m for m in (16, n))
    low = torch.cos(3 * y)[:, None] * torch.sin(2 * x)[None] + 1.5
    high = torch.cos(6 * y)[:, None] + torch.cos(5 * x)[None]
    assert_close(conv((low + high)[None, ..., None])[0, ..., 0], low, rtol=0, atol=2e-5)


@pytest.mark.parametrize("m", [6, 7, 8, 9])
def test_the_weight_of_the_mean_is_one_and_the_same_on_every_grid(m):
    conv = SpectralConv(1, 1, (m, m))
    conv.weight.data.zero_()
    conv.weight.data[..., 0] = torch.arange(m, dtype=torch.float32)[:, None, None, None]  # each row bears its number
    for n in (3, 4, 5, 8, 15, 16, 31, 32, 33):
        assert_close(conv(torch.ones(1, n, 16, 1)), torch.full((1, n, 16, 1), float(m // 2)))


def test_a_coarser_grid_drops_modes_and_counts_the_nyquist_wave_once():
    assert list(kept(8, 16, half=False)) == [-4, -3, -2, -1, 0, 1, 2, 3]
    assert list(kept(7, 16, half=False)) == [-3, -2, -1, 0, 1, 2, 3]
    assert list(kept(16, 4, half=False)) == [-2, -1, 0, 1]
    assert list(kept(16, 5, half=False)) == [-2, -1, 0, 1, 2]
    assert list(kept(16, 4, half=True)) == [0, 1, 2]
    assert list(kept(16, 5, half=True)) == [0, 1, 2]
    assert list(kept(1, 9, half=False)) == [0]


@given(st.integers(4, 40), st.integers(0, 3), st.integers(-2, 2))
@settings(deadline=None, max_examples=20)
def test_a_waves_coefficient_does_not_depend_on_the_grid(n, kx, ky):
    # cos(k·x) has the coefficients 1/2 at k and -k; at k = 0 they fall together.
    points = 2 * torch.pi * torch.arange(2 * n + 1, dtype=torch.float64) / (2 * n + 1)
    wave = torch.cos(ky * points[:, None] + kx * points[None])
    spectrum = analyse(wave[None, ..., None], (6, 6)).view(2, 6, 4)
    want = torch.zeros(2, 6, 4, dtype=torch.float64)
    want[0, 3 + ky, kx] += 0.5
    if kx == 0:
        want[0, 3 - ky, 0] += 0.5  # -ky is kept too
    assert_close(spectrum, want, rtol=0, atol=1e-12)


def test_a_matrix_first_needed_while_evaluating_serves_in_training():
    conv = SpectralConv(1, 1, (5, 5))
    x = torch.randn(1, 37, 41, 1)
    with torch.inference_mode():
        conv(x)
    conv(x.requires_grad_()).sum().backward()
    assert x.grad is not None


def test_spectra_stay_in_float32_under_autocast():
    conv, x = SpectralConv(2, 2, (8, 8)), torch.randn(1, 16, 16, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = conv(x)
    assert torch.equal(inside, conv(x))


def test_the_gradient_is_that_of_finite_differences():
    conv = SpectralConv(2, 2, (4, 3)).double()
    x = torch.randn(2, 5, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, (x,))
    assert torch.autograd.gradcheck(lambda w: torch.func.functional_call(conv, {"weight": w}, (x,)), (conv.weight,))
