"""What is done to a prediction of rain: nothing below 0, and the mass of the newest coarse frame."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from anchorbench.data.samples import Batch, Normaliser
from anchorbench.data.space_time_windows import each_frame
from anchorbench.errors import MethodError
from anchorbench.fields import Grid
from anchorbench.methods.finish import Finish

COARSE = Grid((2, 2), centring="cell", periodic=(False, False))
FINE, UNITS, FRAMES, T = COARSE.with_rung(6), Normaliser((0.5,), (2.0,)), 2, 3


def batch_of(coarse: Tensor, *, mask: Tensor | None = None, input_mask: Tensor | None = None) -> Batch:
    """coarse: the newest frame in mm, (B, 2, 2); the frame before it is another."""
    frames = torch.stack([coarse.flip(-1) + 1, coarse], 1)
    return Batch(
        inputs=UNITS.apply(frames.flatten(0, 1)[:, None])[:, 0].unflatten(0, (-1, FRAMES)),
        targets=torch.zeros(len(coarse), T, 6, 6),
        grid=COARSE,
        out_grid=FINE,
        clusters=torch.arange(len(coarse)),
        mask=mask,
        input_mask=input_mask,
        in_units=UNITS,
        out_units=each_frame(UNITS, T),
        frames_out=T,
    )


def made(batch: Batch, how: str, f: str = "identity", threshold: float = 0.0) -> Tensor:
    """What becomes of noise about the mean, in mm: (B, T, 6, 6)."""
    finish = Finish(relu=True, conserve=how, f=f, threshold=threshold)
    finish.see(batch)
    out = torch.randn(len(batch), T, 6, 6, generator=torch.Generator().manual_seed(0))
    return each_frame(UNITS, T).undo(finish(out, batch)).double()


@pytest.mark.parametrize(("f", "threshold"), [("identity", 0.0), ("thresholded", 0.04), ("sqrt", 0.01), ("log", 0.1)])
def test_a_tile_keeps_its_mass_to_one_in_a_hundred_thousand(f, threshold):
    coarse = torch.tensor([[[0.0, 4.0], [1.0, 7.0]], [[0.2, 0.0], [0.0, 0.0]]])
    fine = made(batch_of(coarse), "tile", f, threshold)
    # 3 frames of 36 points hold what 3 x 9 points a cell do: 27 (0 + 4 + 1 + 7) = 324 mm, and 27 · 0.2 = 5.4 mm.
    torch.testing.assert_close(fine.sum((1, 2, 3)), torch.tensor([324.0, 5.4]).double(), rtol=1e-5, atol=0)
    assert float(fine.min()) > -1e-6


@pytest.mark.parametrize("how", ["additive", "multiplicative", "softmax"])
def test_each_coarse_cell_keeps_its_own_mass(how):
    coarse = torch.tensor([[[0.5, 4.0], [1.0, 7.0]]])
    fine = made(batch_of(coarse), how)
    cells = fine.unflatten(2, (2, 3)).unflatten(4, (2, 3)).mean((1, 3, 5))
    torch.testing.assert_close(cells, coarse.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", ["tile", "multiplicative", "softmax"])
def test_where_the_coarse_frame_is_dry_nothing_falls(how):
    # To what normalising a 0 and undoing it leaves: 1e-7 of the deviation, 2 mm.
    fine = made(batch_of(torch.zeros(1, 2, 2)), how)
    assert float(fine.abs().max()) < 1e-6


def test_a_dry_cell_of_a_wet_tile_stays_dry_where_cells_are_kept():
    fine = made(batch_of(torch.tensor([[[0.0, 4.0], [1.0, 7.0]]])), "multiplicative")
    assert float(fine[0, :, :3, :3].abs().max()) < 1e-6
    assert float(fine[0, :, :3, 3:].sum()) > 1


def test_with_a_mask_mass_is_counted_where_it_was_observed():
    mask = torch.ones(1, 1, 6, 6)
    mask[..., 0] = 0
    fine = made(batch_of(torch.full((1, 2, 2), 2.0), mask=mask, input_mask=torch.ones(1, 1, 2, 2)), "tile")
    # 3 frames of 30 observed points at 2 mm.
    torch.testing.assert_close(float((fine * mask).sum()), 180.0, rtol=1e-5, atol=0)


def test_without_a_coarse_frame_of_the_target_there_is_no_mass_to_keep():
    batch = replace(batch_of(torch.ones(1, 2, 2)), newest=())
    with pytest.raises(MethodError, match="no coarse frame"):
        Finish(relu=False, conserve="tile", f="identity", threshold=0.0)(torch.zeros(1, T, 6, 6), batch)


def test_the_largest_coarse_amount_is_learnt_and_saved():
    finish = Finish(relu=True, conserve="tile", f="thresholded", threshold=0.02)
    for largest in (3.0, 9.0, 5.0):
        finish.see(batch_of(torch.tensor([[[0.0, largest], [1.0, 0.5]]])))
    # Of all input frames the newest alone is seen: 9, not 9 + 1.
    assert float(finish.state_dict()["largest"]) == pytest.approx(9.0, rel=1e-6)
