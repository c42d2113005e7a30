"""`pinn`: the residual of the ladder's own equation beside the data loss.

    L = (1 − w) ⟨e²⟩ + w r(u, M(u)),   w = `weight`: 0 data alone, 1 residual alone

r: `methods.residual`, without a unit.  The mixture is that of Sakarvadia et al., ICLR 2026; theirs is the mean square
of R in the equation's units (`units: raw`), so that what one w does differs from equation to equation.  Their residuals
do not vanish at the solution; ours do at the order that tests/solvers/test_residuals.py shows, and what is left of the
truth itself is on the run's card.

`residual_factor` asks for the equation on a grid that many times finer, where the model is given its input carried
there and no data: still zero-shot, for nothing finer than the train rung is read.  Ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from anchorbench.config import Frozen
from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields.carry import on_grid
from anchorbench.methods.base import Method, Plan, mean_square
from anchorbench.methods.equation import newest_state
from anchorbench.methods.residual import Residual, targets_in_units
from anchorbench.solvers.residuals import Derivatives, Scheme, Stencil


class PinnOptions(Frozen):
    weight: float = Field(default=0.1, ge=0, le=1, description="w: 0 data alone, 1 residual alone")
    units: Literal["relative", "raw"] = Field(
        default="relative", description="relative: by what the truth moves, or the forcing; raw: as published"
    )
    scheme: Scheme = Field(default="trapezoidal", description="of the step in time")
    derivatives: Derivatives = Field(default="spectral", description="on periodic boxes; finite: of second order")
    stencil: Stencil = Field(default="faces", description="of darcy.  faces: the solver's own; wide: as published")
    residual_factor: int = Field(default=1, ge=1, description="the residual's grid, in train rungs")


class Pinn(Method):
    """Raises MethodError where the ladder's equation has no residual."""

    name = "pinn"
    tasks = ("forecast", "operator")
    Options = PinnOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        if plan.ladder is None:
            raise MethodError("pinn needs the ladder's own equation, and this plan has no ladder")
        o = self.options
        self.residual = Residual(plan.ladder, plan.lead, scheme=o.scheme, derivatives=o.derivatives, stencil=o.stencil)

    def measured(self, batch: Batch) -> dict[str, float]:
        """What the truth, and an answer that stands still, leave of the equation on the train rung."""
        return self.residual.measured(batch)

    def loss(self, trained: nn.Module, batch: Batch, *, step: int, rng: torch.Generator) -> Tensor:
        w, factor = self.options.weight, self.options.residual_factor
        data = batch.targets.new_zeros(())
        at, answer = batch, None
        if w < 1:
            answer = trained(batch)
            data = mean_square(answer - batch.targets, batch)
        if not w:
            return data
        if answer is None or factor > 1:
            at = finer(batch, factor)
            answer = trained(at)
        total: Tensor = (1 - w) * data + w * self.mean_residual(at, answer)
        return total

    def mean_residual(self, batch: Batch, answer: Tensor) -> Tensor:
        """r of a normalised answer on the batch's grid, or ⟨R²⟩ with `units: raw`: a scalar."""
        # Derivatives of the finest waves cancel in half precision.
        with torch.autocast(answer.device.type, enabled=False):
            state, out = newest_state(batch).float(), targets_in_units(batch, answer.float())
            square = self.residual(state, out, batch.grid).square().mean()
            if self.options.units == "raw":
                return square
            return square / self.residual.scale(state, targets_in_units(batch, batch.targets).float())


def finer(batch: Batch, factor: int) -> Batch:
    """The batch carried to a grid `factor` times finer; nothing is added to what it holds."""
    if factor == 1:
        return batch
    grid = batch.grid.with_rung(batch.grid.rung * factor)

    def there(u: Tensor) -> Tensor:
        return on_grid(u, batch.grid, grid)

    mask, input_mask, static = (
        None if part is None else there(part) for part in (batch.mask, batch.input_mask, batch.static)
    )
    return replace(
        batch,
        inputs=there(batch.inputs),
        targets=there(batch.targets),
        grid=grid,
        out_grid=grid,
        mask=mask,
        input_mask=input_mask,
        static=static,
    )
