"""darcy, generated: flow through random media, −∇·(a ∇u) = f on the unit square with u = 0 around it.

The coefficient a is a Gaussian random field cut at 0 into two phases, or its exponential.  It is drawn on the truth's
cells, and u solved there: both are restricted, u by block mean, a by the rule that the catalogue gives the variable.
That is the geometric mean, which is the exact effective coefficient of a symmetric two-phase medium in two dimensions
(A. M. Dykhne, Sov. Phys. JETP 32 (1971) 63-65); it keeps a positive, as arithmetic and harmonic means do and a
spectral restriction does not.

`ladder: solved` solves u on each rung from the coefficient restricted to it: what a cheap coarse simulation gives.
Train and validation only; the test split is restricted.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from anchorbench.config import Frozen, Variable, digest_of
from anchorbench.data.ladder_file import MEANS
from anchorbench.data.slices import Slices
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.errors import CatalogError, ConfigError
from anchorbench.fields import Grid, prolong, restrict
from anchorbench.solvers.darcy import gaussian_field, log_normal, solve, two_phases

Split = Literal["train", "validation", "test"]

COEFFICIENT, PRESSURE = "coefficient", "pressure"
#: Splits draw from seeds (seed, number of the split, sample), which never meet.
NUMBER_OF_SPLIT: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
#: Samples between two looks at the scratch folder.
SLICE = 16


class Options(Frozen):
    """Parameters of the generated set; all are in the ladder's digest."""

    truth_rung: int = Field(description="grid of the truth: a multiple of the finest rung, at least twice as fine")
    medium: Literal["two_phases", "log_normal"] = "two_phases"
    low: float = Field(0.1, gt=0, description="of two phases: a where the field is below 0")
    high: float = Field(1.0, gt=0, description="of two phases: a where the field is above 0")
    median: float = Field(1.0, gt=0, description="of the log-normal medium")
    deviation: float = Field(1.0, gt=0, description="of log a in the log-normal medium")
    waves: int = Field(64, ge=1, description="half waves of the field along each side")
    decay: float = Field(2.0, ge=0, description="exponent of the field's covariance (−Δ + bend²)^−decay")
    bend: float = Field(3.0, gt=0, description="wavenumber from which the field falls")
    forcing: float = Field(1.0, description="f, the same everywhere")
    trajectories: dict[Split, Annotated[int, Field(ge=1)]] = Field(description="samples of each split")
    floor_samples: int = Field(8, ge=0, description="samples solved again on twice the grid")
    ladder: Literal["restricted", "solved"] = "restricted"
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _all_splits(self) -> Self:
        if lacking := NUMBER_OF_SPLIT.keys() - self.trajectories.keys():
            raise ValueError(f"trajectories lack the split {', '.join(sorted(lacking))}")
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is below high {self.high:g}")
        if self.forcing == 0:
            raise ValueError("without forcing nothing flows")
        return self


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the truth's cells are no twofold, threefold, ... of the finest rung's."""
    if options.truth_rung < 2 * finest.rung or options.truth_rung % finest.rung:
        raise ConfigError(
            f"the truth's grid {options.truth_rung} is not 2, 3, 4, ... times the finest rung {finest.rung}",
            do=f"--set generator.truth_rung={2 * finest.rung}",
        )
    if options.waves >= options.truth_rung:
        raise ConfigError(
            f"a truth of {options.truth_rung} cells does not carry {options.waves} half waves",
            do=f"--set generator.waves={options.truth_rung // 2}",
        )


def estimate_seconds(options: Options, *, device: str = "cpu") -> float:
    """About how long `load` takes: one sample is solved, on one processor whatever `device`, and counted up."""
    began = time.perf_counter()
    solve(_medium(options, "train", 0), forcing=options.forcing)
    a_sample = time.perf_counter() - began
    return a_sample * (sum(options.trajectories.values()) + 5 * options.floor_samples)


def advance(options: Options, state: Tensor, *, grid: Grid, lead: int) -> Tensor:
    """u of the coefficient as the rung knows it: (B, 1, N, N) to (B, 1, N, N).  lead: 0, there is no time."""
    return solve(state, forcing=options.forcing, grid=grid)


def load(ask: Ask) -> Loaded:
    """Solve all splits, on the truth's grid or, of a solved ladder, train and validation on each rung.

    The floor is the RMS difference to the same coefficient, cell by cell, solved on twice the truth's grid.
    Raises CatalogError where the catalogue's variables are not these.
    """
    options: Options = ask.options
    rule = _rule(ask.entry.variables)
    kept = None
    if ask.scratch is not None:
        kept = Slices(ask.scratch, digest_of([options.digest, ask.finest.to_dict(), ask.rungs, rule]))
    tell, done = ask.tell("solving"), 0
    splits: dict[str, SplitFields] = {}
    for split, n in options.trajectories.items():
        parts: list[dict[str, np.ndarray]] = []
        for first in range(0, n, SLICE):
            members = range(first, min(first + SLICE, n))
            name = f"{split}-{first:06d}-{len(members)}"
            made = None if kept is None else kept.load(name)
            if made is None:
                made = _solve(ask, split, members, rule)
                if kept is not None:
                    kept.save(name, made)
            parts.append(made)
            done += len(members)
            tell(done / sum(options.trajectories.values()))
        joined = {key: np.concatenate([part[key] for part in parts if key in part]) for key in parts[0]}
        by_rung = {
            rung: {name: joined[f"{name}-{rung}"] for name in (COEFFICIENT, PRESSURE)}
            for rung in ask.rungs
            if f"{PRESSURE}-{rung}" in joined
        }
        values = by_rung[ask.finest.rung] if by_rung else {name: joined[name] for name in (COEFFICIENT, PRESSURE)}
        splits[split] = SplitFields(values, valid=None, times=None, clusters=np.arange(n), by_rung=by_rung or None)
        if split == "test":
            squares = {rung: joined[f"floor-{rung}"] for rung in ask.rungs if f"floor-{rung}" in joined}
    return Loaded(
        splits,
        floor={rung: float(np.sqrt(each.mean())) for rung, each in squares.items()},
        attrs={
            "generator": options.model_dump_json(),
            "ladder": options.ladder,
            "restriction_of_coefficient": rule,
            "restriction_of_pressure": "block_mean",
        },
    )


def homogenised(coefficient: Tensor, grid: Grid, *, rule: str) -> Tensor:
    """The coefficient on coarser cells: `block_mean`, `geometric_mean` exp⟨log a⟩, or `harmonic_mean` 1/⟨1/a⟩."""
    there, back = MEANS[rule]
    inside = torch.from_numpy(there(coefficient.numpy()))
    return torch.from_numpy(back(restrict(inside, grid, how="block_mean").numpy()))


def _rule(variables: tuple[Variable, ...]) -> str:
    named = {variable.name: variable.restriction for variable in variables}
    if named.keys() != {COEFFICIENT, PRESSURE} or named[PRESSURE] not in (None, "block_mean"):
        raise CatalogError(
            f"darcy has the variables {COEFFICIENT} and {PRESSURE}, the latter restricted by block mean",
            do="mend the dataset's variables in datasets.yaml",
        )
    return named[COEFFICIENT] or "block_mean"


def _solve(ask: Ask, split: Split, members: range, rule: str) -> dict[str, np.ndarray]:
    """One slice, (sample, 1, N, N) float32: both variables on the finest rung, or on each rung under its number.

    Beside the test split's first samples, under `floor-RUNG`, the square of their floor.
    """
    options: Options = ask.options
    media = torch.stack([_medium(options, split, i) for i in members])
    truth = ask.finest.with_rung(options.truth_rung)
    made: dict[str, np.ndarray] = {}

    def keep(a: Tensor, u: Tensor, suffix: str = "") -> None:
        made[COEFFICIENT + suffix], made[PRESSURE + suffix] = (x[:, None].float().numpy() for x in (a, u))

    if ask.options.ladder == "solved" and split != "test":
        for rung in ask.rungs:
            grid = ask.finest.with_rung(rung)
            a = homogenised(media, grid, rule=rule)
            keep(a, solve(a, forcing=options.forcing, grid=grid), f"-{rung}")
        return made
    u = solve(media, forcing=options.forcing, grid=truth)
    keep(homogenised(media, ask.finest, rule=rule), restrict(u, ask.finest, how="block_mean"))
    again = sum(i < options.floor_samples for i in members) if split == "test" else 0
    if again:
        fine = truth.with_rung(2 * truth.rung)
        finer = solve(prolong(media[:again], fine, how="block_mean"), forcing=options.forcing, grid=fine)
        error = restrict(finer, truth, how="block_mean") - u[:again]
        for rung in ask.rungs:
            below = restrict(error, truth.with_rung(rung), how="block_mean")
            made[f"floor-{rung}"] = below.square().mean((-2, -1)).numpy()
    return made


def _medium(options: Options, split: Split, i: int) -> Tensor:
    rng = np.random.default_rng([options.seed, NUMBER_OF_SPLIT[split], i])
    field = gaussian_field(options.truth_rung, rng=rng, waves=options.waves, decay=options.decay, bend=options.bend)
    if options.medium == "two_phases":
        return two_phases(field, low=options.low, high=options.high)
    return log_normal(field, median=options.median, deviation=options.deviation)
