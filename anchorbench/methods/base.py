"""`Method`: how a model is trained and run.  Four hooks, and what every method inherits.

    wrap(model)            what is trained
    draw_rung(step, rng)   the rung of this step's batch
    loss(trained, batch)   what is minimised
    predict(trained, batch)  (members, B, C', *out_grid)

A method says which rungs it trains on; the loader refuses it any other, and a zero-shot method any finer than ρ₀.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from anchorbench.config import Frozen, LadderSpec, validated
from anchorbench.data.samples import Batch, Windows
from anchorbench.errors import MethodError, ModelError
from anchorbench.fields import Grid
from anchorbench.fields.carry import on_grid
from anchorbench.fields.resample import Restriction
from anchorbench.fields.separable import constant
from anchorbench.models.registry import call


class Track(StrEnum):
    ZERO_SHOT = "zero-shot"
    ASSISTED = "assisted"


@dataclass(frozen=True)
class Plan:
    """What a method knows of its ladder before it sees a sample.

    rungs: of the ladder.  train_grid: the grid of ρ₀.  increment: the model adds to the newest frame.  ladder: for who
    asks for its equation.  lead: time steps from input to target.  fields, frames: of `represent`, how many fields are
    fitted and the frames of each.  input_rung, time_factor: of `super_resolve`, where the inputs are and how many
    frames are asked for in one of them.
    """

    rungs: tuple[int, ...]
    train_grid: Grid
    restriction: Restriction
    increment: bool = True
    ladder: LadderSpec | None = None
    lead: int = 1
    fields: int | None = None
    frames: int = 1
    input_rung: int | None = None
    time_factor: int = 1

    @classmethod
    def of(cls, ladder: LadderSpec, train_rung: int, *, increment: bool = True, lead: int = 1) -> Plan:
        """The plan of a ladder that need not be on disk."""
        grid = Grid.from_dict(ladder.grid).with_rung(train_rung)
        return cls(ladder.rungs, grid, cast(Restriction, ladder.restriction), increment, ladder, lead)

    @property
    def train_rung(self) -> int:
        return self.train_grid.rung


class MethodOptions(Frozen):
    """No options."""


class Method:
    """The plain method: mean squared error on the train rung.  Others override what they change."""

    name: ClassVar[str]
    track: ClassVar[Track] = Track.ZERO_SHOT
    tasks: ClassVar[tuple[str, ...]] = ("forecast", "operator", "super_resolve")
    Options: ClassVar[type[Frozen]] = MethodOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        self.plan = plan
        self.options: Any = validated(self.Options, options, where=f"method {self.name}")
        finer = [rung for rung in self.rungs() if rung > plan.train_rung]
        if finer and self.track is Track.ZERO_SHOT:
            raise MethodError(f"'{self.name}' is zero-shot: it may not train on rungs {finer} above {plan.train_rung}")

    def rungs(self) -> tuple[int, ...]:
        """The rungs whose samples training reads."""
        return (self.plan.train_rung,)

    def mix(self) -> dict[int, float]:
        """Share of the training samples by the rung they are seen on."""
        return {self.plan.train_rung: 1.0}

    def extra_channels(self) -> int:
        """Input channels that `wrap` adds to the data's."""
        return 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module that is trained; takes a Batch, returns (B, C', *out_grid)."""
        return Forecaster(model, increment=self.plan.increment)

    def prepare(self, trained: nn.Module, windows: Mapping[int, Windows]) -> None:
        """Before the first step: what is chosen from the training samples, by rung, without training."""

    def before_validation(self, trained: nn.Module, windows: Windows) -> None:
        """Before each look at the validation split: what is chosen by it."""

    def clip(self, trained: nn.Module, most: float) -> None:
        """Scale the gradients to a norm of `most` where it is larger."""
        nn.utils.clip_grad_norm_(trained.parameters(), most)

    def draw_rung(self, step: int, rng: torch.Generator) -> int:
        return self.plan.train_rung

    def loss(self, trained: nn.Module, batch: Batch, *, step: int, rng: torch.Generator) -> Tensor:
        return mean_square(trained(batch) - batch.targets, batch)

    def stages(self, steps: int) -> tuple[tuple[int, int], ...]:
        """Parts of a training whose losses make the same passes: first step, number of steps."""
        return ((0, steps),)

    def measured(self, batch: Batch) -> dict[str, float]:
        """What is worth knowing of a batch of the train rung before training: it stands on the run's card."""
        return {}

    def predict(self, trained: nn.Module, batch: Batch, *, members: int, rng: torch.Generator | None) -> Tensor:
        """(members, B, C', *out_grid), normalised.  A deterministic method has one member."""
        out: Tensor = trained(batch)
        return out[None]


class Forecaster(nn.Module):
    """The model with its inputs laid together: data, static fields, mask, and what a method encodes of the grid.

    increment: the model's output is added to the newest input frame, carried to the grid of the output, where the
    inputs hold one of each target.
    """

    def __init__(self, model: nn.Module, *, increment: bool) -> None:
        super().__init__()
        self.model = model
        self.increment = increment

    def encoding(self, grid: Grid, like: Tensor) -> Tensor | None:
        """Channels that depend on the grid alone: (E, *grid), or None."""
        return None

    def forward(self, batch: Batch) -> Tensor:
        parts = [batch.inputs]
        if batch.static is not None:
            parts.append(batch.static)
        if batch.input_mask is not None:
            parts.append(batch.input_mask)
        given, grid = torch.cat(parts, dim=1), batch.grid
        if (code := self.encoding(batch.out_grid, batch.inputs)) is not None:
            # A code of the grid is one of the grid that is asked for: the inputs go there first.
            given, grid = on_grid(given, grid, batch.out_grid), batch.out_grid
            given = torch.cat([given, code.expand(len(batch), *code.shape)], dim=1)
        out = call(self.model, given, grid, batch.out_grid)
        if out.shape[1] != batch.targets.shape[1]:  # it would broadcast, and nobody would know
            raise ModelError(
                f"the model's output on rung {batch.out_grid.name} has {out.shape[1]} channels; the target has "
                f"{batch.targets.shape[1]}",
                do="a model gives one channel a variable",
            )
        start = batch.start() if self.increment else None
        return out if start is None else out + start


def mean_square(e: Tensor, batch: Batch) -> Tensor:
    """Σ w e² / Σ w over batch and points, w the cells' areas times the batch's mask: e (B, C, *out_grid)."""
    weights, grid = batch.mask, batch.out_grid
    if not grid.is_uniform:
        areas = constant(Grid.area_weights, grid, dtype=e.dtype, device=e.device)
        weights = areas.expand(len(e), 1, *areas.shape) if weights is None else weights * areas
    if weights is None:
        return e.square().mean()
    return (weights * e.square()).sum() / (weights.sum() * e.shape[1]).clamp_min(1e-12)
