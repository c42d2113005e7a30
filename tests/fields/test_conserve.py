"""Mass-conserving transforms: exact for any factors, dry where it is dry, and what each does to the field."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.conserve import PER_CELL, TAPERS, conserve_cells, conserve_whole, taper


@st.composite
def refinements(draw) -> tuple[Tensor, Tensor, Tensor]:
    """(fine (B, T, *grid), coarse (B, *cells), weights): patchy rain, one to three axes, missing points."""
    ndim = draw(st.integers(1, 3))
    cells = [draw(st.integers(1, 4)) for _ in range(ndim)]
    factors = [draw(st.sampled_from([1, 2, 3, 5])) for _ in range(ndim)]
    frames = draw(st.sampled_from([1, 3, 6]))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    points = [m * s for m, s in zip(cells, factors, strict=True)]
    fine = (torch.randn(2, frames, *points, generator=rng) * 3).clamp_min(0)
    coarse = (torch.randn(2, *cells, generator=rng) + 0.3).clamp_min(0) * draw(st.sampled_from([1e-3, 1.0, 50.0]))
    weights = (torch.rand(2, frames, *points, generator=rng) > 0.2).float()
    return fine, coarse, weights


def cells_of(u: Tensor, coarse: Tensor) -> Tensor:
    """Sums over time and the points of each cell, one axis at a time."""
    u = u.double().sum(1)
    for axis, m in enumerate(coarse.shape[1:], start=1):
        u = torch.stack([part.sum(axis) for part in u.chunk(m, axis)], axis)
    return u


@settings(max_examples=25)
@given(refinements(), st.sampled_from(TAPERS))
def test_the_whole_has_the_coarse_fields_mass(given_, kind):
    fine, coarse, _ = given_
    out = conserve_whole(fine, coarse, f=taper(kind, threshold=0.02))
    per_cell = fine[0].numel() / coarse[0].numel()
    wanted = per_cell * coarse.double().flatten(1).sum(1)
    torch.testing.assert_close(out.double().flatten(1).sum(1), wanted, rtol=1e-5, atol=0)
    assert (out >= 0).all()


@settings(max_examples=25)
@given(refinements(), st.sampled_from(PER_CELL), st.booleans())
def test_every_cell_has_its_mean(given_, how, masked):
    fine, coarse, weights = given_
    mask = weights if masked else torch.ones_like(fine)
    out = conserve_cells(fine, coarse, how=how, weights=mask if masked else None)
    area = cells_of(mask, coarse)
    seen = area > 0  # a cell of which nothing was observed has no mean
    scale = float(fine.abs().max()) + float(coarse.max())  # additive subtracts what may be larger than the result
    mean = cells_of(out * mask, coarse) / area.clamp_min(1)
    torch.testing.assert_close(
        mean[seen], coarse.double()[seen], rtol=1e-5, atol=1e-6 * scale if how == "additive" else 1e-12
    )


@settings(max_examples=20)
@given(refinements(), st.sampled_from(TAPERS))
def test_the_whole_counts_only_what_was_observed(given_, kind):
    fine, coarse, weights = given_
    weights[:, 0, ...].flatten(1)[:, 0] = 1
    out = conserve_whole(fine, coarse, f=taper(kind, threshold=0.02), weights=weights)
    wanted = (cells_of(weights, coarse) * coarse).flatten(1).sum(1)
    held = (out.double() * weights).flatten(1).sum(1)
    alive = (taper(kind, threshold=0.02)(fine) * weights).flatten(1).sum(1) > 1e-9
    torch.testing.assert_close(held[alive], wanted[alive], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", TAPERS)
def test_dry_stays_dry(kind):
    f = taper(kind, threshold=1e-6)
    wet = torch.tensor([[[0.0, 3.0, 0.0, 1.0]]])
    assert torch.equal(conserve_whole(wet, torch.zeros(1, 2), f=f), torch.zeros(1, 1, 4)), "nothing came in"
    out = conserve_whole(wet, torch.tensor([[2.0, 2.0]]), f=f)
    assert out[0, 0, 0] == out[0, 0, 2] == 0, "where the prediction is dry, so is the result"
    for how in ("multiplicative", "softmax"):
        assert torch.equal(conserve_cells(wet, torch.zeros(1, 2), how=how), torch.zeros(1, 1, 4))


def test_mass_with_nothing_to_scale_is_spread_evenly():
    dry, coarse = torch.zeros(1, 2, 4), torch.tensor([[3.0, 1.0]])
    whole = conserve_whole(dry, coarse, f=taper("identity"))
    torch.testing.assert_close(whole, torch.full((1, 2, 4), 2.0))
    cells = conserve_cells(dry, coarse, how="multiplicative")
    torch.testing.assert_close(cells, torch.tensor([3.0, 3.0, 1.0, 1.0]).expand(1, 2, 4))


def test_the_frames_share_one_factor_and_not_one_each():
    fine = torch.tensor([[[1.0, 1.0], [3.0, 3.0]]])  # 2 in the first hour, 6 in the second
    out = conserve_whole(
        fine, torch.tensor([[4.0]]), f=taper("identity")
    )  # 4 over 2 x 2: 16 in all, twice what is there
    assert torch.equal(out, 2 * fine)


def test_a_worked_example_of_each_way():
    fine, x = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[4.0]])  # mean 2
    assert conserve_cells(fine, x, how="additive").tolist() == [[[3.0, 5.0]]]
    assert conserve_cells(fine, x, how="multiplicative").tolist() == [[[2.0, 6.0]]]
    # e¹ and e³ in the ratio 1 : e²; their mean is 4
    low = 8 / (1 + math.exp(2))
    torch.testing.assert_close(conserve_cells(fine, x, how="softmax"), torch.tensor([[[low, 8 - low]]]))
    huge = conserve_cells(1000 * fine, x, how="softmax")
    assert huge.tolist() == [[[0.0, 8.0]]]


def test_the_tapers_are_the_published_functions():
    z = torch.tensor([0.0, 1e-4, 0.04, 1.0])
    assert taper("identity")(z).tolist() == z.tolist()
    torch.testing.assert_close(taper("thresholded", threshold=0.02)(z), torch.tensor([0.0, 0.0, 0.02, 0.98]))
    torch.testing.assert_close(taper("sqrt", threshold=0.01)(z), torch.tensor([0.0, 0.0, 0.19, 0.99]))
    torch.testing.assert_close(taper("log", threshold=1.0)(z), torch.log(1 + z))


def test_a_concave_taper_flattens_the_peak_and_keeps_the_mass():
    fine, x = torch.tensor([[[1.0, 1.0, 1.0, 9.0]]]), torch.tensor([[3.0]])
    peak = {kind: float(conserve_whole(fine, x, f=taper(kind, threshold=1.0)).max()) for kind in ("identity", "log")}
    peak["sqrt"] = float(conserve_whole(fine, x, f=taper("sqrt")).max())
    assert peak["identity"] == pytest.approx(9)  # its mean is 3 already
    assert peak["sqrt"] == pytest.approx(12 * 3 / 6)  # roots 1, 1, 1, 3 of 6
    assert peak["log"] == pytest.approx(12 * math.log(10) / (3 * math.log(2) + math.log(10)), rel=1e-6)


def test_cells_that_do_not_divide_the_points_are_refused():
    with pytest.raises(GridError, match="does not lie on a fine one"):
        conserve_whole(torch.zeros(1, 1, 5), torch.zeros(1, 2), f=taper("identity"))
    with pytest.raises(GridError, match="threshold above 0"):
        taper("log")
