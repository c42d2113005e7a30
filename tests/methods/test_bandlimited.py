"""`bandlimited`: what a model on one latent grid can and cannot write on a finer one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anchorbench.errors import MethodError
from anchorbench.fields import project, prolong, restrict
from anchorbench.methods.bandlimited import BandLimited
from anchorbench.methods.base import Plan


@pytest.fixture
def made(waves):
    def make(**options) -> BandLimited:
        return BandLimited(Plan.of(waves.spec, 16), options)

    return make


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(2, 1, 3, padding=1, padding_mode="circular")  # the state and the forcing


@pytest.mark.parametrize("rung", [8, 16, 32])
def test_a_linear_operator_on_the_latent_grid_is_exactly_band_limited(waves, windows, made, rung):
    batch = windows(waves, rung, home=16).batch([0, 1])
    out = made(latent_rung=8).wrap(linear())(batch).double()
    beyond = out - project(out, waves.grid(8), how="spectral")
    assert beyond.abs().max() < 1e-6 * out.abs().max()


def test_its_prediction_on_a_finer_rung_is_its_coarse_prediction_prolonged(waves, windows, made):
    trained = made().wrap(linear())
    home = trained(windows(waves, 16, home=16).batch([0, 3]))
    there = trained(windows(waves, 32, home=16).batch([0, 3]))
    torch.testing.assert_close(there, prolong(home, waves.grid(32)), rtol=1e-4, atol=1e-5)


def test_what_the_latent_grid_cannot_hold_does_not_reach_the_model(waves, windows, made):
    batch = windows(waves, 32, home=16).batch([2])
    fine = torch.randn_like(batch.inputs)
    fine = fine - prolong(restrict(fine, waves.grid(16)), waves.grid(32))
    trained = made().wrap(linear())
    torch.testing.assert_close(trained(batch.with_inputs(batch.inputs + fine)), trained(batch), rtol=1e-3, atol=1e-4)


def test_a_lift_on_each_point_writes_beyond_the_latent_band(waves, windows, made):
    trained = made(latent_rung=8, lift="pointwise").wrap(linear())
    batch = windows(waves, 32, home=16).batch([0])
    beyond = [trained(batch).double()]
    nn.init.normal_(trained.lift.layers[-1].weight)
    beyond.append(trained(batch).double())
    start, after = ((u - project(u, waves.grid(8), how="spectral")).square().mean() for u in beyond)
    assert start < 1e-10, "the lift begins at 0"
    assert after > 1e-3


def test_on_masked_cells_the_latent_inputs_are_means_of_what_was_observed(rain, windows):
    batch = windows(rain, 8, home=8).batch([0])
    latent = BandLimited(Plan.of(rain.spec, 8), {"latent_rung": 4}).wrap(linear()).to_latent(batch)
    assert latent.inputs.shape[-2:] == (4, 4)
    blocks = (batch.inputs * batch.input_mask).unfold(2, 2, 2).unfold(3, 2, 2).sum((-1, -2))
    weights = batch.input_mask.unfold(2, 2, 2).unfold(3, 2, 2).sum((-1, -2))
    torch.testing.assert_close(latent.inputs, torch.where(weights > 0, blocks / weights.clamp_min(1e-9), 0.0))


def test_a_latent_grid_finer_than_the_train_rung_is_refused(made):
    with pytest.raises(MethodError, match="a latent grid of 32 points is finer than the train rung 16"):
        made(latent_rung=32)


def test_a_latent_grid_that_does_not_divide_cells_is_refused(rain):
    with pytest.raises(MethodError, match="5 does not divide the train rung 8"):
        BandLimited(Plan.of(rain.spec, 8), {"latent_rung": 5})
