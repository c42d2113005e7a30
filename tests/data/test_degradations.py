"""How coarse inputs are made: the kernels, the source, the noise, and what masks allow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from anchorbench.config import LadderSpec
from anchorbench.data.degradations import antialiased_bicubic, degraded, input_noise
from anchorbench.data.ladder import SPLITS, write_ladder
from anchorbench.data.samples import Normaliser, Windows
from anchorbench.data.sources import SplitFields
from anchorbench.errors import LadderError
from anchorbench.fields import Grid, restrict

UNIT = Normaliser((0.0,), (1.0,))


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """Noise on 4, 8 and 16 points of a periodic box."""
    grid = Grid((16, 16))
    spec = LadderSpec(
        dataset="d", source="generated", size="tiny", restriction="spectral", rungs=(4, 8, 16), grid=grid.to_dict(),
        variables=[{"name": "u", "units": "1"}], time_step=0.0, time_unit="", origin={},
    )  # fmt: skip
    values = np.random.default_rng(0).standard_normal((3, 1, 16, 16)).astype(np.float32)
    fields = SplitFields({"u": values}, None, None, np.arange(3))
    return write_ladder(spec, dict.fromkeys(SPLITS, fields), tmp_path_factory.mktemp("cache"), attrs={})


def windows(ladder, rung, split="test", **words) -> Windows:
    return Windows(ladder, split, rung, frames_in=1, lead=0, normaliser=UNIT, in_rung=4, **words)


def test_the_stretched_kernel_is_that_of_image_libraries():
    grid = Grid((12, 15), centring="cell", periodic=(False, False))
    u = torch.randn(1, 1, 12, 15, dtype=torch.float64)
    for shape in ((4, 5), (5, 7)):
        theirs = torch.nn.functional.interpolate(u, shape, mode="bicubic", align_corners=False, antialias=True)
        assert_close(degraded(u, grid.with_shape(shape), "bicubic_antialiased")[0], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("centring", ["point", "cell"])
@pytest.mark.parametrize("periodic", [True, False])
def test_the_stretched_kernel_keeps_constants_and_takes_the_finest_wave_away(centring, periodic):
    grid = Grid((32,), centring=centring, periodic=(periodic,))
    matrix = antialiased_bicubic(grid.with_shape((8,)), grid, 0)
    assert_close(matrix.sum(1), torch.ones(8, dtype=torch.float64))
    stripes = (-1.0) ** torch.arange(32, dtype=torch.float64)
    assert (matrix @ stripes)[2:-2].abs().max() < 0.01  # at an end a part of the kernel is cut off
    aliased = restrict(stripes, grid.with_shape((8,)), how="bicubic")
    assert centring == "cell" or aliased.abs().max() > 0.5  # without the low-pass it passes for a long one


def test_one_input_stands_before_every_rung_and_comes_from_the_source_alone(ladder):
    inputs = [windows(ladder, rung, degradation="bicubic", source_rung=8).batch([1]).inputs for rung in (4, 8, 16)]
    assert torch.equal(inputs[0], inputs[1])
    assert torch.equal(inputs[1], inputs[2])
    source = torch.from_numpy(np.array(ladder.array("test", 8, "u")[1]))
    assert torch.equal(inputs[0][0], restrict(source, Grid((4, 4)), how="bicubic"))
    assert not torch.equal(inputs[0], windows(ladder, 16).batch([1]).inputs)


def test_noise_belongs_to_the_sample_and_the_split_whatever_the_batch_and_rung(ladder):
    plain = windows(ladder, 16).batch([0, 1]).inputs
    noisy = windows(ladder, 16, noise=0.5).batch([0, 1]).inputs
    assert torch.equal(windows(ladder, 8, noise=0.5).batch([1]).inputs[0], noisy[1])
    assert not torch.equal(windows(ladder, 16, split="train", noise=0.5).batch([0]).inputs[0], noisy[0])
    drawn = input_noise((64, 64), np.arange(2), "test")
    assert abs(drawn.std().item() - 1) < 0.03  # 8192 values: within 4 / √(2 · 8192)
    assert_close(noisy - plain, 0.5 * input_noise((1, 1, 4, 4), np.arange(2), "test")[:, 0], rtol=0, atol=1e-6)


def test_a_degradation_without_cells_is_refused_where_points_are_missing():
    with pytest.raises(LadderError, match="'bicubic' reads across missing points"):
        degraded(torch.zeros(1, 4, 4), Grid((2, 2)), "bicubic", weights=torch.ones(1, 4, 4))
    u, weights = torch.tensor([[0.0, 4.0], [8.0, 99.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    coarse, share = degraded(u, Grid((1, 1)), "block_mean", weights=weights)
    assert (coarse.item(), share.item()) == (4.0, 0.75)


def test_a_source_that_is_coarser_than_the_inputs_is_refused(ladder):
    with pytest.raises(LadderError, match="from a finer rung"):
        Windows(
            ladder, "test", 16, frames_in=1, lead=0, normaliser=UNIT, in_rung=8, degradation="spectral", source_rung=4
        )
