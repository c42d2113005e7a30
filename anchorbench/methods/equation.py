"""The equation that made a ladder, as its own solver advances it on any rung: a yardstick, and a part of `hybrid`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anchorbench.config import LadderSpec
from anchorbench.data.samples import Batch
from anchorbench.data.sources import load_module, options_of
from anchorbench.errors import MethodError
from anchorbench.fields import Grid

#: (dataset, source) -> the reader whose `advance` is the equation that made the ladder.
EQUATIONS = {
    ("turbulence2d", "generated"): "turbulence",
    ("turbulence3d", "generated"): "turbulence3d",
    ("burgers", "generated"): "burgers",
    ("darcy", "generated"): "darcy",
    ("weather", "generated"): "shallow_water",
}


def has_equation(ladder: LadderSpec) -> bool:
    return (ladder.dataset, ladder.source) in EQUATIONS


def equation_of(ladder: LadderSpec, *, lead: int) -> Callable[[Tensor, Grid], Tensor]:
    """What the equation makes of a state on a rung, `lead` steps later, every mode of the rung advanced.

    Takes (B, C, *grid) in physical units and the grid, returns (B, C', *grid).
    Raises MethodError where nobody knows the ladder's equation.
    """
    if not has_equation(ladder):
        raise MethodError(
            f"nobody here knows the equation of {ladder.dataset}/{ladder.source}",
            do="it is known for: " + ", ".join("/".join(pair) for pair in EQUATIONS),
        )
    reader = EQUATIONS[ladder.dataset, ladder.source]
    advance, options = load_module(reader).advance, options_of(reader)(**ladder.origin)

    def later(state: Tensor, grid: Grid) -> Tensor:
        with torch.no_grad():
            out: Tensor = advance(options, state, grid=grid, lead=lead)
        return out.to(state)

    return later


def newest_state(batch: Batch) -> Tensor:
    """The newest frame of each input variable, physical units: (B, C, *grid).

    Raises MethodError for a batch that does not know its units.
    """
    if batch.in_units is None:
        raise MethodError("these samples do not say in which units they are")
    frames = batch.inputs.shape[1] // len(batch.in_units.mean)
    return batch.in_units.undo(batch.inputs[:, frames - 1 :: frames])
