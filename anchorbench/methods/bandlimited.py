"""`bandlimited`: bring every input to one latent grid, run the model there, and lift its output (CROP).

    F(u) = prolong( N( restrict u ) ),   the latent grid that of the train rung, or another

A model that only ever meets one grid cannot alias on another, and nothing finer than the latent grid can be in its
output: what it predicts on a finer rung is its own coarse prediction.  (Gao et al., "Discretization-invariance? On the
discretization mismatch errors in neural operators", ICLR 2025.)  Track: zero-shot.

Their last layer acts on each point of the finer grid; `lift: pointwise` has it, and with it waves beyond the latent
band, as products of what is within.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from anchorbench.config import Frozen, targets_of
from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields import Grid, prolong, restrict, restrict_weights
from anchorbench.methods.base import Forecaster, Method, Plan
from anchorbench.methods.own_rules import restrict_inputs

HIDDEN = 32


class BandlimitedOptions(Frozen):
    latent_rung: int | None = Field(default=None, ge=4, description="null: the train rung")
    lift: Literal["none", "pointwise"] = Field(
        default="none", description="none: exactly band-limited; pointwise: a network on each point of the finer grid"
    )


class BandLimited(Method):
    """Raises MethodError for a latent grid finer than the train rung, or that the ladder's restriction cannot reach."""

    name = "bandlimited"
    tasks = ("forecast", "operator")
    Options = BandlimitedOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        latent = self.options.latent_rung or plan.train_rung
        if latent > plan.train_rung:
            raise MethodError(
                f"bandlimited: a latent grid of {latent} points is finer than the train rung {plan.train_rung}: "
                "no input that training sees would fill it",
                do=f"--set method.bandlimited.latent_rung={plan.train_rung}",
            )
        if plan.restriction != "spectral" and plan.train_rung % latent:
            raise MethodError(
                f"bandlimited: {latent} does not divide the train rung {plan.train_rung}, as {plan.restriction} needs"
            )
        self.latent = plan.train_grid.with_rung(latent)

    def wrap(self, model: nn.Module) -> nn.Module:
        channels = 1 if self.plan.ladder is None else len(targets_of(self.plan.ladder.variables))
        lift = Pointwise(channels) if self.options.lift == "pointwise" else None
        return OnLatent(Forecaster(model, increment=self.plan.increment), self.latent, self.plan, lift)


class OnLatent(nn.Module):
    """Takes a Batch on any grid, returns (B, C', *out_grid).  From a coarser rung the latent grid is not filled."""

    def __init__(self, inner: Forecaster, latent: Grid, plan: Plan, lift: nn.Module | None) -> None:
        super().__init__()
        self.inner, self.lift = inner, lift
        self._latent, self._how, self._plan = latent, plan.restriction, plan

    @property
    def model(self) -> nn.Module:
        return self.inner.model

    def forward(self, batch: Batch) -> Tensor:
        out = self._carried(self.inner(self.to_latent(batch)), batch.out_grid)
        return out if self.lift is None else out + self.lift(out)

    def to_latent(self, batch: Batch) -> Batch:
        """The batch on the latent grid; its targets are there for their shape alone."""
        latent = self._latent

        def shares(mask: Tensor | None) -> Tensor | None:
            if mask is None or self._finer(mask, latent):
                return None if mask is None else prolong(mask, latent, how=self._how)
            return restrict_weights(mask, latent, how=self._how)

        return replace(
            batch,
            inputs=prolong(batch.inputs, latent, how=self._how)
            if self._finer(batch.inputs, latent)
            else restrict_inputs(batch, latent, self._plan),
            targets=self._carried(batch.targets, latent, batch.mask),
            grid=latent,
            out_grid=latent,
            static=None if batch.static is None else self._carried(batch.static, latent),
            mask=shares(batch.mask),
            input_mask=shares(batch.input_mask),
        )

    def _carried(self, u: Tensor, to: Grid, weights: Tensor | None = None) -> Tensor:
        if self._finer(u, to):
            return prolong(u, to, how=self._how)
        return restrict(u, to, how=self._how, weights=weights)

    @staticmethod
    def _finer(u: Tensor, to: Grid) -> bool:
        """True where the grid is finer than the field's own points."""
        return to.shape[-1] > u.shape[-1]


class Pointwise(nn.Module):
    """A network of one hidden layer on each point: (B, C, *grid) -> the same.  It begins at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Linear(HIDDEN, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(channels, HIDDEN), nn.GELU(), last)

    def forward(self, u: Tensor) -> Tensor:
        out: Tensor = self.layers(u.movedim(1, -1))
        return out.movedim(-1, 1)
