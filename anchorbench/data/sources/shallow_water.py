"""weather, generated: a shallow layer of fluid on the rotating sphere, from our solver.

Fields are exact means over the cells of the finest rung, taken of the truth's harmonics, and `conservative` keeps them
exact on every rung that its cells divide into.

`ladder: restricted`: every rung is restricted from one fine truth.  `ladder: solved`: training and validation are what
the solver gives on each rung by itself, from the truth's first frame cut to the rung's degrees; the test split stays
restricted from the truth, so that training on solved data is judged by it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from anchorbench.config import Frozen, digest_of
from anchorbench.data.generated import require_finer_truth, seconds_of
from anchorbench.data.slices import Made, Slices, Tell, floor_of, joined, slice_by_slice
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import NUMBER_OF_SPLIT, OfEverySplit, Split
from anchorbench.fields import Grid, cell_means
from anchorbench.solvers.shallow_water import State
from anchorbench.solvers.sphere_flows import random_flow
from anchorbench.solvers.sphere_truth import (
    GROUP,
    SphereSpec,
    advance_cells,
    solve_rung,
    solve_sphere,
    terrain,
    truth_floor,
)

VARIABLES = ("vorticity", "height")


class Options(Frozen):
    """Parameters of the generated set; all are in the ladder's digest."""

    truth_rung: int = Field(description="rows of the truth, which holds the degrees below: at least twice the finest")
    spin_up_rung: int
    spin_up_hours: float = Field(default=72.0, ge=0)
    settle_hours: float = Field(default=12.0, ge=0, description="on the truth's grid, before the first stored frame")
    interval: float = Field(default=12.0, gt=0, description="hours between two stored frames")
    frames: int = Field(ge=2)
    start: Literal["random", "jet"] = Field(default="random", description="random balanced flow, or unstable jets")
    speed: float = Field(default=25.0, gt=0, description="of a random start, root mean square, m/s")
    peak_degree: float = Field(default=5.0, ge=2, description="of a random start: the degree of the most energy")
    mean_depth: float = Field(default=5000.0, gt=0, description="m")
    orography: Literal["none", "random", "mountain"] = "none"
    orography_height: float = Field(
        default=500.0, ge=0, description="m: standard deviation of random mountains, height of the one"
    )
    damping_hours: float = Field(default=3.0, gt=0, description="in which the truth's last degree falls to 1/e")
    damping_power: int = Field(default=4, ge=1, description="of the Laplacian")
    trajectories: OfEverySplit
    floor_windows: int = Field(default=4, ge=0, le=GROUP, description="windows solved again on twice the grid")
    seed: int = Field(default=0, ge=0)
    ladder: Literal["restricted", "solved"] = Field(
        default="restricted", description="training and validation: restricted from the truth, or solved on each rung"
    )

    @model_validator(mode="after")
    def _can_be_solved(self) -> Self:
        """The solver's own checks, now instead of when it is called; they raise ConfigError."""
        _ = self.truth
        return self

    @property
    def truth(self) -> SphereSpec:
        return SphereSpec(
            truth_rung=self.truth_rung,
            spin_up_rung=self.spin_up_rung,
            spin_up_hours=self.spin_up_hours,
            settle_hours=self.settle_hours,
            interval=self.interval,
            frames=self.frames,
            start=self.start,
            speed=self.speed,
            peak_degree=self.peak_degree,
            mean_depth=self.mean_depth,
            orography=self.orography,
            orography_height=self.orography_height,
            damping_hours=self.damping_hours,
            damping_power=self.damping_power,
            seed=self.seed,
        )


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the truth is not twice finer than the finest rung."""
    require_finer_truth(options.truth_rung, finest)


def load(ask: Ask) -> Loaded:
    """Solve all splits; see `generate`."""
    splits, static, floor = generate(
        ask.options, ask.finest, ask.rungs, device=ask.device, tell=ask.tell("solving"), scratch=ask.scratch
    )
    return Loaded(splits, static=static, floor=floor, attrs={"generator": ask.options.model_dump_json()})


def advance(options: Options, state: Tensor, *, grid: Grid, lead: int) -> Tensor:
    """ζ and h after `lead` intervals, every degree of the grid's rows advanced: (B, 2, N, 2N) to the same."""
    hours = lead * options.interval
    later = advance_cells(options.truth, state[:, 0], state[:, 1], grid=grid, hours=hours)
    return torch.stack([cell_means(later.vorticity, grid), cell_means(later.height, grid)], dim=1)


