"""The arms of FRL's encoding: which of them know a wave again on another grid, and which a share of Nyquist."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anchorbench.fields import Grid
from anchorbench.methods.encodings import Arm, axis_phase, encode, encoding_channels

ARMS = get_args(Arm)
WITH_CHANNELS = [arm for arm in ARMS if arm not in ("C", "none", "scalar")]


def line(n: int, *, centring: str = "point") -> Grid:
    return Grid((n,), centring=centring)


def code(arm: Arm, n: int, *, n_train: int = 16, waves: int = 16, centring: str = "point"):
    """(2 waves, n): the sines of waves 1 ... M, then the cosines."""
    return encode(arm, line(n, centring=centring), train_grid=line(n_train, centring=centring), waves=waves)


# -- facts, test j: k = 5, x = 0.25 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rho", "printed"), [(16, 0.831), (32, 0.471), (128, 0.122)])
def test_the_printed_formula_gives_one_wave_another_code_on_every_grid(rho, printed):
    sine = code("A", rho)[5 - 1, rho // 4].item()
    assert sine == pytest.approx(math.sin(2 * math.pi * 5 * 0.25 / (rho / 2)), abs=1e-6)
    assert sine == pytest.approx(printed, abs=1e-3)


def test_what_the_printed_formula_keeps_is_the_share_of_nyquist():
    # (k, ρ) and (2k, 2ρ) share a code at one place
    torch.testing.assert_close(code("A", 16)[2], code("A", 32)[5, ::2])


@given(st.sampled_from([(8, 16), (16, 32), (16, 48), (32, 128), (12, 36)]), st.integers(1, 20))
def test_arm_b_is_the_same_at_one_place_on_every_grid_that_carries_the_wave(grids, k):
    coarse, fine = grids
    at_coarse, at_fine = (code("B", n, waves=20) for n in grids)
    for row in (k - 1, 20 + k - 1):
        if k <= coarse / 2:
            torch.testing.assert_close(at_fine[row, :: fine // coarse], at_coarse[row], atol=1e-6, rtol=0)
        else:
            assert (at_coarse[row] == 0).all()


@pytest.mark.parametrize(("n", "kept"), [(16, 8), (15, 7), (9, 4), (8, 4)])
def test_arm_b_is_cut_above_nyquist_and_not_at_it(n, kept):
    rows = code("B", n, waves=10)
    carried = rows.abs().sum(1) > 1e-6
    assert carried[10:].tolist() == [k <= kept for k in range(1, 11)]  # the cosine of Nyquist itself is ±1
    if n % 2 == 0:  # and its sine vanishes on the points
        torch.testing.assert_close(rows[n // 2 - 1], torch.zeros(n), atol=1e-6, rtol=0)


def test_the_cut_is_all_that_tells_b_from_raw_physical():
    b, raw = code("B", 8, waves=6), code("raw-physical", 8, waves=6)
    torch.testing.assert_close(b[:4], raw[:4])
    torch.testing.assert_close(b[6:10], raw[6:10])
    assert (b[4:6] == 0).all()
    assert raw[10].abs().sum() > 1  # cos of wave 5 on 8 points: aliased, not cut
    torch.testing.assert_close(code("B", 64, waves=6), code("raw-physical", 64, waves=6))


@given(st.integers(1, 16), st.sampled_from([8, 16, 32, 48]))
def test_raw_index_has_one_phase_a_cell_on_every_grid(k, n):
    rows = code("raw-index", n)
    index = torch.arange(n).double()
    torch.testing.assert_close(rows[k - 1], torch.sin(2 * math.pi * k * index / 16).float(), atol=1e-6, rtol=0)
    # so the first cells look alike on all grids, though they lie elsewhere
    torch.testing.assert_close(rows[:, :8], code("raw-index", 8), atol=1e-6, rtol=0)


def test_raw_index_is_the_physical_code_on_the_train_grid_alone():
    torch.testing.assert_close(code("raw-index", 16), code("raw-physical", 16), atol=1e-6, rtol=0)
    assert (code("raw-index", 32) - code("raw-physical", 32)).abs().max() > 0.5


@pytest.mark.parametrize("n", [8, 16, 33])
def test_arm_d_goes_from_cell_to_cell_by_a_share_of_a_half_turn(n):
    rows = code("D", n, waves=4)
    index = torch.arange(n)
    for m in (1, 2, 3, 4):
        torch.testing.assert_close(rows[m - 1], torch.sin(math.pi * m / 4 * index), atol=1e-5, rtol=0)
    assert rows[4 + 3].tolist() == pytest.approx([(-1.0) ** i for i in range(n)], abs=1e-5)  # ξ = 1 is Nyquist's wave


@pytest.mark.parametrize(("n", "expected"), [(8, -1.0), (16, 0.0), (32, 1.0), (24, math.log2(1.5))])
def test_scalar_is_the_octaves_above_the_train_rung(n, expected):
    rows = code("scalar", n)
    assert rows.shape == (1, n)
    assert rows.unique().tolist() == pytest.approx([expected])


# -- shapes and places -------------------------------------------------------------------------------------------------


@given(st.sampled_from(ARMS), st.integers(1, 3), st.integers(1, 5))
def test_an_arm_has_as_many_channels_as_it_says(arm, ndim, waves):
    shape = (6, 8, 10)[:ndim]
    grid = Grid(shape)
    rows = encode(arm, grid, train_grid=grid, waves=waves)
    n = encoding_channels(arm, ndim=ndim, waves=waves)
    assert n == {"C": 0, "none": 0, "scalar": 1}.get(arm, 2 * ndim * waves)
    if n == 0:
        assert rows is None
    else:
        assert rows.shape == (n, *shape)
        assert rows.dtype == torch.float32


@pytest.mark.parametrize("arm", WITH_CHANNELS)
def test_each_axis_has_its_own_channels_the_first_axis_first(arm):
    grid, train = Grid((8, 12)), Grid((16, 24))
    rows = encode(arm, grid, train_grid=train, waves=3)
    along_y = encode(arm, line(8), train_grid=line(16), waves=3)
    along_x = encode(arm, line(12), train_grid=line(24), waves=3)
    torch.testing.assert_close(rows[:6], along_y[:, :, None].expand(6, 8, 12))
    torch.testing.assert_close(rows[6:], along_x[:, None, :].expand(6, 8, 12))


@pytest.mark.parametrize("arm", WITH_CHANNELS)
def test_every_code_is_a_sine_and_its_cosine(arm):
    rows = code(arm, 32, waves=7)  # 7 waves lie below the Nyquist of 32: none is cut
    torch.testing.assert_close(rows[:7] ** 2 + rows[7:] ** 2, torch.ones(7, 32), atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [8, 16, 32])
def test_in_cells_a_place_is_the_middle_of_its_cell(n):
    # the mean of cells 2i and 2i+1 lies at the middle of the coarse cell i: x = (i + ½)/n
    x = (torch.arange(n) + 0.5) / n
    torch.testing.assert_close(code("B", n, waves=2, centring="cell")[1], torch.sin(4 * math.pi * x), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        code("A", n, waves=2, centring="cell")[0], torch.sin(2 * math.pi * x / (n / 2)), atol=1e-6, rtol=0
    )


def test_in_cells_arm_b_is_the_same_at_one_place_on_grids_that_share_it():
    # threefold: the middle of a coarse cell is the middle of the middle one of its three
    fine, coarse = code("B", 24, waves=4, centring="cell"), code("B", 8, waves=4, centring="cell")
    torch.testing.assert_close(fine[:, 1::3], coarse, atol=1e-6, rtol=0)


@pytest.mark.parametrize("arm", WITH_CHANNELS)
def test_phases_stay_exact_at_many_points(arm):
    phase, keep = axis_phase(arm, 1024, n_train=64, waves=16)
    assert phase.dtype == torch.float64
    assert keep.shape == (16, 1)
