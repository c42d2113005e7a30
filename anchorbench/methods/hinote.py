"""`hinote`: train one model for many factors, under the loss that is asked for.  Track: zero-shot.

    each step   the next target grid between the input's and ρ₀'s: y' = restrict y_ρ₀, factors of any fraction
                a patch of it, where asked for
    loss        l1, mse, focal, or the frequency-aware prior of HiNOTE (`sr_losses.py`; Luo et al., ICML 2024)

For any model of super-resolution.  Every target is made from ρ₀'s, so the factors of training end at ρ₀ / input rung;
1 to 4 as published is a train rung of 4 times the input's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from anchorbench.config import Frozen
from anchorbench.data.samples import Batch
from anchorbench.errors import GridError, MethodError
from anchorbench.fields import restrict, restrict_weights
from anchorbench.fields.resample import Restriction
from anchorbench.fields.resample_points import interpolate
from anchorbench.methods.base import Forecaster, Method, Plan
from anchorbench.methods.patches import patch_grid, patch_of
from anchorbench.methods.sr_losses import (
    Scramble,
    emphasis,
    focal_frequency,
    scrambled,
    static_prior,
    weighted_mean,
)


class HinoteMethodOptions(Frozen):
    loss: Literal["prior", "l1", "mse", "focal"] = "prior"
    static_alpha: float = Field(default=1.0, ge=0, description="α of the static prior; 0: it weighs nothing")
    static_gamma: float = Field(default=0.5, gt=0)
    learned_alpha: float = Field(default=1.0, ge=0, description="α of the learned prior; 0: it weighs nothing")
    learned_gamma: float = Field(default=1.0, gt=0)
    scramble: Scramble = Field(
        default="none", description="ablation: the prior's weights dealt out anew over the points, or the samples"
    )
    weight_noise: float = Field(
        default=0.0, ge=0, description="ablation: deviation of log weight, noise on the prior's weights"
    )
    focal_alpha: float = Field(default=1.0, ge=0, description="of the focal frequency loss")
    targets: int = Field(
        default=9, ge=1, description="how many target grids, evenly spaced; 1: the finest alone. Published: any factor"
    )
    coarsest_target: int | None = Field(default=None, ge=1, description="rung; null: the inputs' own")
    finest_target: int | None = Field(
        default=None, ge=1, description="rung; null: the train rung. Its ratio to the input's ends the factors trained"
    )
    patch: int | None = Field(
        default=None, ge=1, description="input spacings an axis of the boxes trained on; null: whole fields"
    )
    skip: Literal["carried", "bilinear"] = Field(
        default="carried", description="what an increment is added to: the input carried as in every method (waves on "
        "a periodic box, else bilinear), or bilinear everywhere, as published"
    )  # fmt: skip


class Hinote(Method):
    """Many target grids, one loss.  Raises MethodError where a target is finer than the train rung."""

    name = "hinote"
    tasks: ClassVar[tuple[str, ...]] = ("super_resolve",)
    Options = HinoteMethodOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        low, high = self._range()
        if high > plan.train_rung:
            raise MethodError(
                f"hinote: targets of rung {high} are finer than the train rung {plan.train_rung}",
                do=f"--train-rung {high}, or --set method.hinote.finest_target={plan.train_rung}",
            )
        if low > high:
            raise MethodError(
                f"hinote: the coarsest target, rung {low}, is finer than the finest, rung {high}",
                do="take a coarser one, or leave it to the inputs' own",
            )

    def mix(self) -> dict[int, float]:
        """Of patches the rung is the patch's own."""
        seen = [self._seen(rung) for rung in self.target_rungs()]
        return {rung: seen.count(rung) / len(seen) for rung in seen}

    def target_rungs(self) -> tuple[int, ...]:
        """Rungs of the targets, rising: evenly spaced, each the nearest that the box has."""
        low, high = self._range()
        whole = [rung for rung in range(low, high + 1) if self._has(rung)]
        n = self.options.targets
        if n == 1 or len(whole) < 2:
            return (high,)
        wanted = [low + (high - low) * i / (n - 1) for i in range(n)]
        return tuple(sorted({min(whole, key=lambda rung: abs(rung - w)) for w in wanted}))

    def wrap(self, model: nn.Module) -> nn.Module:
        if self.options.skip == "bilinear" and self.plan.increment:
            return BilinearSkip(model, increment=False)
        return super().wrap(model)

    def loss(self, trained: nn.Module, batch: Batch, *, step: int, rng: torch.Generator) -> Tensor:
        grids = [rung for rung in self.target_rungs() if rung >= batch.grid.rung] or [batch.out_grid.rung]
        # In turn, not by chance: each comes up as often as the others, also in a short training.
        batch = on_target(batch, grids[step % len(grids)], self.plan.restriction)
        if self.options.patch is not None:
            batch = patch_of(batch, self.options.patch, rng)
        return self.of_error(trained(batch) - batch.targets, batch, rng)

    def of_error(self, e: Tensor, batch: Batch, rng: torch.Generator) -> Tensor:
        """The loss that is asked for, of an error (B, C, *out_grid)."""
        chosen = self.options
        if chosen.loss == "focal":
            return focal_frequency(e, batch, alpha=chosen.focal_alpha)
        if chosen.loss == "mse":
            return weighted_mean(e.square(), batch)
        if chosen.loss == "l1":
            return weighted_mean(e.abs(), batch)
        w = emphasis(e.abs(), batch, alpha=chosen.learned_alpha, gamma=chosen.learned_gamma)
        if (where := static_prior(batch)) is not None:
            w = w * emphasis(where, batch, alpha=chosen.static_alpha, gamma=chosen.static_gamma)
        return weighted_mean(scrambled(w, chosen.scramble, noise=chosen.weight_noise, rng=rng) * e.abs(), batch)

    def _range(self) -> tuple[int, int]:
        chosen, home = self.options, self.plan.train_rung
        given = self.plan.input_rung or min(self.plan.rungs)  # where nobody says, the task takes the coarsest
        return chosen.coarsest_target or given, chosen.finest_target or home

    def _seen(self, rung: int) -> int:
        """The rung on which a target's samples are seen: its own, or the patch's."""
        if self.options.patch is None:
            return rung
        given = self.plan.input_rung or min(self.plan.rungs)
        fine, coarse = (self.plan.train_grid.with_rung(r) for r in (rung, given))
        cut = patch_grid(coarse, fine, self.options.patch).rung
        return cut if self._has(cut) else rung

    def _has(self, rung: int) -> bool:
        try:
            self.plan.train_grid.with_rung(rung)
        except GridError:  # its proportions leave no whole points
            return False
        return True


class BilinearSkip(Forecaster):
    """The model's output is added to the input read between its points."""

    def forward(self, batch: Batch) -> Tensor:
        out, last = super().forward(batch), batch.last_frame()
        return out if last is None else out + interpolate(last, batch.grid, batch.out_grid, "bilinear")


def on_target(batch: Batch, rung: int, how: Restriction) -> Batch:
    """The batch asked for on a coarser rung, which need not be one of the ladder's; the inputs stay as they are.

    Where blocks do not nest, their means are those by overlap.
    """
    if rung == batch.out_grid.rung:
        return batch
    grid = batch.out_grid.with_rung(rung)
    if how in ("block_mean", "stride"):
        how = "conservative"
    return replace(
        batch,
        targets=restrict(batch.targets, grid, how=how, weights=batch.mask),
        out_grid=grid,
        mask=None if batch.mask is None else restrict_weights(batch.mask, grid, how=how),
    )
