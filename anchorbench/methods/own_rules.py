"""A batch's inputs on a coarser grid, each variable by the rule that its ladder has for it.

    geometric_mean  exp⟨log a⟩        harmonic_mean  1/⟨1/a⟩        block_mean  ⟨a⟩

over blocks and in physical units, as when the ladder was made; variables without a rule of their own by the ladder's
restriction.  A coefficient that is averaged otherwise is another medium than the one that the ladder holds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anchorbench.config import inputs_of
from anchorbench.data.samples import Batch
from anchorbench.fields import Grid, restrict
from anchorbench.methods.base import Plan

MEANS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "block_mean": (torch.clone, torch.clone),
    "geometric_mean": (torch.log, torch.exp),
    "harmonic_mean": (torch.reciprocal, torch.reciprocal),
}


def restrict_inputs(batch: Batch, to: Grid, plan: Plan) -> Tensor:
    """(B, C, *to), normalised.  Of a batch without units all inputs go by the ladder's restriction."""
    out = restrict(batch.inputs, to, how=plan.restriction, weights=batch.input_mask)
    if plan.ladder is None or batch.in_units is None:
        return out
    variables = plan.ladder.variables
    numbers = inputs_of(variables)
    frames = batch.inputs.shape[1] // len(numbers)
    for place, number in enumerate(numbers):
        rule = variables[number].restriction
        if rule is None:
            continue
        inside, back = MEANS[rule]
        units, own = batch.in_units.only([place] * frames), slice(place * frames, (place + 1) * frames)
        physical = inside(units.undo(batch.inputs[:, own]))
        out[:, own] = units.apply(back(restrict(physical, to, how="block_mean", weights=batch.input_mask)))
    return out
