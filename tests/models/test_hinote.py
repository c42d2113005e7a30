"""HiNOTE: its counts, its Fourier branch, its sampler, its attention, and queries by slabs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from anchorbench.errors import ConfigError, GridError
from anchorbench.fields.grid import Grid
from anchorbench.models.antialias import scaled
from anchorbench.models.hinote import FourierBranch, HiNOTE, Stage
from anchorbench.models.hinote_attention import GalerkinBlock
from anchorbench.models.registry import validate_options
from anchorbench.models.sampler import corners, neighbours, sampled, sampled_channels
from anchorbench.models.slabs import Slabs
from anchorbench.models.spectral_resize import spectral_resize
from anchorbench.models.sr_options import HinoteOptions

F64 = torch.float64
BOXES = [
    Grid((6, 9), centring=centring, periodic=periodic)
    for centring in ("point", "cell")
    for periodic in ((True, True), (False, True), (False, False))
]


def waves(grid: Grid) -> torch.Tensor:
    """1 + a wave below the Nyquist of 6 points: cosines that each box has, also at its ends."""
    x, y = grid.mesh()
    return 1 + torch.cos(2 * math.pi * x) * torch.cos(4 * math.pi * y) - 0.5 * torch.cos(4 * math.pi * x)


# -- counts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "published"),
    [
        ({"levels": 1}, 420_627),
        ({"levels": 2}, 3_109_395),
        ({"levels": 3}, 5_798_163),
        ({"levels": 1, "width": 128, "heads": 4}, 128_403),
    ],
)
def test_it_has_as_many_parameters_as_published(options, published):
    with torch.device("meta"):
        model = HiNOTE(1, 1, Grid((8, 8)), HinoteOptions(fourier_start="random", **options))
    assert sum(p.numel() for p in model.parameters()) == published  # the issue asks for 1 %


def test_the_sampler_hands_on_fourteen_channels_of_one_on_a_plane():
    assert sampled_channels(1, 2) == 14  # 4 corners of 2 coordinates and 1 value each, and 2 spacings
    u = torch.randn(2, 1, 4, 5)
    assert sampled(u, Grid((4, 5)), Grid((7, 9)), torch.arange(7)).shape == (2, 14, 7, 9)


# -- the encoder -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", BOXES, ids=str)
def test_the_fourier_branch_reproduces_a_band_limited_field_exactly(grid):
    branch = FourierBranch(1, 2, exact=True).double()
    fine = scaled(grid, double=True)
    assert_close(branch(waves(grid)[None, None], grid, fine)[0, 0], waves(fine), rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", BOXES, ids=str)
def test_spectral_resizing_is_exact_below_the_nyquist_at_any_sizes_and_keeps_the_mean(grid):
    to = grid.with_shape((15, 16))
    assert_close(spectral_resize(waves(grid), grid, to), waves(to), rtol=0, atol=1e-12)
    if all(grid.periodic):
        u = torch.randn(*grid.shape, dtype=F64)
        assert spectral_resize(u, grid, to).mean().item() == pytest.approx(u.mean().item(), abs=1e-12)


def test_the_nyquist_wave_of_an_even_axis_goes_half_each_way():
    u = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=F64)  # cos(4 π x): as a cosine it is read between the points
    fine = Grid((8,))
    wanted = torch.cos(4 * math.pi * 2 * fine.coordinates(0) / 2)
    assert_close(spectral_resize(u, Grid((4,)), fine), wanted, rtol=0, atol=1e-12)


def test_a_series_is_not_padded_to_coarser_points():
    with pytest.raises(GridError, match="padded to finer points"):
        spectral_resize(torch.zeros(8, 8), Grid((8, 8)), Grid((4, 16)))


def test_the_two_branches_of_a_stage_lie_on_the_same_points():
    # A long wave on cells: bilinear and Fourier agree to the bilinear error of 1/2 (k h / 2)², not to a quarter cell.
    grid = Grid((64, 64), centring="cell")
    fine, y = scaled(grid, double=True), torch.sin(2 * math.pi * grid.mesh()[1])[None, None]
    one, other = (
        Stage(1, 2, HinoteOptions(branches=branches)).double() for branches in ("bilinear", "fourier")
    )  # fmt: skip
    with torch.no_grad():
        for stage in (one, other):
            stage.weight.weight.fill_(1.0)
        apart = (one(y, grid, fine) - other(y, grid, fine)).abs().max()
    assert apart < (2 * math.pi / 64) ** 2 / 8 * 1.01


# -- the sampler -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", BOXES, ids=str)
def test_at_the_features_own_points_the_sampler_is_exact(source):
    u = torch.randn(2, 3, *source.shape, dtype=F64)
    found = sum(corner.weight * corner.values for corner in corners(u, source, source, torch.arange(6)))
    assert torch.equal(found, u)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(BOXES), st.integers(2, 17), st.integers(2, 17))
def test_the_areas_add_up_to_one_and_the_corners_to_linear_interpolation(source, height, width):
    to = source.with_shape((height, width))
    x, _ = source.mesh()
    inside = corners(x[None, None], source, to, torch.arange(height))
    found = list(inside)
    assert_close(sum(c.weight for c in found), torch.ones(height, width, dtype=F64), rtol=0, atol=1e-12)
    if not source.periodic[0]:  # a slope is its own linear interpolation, between the outermost points
        first, last = source.coordinates(0)[0], source.coordinates(0)[-1]
        wanted = to.mesh()[0].clamp(first, last)
        assert_close(sum(c.weight * c.values[0, 0] for c in found), wanted, rtol=0, atol=1e-9)


def test_relative_coordinates_and_spacings_are_those_of_the_released_code():
    # 4 queries a feature cell: rel spans −1.75 ... 1.75, and the queries' spacing is 2/4.
    source, to = Grid((8, 8), centring="cell"), Grid((32, 32), centring="cell")
    rel = neighbours(to, source, 0)[1]
    assert (rel.min().item(), rel.max().item()) == (-1.75, 1.75)
    assert sampled(torch.zeros(1, 1, 8, 8), source, to, torch.arange(2))[0, -2:].unique().tolist() == [0.5]


def test_the_order_of_the_queries_changes_none_of_them():
    source, to = BOXES[1], Grid((11, 7), periodic=(False, True))
    u, order = torch.randn(1, 2, *source.shape), torch.randperm(11)
    whole = sampled(u, source, to, torch.arange(11))
    assert torch.equal(sampled(u, source, to, order), whole[:, :, order])


# -- attention ---------------------------------------------------------------------------------------------------------


def block(width=8, heads=2, *, closing=True) -> GalerkinBlock:
    torch.manual_seed(0)
    return GalerkinBlock(width, heads, 2, closing=closing).double()


def attend(h: torch.Tensor, grid: Grid, *, height: int | None = None) -> torch.Tensor:
    return block()(Slabs.of(h, grid, height or grid.shape[0])).whole()


def test_attention_gives_permuted_points_their_own_values():
    grid = Grid((6, 5))
    h, order = torch.randn(2, 8, 30, dtype=F64), torch.randperm(30)
    plain, shuffled = (attend(x.reshape(2, 8, 6, 5), grid).flatten(2) for x in (h, h[..., order]))
    assert_close(shuffled, plain[..., order], rtol=0, atol=1e-12)


def test_attention_does_not_change_where_every_point_is_there_four_times():
    h = torch.randn(1, 8, 4, 4, dtype=F64)
    often = attend(h.repeat_interleave(2, 2).repeat_interleave(2, 3), Grid((8, 8)))
    assert_close(often[:, :, ::2, ::2], attend(h, Grid((4, 4))), rtol=0, atol=1e-12)


def test_on_the_sphere_a_point_counts_by_its_area():
    # Rows from 0 to 45 and from 45 to 90 degrees: areas as sin 45 to 1 − sin 45, their mean 1/2.
    north = Grid((2, 4), extent=(90.0, 360.0), kind="latlon", origin=(0.0, 0.0), centring="cell")
    h, low = torch.randn(1, 8, 2, 4, dtype=F64), math.sin(math.pi / 4)

    def moment(u: torch.Tensor, grid: Grid) -> torch.Tensor:
        return block().moment(Slabs.of(u, grid, grid.shape[0]))

    first, second = (moment(h[:, :, i : i + 1], Grid((1, 4))) for i in range(2))
    assert_close(moment(h, north), low * first + (1 - low) * second, rtol=0, atol=1e-12)


# -- queries by slabs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [BOXES[0], BOXES[1], BOXES[5]], ids=str)
@pytest.mark.parametrize(("levels", "filter"), [(1, "sinc"), (3, "sinc"), (3, "fourier"), (3, "none")])
def test_tiled_queries_give_the_same_as_one_pass(grid, levels, filter):
    torch.manual_seed(1)
    model = HiNOTE(2, 1, grid, HinoteOptions(width=4, levels=levels, filter=filter)).double().eval()
    to, u = grid.with_shape((21, 14)), torch.randn(2, 2, *grid.shape, dtype=F64)
    with torch.no_grad():
        model.options = model.options.model_copy(update={"query_points": None})
        whole = model(u, grid, to)
        for points in (1, 28 * 4):
            model.options = model.options.model_copy(update={"query_points": points})
            assert_close(model(u, grid, to), whole, rtol=0, atol=1e-12)


def test_a_slab_of_one_level_needs_no_more_memory_on_a_field_four_times_as_high():
    torch.manual_seed(0)
    grid, seen = Grid((8, 8)), []
    model = HiNOTE(1, 1, grid, HinoteOptions(width=8, levels=1, query_points=64)).eval()
    inside = model.blocks[0].attended
    model.blocks[0].attended = lambda rows, *more: (seen.append(rows.shape[2]), inside(rows, *more))[1]
    with torch.no_grad():
        for height in (32, 128):
            model(torch.randn(1, 1, 8, 8), grid, grid.with_shape((height, 16)))
            assert max(seen) <= 4 + 2  # 64 points are 4 rows; the projection asks for one more on each side


def test_without_a_filter_there_is_no_low_pass_and_with_one_a_constant_stays():
    grid = Grid((16, 16))
    for filter, passes in (("none", True), ("sinc", False)):
        step = HiNOTE(1, 1, grid, HinoteOptions(width=2, levels=2, filter=filter)).double().steps[0]
        one = torch.ones(1, 1, 16, 16, dtype=F64)
        gelu = torch.nn.functional.gelu(one)
        assert_close(step.activation(one, grid), gelu, rtol=0, atol=1e-12)  # gain 1, with no half pixel
        stripes = one * 10 * (-1.0) ** torch.arange(16, dtype=F64)
        kept = step.activation(stripes, grid).std(-1).max()
        assert bool(kept > 4) is passes  # GELU of ±10 swings by 10 about 5; a low-pass has no wave at the Nyquist


def test_heads_that_do_not_divide_the_width_are_refused_without_torch():
    with pytest.raises(ConfigError, match="heads that divide the width 10"):
        validate_options("hinote", {"width": 10, "heads": 3})
    assert HinoteOptions(width=256).n_heads == 16
