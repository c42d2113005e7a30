"""`fresh`: the embedding's frequencies chosen before training (Kania et al., ICLR 2025).  Track: zero-shot.

For each setting s of the one number that sets a network's frequencies, and J networks drawn with it:

    D(s) = 1/J Σ_j W(S_n(M_{s,j}), S_n(y)),   s* = argmin_s D(s)

S_n is the spectrum of an untrained network's values, or of the field, in n bins; W the Wasserstein distance
(analysis/spectral_distance.py).  Distances are averaged, not spectra.  Then one training, with s*.  What is known of y
is its points on the train rung: its spectrum below that rung's Nyquist.

`grid_search` is what it is priced against: every setting trained, all networks side by side, and the one of least error
at the points that were not fitted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from anchorbench.analysis.spectral_distance import Form, binned_spectrum, wasserstein
from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields.grid import Grid
from anchorbench.methods.base import Plan
from anchorbench.methods.represent import Fields, Fit, FitOptions, held_out_errors
from anchorbench.models.coordinate import Coordinate
from anchorbench.models.coordinate_options import knob_of

#: Frames of a video that its networks are compared with, as published.
FRAMES = 10


class SearchOptions(FitOptions):
    """Among which settings, and how spectra are compared."""

    settings: tuple[float, ...] | None = Field(default=None, min_length=1, description="null: the published grid")
    bins: int = Field(default=64, ge=1, description="of a spectrum, at most half the points of the rung")
    draws: int = Field(default=10, ge=1, description="untrained networks a setting")
    spectrum: Form = Field(
        default="antidiagonal", description="antidiagonal: bins k1 + k2, as published; radial: rings, every direction"
    )


class FreshOptions(SearchOptions):
    """Where the spectra are taken."""

    select_rung: int | None = Field(
        default=None, description="whose spectrum is compared, the train rung or a coarser one; null: the train rung"
    )


class Selecting(Fit):
    """What the choosing methods share."""

    Options = SearchOptions

    def settings(self, model: Coordinate) -> tuple[float, ...]:
        given: tuple[float, ...] | None = self.options.settings
        return knob_of(model.options)[1] if given is None else given

    @property
    def select_rung(self) -> int:
        return self.plan.train_rung

    @property
    def bins(self) -> int:
        return min(int(self.options.bins), self.plan.train_grid.with_rung(self.select_rung).rung // 2)

    def found(self, model: Coordinate) -> tuple[int, int]:
        return len(self.settings(model)), self.bins

    @torch.no_grad()
    def prepare(self, trained: nn.Module, windows: Mapping[int, Any]) -> None:
        assert isinstance(trained, Fields)
        batch = windows[self.select_rung].whole()
        settings = torch.tensor(self.settings(trained.model))
        spectra = untrained_spectra(
            trained.model,
            batch.out_grid,
            settings,
            draws=self.options.draws,
            bins=self.bins,
            form=self.options.spectrum,
        )
        target = target_spectra(batch, frames=self.plan.frames, bins=self.bins, form=self.options.spectrum)
        # Each draw is compared with one frame of a field: (field, setting, draw).
        frame = torch.arange(spectra.shape[1]) % target.shape[1]
        apart = wasserstein(spectra[None], target[:, frame][:, None])
        trained.distance.copy_(apart.mean(-1))
        if apart.shape[-1] > 1:
            trained.distance_error.copy_(apart.std(-1) / math.sqrt(apart.shape[-1]))
        trained.target_spectrum.copy_(target.mean(1))
        trained.untrained_spectrum.copy_(spectra.mean(1))
        self.settle(trained, settings)

    def settle(self, trained: Fields, settings: Tensor) -> None:
        """What follows from the distances."""


class Fresh(Selecting):
    """The setting of least distance, trained alone."""

    name = "fresh"
    Options = FreshOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        if self.select_rung not in plan.rungs:
            raise MethodError(f"fresh: select_rung {self.select_rung} is no rung of the ladder {list(plan.rungs)}")

    @property
    def select_rung(self) -> int:
        return int(self.options.select_rung or self.plan.train_rung)

    def rungs(self) -> tuple[int, ...]:
        return tuple(sorted({self.plan.train_rung, self.select_rung}))

    def settle(self, trained: Fields, settings: Tensor) -> None:
        best = trained.distance.argmin(1).cpu()
        trained.redraw(settings[best][:, None])


class GridSearch(Selecting):
    """Every setting trained; the one of least error at the points that were held out."""

    name = "grid_search"

    def knobs(self, model: Coordinate) -> Tensor:
        return torch.tensor(self.settings(model)).expand(self.fields, -1)

    @torch.no_grad()
    def before_validation(self, trained: nn.Module, windows: Any) -> None:
        assert isinstance(trained, Fields)
        trained.held_out.copy_(held_out_errors(trained, windows))
        trained.chosen.copy_(trained.held_out.argmin(1))


@torch.no_grad()
def untrained_spectra(
    model: Coordinate, grid: Grid, settings: Tensor, *, draws: int, bins: int, form: Form = "antidiagonal"
) -> Tensor:
    """S_n of J networks a setting, drawn from seed 0 whatever the run's: (setting, draw, bins)."""
    rng = torch.Generator().manual_seed(0)
    frames = model.frames
    many = copy.deepcopy(model).initialise(draws, knobs=settings.expand(draws, -1), frames=frames, generator=rng)
    at_once = many.at_once(grid)
    # Draws of a video are at times of their own.
    time = None
    if frames > 1:
        time = (2 * torch.rand(draws, generator=rng) - 1).repeat_interleave(len(settings)).to(many.knob.device)
    spectra = []
    for first in range(0, many.networks, at_once):
        pick = torch.arange(first, min(first + at_once, many.networks), device=many.knob.device)
        u = many.on(grid, pick=pick, time=None if time is None else time[pick])
        spectra.append(binned_spectrum(u, ndim=grid.ndim, bins=bins, form=form))
    return torch.cat(spectra).view(draws, len(settings), bins).transpose(0, 1)


@torch.no_grad()
def target_spectra(batch: Batch, *, frames: int, bins: int, form: Form = "antidiagonal") -> Tensor:
    """S_n of each field, of a video at most 10 frames drawn from seed 0: (field, frame, bins)."""
    fields = batch.targets.view(-1, frames, *batch.targets.shape[1:])
    if frames > FRAMES:
        fields = fields[:, torch.randperm(frames, generator=torch.Generator().manual_seed(0))[:FRAMES]]
    return binned_spectrum(fields, ndim=batch.out_grid.ndim, bins=bins, form=form)
