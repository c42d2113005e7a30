"""`hybrid`: one step of the ladder's own solver on the rung at hand, and a network that corrects it.

    F(u) = S_ρ(u) + (h/h₀)^p N(u, S_ρ(u)),   h the grid's spacing, h₀ the train rung's

S_ρ advances every mode of its rung, so its error falls with the rung; a correction that did not fall with it would
hold the sum back.  p is set, or learned: on coarser levels ρ₀/2ʲ, restricted from the train rung, the solver's error
is larger by what p says.  Track: zero-shot.  In the spirit of learned corrections to coarse solvers (Um et al., NeurIPS
2020; Kochkov et al., PNAS 2021); the dependence on the grid is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from anchorbench.config import Frozen
from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.methods.base import Method, Plan, mean_square
from anchorbench.methods.equation import equation_of, newest_state
from anchorbench.methods.frl import coarsened, most_levels
from anchorbench.models.registry import call


class HybridOptions(Frozen):
    strength: Literal["learned", "set", "constant"] = Field(
        default="learned", description="of p: learned from coarser levels, set to `power`, or 0: no dependence on h"
    )
    power: float = Field(default=2.0, description="p, or where its learning begins")
    levels: int = Field(default=1, ge=0, description="coarser levels below the train rung that training draws")


class Hybrid(Method):
    """Raises MethodError where nobody knows the ladder's equation, or a learned power has no level to learn from."""

    name = "hybrid"
    tasks = ("forecast", "operator")
    Options = HybridOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        if plan.ladder is None:
            raise MethodError("hybrid needs the ladder's own equation, and this plan has no ladder")
        self.equation = equation_of(plan.ladder, lead=plan.lead)
        levels, most = self.options.levels, most_levels(plan.train_grid)
        if levels > most:
            raise MethodError(
                f"hybrid: {levels} levels below rung {plan.train_rung} do not end at a whole rung above 3",
                do=f"--set method.hybrid.levels={most}",
            )
        if self.options.strength == "learned" and not levels:
            raise MethodError(
                "hybrid: a power is learned from coarser levels, but levels is 0",
                do="--set method.hybrid.levels=1, or --set method.hybrid.strength=set",
            )

    def mix(self) -> dict[int, float]:
        levels = self.options.levels
        return {self.plan.train_rung // 2**j: 1 / (levels + 1) for j in range(levels, -1, -1)}

    def extra_channels(self) -> int:
        """What the solver made of each target."""
        ladder = self.plan.ladder
        assert ladder is not None
        return sum(variable.role != "input" for variable in ladder.variables)

    def wrap(self, model: nn.Module) -> nn.Module:
        return Corrected(model, self)

    def loss(self, trained: nn.Module, batch: Batch, *, step: int, rng: torch.Generator) -> Tensor:
        level = int(torch.randint(self.options.levels + 1, (1,), generator=rng))
        at_level = coarsened(batch, 2**level, self.plan)
        return mean_square(trained(at_level) - at_level.targets, at_level)


class Corrected(nn.Module):
    """The solver's step plus the network's correction; takes a Batch, returns (B, C', *out_grid), normalised."""

    def __init__(self, model: nn.Module, method: Hybrid) -> None:
        super().__init__()
        self.model = model
        self._equation, self._strength = method.equation, method.options.strength
        self._spacing = max(method.plan.train_grid.spacing)
        power = torch.tensor(0.0 if self._strength == "constant" else float(method.options.power))
        self.power = nn.Parameter(power, requires_grad=self._strength == "learned")

    def forward(self, batch: Batch) -> Tensor:
        if batch.out_units is None:
            raise MethodError("hybrid: these samples do not say in which units they are")
        stepped = batch.out_units.apply(self._equation(newest_state(batch), batch.grid))
        parts = [batch.inputs, *(p for p in (batch.static, batch.input_mask) if p is not None), stepped]
        correction = call(self.model, torch.cat(parts, dim=1), batch.grid, batch.out_grid)
        scale = torch.exp(self.power * math.log(max(batch.grid.spacing) / self._spacing))
        return stepped + scale * correction
