"""The U-Net with attention: over frames, in windows, to tokens, and what none of them may do."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.testing import assert_close

from anchorbench.errors import ModelError
from anchorbench.fields.grid import Grid
from anchorbench.models.registry import BUILT_IN, build
from anchorbench.models.unet_attention import Attention, UNetAttention, _in_windows
from anchorbench.models.unet_attention_options import UnetAttentionOptions

L = 3


def net(grid: Grid, *, channels: int = L, **options) -> UNetAttention:
    torch.manual_seed(0)
    chosen = {"width": 4, "depth": 2, "heads": 2, "frames": L, "variables": 1, "windows": (3, 1), **options}
    return UNetAttention(channels, 2, grid, UnetAttentionOptions(**chosen)).double().eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_a_model_of_the_catalogue():
    assert "unet_attention" in BUILT_IN
    grid = Grid((8, 8))
    model = build("unet_attention", in_channels=3, out_channels=2, grid=grid, options={"width": 4, "depth": 2})
    assert model(torch.randn(1, 3, 8, 8), grid, grid.with_rung(16)).shape == (1, 2, 16, 16)


@pytest.mark.parametrize("context", ["attention", "tokens"])
def test_earlier_frames_are_heard_and_without_context_only_the_newest(context):
    grid = Grid((8, 8))
    x = noise(1, L, 8, 8)
    other = x.clone()
    other[:, 0] = noise(1, 8, 8, seed=1)
    for chosen, heard in ((context, True), ("none", False)):
        model = net(grid, context=chosen)
        assert torch.equal(model(x, grid, grid), model(other, grid, grid)) is not heard


@pytest.mark.parametrize("context", ["attention", "tokens"])
def test_the_order_of_the_earlier_frames_matters(context):
    grid = Grid((8, 8))
    model, x = net(grid, context=context), noise(1, L, 8, 8)
    swapped = x[:, [1, 0, 2]]
    assert float((model(x, grid, grid) - model(swapped, grid, grid)).abs().amax().detach()) > 1e-6


def test_attention_over_frames_looks_at_each_point_alone():
    # One level, kernel 1, no windows, no norm over the box: what changes at one point of an earlier frame stays there.
    grid = Grid((6, 6))
    model, x = net(grid, depth=1, windows=(1,), norm="none", kernel=1), noise(1, L, 6, 6)
    other = x.clone()
    other[0, 0, 2, 3] += 1.0
    changed = (model(x, grid, grid) - model(other, grid, grid)).abs().amax((0, 1)) > 0
    assert changed.nonzero().tolist() == [[2, 3]]


def test_attention_from_a_coarser_level_leaves_the_finest_to_the_newest_frame():
    grid = Grid((8, 8))
    model = net(grid, context_from=1)
    assert isinstance(model.past[0], nn.Identity)
    assert isinstance(model.past[1], Attention)


def test_a_window_attends_to_the_points_about_it_and_to_whole_points():
    attention = Attention(4, 2).double()
    x = noise(1, 4, 7, 7)
    made = _in_windows(x, attention, 3, (False, False))
    # By hand: the point (3, 4) attends to its 3 x 3 neighbours, each a token of all four channels.
    tokens = x[0, :, 2:5, 3:6].flatten(1).T[None]
    assert_close(made[0, :, 3, 4], attention(x[0, :, 3, 4][None, None], tokens)[0, 0])
    other = x.clone()
    other[0, 0, 0, 0] += 1  # of one channel: what all share, a norm takes away
    changed = (_in_windows(other, attention, 3, (False, False)) != made).any(1)[0]
    assert changed.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_a_window_goes_around_the_ends_of_a_periodic_axis_only():
    attention = Attention(4, 2).double()
    x = noise(1, 4, 6, 6)
    other = x.clone()
    other[0, 0, :, 0] += 1
    for periodic in (False, True):
        ends = (False, periodic)
        changed = (_in_windows(other, attention, 3, ends) != _in_windows(x, attention, 3, ends)).any(1)[0, 0]
        assert bool(changed[-1]) is periodic


def test_a_shift_by_the_coarsest_cell_shifts_the_output_on_a_periodic_box():
    grid = Grid((8, 12))
    model, x = net(grid, windows=(3, 3)), noise(1, L, 8, 12)
    assert_close(
        model(x.roll((2, -4), (2, 3)), grid, grid), model(x, grid, grid).roll((2, -4), (2, 3)), rtol=0, atol=1e-10
    )


def test_a_prediction_does_not_depend_on_its_batch():
    grid = Grid((8, 8))
    model, x = net(grid, context="tokens"), noise(3, L, 8, 8)
    assert_close(model(x, grid, grid)[1:2], model(x[1:2], grid, grid), rtol=0, atol=1e-12)


def test_what_is_no_frame_is_given_to_every_frame():
    grid = Grid((8, 8))
    model = net(grid, channels=L + 1)
    x = noise(1, L + 1, 8, 8)
    frames = model._by_frame(x)
    assert frames.shape == (1, L, 2, 8, 8)
    for frame in range(L):
        assert torch.equal(frames[0, frame, 0], x[0, frame])
        assert torch.equal(frames[0, frame, 1], x[0, L])


def test_the_denoiser_hears_the_frames_in_its_own_way_and_begins_with_other_weights():
    model = net(Grid((8, 8)), denoiser_context="tokens")
    other = model.as_denoiser()
    assert (model.context, other.context) == ("attention", "tokens")
    assert not torch.equal(other.head.weight, model.head.weight)


def test_more_frames_than_channels_one_axis_and_heads_that_do_not_divide_are_refused():
    with pytest.raises(ModelError, match="more than the 2 input channels"):
        net(Grid((8, 8)), channels=2)
    with pytest.raises(ModelError, match="two axes or three"):
        net(Grid((8,)))
    with pytest.raises(ValidationError, match="heads that divide"):
        UnetAttentionOptions(width=6, heads=4)


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (5, 4)])
def test_a_grid_of_few_points_is_no_hindrance_to_its_levels(shape):
    grid = Grid(shape, centring="cell", periodic=(False, False))
    out = net(grid, depth=3, windows=(3, 3, 3)).train()(noise(1, L, *shape), grid, grid)
    assert out.shape == (1, 2, *shape)
    assert bool(out.isfinite().all())
