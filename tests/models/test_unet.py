"""The U-Net: any size, its borders, its modes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import ModelError
from anchorbench.fields.grid import Grid
from anchorbench.models.card import card
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


def test_one_axis_is_refused():
    with pytest.raises(ModelError, match="unet takes two axes or three; this grid has one"):
        unet(Grid((8,)))


# -- three dimensions --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=10)
@given(st.tuples(*[st.integers(1, 7)] * 3), st.tuples(*[st.booleans()] * 3))
def test_in_three_dimensions_it_takes_any_size_and_a_constant_stays_one(shape, periodic):
    grid = Grid(shape, periodic=periodic)
    model = unet(grid, norm="none").double()  # the means over odd ends count the points that are there
    out = call(model, torch.full((1, 1, *shape), 0.7, dtype=torch.float64), grid, grid)
    assert_close(out, out[:, :, :1, :1, :1].expand(1, 1, *shape), rtol=0, atol=1e-12)


def test_a_shift_by_the_coarsest_cell_shifts_the_output_in_three_dimensions():
    grid = Grid((8, 4, 8))
    model, x = unet(grid).double(), torch.randn(1, 1, 8, 4, 8, dtype=torch.float64)
    rolled = call(model, x.roll((4, 4, -4), (2, 3, 4)), grid, grid)
    assert_close(rolled, call(model, x, grid, grid).roll((4, 4, -4), (2, 3, 4)), rtol=0, atol=1e-12)


def test_a_kernel_that_does_not_look_along_an_axis_makes_the_other_two_a_plane():
    # Conv3d with taps in its middle plane alone, on a field that is the same along z: the 2-D model of that plane.
    flat, box = unet(Grid((8, 6))), unet(Grid((4, 8, 6)))
    for there, here in zip(box.parameters(), flat.parameters(), strict=True):
        with torch.no_grad():
            there.zero_()
            middle = there[:, :, there.shape[2] // 2] if there.ndim == 5 else there
            middle.copy_(here)
    x = torch.randn(1, 1, 8, 6)
    want = call(flat, x, Grid((8, 6)), Grid((8, 6)))
    got = call(box, x[:, :, None].expand(-1, -1, 4, -1, -1), Grid((4, 8, 6)), Grid((4, 8, 6)))
    assert_close(got, want[:, :, None].expand_as(got), rtol=1e-5, atol=1e-5)


def test_the_weights_of_a_seed_are_those_it_had_before_there_was_a_third_axis():
    # One convolution after the other, as torch draws them: what is built by hand in that order is the same.
    torch.manual_seed(0)
    first, second = torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.Conv2d(4, 4, 3, bias=False)
    state = unet(Grid((8, 8))).state_dict()
    assert list(state)[:2] == ["down.0.convs.0.weight", "down.0.convs.1.weight"]
    assert torch.equal(state["down.0.convs.0.weight"], first.weight)
    assert torch.equal(state["down.0.convs.1.weight"], second.weight)


def test_the_card_names_a_kernel_of_as_many_axes_and_operations_of_eight_times_the_points():
    made = card(unet(Grid((8, 8, 8)), norm="none"), "unet", grid=Grid((8, 8, 8)), in_channels=1, rungs=(16,))
    assert made.kernel.startswith("3x3x3 on 3 levels")
    assert made.grid_rule == "any grid"
    assert made.flops[16] == 8 * made.flops[8]
