"""`pinn`: a mixture of data and equation, in numbers without a unit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from anchorbench.data.samples import Normaliser
from anchorbench.errors import ConfigError, MethodError
from anchorbench.methods.base import Plan, mean_square
from anchorbench.methods.pinn import Pinn, finer
from anchorbench.methods.references import build_reference
from anchorbench.models.local_net import LocalNet
from anchorbench.models.options import LocalOptions


@pytest.fixture
def made(waves):
    def make(**options) -> Pinn:
        return Pinn(Plan.of(waves.spec, 16), options)

    return make


@pytest.fixture
def batch(waves, windows):
    return windows(waves, 16, home=16).batch([0, 2, 5])


def rng():
    return torch.Generator().manual_seed(0)


def small_net(batch):
    torch.manual_seed(0)
    channels = batch.inputs.shape[1] + batch.static.shape[1]
    return LocalNet(channels, 1, batch.grid, LocalOptions(width=8, layers=2))


class Answer(nn.Module):
    """One answer for each grid, whatever it is given."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def forward(self, batch):
        return self.values.expand_as(batch.targets)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_weight_mixes_data_and_residual(made, batch, weight):
    method = made(weight=weight)
    answer = batch.targets + 0.3
    data, residual = mean_square(answer - batch.targets, batch), method.mean_residual(batch, answer)
    mixed = method.loss(Answer(answer), batch, step=0, rng=rng())
    torch.testing.assert_close(mixed, (1 - weight) * data + weight * residual)


def test_the_solvers_step_leaves_less_than_the_truth_less_than_standing_still(waves, windows, made):
    """Nothing a rung lacks, the wave that it does not carry, everything: in this order."""
    samples = windows(waves, 16, home=16)
    batch = samples.batch([0, 2, 5])
    solver = build_reference(
        "solver", waves, task="forecast", band=waves.grid(16), normaliser=samples.normaliser, lead=1
    )
    method = made()
    stepped, truth, still = (
        float(method.mean_residual(batch, answer)) for answer in (solver(batch), batch.targets, batch.start())
    )
    assert stepped < truth < still
    assert method.measured(batch) == pytest.approx({"truth_residual": truth, "still_residual": still}, rel=1e-5)


@pytest.mark.parametrize("units", ["relative", "raw"])
def test_the_residual_does_not_know_how_the_data_were_normalised(made, batch, units):
    """(v − m/2)/(s/2) = 2 (v − m)/s + m/s: the same fields by another mean and deviation."""
    old = batch.out_units
    new = Normaliser(tuple(m / 2 for m in old.mean), tuple(s / 2 for s in old.std))
    shift = old.mean[0] / old.std[0]
    answer = batch.targets + 0.1
    told = replace(
        batch, inputs=2 * batch.inputs + shift, targets=2 * batch.targets + shift, in_units=new, out_units=new
    )
    method = made(units=units)
    torch.testing.assert_close(
        method.mean_residual(told, 2 * answer + shift), method.mean_residual(batch, answer), rtol=1e-3, atol=0
    )


def test_residual_alone_teaches_the_equation_without_a_target(made, batch):
    method = made(weight=1.0)
    trained = method.wrap(small_net(batch))
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        loss = method.loss(trained, batch, step=step, rng=rng())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    still = mean_square(batch.start() - batch.targets, batch)
    assert mean_square(trained(batch) - batch.targets, batch) < 0.9 * still


def test_a_finer_residual_reads_nothing_finer(made, batch):
    """What is carried has no wave beyond the train rung, and the data term stays on the train rung."""
    fine = finer(batch, 2)
    assert fine.grid.rung == 32
    spectrum = torch.fft.rfft2(fine.inputs).abs()
    assert spectrum[..., 9:24, :].max() < 1e-4 * spectrum.max()
    assert spectrum[..., :, 9:].max() < 1e-4 * spectrum.max()

    seen = []

    class Watched(nn.Module):
        def forward(self, given):
            seen.append((given.grid.rung, given.out_grid.rung))
            return given.targets

    method = made(residual_factor=2)
    assert method.rungs() == (16,)
    method.loss(Watched(), batch, step=0, rng=rng())
    assert seen == [(16, 16), (32, 32)]


def test_a_ladder_without_an_equation_is_refused(rain):
    with pytest.raises(MethodError, match="sevir/sample has no residual"):
        Pinn(Plan.of(rain.spec, 8), {})


def test_a_weight_above_one_is_refused(made):
    with pytest.raises(ConfigError, match="weight"):
        made(weight=1.5)
