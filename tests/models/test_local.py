"""Convolutions on grids: borders, and taps in grid points or physical units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.local import LocalConv, _taps, pad


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(0, 12), st.booleans())
def test_padding_wraps_or_repeats_whatever_its_width(n, width, periodic):
    x = torch.randn(2, n, 3)
    want = np.pad(x.numpy(), ((0, 0), (width, width), (0, 0)), mode="wrap" if periodic else "edge")
    assert_close(pad(x, width, axis=1, periodic=periodic), torch.from_numpy(want))


def difference(*, physical: bool) -> LocalConv:
    """v(x) = u(x + h) - u(x - h) on 16 points around the box."""
    conv = LocalConv(1, 1, 3, spacing=(1 / 16,), physical=physical).double()
    conv.weight.data = torch.tensor([[[-1.0, 0.0, 1.0]]], dtype=torch.float64)
    return conv


@pytest.mark.parametrize("n", [16, 32, 48, 128])
def test_a_physical_kernel_does_the_same_on_every_finer_grid_and_one_in_grid_points_shrinks(n):
    # sin k(x + h) - sin k(x - h) = 2 sin(kh) cos kx, here k = 2π 3.
    x = 2 * torch.pi * 3 * torch.arange(n, dtype=torch.float64) / n
    for physical, spacing in ((True, 1 / 16), (False, 1 / n)):
        got = difference(physical=physical)(x.sin()[None, :, None], Grid((n,)))[0, :, 0]
        assert_close(got, 2 * np.sin(2 * np.pi * 3 * spacing) * x.cos(), rtol=0, atol=1e-12)


def test_a_physical_kernel_sees_only_the_points_of_the_train_rung_where_the_ratio_is_whole():
    conv = LocalConv(2, 3, 3, spacing=(1 / 8, 1 / 8), physical=True)
    fine = torch.randn(1, 16, 16, 2)
    assert_close(conv(fine, Grid((16, 16)))[:, ::2, ::2], conv(fine[:, ::2, ::2], Grid((8, 8))))


def test_between_points_a_tap_is_shared_by_distance():
    # 1.5 points apart: the outer taps lie half way between points 1 and 2.
    want = [[0.5, 0, 0], [0.5, 0, 0], [0, 1, 0], [0, 0, 0.5], [0, 0, 0.5]]
    assert_close(_taps(3, 1.5), torch.tensor(want))
    # On a grid twice coarser the three taps fall within one spacing.
    assert_close(_taps(3, 0.5), torch.tensor([[0.5, 0, 0], [0.5, 1, 0.5], [0, 0, 0.5]]))


@pytest.mark.parametrize(("n", "reach"), [(24, 2), (12, 1), (40, 3)])
def test_a_straight_line_is_differenced_exactly_at_any_ratio(n, reach):
    # u = x: u(x + h) - u(x - h) = 2h, h = 1/16, away from the jump at the border.
    x = torch.arange(n, dtype=torch.float64) / n
    got = difference(physical=True)(x[None, :, None], Grid((n,)))[0, reach:-reach, 0]
    assert_close(got, torch.full_like(got, 2 / 16), rtol=1e-6, atol=0)


def test_a_constant_stays_one_at_a_border_that_does_not_wrap():
    conv = LocalConv(1, 1, 3, spacing=(1.0, 1.0), physical=False)
    grid = Grid((5, 6), periodic=(False, True))
    got = conv(torch.full((1, 5, 6, 1), 2.0), grid)
    assert_close(got, (2.0 * conv.weight.sum()).expand_as(got))


def test_a_wall_keeps_both_sides_apart_and_a_periodic_axis_does_not():
    conv = LocalConv(1, 1, 3, spacing=(1 / 8,), physical=False)
    x = torch.zeros(1, 8, 1)
    x[0, 0] = 1.0
    assert conv(x, Grid((8,), periodic=(False,)))[0, -1].item() == 0.0
    assert conv(x, Grid((8,)))[0, -1].item() == pytest.approx(conv.weight[0, 0, 2].item())


@pytest.mark.parametrize(("n", "m"), [(8, 16), (16, 8), (9, 14)])
def test_a_wave_is_carried_to_the_grid_of_the_output(n, m):
    def wave(points: int) -> torch.Tensor:
        return torch.cos(2 * torch.pi * 2 * torch.arange(points, dtype=torch.float64) / points)[None, None]

    assert_close(on_grid(wave(n), Grid((n,)), Grid((m,))), wave(m), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(12, 12), (3, 3), (6, 6)])
def test_a_constant_is_carried_over_walls(shape):
    grid = Grid((6, 6), periodic=(False, False))
    out = on_grid(torch.full((1, 2, 6, 6), 3.0), grid, grid.with_shape(shape))
    assert_close(out, torch.full((1, 2, *shape), 3.0))
