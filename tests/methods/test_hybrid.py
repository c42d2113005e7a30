"""`hybrid`: the solver's own step, a correction, and what the grid's spacing does to it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anchorbench.errors import MethodError
from anchorbench.fields import Grid, restrict
from anchorbench.methods.base import Plan
from anchorbench.methods.hybrid import Hybrid
from anchorbench.methods.references import build_reference
from anchorbench.models.local_net import LocalNet
from anchorbench.models.options import LocalOptions


class One(nn.Module):
    """Writes 1 everywhere, whatever it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(x[:, :1])


@pytest.fixture
def made(waves):
    def make(**options) -> Hybrid:
        return Hybrid(Plan.of(waves.spec, 16), options)

    return make


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("rung", [8, 16, 32])
def test_without_a_correction_it_is_the_solver_itself(waves, windows, made, rung):
    samples = windows(waves, rung, home=16)
    batch = samples.batch([0, 3])
    alone = made().wrap(nn.Conv2d(3, 1, 1))
    nn.init.zeros_(alone.model.weight)
    nn.init.zeros_(alone.model.bias)
    solver = build_reference(
        "solver", waves, task="forecast", band=waves.grid(16), normaliser=samples.normaliser, lead=1
    )
    torch.testing.assert_close(alone(batch), solver(batch), rtol=0, atol=0)


@pytest.mark.parametrize(("power", "factor"), [(2.0, 0.25), (1.0, 0.5), (0.0, 1.0)])
def test_a_grid_of_half_the_spacing_gets_the_correction_times_two_to_minus_p(waves, windows, made, power, factor):
    batch = windows(waves, 32, home=16).batch([1])
    corrected = made(strength="set", power=power).wrap(One())
    plain = made(strength="constant").wrap(One())
    torch.testing.assert_close(plain(batch) - corrected(batch), torch.full_like(batch.targets, 1 - factor))


def test_the_power_is_learned_on_the_coarser_level_only(waves, windows, made):
    batch = windows(waves, 16, home=16).batch([0, 1])
    trained = made().wrap(One())
    at_home = (trained(batch) - batch.targets).square().mean()
    assert torch.autograd.grad(at_home, trained.power)[0] == 0, "at ρ₀ the strength is 1 whatever the power"
    method = made()
    drawn = [method.loss(trained, batch, step=0, rng=torch.Generator().manual_seed(seed)) for seed in range(8)]
    gradients = [torch.autograd.grad(loss, trained.power)[0].item() for loss in drawn]
    assert 0.0 in gradients
    assert any(g != 0 for g in gradients)


def test_it_trains_on_the_train_rung_and_coarser(made):
    method = made(levels=2)
    assert method.mix() == pytest.approx({4: 1 / 3, 8: 1 / 3, 16: 1 / 3})
    assert method.rungs() == (16,), "coarser levels are restricted from ρ₀: no other rung is opened"


def test_the_network_sees_the_state_the_forcing_and_what_the_solver_made_of_it(waves, windows, made):
    seen = {}

    class Spy(One):
        def forward(self, x):
            seen["channels"] = x.shape[1]
            return super().forward(x)

    method = made()
    method.wrap(Spy())(windows(waves, 16, home=16).batch([0]))
    assert seen["channels"] == 1 + 1 + method.extra_channels() == 3


def test_a_ladder_whose_equation_nobody_knows_is_refused(rain):
    with pytest.raises(MethodError, match="nobody here knows the equation of sevir/sample"):
        Hybrid(Plan.of(rain.spec, 8), {})


def test_a_learned_power_needs_a_level_to_learn_from(made):
    with pytest.raises(MethodError, match="a power is learned from coarser levels"):
        made(levels=0)


# -- the model that goes with it ---------------------------------------------------------------------------------------


def test_a_local_network_does_the_same_on_every_grid_to_a_field_that_all_of_them_resolve():
    """A sine of one wave, taps a 16th of the box apart: on 16, 32 and 64 points the taps meet points exactly."""
    grids = {n: Grid((n,), extent=(1.0,)) for n in (16, 32, 64)}
    torch.manual_seed(0)
    net = LocalNet(1, 1, grids[16], LocalOptions(width=6, layers=3)).double().eval()
    out = {}
    for n, grid in grids.items():
        wave = torch.sin(2 * torch.pi * grid.coordinates(0))[None, None]
        out[n] = net(wave, grid, grid)
    for n in (32, 64):
        torch.testing.assert_close(out[n][..., :: n // 16], out[16], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(12,), (9, 12), (8, 6, 7)])
def test_a_local_network_takes_one_to_three_axes_of_any_size(shape):
    grid = Grid(shape)
    net = LocalNet(2, 3, grid, LocalOptions(width=4, layers=2))
    assert net(torch.randn(2, 2, *shape), grid, grid).shape == (2, 3, *shape)
    finer = grid.with_shape(tuple(2 * n for n in shape))
    assert net(torch.randn(1, 2, *shape), grid, finer).shape == (1, 3, *finer.shape)


def test_a_local_network_s_input_may_be_coarser_than_its_output():
    grid, fine = Grid((8, 8)), Grid((16, 16))
    net = LocalNet(1, 1, grid, LocalOptions(width=4, layers=1)).double()
    u = restrict(torch.randn(1, 1, 32, 32, dtype=torch.float64), grid)
    assert net(u, grid, fine).isfinite().all()
