"""Inputs on a coarser grid: a coefficient by its own rule, in physical units; the rest by the ladder's restriction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from anchorbench.config import LadderSpec
from anchorbench.data.samples import Batch, Normaliser
from anchorbench.fields import Grid
from anchorbench.methods.bandlimited import BandLimited
from anchorbench.methods.base import Plan
from anchorbench.methods.frl import coarsened
from anchorbench.methods.own_rules import restrict_inputs

FINE = Grid((4,), (1.0,), centring="cell", periodic=(False,))
COARSE = FINE.with_rung(2)
UNITS = Normaliser((2.0, 10.0), (3.0, 5.0))


def plan(rule: str | None) -> Plan:
    variables = [
        {"name": "a", "units": "1", "role": "input", "restriction": rule},
        {"name": "b", "units": "1", "role": "input"},
        {"name": "y", "units": "1", "role": "target"},
    ]
    spec = LadderSpec(
        dataset="d", source="generated", size="tiny", restriction="block_mean", rungs=(2, 4), grid=FINE.to_dict(),
        variables=variables, time_step=0.0, time_unit="", origin={},
    )  # fmt: skip
    return Plan.of(spec, 4)


@pytest.fixture
def batch() -> Batch:
    """Two frames of a, two of b."""
    a = torch.tensor([[1.0, 4.0, 4.0, 4.0], [9.0, 1.0, 2.0, 8.0]])
    b = torch.tensor([[0.0, 2.0, 4.0, 6.0], [8.0, 0.0, 1.0, 3.0]])
    inputs = UNITS.apply(torch.stack([a, b])[None]).flatten(1, 2)
    return Batch(inputs, torch.zeros(1, 1, 4), FINE, FINE, torch.zeros(1, dtype=torch.long), in_units=UNITS)


def physical(inputs: torch.Tensor) -> list:
    return UNITS.undo(inputs.unflatten(1, (2, 2)))[0].tolist()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("geometric_mean", [[2.0, 4.0], [3.0, 4.0]]),  # √(1·4), √(4·4); √(9·1), √(2·8)
        ("harmonic_mean", [[1.6, 4.0], [1.8, 3.2]]),  # 2/(1 + 1/4), 4; 2/(1/9 + 1), 2/(1/2 + 1/8)
        ("block_mean", [[2.5, 4.0], [5.0, 5.0]]),
        (None, [[2.5, 4.0], [5.0, 5.0]]),
    ],
)
def test_a_coefficient_gets_coarser_by_its_own_rule_and_the_rest_by_block_means(batch, rule, expected):
    for out in (restrict_inputs(batch, COARSE, plan(rule)), coarsened(batch, 2, plan(rule)).inputs):
        a, b = physical(out)
        torch.testing.assert_close(torch.tensor(a), torch.tensor(expected))
        torch.testing.assert_close(torch.tensor(b), torch.tensor([[1.0, 5.0], [4.0, 2.0]]))


def test_what_was_not_observed_has_no_weight_in_it(batch):
    seen = torch.tensor([[[1.0, 0.0, 1.0, 1.0]]])
    a, _ = physical(restrict_inputs(replace(batch, input_mask=seen), COARSE, plan("geometric_mean")))
    torch.testing.assert_close(torch.tensor(a), torch.tensor([[1.0, 4.0], [9.0, 4.0]]))


def test_a_band_limited_model_is_given_the_medium_that_the_ladder_holds(batch):
    """So its prediction on a finer rung is its coarse one, of a coefficient too."""
    method = BandLimited(replace(plan("geometric_mean"), train_grid=COARSE), {"latent_rung": None})
    taken = []
    trained = method.wrap(nn.Conv1d(4, 1, 1))
    trained.model.register_forward_pre_hook(lambda _, given: taken.append(given[0]))
    trained(batch)
    torch.testing.assert_close(torch.tensor(physical(taken[0])[0]), torch.tensor([[2.0, 4.0], [3.0, 4.0]]))
