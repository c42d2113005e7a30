"""The rivals: one encoder for all, queries by slabs, and what each decoder is known by."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from anchorbench.errors import ConfigError
from anchorbench.fields import prolong
from anchorbench.fields.grid import Grid
from anchorbench.models.edsr import EDSR, shuffled
from anchorbench.models.encoders import Encoder
from anchorbench.models.liif import LIIF, unfolded
from anchorbench.models.lte import LTE
from anchorbench.models.registry import build, validate_options
from anchorbench.models.sr_options import EdsrOptions, EncoderOptions, LiifOptions, LteOptions

RIVALS = ("edsr", "liif", "lte", "srno")
SMALL = {"width": 4, "blocks": 1}
F64 = torch.float64


def made(name: str, grid: Grid, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    hidden = {} if name == "edsr" else {"hidden": 8}
    return build(name, in_channels=1, out_channels=1, grid=grid, options={**SMALL, **hidden, **options}).double()


def test_all_rivals_begin_with_encoders_of_one_size():
    grid = Grid((8, 8))
    with torch.device("meta"):
        models = [build(name, in_channels=1, out_channels=1, grid=grid, options={}) for name in RIVALS]
    sizes = {sum(p.numel() for p in model.encoder.parameters()) for model in models}
    conv = 64 * 64 * 9 + 64
    assert sizes == {(64 * 9 + 64) + (2 * 16 + 1) * conv}  # head, two of each of 16 blocks, tail


@pytest.mark.parametrize("name", ["liif", "lte", "srno"])
def test_tiled_queries_of_a_rival_give_the_same_as_one_pass(name):
    grid, to = (
        Grid((5, 6), periodic=(True, False), centring="cell"),
        Grid((13, 9), periodic=(True, False), centring="cell"),
    )
    model, u = made(name, grid).eval(), torch.randn(2, 1, 5, 6, dtype=F64)
    with torch.no_grad():
        model.options = model.options.model_copy(update={"query_points": None})
        whole = model(u, grid, to)
        model.options = model.options.model_copy(update={"query_points": 18 * 2})
        assert_close(model(u, grid, to), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", RIVALS)
def test_a_shift_by_a_point_of_the_input_shifts_the_output_on_a_periodic_box(name):
    grid, to = Grid((6, 6)), Grid((12, 18))
    model, u = made(name, grid), torch.randn(1, 1, 6, 6, dtype=F64)
    with torch.no_grad():
        moved, plain = model(u.roll((1, -2), (2, 3)), grid, to), model(u, grid, to)
    assert_close(moved, plain.roll((2, -6), (2, 3)), rtol=0, atol=1e-10)


def test_an_encoder_without_blocks_is_its_head_and_tail():
    torch.manual_seed(0)
    encoder, grid = Encoder(1, 2, EncoderOptions(width=3, blocks=0)), Grid((4, 4))
    u = torch.randn(1, 1, 4, 4)
    f = encoder.head(u, grid)
    assert torch.equal(encoder(u, grid), f + encoder.tail(f, grid))


def test_liif_of_a_linear_decoder_without_neighbours_is_the_linear_interpolation_of_its_values():
    grid, to = Grid((4, 5)), Grid((9, 11))
    model = LIIF(1, 1, grid, LiifOptions(width=2, blocks=0, hidden=2, layers=1, unfold=False)).double()
    with torch.no_grad():
        for layer in model.layers:
            layer.bias.zero_()
        first, last = model.layers
        first.weight.zero_()
        first.weight[0, 0], first.weight[1, 0] = 1.0, -1.0  # ReLU(f) − ReLU(−f) = f
        last.weight.copy_(torch.tensor([1.0, -1.0]).view(1, 2, 1, 1))
        u = torch.randn(1, 1, 4, 5, dtype=F64)
        features = model.encoder(u, grid)[:, :1]
        assert_close(model(u, grid, to), prolong(features, to, how="bilinear"), rtol=0, atol=1e-12)


def test_unfolding_puts_each_point_s_neighbours_beside_it():
    f = torch.arange(4.0).view(1, 1, 4)
    assert unfolded(f, Grid((4,)))[0].tolist() == [[3, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 0]]
    assert unfolded(f, Grid((4,), periodic=(False,)))[0, 0].tolist() == [0, 0, 1, 2]


def test_lte_decodes_learned_waves_of_the_place():
    # A = 1, F = (0, ½), φ = 0: each corner's texture is cos and sin of π rel/2, and the weights are the areas'.
    grid, to = Grid((2, 4)), Grid((2, 8))
    model = LTE(1, 1, grid, LteOptions(width=1, blocks=0, hidden=2, layers=1)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.textures.bias.copy_(torch.tensor([1.0, 1.0, 0.0, 0.5]))
        first, last = model.layers
        first.weight[0, 0], first.bias[0], last.weight[0, 0] = 1.0, 2.0, 1.0  # 2 + cos: above 0, so ReLU keeps it
        out = model(torch.zeros(1, 1, 2, 4, dtype=F64), grid, to)
    # On a point cos 0 = 1; midway rel = ±1 and cos ±π/2 = 0.
    assert_close(out[0, 0, 0], torch.tensor([3.0, 2.0] * 4, dtype=F64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("periodic", [True, False])
def test_edsr_is_resized_to_factors_that_are_not_its_own(factor, periodic):
    grid = Grid((4, 5), periodic=(periodic, periodic))
    own = grid.with_shape(tuple(factor * i + n - i for n, i in zip(grid.shape, grid.intervals, strict=True)))
    model, u = EDSR(1, 1, grid, EdsrOptions(**SMALL, factor=factor)).double(), torch.randn(1, 1, 4, 5, dtype=F64)
    with torch.no_grad():
        at_home = model(u, grid, own)
        finer = own.with_shape((20, 31))
        how = "spectral" if periodic else "bilinear"
        assert_close(model(u, grid, finer), prolong(at_home, finer, how=how), rtol=0, atol=1e-12)
        assert model(u, grid, grid.with_shape((3, 17))).shape == (1, 1, 3, 17)


def test_each_point_s_channels_become_the_points_of_its_cell():
    f = torch.arange(8.0).view(1, 4, 2)  # channel c of point p is 2c + p
    assert shuffled(f, Grid((8,)), 4).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    plane = shuffled(torch.arange(4.0).view(1, 4, 1, 1), Grid((2, 2)), 2)
    assert sorted(plane.flatten().tolist()) == [0, 1, 2, 3]


def test_an_odd_number_of_waves_is_refused_without_torch():
    with pytest.raises(ConfigError, match="even number of hidden channels"):
        validate_options("lte", {"hidden": 7})
    assert math.isclose(LteOptions().hidden, 256)
