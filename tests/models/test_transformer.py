"""The transformer: which points a patch holds, where it lies, and that tokens have no order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import ConfigError
from anchorbench.fields.grid import Grid
from anchorbench.models.options import TransformerOptions
from anchorbench.models.registry import call, validate_options
from anchorbench.models.transformer import Transformer, patches, rotated, token_angles, unpatched


def transformer(grid: Grid, channels: tuple[int, int] = (1, 1), **options) -> Transformer:
    torch.manual_seed(0)
    return Transformer(
        *channels, grid, TransformerOptions(**{"width": 8, "layers": 2, "heads": 2, "patch": 2, **options})
    )


def test_a_patch_holds_neighbours_or_points_as_far_apart_as_on_the_train_rung():
    u, grid = torch.arange(8.0).view(1, 1, 8), Grid((8,))
    assert patches(u, grid, 2, (1,))[0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert patches(u, grid, 2, (2,))[0].tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_padding_goes_around_a_periodic_axis_and_repeats_the_last_point_at_a_wall():
    u = torch.arange(5.0).view(1, 1, 5)
    assert patches(u, Grid((5,)), 4, (1,))[0, 1].tolist() == [4, 0, 1, 2]
    assert patches(u, Grid((5,), periodic=(False,)), 4, (1,))[0, 1].tolist() == [4, 4, 4, 4]


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), st.booleans()), min_size=1, max_size=3), st.integers(1, 4)
)
def test_cutting_and_joining_gives_the_field_back(axes, patch):
    shape, ratios, periodic = (tuple(part) for part in zip(*axes, strict=True))
    grid, u = Grid(shape, periodic=periodic), torch.randn(2, 3, *shape)
    tokens = patches(u, grid, patch, ratios)
    assert tokens.shape[2] == 3 * patch ** len(shape)
    assert torch.equal(unpatched(tokens, grid, patch, ratios, 3), u)


def test_a_token_lies_in_the_middle_of_its_points():
    # Middles of [0, 2], [1, 3], [4, 6], [5, 7] of 8 points: 1, 2, 5, 6; whole waves m = 1, 3, and half ones at walls.
    middles = torch.tensor([1.0, 2.0, 5.0, 6.0])[:, None] * torch.tensor([1.0, 3.0])
    assert_close(token_angles(Grid((8,)), 2, (2,), ((1, 3),)), 2 * torch.pi / 8 * middles)
    walls = Grid((8,), periodic=(False,))  # 7 intervals from end to end
    assert_close(token_angles(walls, 2, (2,), ((1, 3),)), torch.pi / 7 * middles)


def test_a_place_is_the_same_on_every_rung():
    # The middle of the first two points of 8 is half a spacing from the first: 1/16 of the box, on 24 points too.
    coarse, fine = token_angles(Grid((8,)), 2, (1,), ((2,),)), token_angles(Grid((24,)), 2, (3,), ((2,),))
    assert_close(coarse[0], torch.tensor([2 * 2 * torch.pi / 16]))
    assert_close(fine[::3], coarse)


def test_turned_pairs_know_only_where_they_lie_to_one_another():
    q, k = torch.randn(2, 1, 1, 1, 6, dtype=torch.float64)
    here, there, by = torch.randn(3, 1, 3, dtype=torch.float64)

    def score(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (rotated(q, a) * rotated(k, b)).sum()

    assert_close(score(here, there), score(here + by, there + by))
    assert_close(score(here, there), score(here + 2 * torch.pi, there))
    assert_close(rotated(q, here).norm(), q.norm())


def test_tokens_permuted_with_their_places_come_back_permuted():
    model = transformer(Grid((8, 8))).double()
    z = torch.randn(2, 16, 8, dtype=torch.float64)
    angles = token_angles(Grid((8, 8)), 2, (1, 1), model.waves).double()
    order = torch.randperm(16)
    block = model.blocks[0]
    assert_close(block(z[:, order], angles[order]), block(z, angles)[:, order])
    assert not torch.allclose(block(z[:, order], angles), block(z, angles)[:, order])  # places do matter


@pytest.mark.parametrize("units", ["physical", "grid"])
def test_a_shift_by_a_patch_shifts_the_output_on_a_periodic_box(units):
    train, grid = Grid((8, 12)), Grid((16, 24))
    model, u = transformer(train, patch_units=units).double(), torch.randn(2, 1, 16, 24, dtype=torch.float64)
    shift = (4, -8) if units == "physical" else (2, -4)  # a patch of 2 points spans 4 of a grid twice finer
    rolled = call(model, u.roll(shift, (2, 3)), grid, grid)
    assert_close(rolled, call(model, u, grid, grid).roll(shift, (2, 3)), rtol=0, atol=1e-6)  # angles are float32


@pytest.mark.parametrize("positions", ["rotary", "fourier"])
def test_both_units_are_one_function_on_the_train_rung_and_two_on_a_finer_one(positions):
    train, fine = Grid((8, 8)), Grid((16, 16))
    physical, points = (transformer(train, patch_units=u, positions=positions) for u in ("physical", "grid"))
    for grid, same in ((train, True), (fine, False)):
        u = torch.randn(1, 1, *grid.shape)
        assert torch.equal(call(physical, u, grid, grid), call(points, u, grid, grid)) is same


@pytest.mark.parametrize("shape", [(8, 8), (7, 9)])
@pytest.mark.parametrize("ratio", [2, 3])
def test_a_constant_gives_the_train_rungs_output_however_fine_the_grid(shape, ratio):
    # All tokens are alike, so attention hears one value however many there are, and point (p k + j) r + a is number j.
    train, fine = Grid(shape), Grid(tuple(ratio * n for n in shape))
    model = transformer(train).double()
    home, away = (call(model, torch.full((1, 1, *g.shape), 0.7).double(), g, g) for g in (train, fine))
    assert_close(away, home.repeat_interleave(ratio, 2).repeat_interleave(ratio, 3), rtol=0, atol=1e-12)


def test_a_patch_in_physical_units_reads_the_points_of_the_train_rung():
    # Attention switched off, what is left acts on each patch alone: every r-th point gives the train rung's output.
    train, fine = Grid((8, 6)), Grid((16, 12))
    model, u = transformer(train).double(), torch.randn(1, 1, 16, 12, dtype=torch.float64)
    for block in model.blocks:
        block.attend_out.weight.data.zero_()
    got = call(model, u, fine, fine)
    for phase in ((0, 0), (1, 0), (1, 1)):
        part = (..., slice(phase[0], None, 2), slice(phase[1], None, 2))
        assert_close(got[part], call(model, u[part], train, train))


@pytest.mark.parametrize(
    ("train", "grid", "inner", "ratios"),
    [
        (Grid((16,)), Grid((16,)), (16,), (1,)),
        (Grid((16,)), Grid((24,)), (32,), (2,)),
        (Grid((16,)), Grid((12,)), (16,), (1,)),
        (Grid((9, 8), periodic=(False, True)), Grid((17, 16), periodic=(False, True)), (17, 16), (2, 2)),
        (Grid((9, 8), periodic=(False, True)), Grid((18, 9), periodic=(False, True)), (25, 16), (3, 2)),
    ],
)
def test_where_the_ratio_is_no_whole_number_the_next_finer_grid_for_which_it_is_is_cut(train, grid, inner, ratios):
    found = transformer(train).inner_grid(grid)
    assert (found[0].shape, found[1]) == (inner, ratios)
    assert found[0].same_box(grid)


@pytest.mark.parametrize("shape", [(20,), (9, 12), (6, 5, 7)])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("units", ["physical", "grid"])
def test_it_runs_in_one_two_and_three_dimensions_and_on_another_grid_for_its_output(shape, periodic, units):
    grid = Grid(shape, periodic=(periodic,) * len(shape))
    model, u = transformer(grid, (3, 2), layers=1, patch=3, patch_units=units), torch.randn(2, 3, *shape)
    for out_grid in (grid, grid.with_shape(tuple(n + 3 for n in shape))):
        assert call(model, u, grid, out_grid).shape == (2, 2, *out_grid.shape)


@pytest.mark.parametrize(("width", "heads"), [(7, 3), (1, 4), (30, 4)])
def test_any_width_takes_any_number_of_heads(width, heads):
    grid = Grid((8, 8))
    assert call(transformer(grid, width=width, heads=heads), torch.randn(1, 1, 8, 8), grid, grid).shape == (1, 1, 8, 8)


def test_the_waves_of_the_positions_are_those_that_the_train_rungs_patches_resolve():
    # 32 points in patches of 2: 16 a side, which resolve 8 waves of the box; 64 channels in 2 heads: 8 waves an axis.
    (waves, _) = transformer(Grid((32, 32)), width=64).waves
    assert (len(waves), waves[0], waves[-1]) == (8, 1, 8)


def test_a_wrong_unit_is_refused():
    with pytest.raises(ConfigError, match="'physical' or 'grid'"):
        validate_options("transformer", {"patch_units": "pixels"})
