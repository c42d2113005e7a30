"""turbulence2d, generated: trajectories of forced two-dimensional turbulence from our solver.

`ladder: restricted`: every rung is restricted from one fine truth.  `ladder: solved`: training and validation are what
the solver gives on each rung by itself; the test split stays restricted from the truth, so that training on solved data
is judged by it.

`initial: random`: Gaussian vorticity around one wavenumber.  `initial: dns_plane`: random phases with the energy that a
measured plane of isotropic turbulence has in each ring (dns_plane.py); the flow forgets it over `spin_up_time`.
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
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by, dns_plane
from anchorbench.data.sources.dns_plane import read_plane, vortical_energy
from anchorbench.data.splits import SEED_OF_SPLIT, OfEverySplit, Split
from anchorbench.fields import Grid, restrict
from anchorbench.solvers import (
    Flow,
    TurbulenceSpec,
    integrate,
    random_vorticity,
    solve_rungs,
    solve_truth,
    truth_floor,
)

VARIABLE = "vorticity"
#: Trajectories held at the truth's resolution at once; the rest is kept on the finest rung.
SLICE = 64


class Options(Frozen):
    """Parameters of the generated set; all are in the ladder's digest."""

    truth_rung: int = Field(description="grid of the truth: at least twice the finest rung")
    viscosity: float = Field(gt=0)
    drag: float = Field(ge=0)
    forcing_wavenumber: int = Field(ge=1)
    forcing_amplitude: float = Field(default=1.0, ge=0, description="0: decaying turbulence")
    interval: float = Field(gt=0, description="time between two stored frames")
    frames: int = Field(ge=2)
    spin_up_rung: int
    spin_up_time: float = Field(ge=0)
    settle_time: float = Field(default=0.5, ge=0, description="on the truth's grid, before the first stored frame")
    trajectories: OfEverySplit
    floor_windows: int = Field(default=4, ge=0, description="windows solved again on twice the grid")
    seed: int = Field(default=0, ge=0)
    # Left out of dumps at their defaults: ladders that were made before there were such options keep their digests.
    initial: Literal["random", "dns_plane"] = Field(
        default="random", exclude_if=lambda initial: initial == "random", description="what the spin-up starts from"
    )
    ladder: Literal["restricted", "solved"] = Field(
        default="restricted",
        exclude_if=lambda ladder: ladder == "restricted",
        description="training and validation: restricted from the truth, or solved on each rung",
    )

    @model_validator(mode="after")
    def _can_be_solved(self) -> Self:
        """The solver's own checks, now instead of when it is called; they raise ConfigError."""
        _ = self.truth()
        return self

    @property
    def flow(self) -> Flow:
        return Flow(
            viscosity=self.viscosity,
            drag=self.drag,
            forcing_wavenumber=self.forcing_wavenumber,
            forcing_amplitude=self.forcing_amplitude,
        )

    def truth(self, start_spectrum: tuple[float, ...] | None = None) -> TurbulenceSpec:
        return TurbulenceSpec(
            truth_rung=self.truth_rung,
            spin_up_rung=self.spin_up_rung,
            spin_up_time=self.spin_up_time,
            settle_time=self.settle_time,
            flow=self.flow,
            interval=self.interval,
            frames=self.frames,
            start_spectrum=start_spectrum,
        )


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the truth is not twice finer than the finest rung."""
    require_finer_truth(options.truth_rung, finest)


def load(ask: Ask) -> Loaded:
    """Solve all splits; see `generate`.  Raises DownloadError where the plane to start from cannot be had."""
    attrs, spectrum = {"generator": ask.options.model_dump_json()}, None
    if ask.options.initial == "dns_plane":
        spectrum = vortical_energy(read_plane(ask.sample(dns_plane.PLANE)))
        attrs |= carried_by(dns_plane.PLANE)
    splits, static, floor = generate(
        ask.options,
        ask.finest,
        ask.rungs,
        start_spectrum=spectrum,
        device=ask.device,
        tell=ask.tell("solving"),
        scratch=ask.scratch,
    )
    return Loaded(splits, static=static, floor=floor, attrs=attrs)


def advance(options: Options, state: Tensor, *, grid: Grid, lead: int) -> Tensor:
    """ω after `lead` intervals, every mode of the grid advanced: (B, 1, N, N) to (B, 1, N, N)."""
    later = integrate(state[:, 0], options.flow, duration=lead * options.interval, dealias="padded", grid=grid)
    return later[:, None]


def estimate_seconds(spec: Options, *, device: str = "cpu") -> float:
    """About how long `generate` takes: a few steps of one chunk are timed on each grid, and counted up.

    A solved ladder takes at most as long: its rungs together cost about 0.7 of the truth.
    """
    truth = spec.truth()
    per_sample = 0.0
    on_truth = truth.settle_time + (spec.frames - 1) * spec.interval
    for rung, duration in ((truth.spin_up_rung, truth.spin_up_time), (truth.truth_rung, on_truth)):
        step = truth.time_step(rung)
        state = random_vorticity(truth.chunk, rung, generator=torch.Generator().manual_seed(0)).to(device)
        eight = partial(integrate, state, truth.flow, duration=8 * step, dt=step)
        per_sample += seconds_of(eight) / 8 / truth.chunk * duration / step
    return per_sample * sum(spec.trajectories.values())


def generate(
    spec: Options,
    finest: Grid,
    rungs: tuple[int, ...],
    *,
    start_spectrum: tuple[float, ...] | None = None,
    device: str = "cpu",
    tell: Tell = lambda share: None,
    scratch: Path | None = None,
) -> tuple[dict[str, SplitFields], dict[str, np.ndarray], dict[int, float]]:
    """Solve all splits.

    Returns the fields of each split restricted to the finest rung (or, of a solved ladder, as solved on each), the
    static forcing field on it, and the truth's floor: RMS over one interval between this truth and one on twice its
    grid, in 1/time, by band rung.

    start_spectrum: energy by ring of the states that the spin-up starts from.  scratch: a folder that keeps each solved
    slice, so that a call which was stopped goes on, to the same bits.  Its owner removes it when the fields are safe.
    """
    truth, made_by = spec.truth(start_spectrum), [spec.digest, finest.to_dict(), rungs, device]

    def make(split: Split, members: range, tell: Tell) -> Made:
        """The fields as they were solved on each rung, under its number, or of the truth, on the finest."""
        count, first, seed = len(members), members.start, spec.seed + SEED_OF_SPLIT[split]
        if spec.ladder == "solved" and split != "test":
            solved = solve_rungs(
                truth, rungs, n_trajectories=count, first=first, seed=seed, device=device, progress=tell
            )
            return {str(rung): fields.float().numpy() for rung, fields in solved.items()}
        fine = solve_truth(truth, n_trajectories=count, first=first, seed=seed, device=device, progress=tell)
        made = {"fields": torch.stack([restrict(trajectory, finest) for trajectory in fine]).numpy()}
        if split == "test" and first == 0 and spec.floor_windows:
            windows = spec.floor_windows
            floor = truth_floor(fine, truth, interval=spec.interval, onto=rungs, n_windows=windows, device=device)
            made |= {f"floor-{rung}": np.array(error) for rung, error in floor.items()}
        return made

    kept = Slices(scratch, digest_of(made_by if start_spectrum is None else [*made_by, start_spectrum]))
    parts = slice_by_slice(spec.trajectories, make, size=SLICE, kept=kept, tell=tell)
    splits: dict[str, SplitFields] = {}
    for split, made in parts.items():
        by_rung = {rung: {VARIABLE: joined(made, str(rung))} for rung in rungs if str(rung) in made[0]}
        values = by_rung[finest.rung] if by_rung else {VARIABLE: joined(made, "fields")}
        splits[split] = SplitFields.independent(values, by_rung)
    forcing = spec.flow.forcing(finest).to(torch.float32).cpu().numpy()
    return splits, {"forcing": forcing}, floor_of(parts["test"], rungs)
