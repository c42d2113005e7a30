"""burgers, generated: decaying one-dimensional Burgers flow with shocks, from our spectral solver.

A random start of few waves steepens for `settle_time`; the frames after it hold shocks.  They thin out as the flow
decays, so that many short trajectories say more than few long ones.

`ladder: solved` starts each rung from the restricted start, before it steepens, and solves it there with every
mode of the rung: what a cheap coarse simulation gives.  Train and validation only; the test split is restricted.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from anchorbench.config import Frozen, digest_of
from anchorbench.data.generated import require_finer_truth, seconds_of
from anchorbench.data.slices import Made, Slices, floor_of, joined, slice_by_slice
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import NUMBER_OF_SPLIT, OfEverySplit, Split
from anchorbench.errors import AnchorbenchError, ConfigError
from anchorbench.fields import Grid, prolong, restrict
from anchorbench.solvers.burgers import BurgersFlow, integrate, random_velocity, trajectory
from anchorbench.solvers.navier_stokes import Dealias, band

VARIABLE = "velocity"
#: Trajectories solved at once.
SLICE = 64
#: Time steps are COURANT/(k_max TOP_SPEED √⟨u²⟩), u the start: fixed, so that a trajectory is the same whatever is
#: solved beside it.  |u| of a viscous flow never rises, and RK4 is stable for steps of 2.8/(k_max |u|).
COURANT, TOP_SPEED, STABLE = 1.5, 2.5, 2.8


class Options(Frozen):
    """Parameters of the generated set; all are in the ladder's digest."""

    truth_rung: int = Field(description="grid of the truth: at least twice the finest rung")
    viscosity: float = Field(gt=0, description="length²/time")
    rms: float = Field(1.0, gt=0, description="√⟨u²⟩ of each start")
    waves: int = Field(ge=1, description="waves of a start on the box")
    bend: float = Field(gt=0, description="wave from which the start's amplitude falls")
    decay: float = Field(ge=0, description="as m^-decay beyond the bend")
    settle_time: float = Field(ge=0, description="from the start to the first stored frame")
    interval: float = Field(gt=0, description="time between two stored frames")
    frames: int = Field(ge=2)
    trajectories: OfEverySplit
    floor_windows: int = Field(16, ge=0, description="windows solved again on twice the grid")
    ladder: Literal["restricted", "solved"] = "restricted"
    seed: int = Field(0, ge=0)

    @property
    def flow(self) -> BurgersFlow:
        return BurgersFlow(self.viscosity)

    def step(self, grid: Grid, dealias: Dealias = "two_thirds") -> float:
        """The time step on a grid."""
        k_max = 2 * math.pi / grid.extent[0] * band(grid.rung, dealias)[1]
        return COURANT / (k_max * TOP_SPEED * self.rms)


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the truth is not twice finer than the finest rung, or does not carry the start."""
    require_finer_truth(options.truth_rung, finest)
    if options.waves > band(options.truth_rung, "two_thirds")[1]:
        raise ConfigError(
            f"a truth on {options.truth_rung} points does not advance {options.waves} waves",
            do=f"--set generator.waves={band(options.truth_rung, 'two_thirds')[1]}",
        )


def estimate_seconds(options: Options, *, device: str = "cpu") -> float:
    """About how long `load` takes: a few steps of the truth are timed, and counted up."""
    grid = Grid((options.truth_rung,))
    count = min(SLICE, max(options.trajectories.values()))
    state = torch.stack([_start(options, "train", i) for i in range(count)]).to(device)
    step = options.step(grid)
    took = seconds_of(lambda: float(integrate(state, options.flow, duration=8 * step, dt=step).sum()), rounds=1)
    a_step = took / 8 / count
    steps = (options.settle_time + (options.frames - 1) * options.interval) / step
    # Twice the grid takes four times as long a unit of time.
    again = options.floor_windows * options.interval / step * 8
    return a_step * (steps * sum(options.trajectories.values()) + again)


def advance(options: Options, state: Tensor, *, grid: Grid, lead: int) -> Tensor:
    """u after `lead` intervals, every mode of the grid advanced: (B, 1, N) to (B, 1, N)."""
    u = state[:, 0].to(torch.float64)
    return integrate(u, options.flow, duration=lead * options.interval, grid=grid, dealias="padded")[:, None]


def load(ask: Ask) -> Loaded:
    """Solve all splits, on the truth's grid or, of a solved ladder, train and validation on each rung.

    The floor is the RMS difference, over one interval, to a truth on twice the grid at a quarter of the step.
    Raises AnchorbenchError where a start is so fast that the fixed steps do not hold.
    """
    options: Options = ask.options
    kept = Slices(ask.scratch, digest_of([options.digest, ask.finest.to_dict(), ask.rungs, ask.device]))
    parts = slice_by_slice(
        options.trajectories,
        lambda split, members, _: _solve(ask, split, members),
        size=SLICE,
        kept=kept,
        tell=ask.tell("solving"),
    )
    splits: dict[str, SplitFields] = {}
    for split, made in parts.items():
        by_rung = {rung: {VARIABLE: joined(made, str(rung))} for rung in ask.rungs if str(rung) in made[0]}
        values = by_rung[ask.finest.rung] if by_rung else {VARIABLE: joined(made, "fields")}
        splits[split] = SplitFields.independent(values, by_rung)
    floor = floor_of(parts["test"], ask.rungs)
    return Loaded(splits, floor=floor, attrs={"generator": options.model_dump_json(), "ladder": options.ladder})


def _solve(ask: Ask, split: Split, members: range) -> Made:
    """One slice, (trajectory, frame, N) float32: `fields` on the finest rung, or solved on each rung under its number.

    The test split's first slice has the floor beside it.
    """
    options: Options = ask.options
    truth = ask.finest.with_rung(options.truth_rung)
    start = torch.stack([_start(options, split, i) for i in members])
    fastest = float(start.abs().max()) / options.rms
    if COURANT * fastest > STABLE * TOP_SPEED:
        raise AnchorbenchError(
            f"a start of the {split} split is {fastest:.3g} times as fast as its rms: too fast for the time steps",
            do="take another --set generator.seed, or fewer waves in a start",
        )
    if options.ladder == "solved" and split != "test":
        return {
            str(rung): _frames(restrict(start, grid), grid, options, ask.device, dealias="padded").float().numpy()
            for rung in ask.rungs
            for grid in [ask.finest.with_rung(rung)]
        }
    frames = _frames(start, truth, options, ask.device, dealias="two_thirds")
    made = {"fields": restrict(frames, ask.finest).float().numpy()}
    if split == "test" and members.start == 0 and options.floor_windows:
        made |= {f"floor-{rung}": np.array(e) for rung, e in _floor(frames, truth, options, ask).items()}
    return made


def _frames(start: Tensor, grid: Grid, options: Options, device: str, *, dealias: Dealias) -> Tensor:
    """The stored frames of trajectories from their starts: (trajectory, frame, N) float64."""
    step = options.step(grid, dealias)
    u = integrate(start.to(device), options.flow, duration=options.settle_time, grid=grid, dt=step, dealias=dealias)
    frames = trajectory(
        u, options.flow, interval=options.interval, frames=options.frames, grid=grid, dt=step, dealias=dealias
    )
    return frames.transpose(0, 1).cpu()


def _start(options: Options, split: Split, i: int) -> Tensor:
    rng = np.random.default_rng([options.seed, NUMBER_OF_SPLIT[split], i])
    return random_velocity(
        options.truth_rung, rng=rng, waves=options.waves, bend=options.bend, decay=options.decay, rms=options.rms
    )


def _floor(frames: Tensor, truth: Grid, options: Options, ask: Ask) -> dict[int, float]:
    """√⟨|R(u_fine(t + interval) − u(t + interval))|²⟩ by band rung; u_fine: twice the grid, a quarter of the step."""
    n, n_frames = frames.shape[:2]
    windows = [(j * n // options.floor_windows, j % (n_frames - 1)) for j in range(options.floor_windows)]
    fine = truth.with_rung(2 * truth.rung)
    now = torch.stack([frames[i, t] for i, t in windows]).to(ask.device)
    then = torch.stack([frames[i, t + 1] for i, t in windows])
    step = options.step(fine) / 2
    solved = integrate(prolong(now, fine), options.flow, duration=options.interval, grid=fine, dt=step)
    error = restrict(solved.cpu(), truth) - then
    return {rung: float(restrict(error, truth.with_rung(rung)).square().mean().sqrt()) for rung in ask.rungs}
