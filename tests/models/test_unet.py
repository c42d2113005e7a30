"""The U-Net: any size, its borders, its modes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import ModelError
from anchorbench.fields.grid import Grid
from anchorbench.models.options import UnetOptions
from anchorbench.models.registry import call
from anchorbench.models.unet import UNet


def unet(grid: Grid, channels: tuple[int, int] = (1, 1), **options) -> UNet:
    torch.manual_seed(0)
    return UNet(*channels, grid, UnetOptions(**{"width": 4, "depth": 3, **options}))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 21), st.integers(1, 21), st.booleans(), st.sampled_from(["group", "none"]))
def test_it_takes_any_size(height, width, periodic, norm):
    grid = Grid((height, width), periodic=(periodic, True))
    assume(norm == "none" or height * width > 1)  # a group of one value has no spread
    out = call(unet(grid, (2, 3), norm=norm), torch.randn(2, 2, height, width), grid, grid)
    assert out.shape == (2, 3, height, width)


def test_a_shift_by_the_coarsest_cell_shifts_the_output_on_a_periodic_box():
    grid = Grid((16, 24))
    model, x = unet(grid).double(), torch.randn(2, 1, 16, 24, dtype=torch.float64)
    rolled = call(model, x.roll((4, -8), (2, 3)), grid, grid)  # depth 3 halves twice: cells of 4 points
    assert_close(rolled, call(model, x, grid, grid).roll((4, -8), (2, 3)), rtol=0, atol=1e-12)


def test_what_lies_at_one_wall_does_not_reach_the_other():
    model = unet(Grid((12, 12)), depth=1, norm="none")
    x = torch.zeros(1, 1, 12, 12)
    x[..., 0] = 1.0
    for periodic, reaches in ((False, False), (True, True)):
        grid = Grid((12, 12), periodic=(True, periodic))
        change = call(model, x, grid, grid) - call(model, torch.zeros_like(x), grid, grid)
        assert bool(change[..., -1].any()) is reaches


@pytest.mark.parametrize("norm", ["group", "none"])
def test_every_parameter_has_a_finite_gradient_in_float32_and_bf16(norm):
    grid, model = Grid((9, 14)), unet(Grid((9, 14)), norm=norm)
    for bf16 in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            call(model, torch.randn(2, 1, 9, 14), grid, grid).float().square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_evaluation_mode_changes_no_number():
    grid, x = Grid((16, 16)), torch.randn(2, 1, 16, 16)
    model = unet(grid)
    assert torch.equal(call(model.train(), x, grid, grid), call(model.eval(), x, grid, grid))


def test_another_number_of_axes_is_refused():
    with pytest.raises(ModelError, match="unet takes two axes; this grid has 3"):
        unet(Grid((8, 8, 8)))
