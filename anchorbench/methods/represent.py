"""Coordinate networks fitted to fields: a network a field, all at once.  Task `represent`.

    minimise for each field f   Σ_x w(x) |M_f(x) − y_f(x)|² / Σ_x w(x)   over its points on the train rung

The loss is the sum over networks, so that each has the gradient that it would have alone; gradients are clipped for
each network alone too.  A field's network is then evaluated at the points of every rung.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from anchorbench.config import Frozen
from anchorbench.data.field_windows import FieldWindows
from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields.grid import Grid
from anchorbench.fields.separable import constant
from anchorbench.methods.base import Method
from anchorbench.models.coordinate import Coordinate


class FitOptions(Frozen):
    """What is fitted."""

    held_out: float = Field(default=0.1, ge=0, lt=1, description="share of the train rung's points that is not fitted")
    noise: float = Field(
        default=0.0, ge=0, description="deviation of white noise added to what is fitted, in deviations of the field"
    )


class Fields(nn.Module):
    """One network a field and setting; `chosen` says which setting speaks for a field.

    distance, distance_error (field, setting), target_spectrum (field, bin), untrained_spectrum (setting, bin): what a
    selection found, 0 before.  held_out (field, setting): mean squares at the points that are not fitted.
    """

    chosen: Tensor
    held_out: Tensor
    distance: Tensor
    distance_error: Tensor
    target_spectrum: Tensor
    untrained_spectrum: Tensor

    def __init__(self, model: Coordinate, *, fields: int, frames: int, knobs: Tensor | None, found: tuple[int, int]):
        super().__init__()
        self.fields, self.frames, self.settings = fields, frames, 1 if knobs is None else knobs.shape[1]
        # Networks are drawn again with other settings, from the same numbers.
        self.seed = int(torch.randint(2**31, ()).item())
        self.model = model
        self.redraw(knobs)
        values, bins = found
        self.register_buffer("chosen", torch.zeros(fields, dtype=torch.long))
        self.register_buffer("held_out", torch.zeros(fields, self.settings))
        self.register_buffer("distance", torch.zeros(fields, values))
        self.register_buffer("distance_error", torch.zeros(fields, values))
        self.register_buffer("target_spectrum", torch.zeros(fields, bins))
        self.register_buffer("untrained_spectrum", torch.zeros(values, bins))

    def redraw(self, knobs: Tensor | None) -> None:
        """All networks untrained again, with these settings: (field, setting)."""
        rng = torch.Generator().manual_seed(self.seed)
        self.model.initialise(self.fields, knobs=knobs, frames=self.frames, generator=rng)

    def every(self, batch: Batch) -> Tensor:
        """Every setting's values of each item: (B, settings, C', *out_grid)."""
        pick = None
        if batch.number is not None or len(batch) != self.fields:
            first = self._number(batch) * self.settings
            pick = (first[:, None] + torch.arange(self.settings, device=first.device)).reshape(-1)
        time = None if batch.time is None else batch.time.repeat_interleave(self.settings)
        # Of the inputs a coordinate network takes their number alone.
        items = batch.targets.new_empty(len(batch) * self.settings, 0)
        u: Tensor = self.model(items, batch.grid, batch.out_grid, pick=pick, time=time)
        return u.reshape(len(batch), self.settings, *u.shape[1:])

    def forward(self, batch: Batch) -> Tensor:
        """The chosen setting's: (B, C', *out_grid)."""
        number = self._number(batch)
        pick = number * self.settings + self.chosen[number]
        u: Tensor = self.model(batch.targets, batch.grid, batch.out_grid, pick=pick, time=batch.time)
        return u

    def _number(self, batch: Batch) -> Tensor:
        if batch.number is not None:
            return batch.number
        return torch.arange(len(batch), device=self.chosen.device) % self.fields


class Fit(Method):
    """`baseline` of the task: each network with the frequencies that its options say."""

    name = "baseline"
    tasks = ("represent",)  # of this class; the registry knows that `baseline` takes others too
    Options: ClassVar[type[Frozen]] = FitOptions

    def wrap(self, model: nn.Module) -> Fields:
        if not isinstance(model, Coordinate):
            raise MethodError(f"represent takes networks from coordinates to values, not {type(model).__name__}")
        return Fields(
            model, fields=self.fields, frames=self.plan.frames, knobs=self.knobs(model), found=self.found(model)
        )

    @property
    def fields(self) -> int:
        if self.plan.fields is None:
            raise MethodError(f"'{self.name}' fits fields, and the plan names none")
        return self.plan.fields

    def knobs(self, model: Coordinate) -> Tensor | None:
        """Settings to train side by side, (field, setting); None: the options' own."""
        return None

    def found(self, model: Coordinate) -> tuple[int, int]:
        """How many settings are compared without training, and in how many bins."""
        return 0, 0

    def loss(self, trained: nn.Module, batch: Batch, *, step: int, rng: torch.Generator) -> Tensor:
        assert isinstance(trained, Fields)
        at_once, each = trained.model.at_once(batch.out_grid), batch.number is None and len(batch) == trained.fields
        if each and torch.is_grad_enabled() and at_once < trained.model.networks:
            return in_parts(trained, batch, at_once)
        return mean_squares(trained.every(batch), batch).sum() / self.plan.frames

    def clip(self, trained: nn.Module, most: float) -> None:
        """Σ over a network's own parameters of |∂|², its root at most `most`."""
        grads = [w.grad for w in trained.parameters() if w.grad is not None]
        clip_each(grads, most)


