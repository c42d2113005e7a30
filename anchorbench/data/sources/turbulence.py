"""turbulence2d, generated: trajectories of forced two-dimensional turbulence from our solver."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from anchorbench.config import Frozen, digest_of, validated
from anchorbench.data.sources import SplitFields
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, restrict
from anchorbench.solvers import Flow, TurbulenceSpec, integrate, random_vorticity, solve_truth, truth_floor

Split = Literal["train", "validation", "test"]

#: Trajectories held at the truth's resolution at once; the rest is kept on the finest rung.
SLICE = 64
#: Splits draw their trajectories from seeds that never meet.
SEED_OF_SPLIT: dict[Split, int] = {"train": 0, "validation": 1_000_000, "test": 2_000_000}


class Generator(Frozen):
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

    @model_validator(mode="after")
    def _can_be_solved(self) -> Self:
        """The solver's own checks, now instead of when it is called; they raise ConfigError."""
        if lacking := SEED_OF_SPLIT.keys() - self.trajectories.keys():
            raise ValueError(f"trajectories lack the split {', '.join(sorted(lacking))}")
        _ = self.truth
        return self

    @property
    def flow(self) -> Flow:
        return Flow(
            viscosity=self.viscosity,
            drag=self.drag,
            forcing_wavenumber=self.forcing_wavenumber,
            forcing_amplitude=self.forcing_amplitude,
        )

    @property
    def truth(self) -> TurbulenceSpec:
        return TurbulenceSpec(
            truth_rung=self.truth_rung,
            spin_up_rung=self.spin_up_rung,
            spin_up_time=self.spin_up_time,
            settle_time=self.settle_time,
            flow=self.flow,
            interval=self.interval,
            frames=self.frames,
        )


def generator(options: Mapping[str, Any], *, finest: int) -> Generator:
    """The validated parameters.  Raises ConfigError where the truth is not twice finer than the finest rung."""
    spec = validated(Generator, options, where="turbulence2d generator")
    if spec.truth_rung < 2 * finest:
        raise ConfigError(
            f"the truth's grid {spec.truth_rung} is not twice finer than the finest rung {finest}",
            do=f"--set generator.truth_rung={2 * finest}",
        )
    return spec


def estimate_seconds(spec: Generator, *, device: str = "cpu") -> float:
    """About how long `generate` takes: a few steps of one chunk are timed on each grid, and counted up."""
    truth = spec.truth
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
    spec: Generator,
    finest: Grid,
    rungs: tuple[int, ...],
    *,
    device: str = "cpu",
    progress: Callable[[float], None] | None = None,
    scratch: Path | None = None,
) -> tuple[dict[str, SplitFields], dict[str, np.ndarray], dict[int, float]]:
    """Solve all splits.

    Returns the fields of each split restricted to the finest rung, the static forcing field on it, and the truth's
    floor: RMS over one interval between this truth and one on twice its grid, in 1/time, by band rung.

    scratch: a folder that keeps each solved slice, so that a call which was stopped goes on, to the same bits.  Its
    owner removes it when the fields are safe.
    """
    kept = None if scratch is None else Slices(scratch, digest_of([spec.digest, finest.to_dict(), rungs, device]))
    total = sum(spec.trajectories.values())
    done = 0
    splits: dict[str, SplitFields] = {}
    floor: dict[int, float] = {}
    for split, n in spec.trajectories.items():
        parts = []
        for first in range(0, n, SLICE):
            count = min(SLICE, n - first)

            def tell(share: float, before: int = done, count: int = count) -> None:
                if progress is not None:
                    progress((before + share * count) / total)

            name = f"{split}-{first:06d}-{count}"
            found = None if kept is None else kept.load(name)
            if found is None:
                truth = solve_truth(
                    spec.truth,
                    n_trajectories=count,
                    first=first,
                    seed=spec.seed + SEED_OF_SPLIT[split],
                    device=device,
                    progress=tell,
                )
                part = torch.stack([restrict(trajectory, finest) for trajectory in truth]).numpy()
                errors: dict[int, float] = {}
                if split == "test" and first == 0 and spec.floor_windows:
                    windows = spec.floor_windows
                    errors = truth_floor(
                        truth, spec.truth, interval=spec.interval, onto=rungs, n_windows=windows, device=device
                    )
                found = part, errors
                if kept is not None:
                    kept.save(name, *found)
            else:
                tell(1.0)
            parts.append(found[0])
            floor |= found[1]
            done += count
        splits[split] = SplitFields(
            values={"vorticity": np.concatenate(parts)}, valid=None, times=None, clusters=np.arange(n)
        )
    return splits, {"forcing": spec.flow.forcing(finest).to(torch.float32).cpu().numpy()}, floor


class Slices:
    """Solved slices on disk, restricted to the finest rung, each with the floor that was found on it.

    A slice that cannot be kept, or read, is one to be solved again: nothing here stops a solve.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder, self.digest = folder, digest

    def load(self, name: str) -> tuple[np.ndarray, dict[int, float]] | None:
        try:
            with self._path(name).open("rb") as file, np.load(file, allow_pickle=False) as made:
                return made["fields"], dict(zip(made["rungs"].tolist(), made["floor"].tolist(), strict=True))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, name: str, fields: np.ndarray, floor: Mapping[int, float]) -> None:
        path = self._path(name)
        part = path.with_name(f".{path.name}.part")
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(
                    file,
                    fields=fields,
                    rungs=np.array(list(floor), dtype=np.int64),
                    floor=np.array(list(floor.values()), dtype=np.float64),
                )
            part.replace(path)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.digest[:16]}-{name}.npz"
