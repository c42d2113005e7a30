"""turbulence2d, generated: trajectories of forced two-dimensional turbulence from our solver.

`ladder: restricted`: every rung is restricted from one fine truth.  `ladder: solved`: training and validation are what
the solver gives on each rung by itself; the test split stays restricted from the truth, so that training on solved data
is judged by it.

`initial: random`: Gaussian vorticity around one wavenumber.  `initial: dns_plane`: random phases with the energy that a
measured plane of isotropic turbulence has in each ring (dns_plane.py); the flow forgets it over `spin_up_time`.
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
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by, dns_plane
from anchorbench.data.sources.dns_plane import read_plane, vortical_energy
from anchorbench.errors import ConfigError
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

Split = Literal["train", "validation", "test"]

#: Trajectories held at the truth's resolution at once; the rest is kept on the finest rung.
SLICE = 64
#: Splits draw their trajectories from seeds that never meet.
SEED_OF_SPLIT: dict[Split, int] = {"train": 0, "validation": 1_000_000, "test": 2_000_000}


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
    trajectories: dict[Split, Annotated[int, Field(ge=1)]]
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
        if lacking := SEED_OF_SPLIT.keys() - self.trajectories.keys():
            raise ValueError(f"trajectories lack the split {', '.join(sorted(lacking))}")
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
    if options.truth_rung < 2 * finest.rung:
        raise ConfigError(
            f"the truth's grid {options.truth_rung} is not twice finer than the finest rung {finest.rung}",
            do=f"--set generator.truth_rung={2 * finest.rung}",
        )


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
        progress=ask.tell("solving"),
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
        took = []
        for _ in range(3):
            began = time.perf_counter()
            float(integrate(state, truth.flow, duration=8 * step, dt=step).sum())
            took.append(time.perf_counter() - began)
        per_sample += min(took) / 8 / truth.chunk * duration / step
    return per_sample * sum(spec.trajectories.values())


def generate(
    spec: Options,
    finest: Grid,
    rungs: tuple[int, ...],
    *,
    start_spectrum: tuple[float, ...] | None = None,
    device: str = "cpu",
    progress: Callable[[float], None] | None = None,
    scratch: Path | None = None,
) -> tuple[dict[str, SplitFields], dict[str, np.ndarray], dict[int, float]]:
    """Solve all splits.

    Returns the fields of each split restricted to the finest rung (or, of a solved ladder, as solved on each), the
    static forcing field on it, and the truth's floor: RMS over one interval between this truth and one on twice its
    grid, in 1/time, by band rung.

    start_spectrum: energy by ring of the states that the spin-up starts from.  scratch: a folder that keeps each solved
    slice, so that a call which was stopped goes on, to the same bits.  Its owner removes it when the fields are safe.
    """
    made_by = [spec.digest, finest.to_dict(), rungs, device]
    kept = (
        Slices(scratch, digest_of(made_by if start_spectrum is None else [*made_by, start_spectrum]))
        if scratch
        else None
    )
    total = sum(spec.trajectories.values())
    done = 0
    splits: dict[str, SplitFields] = {}
    floor: dict[int, float] = {}
    for split, n in spec.trajectories.items():
        parts: list[dict[str, np.ndarray]] = []
        for first in range(0, n, SLICE):
            count = min(SLICE, n - first)

            def tell(share: float, before: int = done, count: int = count) -> None:
                if progress is not None:
                    progress((before + share * count) / total)

            name = f"{split}-{first:06d}-{count}"
            found = None if kept is None else kept.load(name)
            if found is None:
                solver = _solved_slice if spec.ladder == "solved" and split != "test" else _restricted_slice
                found = solver(spec, spec.truth(start_spectrum), finest, rungs, split, first, count, device, tell)
                if kept is not None:
                    kept.save(name, found)
            else:
                tell(1.0)
            parts.append(found)
            floor |= dict(zip(found["rungs"].tolist(), found["floor"].tolist(), strict=True))
            done += count
        joined = {
            key: np.concatenate([part[key] for part in parts]) for key in parts[0] if key not in ("rungs", "floor")
        }
        by_rung = {rung: {"vorticity": joined[str(rung)]} for rung in rungs if str(rung) in joined}
        splits[split] = SplitFields(
            values=by_rung[finest.rung] if by_rung else {"vorticity": joined["fields"]},
            valid=None,
            times=None,
            clusters=np.arange(n),
            by_rung=by_rung or None,
        )
    return splits, {"forcing": spec.flow.forcing(finest).to(torch.float32).cpu().numpy()}, floor


def _restricted_slice(
    spec: Options,
    truth_spec: TurbulenceSpec,
    finest: Grid,
    rungs: tuple[int, ...],
    split: Split,
    first: int,
    count: int,
    device: str,
    tell: Callable[[float], None],
) -> dict[str, np.ndarray]:
    """Trajectories of the truth on the finest rung; with the first of the test split the truth's floor."""
    seed = spec.seed + SEED_OF_SPLIT[split]
    truth = solve_truth(truth_spec, n_trajectories=count, first=first, seed=seed, device=device, progress=tell)
    errors: dict[int, float] = {}
    if split == "test" and first == 0 and spec.floor_windows:
        windows = spec.floor_windows
        errors = truth_floor(truth, truth_spec, interval=spec.interval, onto=rungs, n_windows=windows, device=device)
    return {
        "fields": torch.stack([restrict(trajectory, finest) for trajectory in truth]).numpy(),
        "rungs": np.array(list(errors), dtype=np.int64),
        "floor": np.array(list(errors.values()), dtype=np.float64),
    }


def _solved_slice(
    spec: Options,
    truth_spec: TurbulenceSpec,
    finest: Grid,
    rungs: tuple[int, ...],
    split: Split,
    first: int,
    count: int,
    device: str,
    tell: Callable[[float], None],
) -> dict[str, np.ndarray]:
    """Trajectories as solved on each rung, under its number."""
    seed = spec.seed + SEED_OF_SPLIT[split]
    solved = solve_rungs(truth_spec, rungs, n_trajectories=count, first=first, seed=seed, device=device, progress=tell)
    none = {"rungs": np.empty(0, dtype=np.int64), "floor": np.empty(0)}
    return {str(rung): fields.float().numpy() for rung, fields in solved.items()} | none
