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

from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from anchorbench.config import Frozen, Variable, digest_of
from anchorbench.data.generated import seconds_of
from anchorbench.data.ladder_file import MEANS
from anchorbench.data.slices import Made, Slices, joined, slice_by_slice
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import NUMBER_OF_SPLIT, OfEverySplit, Split
from anchorbench.errors import CatalogError, ConfigError
from anchorbench.fields import Grid, prolong, restrict
from anchorbench.solvers.darcy import gaussian_field, log_normal, solve, two_phases

COEFFICIENT, PRESSURE = "coefficient", "pressure"
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
    trajectories: OfEverySplit = Field(description="samples of each split")
    floor_samples: int = Field(8, ge=0, description="samples solved again on twice the grid")
    ladder: Literal["restricted", "solved"] = "restricted"
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _flows(self) -> Self:
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
    a_sample = seconds_of(lambda: solve(_medium(options, "train", 0), forcing=options.forcing), rounds=1)
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
    parts = slice_by_slice(
        options.trajectories,
        lambda split, members, _: _solve(ask, split, members, rule),
        size=SLICE,
        kept=Slices(ask.scratch, digest_of([options.digest, ask.finest.to_dict(), ask.rungs, rule])),
        tell=ask.tell("solving"),
    )
    splits: dict[str, SplitFields] = {}
    for split, made in parts.items():
        by_rung = {
            rung: {name: joined(made, f"{name}-{rung}") for name in (COEFFICIENT, PRESSURE)}
            for rung in ask.rungs
            if f"{PRESSURE}-{rung}" in made[0]
        }
        values = by_rung[ask.finest.rung] if by_rung else {name: joined(made, name) for name in (COEFFICIENT, PRESSURE)}
        splits[split] = SplitFields.independent(values, by_rung)
    solved_again = [rung for rung in ask.rungs if f"floor-{rung}" in parts["test"][0]]
    return Loaded(
        splits,
        floor={rung: float(np.sqrt(joined(parts["test"], f"floor-{rung}").mean())) for rung in solved_again},
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


def _solve(ask: Ask, split: Split, members: range, rule: str) -> Made:
    """One slice, (sample, 1, N, N) float32: both variables on the finest rung, or on each rung under its number.

    Beside the test split's first samples, under `floor-RUNG`, the square of their floor.
    """
    options: Options = ask.options
    media = torch.stack([_medium(options, split, i) for i in members])
    truth = ask.finest.with_rung(options.truth_rung)
    made: Made = {}

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