def in_parts(trained: Fields, batch: Batch, at_once: int) -> Tensor:
    """Σ over networks of their mean squares, `at_once` networks at a time, each part's gradient taken while its values
    are still in the cache.  Its value and gradient are those of the whole.
    """
    model, settings = trained.model, trained.settings
    held = dict(model.named_parameters())
    # The constants of each network, its setting and its waves, are cut as its weights are.
    fixed = dict(model.named_buffers())
    total = batch.targets.new_zeros(())
    parts: dict[str, list[Tensor]] = {name: [] for name in held}
    for first in range(0, model.networks, at_once):
        part = slice(first, first + at_once)
        own = {name: w[part].detach().requires_grad_() for name, w in held.items()}
        field = torch.arange(model.networks, device=total.device)[part] // settings
        mask = None if batch.mask is None else batch.mask[field]
        some = replace(batch, targets=batch.targets[field], mask=mask)
        given = (some.targets.new_empty(len(field), 0), some.grid, some.out_grid)
        u = functional_call(model, {**own, **{name: v[part] for name, v in fixed.items()}}, given)
        loss = mean_squares(u[:, None], some).sum()
        for name, g in zip(own, torch.autograd.grad(loss, list(own.values())), strict=True):
            parts[name].append(g)
        total = total + loss.detach()
    # w − w is 0, and its gradient the one that was taken.
    return total + sum(((w - w.detach()) * torch.cat(parts[name])).sum() for name, w in held.items())


def mean_squares(u: Tensor, batch: Batch) -> Tensor:
    """Σ w e² / Σ w over channels and points, w the cells' areas times the batch's mask: (B, settings).

    u (B, settings, C', *out_grid).
    """
    e, grid = (u - batch.targets[:, None]).square().mean(2), batch.out_grid
    weights = None if batch.mask is None else batch.mask
    if not grid.is_uniform:
        areas = constant(Grid.area_weights, grid, dtype=e.dtype, device=e.device)
        weights = areas.expand(len(e), 1, *areas.shape) if weights is None else weights * areas
    if weights is None:
        return e.flatten(2).mean(2)
    return (weights * e).flatten(2).sum(2) / weights.flatten(2).sum(2).clamp_min(1e-12)


@torch.no_grad()
def clip_each(grads: Iterable[Tensor], most: float) -> None:
    """Scale the gradients of each network, the first axis, to a norm of `most` where it is larger."""
    grads = list(grads)
    norm = torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0).sqrt()
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(scale.view(-1, *[1] * (g.ndim - 1)))


@torch.no_grad()
def held_out_errors(trained: Fields, windows: FieldWindows) -> Tensor:
    """Mean squares of every setting over a field's frames: (field, setting)."""
    batch = windows.whole()
    errors = mean_squares(trained.every(batch), batch)
    return errors.view(trained.fields, trained.frames, trained.settings).mean(1)
