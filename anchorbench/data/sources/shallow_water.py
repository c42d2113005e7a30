"""weather, generated: a shallow layer of fluid on the rotating sphere, from our solver.

Fields are exact means over the cells of the finest rung, taken of the truth's harmonics, and `conservative` keeps them
exact on every rung that its cells divide into.

`ladder: restricted`: every rung is restricted from one fine truth.  `ladder: solved`: training and validation are what
the solver gives on each rung by itself, from the truth's first frame cut to the rung's degrees; the test split stays
restricted from the truth, so that training on solved data is judged by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from anchorbench.config import Frozen, digest_of
from anchorbench.data.slices import Slices
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.errors import ConfigError
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

Split = Literal["train", "validation", "test"]

#: Splits draw their trajectories from streams that never meet.
STREAM_OF_SPLIT: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
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
    trajectories: dict[Split, Annotated[int, Field(ge=1)]]
    floor_windows: int = Field(default=4, ge=0, le=GROUP, description="windows solved again on twice the grid")
    seed: int = Field(default=0, ge=0)
    ladder: Literal["restricted", "solved"] = Field(
        default="restricted", description="training and validation: restricted from the truth, or solved on each rung"
    )

    @model_validator(mode="after")
    def _can_be_solved(self) -> Self:
        """The solver's own checks, now instead of when it is called; they raise ConfigError."""
        if lacking := STREAM_OF_SPLIT.keys() - self.trajectories.keys():
            raise ValueError(f"trajectories lack the split {', '.join(sorted(lacking))}")
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
    if options.truth_rung < 2 * finest.rung:
        raise ConfigError(
            f"the truth's grid {options.truth_rung} is not twice finer than the finest rung {finest.rung}",
            do=f"--set generator.truth_rung={2 * finest.rung}",
        )


def load(ask: Ask) -> Loaded:
    """Solve all splits; see `generate`."""
    splits, static, floor = generate(
        ask.options, ask.finest, ask.rungs, device=ask.device, progress=ask.tell("solving"), scratch=ask.scratch
    )
    return Loaded(splits, static=static, floor=floor, attrs={"generator": ask.options.model_dump_json()})


def advance(options: Options, state: Tensor, *, grid: Grid, lead: int) -> Tensor:
    """ζ and h after `lead` intervals, every degree of the grid's rows advanced: (B, 2, N, 2N) to the same."""
    hours = lead * options.interval
    later = advance_cells(options.truth, state[:, 0], state[:, 1], grid=grid, hours=hours)
    return torch.stack([cell_means(later.vorticity, grid), cell_means(later.height, grid)], dim=1)


def estimate_seconds(spec: Options, *, device: str = "cpu") -> float:
    """About how long `generate` takes: a few steps of one group are timed on each grid, and counted up.

    A solved ladder's rungs and the floor are left out: a fifth more.
    """
    truth, generator = spec.truth, torch.Generator().manual_seed(0)
    seconds = 0.0
    on_truth = truth.settle_hours + (truth.frames - 1) * truth.interval
    for rung, hours in ((truth.spin_up_rung, truth.spin_up_hours), (truth.truth_rung, on_truth)):
        one = random_flow(truth.layer(), rung, speed=1.0, peak_degree=truth.peak_degree, generator=generator)
        state = State(*(c.expand(GROUP, -1, -1).to(device) for c in one.parts))
        steps, step = 2, truth.time_step(rung) / 3600
        took = []
        for _ in range(3):
            began = time.perf_counter()
            truth.solved(state, hours=steps * step).vorticity.abs().sum().item()
            took.append(time.perf_counter() - began)
        seconds += min(took) / steps * hours / step
    return seconds * sum(-(-n // GROUP) for n in spec.trajectories.values())


def generate(
    spec: Options,
    finest: Grid,
    rungs: tuple[int, ...],
    *,
    device: str = "cpu",
    progress: Callable[[float], None] | None = None,
    scratch: Path | None = None,
) -> tuple[dict[str, SplitFields], dict[str, np.ndarray], dict[int, float]]:
    """Solve all splits.

    Returns the fields of each split as means over the finest rung's cells (or, of a solved ladder, over each rung's,
    as solved there), the orography there if there is one, in m, and the truth's floor: RMS over one interval between
    the vorticity of this truth and one on twice its grid, in 1/s, by band rung.

    scratch: a folder that keeps each solved group, so that a call which was stopped goes on, to the same bits.  Its
    owner removes it when the fields are safe.
    """
    kept = None if scratch is None else Slices(scratch, digest_of([spec.digest, finest.to_dict(), rungs, device]))
    groups = {split: -(-n // GROUP) for split, n in spec.trajectories.items()}
    done, total = 0, sum(groups.values())
    splits: dict[str, SplitFields] = {}
    floor: dict[int, float] = {}
    for split, n in spec.trajectories.items():
        solved_on = rungs if spec.ladder == "solved" and split != "test" else ()
        parts: list[dict[str, np.ndarray]] = []
        for group in range(groups[split]):

            def tell(share: float, before: int = done) -> None:
                if progress is not None:
                    progress((before + share) / total)

            name = f"{split}-{group:06d}"
            found = None if kept is None else kept.load(name)
            if found is None:
                windows = min(spec.floor_windows, n) if split == "test" and group == 0 else 0
                found = _solve_group(
                    spec.truth,
                    finest,
                    rungs,
                    stream=STREAM_OF_SPLIT[split],
                    group=group,
                    solved_on=solved_on,
                    windows=windows,
                    device=device,
                    tell=tell,
                )
                if kept is not None:
                    kept.save(name, found)
            tell(1.0)
            parts.append(found)
            floor |= {rung: float(found[f"floor {rung}"]) for rung in rungs if f"floor {rung}" in found}
            done += 1
        joined = {
            rung: {name: np.concatenate([part[f"{name} {rung}"] for part in parts])[:n] for name in VARIABLES}
            for rung in (solved_on or (finest.rung,))
        }
        splits[split] = SplitFields(
            values=joined[finest.rung],
            valid=None,
            times=None,
            clusters=np.arange(n),
            by_rung=joined if solved_on else None,
        )
    ground = terrain(spec.orography, spec.orography_height, spec.truth_rung, spec.seed)
    static = {} if ground is None else {"orography": cell_means(ground, finest).float().numpy()}
    return splits, static, floor


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
    tell: Callable[[float], None],
) -> dict[str, np.ndarray]:
    """The group's fields, "vorticity 32" by variable and rung; where windows are asked for, "floor 32" by rung."""
    states: list[State] = []
    fields: dict[str, np.ndarray] = {}

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
        fields |= {f"floor {rung}": np.array(error) for rung, error in floor.items()}
    return fields
