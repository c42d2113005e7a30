"""The card: what it finds by trying the model."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anchorbench.fields.grid import Grid
from anchorbench.models.card import card
from anchorbench.models.fno import SpectralConv
from anchorbench.models.registry import build

GRID, RUNGS = Grid((8, 8)), (4, 8, 16)


class Inner(nn.Module):
    """Works on 8 x 8 waves whatever the grid."""

    def forward(self, x):
        n = x.shape[-1]
        low = torch.fft.rfft2(x, norm="forward")[..., : n // 2 + 1]
        mask = (torch.fft.fftfreq(n, 1 / n).abs() < 4)[:, None] & (torch.arange(n // 2 + 1) < 4)
        return torch.fft.irfft2(low * mask, s=(n, n), norm="forward")


class Factor(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=2)


class OwnGrid(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(64, 64)

    def forward(self, x):
        return self.net(x.flatten(1)).view_as(x)


@pytest.mark.parametrize(
    ("model", "rule", "factor"),
    [
        (nn.Conv2d(1, 1, 3, padding=1), "any grid", None),
        (Inner(), "fixed inner grid", None),
        (Factor(), "fixed factor", 2.0),
        (OwnGrid(), "its own grid only", None),
    ],
)
def test_the_grid_rule_is_found_by_trying(model, rule, factor):
    made = card(model, "it", grid=GRID, in_channels=1, rungs=RUNGS)
    assert (made.grid_rule, made.factor) == (rule, factor)
    assert list(made.flops) == ([8] if rule == "its own grid only" else [4, 8, 16])


@pytest.mark.parametrize("name", ["fno", "unet"])
def test_the_built_in_models_run_on_any_grid(name):
    model = build(name, in_channels=1, out_channels=1, grid=GRID, options={"width": 4})
    assert card(model, name, grid=GRID, in_channels=1, rungs=RUNGS).grid_rule == "any grid"


def test_parameters_and_operations_are_counted():
    # 1 -> 2 channels, 3 x 3: 18 weights and 2 biases; 2 operations a weight and point.
    made = card(nn.Conv2d(1, 2, 3, padding=1), "conv", grid=GRID, in_channels=1, rungs=(8, 16))
    assert made.parameters == 20
    assert made.flops == {8: 2 * 18 * 64, 16: 2 * 18 * 256}
    complex_weight = nn.ParameterList([torch.zeros(3, dtype=torch.complex64)])  # three complex numbers are six
    made = card(nn.ModuleDict({"w": complex_weight}), "complex", grid=GRID, in_channels=1, rungs=())
    assert made.parameters == 6


class Spectral(nn.Module):
    def __init__(self, *, in_place):
        super().__init__()
        self.conv, self.in_place = SpectralConv(2, 2, (4, 4)), in_place

    def forward(self, x):
        return self.conv(x.movedim(1, -1), torch.zeros(8, 8, 2) if self.in_place else None).movedim(-1, 1)


@pytest.mark.parametrize("in_place", [False, True])
def test_products_that_are_added_in_place_are_counted(in_place):
    made = card(Spectral(in_place=in_place), "s", grid=GRID, in_channels=2, rungs=())
    # Rows: 8 products (6 x 8)(8 x 2).  Columns: (8 x 16)(16 x 6).  12 waves: (1 x 4)(4 x 4).  And the way back.
    assert made.flops == {8: 2 * (2 * (8 * 6 * 8 * 2 + 8 * 16 * 6) + 12 * 16)}


def test_the_model_is_left_in_the_mode_it_was_in():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1).eval())
    card(model, "mixed", grid=GRID, in_channels=1, rungs=RUNGS)
    assert [m.training for m in model] == [True, False]
    assert model[1].num_batches_tracked == 0


def test_a_card_says_what_unit_a_kernel_has_and_fits_into_json():
    for units, words in (("physical", "physical units"), ("grid", "its support shrinks")):
        options = {"width": 4, "modes": 4, "local_kernel": 3, "local_units": units}
        model = build("fno", in_channels=1, out_channels=1, grid=GRID, options=options)
        made = card(model, "fno", grid=GRID, in_channels=1, rungs=RUNGS)
        assert words in made.kernel
        assert "circular" in made.padding
        assert json.loads(json.dumps(made.to_dict()))["flops"].keys() == {"r004", "r008", "r016"}
        assert made.lines()[1] == "grid: any grid"
    users = card(nn.Conv2d(1, 1, 5, padding=2), "mine", grid=GRID, in_channels=1, rungs=RUNGS)
    assert users.kernel == "5x5, in grid points: its support shrinks on a finer grid"
    assert (users.padding, users.embedding) == ("zeros", "not known")