def estimate_seconds(spec: Options, *, device: str = "cpu") -> float:
    """About how long `generate` takes: a few steps of one group are timed on each grid, and counted up.

    The floor's states have 4 times the harmonics, 8 times the work, in twice the steps.  A solved ladder takes about as
    long: its rungs together cost less than the truth.
    """
    truth, generator = spec.truth, torch.Generator().manual_seed(0)
    seconds = 0.0
    on_truth = truth.settle_hours + (truth.frames - 1) * truth.interval
    groups = sum(-(-n // GROUP) for n in spec.trajectories.values())
    again = 16 * min(spec.floor_windows, spec.trajectories["test"]) / GROUP * truth.interval
    work = [
        (truth.spin_up_rung, groups * truth.spin_up_hours),
        (truth.truth_rung, groups * on_truth + again),
    ]
    for rung, hours in work:
        one = random_flow(truth.layer(), rung, speed=1.0, peak_degree=truth.peak_degree, generator=generator)
        state = State(*(c.expand(GROUP, -1, -1).to(device, torch.complex64) for c in one.parts))
        steps, step = 2, truth.time_step(rung) / 3600
        seconds += seconds_of(partial(truth.solved, state, hours=steps * step)) / steps * hours / step
    return seconds


def generate(
    spec: Options,
    finest: Grid,
    rungs: tuple[int, ...],
    *,
    device: str = "cpu",
    tell: Tell = lambda share: None,
    scratch: Path | None = None,
) -> tuple[dict[str, SplitFields], dict[str, np.ndarray], dict[int, float]]:
    """Solve all splits.

    Returns the fields of each split as means over the finest rung's cells (or, of a solved ladder, over each rung's,
    as solved there), the orography there if there is one, in m, and the truth's floor: RMS over one interval between
    the vorticity of this truth and one on twice its grid, in 1/s, by band rung.

    scratch: a folder that keeps each solved group, so that a call which was stopped goes on, to the same bits.  Its
    owner removes it when the fields are safe.
    """
    groups = {split: -(-n // GROUP) for split, n in spec.trajectories.items()}

    def make(split: Split, group: range, tell: Tell) -> Made:
        first_of_test = split == "test" and group.start == 0
        return _solve_group(
            spec.truth,
            finest,
            rungs,
            stream=NUMBER_OF_SPLIT[split],
            group=group.start,
            solved_on=rungs if spec.ladder == "solved" and split != "test" else (),
            windows=min(spec.floor_windows, spec.trajectories[split]) if first_of_test else 0,
            device=device,
            tell=tell,
        )

    kept = Slices(scratch, digest_of([spec.digest, finest.to_dict(), rungs, device]))
    parts = slice_by_slice(groups, make, size=1, kept=kept, tell=tell)
    splits: dict[str, SplitFields] = {}
    for split, made in parts.items():
        n = spec.trajectories[split]  # the last group may hold more
        by_rung = {
            rung: {name: joined(made, f"{name} {rung}")[:n] for name in VARIABLES}
            for rung in rungs
            if f"{VARIABLES[0]} {rung}" in made[0]
        }
        solved = spec.ladder == "solved" and split != "test"
        splits[split] = SplitFields.independent(by_rung[finest.rung], by_rung if solved else None)
    ground = terrain(spec.orography, spec.orography_height, spec.truth_rung, spec.seed)
    static = {} if ground is None else {"orography": cell_means(ground, finest).float().numpy()}
    return splits, static, floor_of(parts["test"], rungs)


def _solve_group(
    truth: SphereSpec,
    finest: Grid,
    rungs: tuple[int, ...],
    *,
    stream: int,
    group: int,
    solved_on: tuple[int, ...],
    windows: int,
    device: str,
    tell: Tell,
) -> Made:
    """The group's fields, "vorticity 32" by variable and rung; where windows are asked for, "floor-32" by rung."""
    states: list[State] = []
    fields: Made = {}

    def on_frame(i: int, state: State) -> None:
        states.append(state)
        tell((i + 1) / truth.frames)

    solve_sphere(truth, stream=stream, group=group, on_frame=on_frame, device=device)
    for rung in solved_on or (finest.rung,):
        grid = finest.with_rung(rung)
        frames = solve_rung(truth, states[0], rung=rung) if solved_on else states
        for name in VARIABLES:
            means = torch.stack([cell_means(getattr(state, name), grid) for state in frames], dim=1)
            fields[f"{name} {rung}"] = means.float().cpu().numpy()
    if windows:
        now, then = (State(*(c[:windows] for c in state.parts)) for state in states[:2])
        floor = truth_floor(truth, now, then, onto=rungs)
        fields |= {f"floor-{rung}": np.array(error) for rung, error in floor.items()}
    return fields
