"""turbulence3d, generated: trajectories of three-dimensional turbulence from our solver.

`flow: isotropic`: power goes into the lowest shells at a constant rate, from Gaussian starts.  `flow: taylor_green`:
that vortex, moved by a random vector and a little disturbed, decays; no power goes in.

`ladder: restricted`: every rung is restricted from one fine truth.  `ladder: solved`: training and validation are what
the solver gives on each rung by itself; the test split stays restricted from the truth, so that training on solved data
is judged by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from anchorbench.config import Frozen, digest_of
from anchorbench.data.generated import require_finer_truth, seconds_of
from anchorbench.data.slices import Made, Slices, Tell, floor_of, slice_by_slice
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import SEED_OF_SPLIT, OfEverySplit, Split
from anchorbench.fields import Grid
from anchorbench.solvers import (
    Flow3d,
    TurbulenceSpec3d,
    integrate_3d,
    solve_rungs_3d,
    solve_truth_3d,
    truth_floor_3d,
)

COMPONENTS = ("velocity_x", "velocity_y", "velocity_z")
#: Points a side on which the estimate times a step, where the grid itself has more.
PROBE = 96
#: Trajectories that are solved before what is there is kept.
SLICE = 4


class Options(Frozen):
    """Parameters of the generated set; all are in the ladder's digest."""

    flow: Literal["isotropic", "taylor_green"] = "isotropic"
    ladder: Literal["restricted", "solved"] = "restricted"
    truth_rung: int = Field(description="grid of the truth: at least twice the finest rung")
    viscosity: float = Field(gt=0)
    injection: float = Field(default=0.5, ge=0, description="power a unit of mass; of isotropic flow only")
    forcing_wavenumber: float = Field(default=2.0, ge=1, description="power goes into 0 < |k| <= this")
    interval: float = Field(gt=0, description="time between two stored frames")
    frames: int = Field(ge=2)
    spin_up_rung: int
    spin_up_time: float = Field(ge=0)
    settle_time: float = Field(default=0.25, ge=0, description="on the truth's grid, before the first stored frame")
    disturbance: float = Field(default=0.05, ge=0, description="of Taylor-Green: rms of each component of the noise")
    trajectories: OfEverySplit
    floor_windows: int = Field(default=1, ge=0, description="windows solved again on twice the grid")
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _can_be_solved(self) -> Self:
        """The solver's own checks, now instead of when it is called; they raise ConfigError."""
        _ = self.truth
        return self

    @property
    def law(self) -> Flow3d:
        """The constants of the equation."""
        power = self.injection if self.flow == "isotropic" else 0.0
        return Flow3d(viscosity=self.viscosity, injection=power, forcing_wavenumber=self.forcing_wavenumber)

    @property
    def truth(self) -> TurbulenceSpec3d:
        isotropic = self.flow == "isotropic"
        return TurbulenceSpec3d(
            truth_rung=self.truth_rung,
            spin_up_rung=self.spin_up_rung,
            spin_up_time=self.spin_up_time,
            settle_time=self.settle_time,
            flow=self.law,
            interval=self.interval,
            frames=self.frames,
            start="random" if isotropic else "taylor_green",
            start_rms=1.0 if isotropic else self.disturbance,
            top_speed=4.0 if isotropic else 2.0,
        )


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the truth is not twice finer than the finest rung."""
    require_finer_truth(options.truth_rung, finest)


def load(ask: Ask) -> Loaded:
    """Solve all splits; see `generate`."""
    splits, floor = generate(
        ask.options, ask.finest, ask.rungs, device=ask.device, tell=ask.tell("solving"), scratch=ask.scratch
    )
    return Loaded(splits, floor=floor, attrs={"generator": ask.options.model_dump_json()})


def advance(options: Options, state: Tensor, *, grid: Grid, lead: int) -> Tensor:
    """u after `lead` intervals, every mode of the grid advanced: (B, 3, N, N, N) to (B, 3, N, N, N)."""
    return integrate_3d(state, options.law, duration=lead * options.interval, dealias="padded", grid=grid)


def estimate_seconds(spec: Options, *, device: str = "cpu") -> float:
    """About how long `generate` takes: steps are timed on each grid, or on PROBE points and scaled up, and counted.

    A solved ladder takes at most as long: its rungs together cost less than the truth.
    """
    truth, total = spec.truth, sum(spec.trajectories.values())
    on_truth = truth.settle_time + (spec.frames - 1) * spec.interval
    # A window of the floor runs on 8 times the points, in twice the steps.
    work = [
        (truth.spin_up_rung, total * truth.spin_up_time),
        (truth.truth_rung, total * on_truth + spec.floor_windows * (on_truth + 16 * spec.interval)),
    ]
    seconds = 0.0
    for rung, duration in work:
        n = min(rung, PROBE)
        state = torch.randn((1, 3, n, n, n), generator=torch.Generator().manual_seed(0)).to(device)
        four = partial(integrate_3d, state, truth.flow, duration=4e-6, dt=1e-6)
        seconds += seconds_of(four, rounds=2) / 4 * (rung / n) ** 3 * duration / truth.time_step(rung)
    return seconds


def generate(
    spec: Options,
    finest: Grid,
    rungs: tuple[int, ...],
    *,
    device: str = "cpu",
    tell: Tell = lambda share: None,
    scratch: Path | None = None,
) -> tuple[dict[str, SplitFields], dict[int, float]]:
    """Solve all splits.

    Returns the fields of each split restricted to the finest rung (or, of a solved ladder, as solved on each), and the
    floor of the headline: RMS over one interval between this truth and one on twice its grid, by band rung.

    scratch: a folder that keeps each solved slice, so that a call which was stopped goes on, to the same bits.  Its
    owner removes it when the fields are safe.
    """

    def make(split: Split, members: range, tell: Tell) -> Made:
        """The fields as they were solved on each rung, under its number, or of the truth, on the finest."""
        count, first, seed = len(members), members.start, spec.seed + SEED_OF_SPLIT[split]
        if spec.ladder == "solved" and split != "test":
            solved = solve_rungs_3d(
                spec.truth, rungs, n_trajectories=count, first=first, seed=seed, device=device, progress=tell
            )
            return {str(rung): fields.numpy() for rung, fields in solved.items()}
        fields = solve_truth_3d(
            spec.truth, n_trajectories=count, first=first, seed=seed, onto=finest, device=device, progress=tell
        )
        return {"fields": fields.numpy()}

    kept = Slices(scratch, digest_of([spec.digest, finest.to_dict(), rungs, device]))
    splits: dict[str, SplitFields] = {}
    for split, made in slice_by_slice(spec.trajectories, make, size=SLICE, kept=kept, tell=tell).items():
        by_rung = {rung: _by_component(made, str(rung)) for rung in rungs if str(rung) in made[0]}
        values = by_rung[finest.rung] if by_rung else _by_component(made, "fields")
        splits[split] = SplitFields.independent(values, by_rung)
    return splits, floor_of([kept.made("floor", lambda: _floor(spec, rungs, device))], rungs)


def _by_component(made: Sequence[Made], name: str) -> dict[str, np.ndarray]:
    """Slices (sample, time, 3, z, y, x) as one array a component."""
    return {component: np.concatenate([part[name][:, :, i] for part in made]) for i, component in enumerate(COMPONENTS)}


def _floor(spec: Options, rungs: tuple[int, ...], device: str) -> Made:
    """The first windows of the test split once more, kept whole on the truth's grid and solved on twice it."""
    if not spec.floor_windows:
        return {}
    truth, seed = spec.truth, spec.seed + SEED_OF_SPLIT["test"]
    windows = min(spec.floor_windows, spec.trajectories["test"])
    frames = solve_truth_3d(truth, n_trajectories=windows, seed=seed, device=device)
    floor = truth_floor_3d(
        frames, truth, interval=spec.interval, onto=rungs, n_windows=spec.floor_windows, device=device
    )
    return {f"floor-{rung}": np.array(error) for rung, error in floor.items()}
