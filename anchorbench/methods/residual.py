"""What the ladder's own equation leaves of an input and an answer, as one number without a unit.

    r = ⟨R²⟩ / ⟨D²⟩,   R of `solvers.residuals`,   D = (y − u)/Δt of the truth, or D = f where the flow is steady

r is 1 where an answer is off by all that the truth moves, whatever the units and the size of the flow; this scale is
ours.  The truth itself has an r above 0: the step Δt is long for a trapezoid, and a rung lacks the waves that it does
not carry.  `measured` says how much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anchorbench.config import LadderSpec
from anchorbench.data.samples import Batch
from anchorbench.data.sources import burgers, darcy, options_of, turbulence, turbulence3d
from anchorbench.errors import MethodError
from anchorbench.fields import Grid
from anchorbench.methods.equation import EQUATIONS, newest_state
from anchorbench.solvers.residuals import (
    Derivatives,
    Scheme,
    Stencil,
    burgers_rate,
    darcy_residual,
    step_residual,
    velocity_rate,
    vorticity_rate,
)

#: The readers whose equation has a residual here.
READERS = ("turbulence", "turbulence3d", "burgers", "darcy")


@dataclass(frozen=True)
class Residual:
    """R of one ladder's equation.

    lead: time steps from input to target; none for a steady flow.
    Raises MethodError for a ladder whose equation has no residual here.
    """

    ladder: LadderSpec
    lead: int
    scheme: Scheme = "trapezoidal"
    derivatives: Derivatives = "spectral"
    stencil: Stencil = "faces"

    def __post_init__(self) -> None:
        if self._reader not in READERS:
            known = ", ".join("/".join(pair) for pair, reader in EQUATIONS.items() if reader in READERS)
            raise MethodError(
                f"pinn: the equation of {self.ladder.dataset}/{self.ladder.source} has no residual here",
                do=f"it has one for: {known}",
            )

    @property
    def _reader(self) -> str | None:
        return EQUATIONS.get((self.ladder.dataset, self.ladder.source))

    @property
    def _options(self) -> Any:
        return options_of(str(self._reader))(**self.ladder.origin)

    def __call__(self, before: Tensor, after: Tensor, grid: Grid) -> Tensor:
        """R: before (B, C, *grid), after (B, C', *grid), physical units.  Darcy's `wide` leaves out a margin."""
        options = self._options
        if isinstance(options, darcy.Options):
            return darcy_residual(before, after, forcing=options.forcing, grid=grid, stencil=self.stencil)
        dt = self.lead * options.interval

        def step(rate: Callable[[Tensor], Tensor]) -> Tensor:
            return step_residual(before, after, rate, dt=dt, scheme=self.scheme)

        if isinstance(options, burgers.Options):
            return step(lambda u: burgers_rate(u, options.flow, grid, derivatives=self.derivatives))
        if isinstance(options, turbulence.Options):
            return step(lambda w: vorticity_rate(w, options.flow, grid, derivatives=self.derivatives))
        assert isinstance(options, turbulence3d.Options)
        return step(lambda u: velocity_rate(u, options.law, grid, derivatives=self.derivatives))

    def scale(self, before: Tensor, truth: Tensor) -> Tensor:
        """⟨D²⟩ of a batch, a scalar."""
        options = self._options
        if isinstance(options, darcy.Options):
            return torch.as_tensor(options.forcing**2, dtype=truth.dtype, device=truth.device)
        moved: Tensor = (truth - before) / (self.lead * options.interval)
        return moved.square().mean()

    def measured(self, batch: Batch) -> dict[str, float]:
        """r of the truth itself and of an answer that stands still (0 where the flow is steady)."""
        state, truth = newest_state(batch), targets_in_units(batch, batch.targets)
        scale = self.scale(state, truth)
        still = state if state.shape == truth.shape and self.lead else torch.zeros_like(truth)
        return {
            name: float(self(state, answer, batch.grid).square().mean() / scale)
            for name, answer in (("truth_residual", truth), ("still_residual", still))
        }


def targets_in_units(batch: Batch, values: Tensor) -> Tensor:
    """Normalised targets in physical units: (B, C', *out_grid).  Raises MethodError where the batch has no units."""
    if batch.out_units is None:
        raise MethodError("pinn: these samples do not say in which units they are")
    return batch.out_units.undo(values)
