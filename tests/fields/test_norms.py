"""Inner products and the sums they merge from."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import GridError
from anchorbench.fields import Grid, inner, mean_square, weighted_sums


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_mean_square_of_a_whole_wave_is_one_half_on_every_grid():
    for n in (15, 16, 64):
        grid = Grid((n,))
        assert mean_square(torch.cos(2 * math.pi * 3 * grid.coordinates(0)), grid=grid).item() == pytest.approx(0.5)


def test_a_weighted_mean_square_worked_by_hand():
    e, weights = torch.tensor([[1.0, 2.0], [3.0, math.nan]]), torch.tensor([[1.0, 0.5], [1.0, 0.0]])
    # 1 + 4/2 + 9 = 12 over 2.5.
    total, weight = weighted_sums(e, grid=Grid((2, 2)), weights=weights)
    assert (total.item(), weight.item()) == (12.0, 2.5)
    assert mean_square(e, grid=Grid((2, 2)), weights=weights).item() == 12 / 2.5
    assert mean_square(e, weights=weights).item() == 12 / 2.5


def test_where_nothing_is_valid_the_mean_square_is_zero():
    assert mean_square(torch.tensor([math.nan, 1.0]), weights=torch.zeros(2)).item() == 0.0


def test_the_sphere_is_weighted_by_the_cosine_of_latitude():
    grid = Grid((2, 1), extent=(180.0, 360.0), centring="cell", kind="latlon")
    assert mean_square(torch.tensor([[1.0], [3.0]]), grid=grid).item() == pytest.approx(5.0)  # ±45°: equal areas
    grid = grid.with_shape((3, 1))  # cos 60° = 1/2, cos 0 = 1: (1/2 + 4 + 1/2) / 2
    assert mean_square(torch.tensor([[1.0], [2.0], [1.0]]), grid=grid).item() == pytest.approx(2.5)
    assert mean_square(torch.ones(4, 3, 1), grid=grid).tolist() == pytest.approx([1.0] * 4)


@given(st.integers(1, 11), st.integers(0, 9))
def test_sums_over_batches_are_the_sums_of_the_whole(batch, seed):
    e, weights, grid = noise(12, 2, 5, seed=seed), noise(12, 1, 5, seed=seed + 50).clamp_min(0), Grid((5,))
    whole, weight = (x.sum() for x in weighted_sums(e, grid=grid, weights=weights))
    parts = [weighted_sums(e[i : i + batch], grid=grid, weights=weights[i : i + batch]) for i in range(0, 12, batch)]
    assert_close(sum(total.sum() for total, _ in parts), whole)
    assert_close(sum(part.sum() for _, part in parts), weight)


def test_float32_fields_are_summed_in_float64():
    # 2²⁴ + 1 is no float32: a sum that stays there stops counting.
    e = torch.ones(2**24 + 2)
    total, weight = weighted_sums(e)
    assert total.item() == weight.item() == 2**24 + 2


def test_the_inner_product_is_symmetric_bilinear_and_its_own_norm():
    a, b, grid = noise(3, 4, 5), noise(3, 4, 5, seed=1), Grid((4, 5))
    assert_close(inner(a, b, grid=grid), inner(b, a, grid=grid))
    assert_close(inner(a + 2 * b, b, grid=grid), inner(a, b, grid=grid) + 2 * mean_square(b, grid=grid))
    assert inner(a, b, grid=grid).shape == (3,)


def test_gradients_flow():
    weights = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: mean_square(x, grid=Grid((3,)), weights=weights), noise(2, 3).requires_grad_()
    )


def test_a_field_off_the_grid_is_refused():
    with pytest.raises(GridError, match="not on a grid"):
        mean_square(torch.ones(3, 4), grid=Grid((4, 4)))
