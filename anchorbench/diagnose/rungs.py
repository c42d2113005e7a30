"""One rung's predictions and truth as tensors on a grid, from data sets with named dimensions and coordinates.

A variable has the dimensions (sample, [time,] [level,] y, x), in any order; a prediction may have `seed` too.  Levels
are channels, each in units of its own deviation and all of them pooled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from anchorbench.data.cf import Line, line_of, role_of
from anchorbench.diagnose.files import SPACE
from anchorbench.diagnose.grids import grids_of
from anchorbench.errors import ConfigError, unknown
from anchorbench.fields import Grid, Restriction

if TYPE_CHECKING:
    import xarray as xr

LEADING = ("seed", "sample", "time", "level")
#: Into how many blocks of time a record without samples is cut, and the fewest frames of one.
BLOCKS, LEAST_FRAMES = 8, 2


@dataclass(frozen=True)
class Rung:
    """prediction (S, B, C, *grid), truth (B, C, *grid), weights (B, 1, *grid) or None; units of the variable."""

    grid: Grid
    prediction: Tensor
    truth: Tensor
    weights: Tensor | None
    clusters: Tensor


@dataclass(frozen=True)
class Fields:
    """All rungs of one variable.

    clusters: what each cluster is.  seeds: how many predictions stand for one method.  said: the restriction, in a
    line.  notes: what was taken for granted.
    """

    rungs: dict[int, Rung]
    restriction: Restriction
    said: str
    clusters: tuple[Any, ...]
    variable: str
    unit: str
    notes: tuple[str, ...] = field(default=())

    @property
    def seeds(self) -> int:
        return int(next(iter(self.rungs.values())).prediction.shape[0])


@dataclass(frozen=True)
class Asked:
    """What a caller says of the files; see `diagnose`."""

    variable: str | None = None
    level: float | None = None
    mask: str | None = None
    weights: str | None = None
    restriction: str | None = None
    cluster: str | None = None


def matched(
    predictions: Mapping[int, xr.Dataset], truth: Mapping[int, xr.Dataset], asked: Asked, *, what: str = "predictions"
) -> Fields:
    """Truth and predictions of every rung, on the same points of the same samples.

    Raises ConfigError for a rung without truth, a variable that is ambiguous, coordinates that differ, missing values
    without a mask, an axis that is uneven, falls or has no coordinate.
    """
    if not predictions:
        raise ConfigError(f"there are no {what}")
    if lacking := [rung for rung in predictions if rung not in truth]:
        raise ConfigError(
            f"there is no truth for the rung {', '.join(map(str, lacking))}; "
            f"there is {', '.join(map(str, truth)) or 'none'}",
            do="give --truth once a rung, or one file with a group a rung",
        )
    names = {rung: _names(predictions[rung], truth[rung], asked.variable, f"{what} at {rung}") for rung in predictions}
    laid = {
        rung: (
            _laid_out(predictions[rung], names[rung][0], asked, f"{what} at {rung}"),
            _laid_out(truth[rung], names[rung][1], asked, f"truth at {rung}"),
        )
        for rung in predictions
    }
    for rung, (guess, goal) in laid.items():
        _check_alike(guess, goal, what=f"{what} and truth at {rung}")
    first = min(laid)
    for rung, (guess, goal) in laid.items():
        if guess.array.sizes["seed"] != laid[first][0].array.sizes["seed"]:
            raise ConfigError(f"the {what} at {rung} and {first} have different numbers of seeds")
        _check_alike(goal, laid[first][1], what=f"the truths at {rung} and {first}", space=False)
    # Of every truth that is given: how points lie shows from rung to rung, and `native` may have one alone.
    lines = {
        rung: laid[rung][1].lines if rung in laid else _laid_out(held, names[first][1], asked, f"truth at {rung}").lines
        for rung, held in truth.items()
    }
    masked = asked.mask is not None or asked.weights is not None
    grids, how, said = grids_of(lines, restriction=asked.restriction, masked=masked)
    clusters, labels, notes = _clusters(laid[first][1], truth[first], asked.cluster)
    rungs = {}
    for rung, (guess, goal) in laid.items():
        weights = _weights(truth[rung], goal, asked, f"truth at {rung}")
        _check_finite(guess, goal, weights, rung=rung, what=what)
        rungs[rung] = Rung(
            grid=grids[rung],
            prediction=_tensor(guess, seeds=True),
            truth=_tensor(goal, seeds=False)[0],
            weights=None if weights is None else torch.from_numpy(weights),
            clusters=clusters,
        )
    shown = laid[first][1].array
    name = names[first][1] + (f" at {asked.level:g}" if asked.level is not None else "")
    return Fields(rungs, how, said, labels, name, str(shown.attrs.get("units", "1")), notes)


@dataclass(frozen=True)
class Laid:
    """A variable as (seed, sample, time, level, *space), its axes of space, and what it is called in messages."""

    array: xr.DataArray
    lines: tuple[Line, ...]
    where: str


def _names(guess: xr.Dataset, goal: xr.Dataset, asked: str | None, where: str) -> tuple[str, str]:
    """The variable in either; the only field of each may have two names."""
    fields = [[str(n) for n, v in d.data_vars.items() if _is_field(d, v)] for d in (guess, goal)]
    if asked is not None:
        for dataset, there, side in zip((guess, goal), fields, (where, "its truth"), strict=True):
            if asked not in dataset.data_vars:
                raise ConfigError(f"{side}: {unknown('variable', asked, there)}")
        return asked, asked
    shared = [name for name in fields[0] if name in fields[1]]
    if len(shared) == 1:
        return shared[0], shared[0]
    if not shared and len(fields[0]) == len(fields[1]) == 1:
        return fields[0][0], fields[1][0]
    if not shared:
        raise ConfigError(
            f"{where} has {', '.join(fields[0]) or 'no field'}, its truth {', '.join(fields[1]) or 'none'}"
        )
    raise ConfigError(
        f"{where} has several variables in common with its truth: {', '.join(shared)}", do=f"--variable {shared[0]}"
    )


def _is_field(dataset: xr.Dataset, held: xr.DataArray) -> bool:
    return held.dtype.kind in "fiu" and any(role_of(dataset, str(dim)) in SPACE for dim in held.dims)


def _laid_out(dataset: xr.Dataset, name: str, asked: Asked, where: str) -> Laid:
    """The variable with its dimensions named by role and in order; those of one point that nothing names left out."""
    held = dataset[name]
    roles: dict[str, str] = {}
    for dim in map(str, held.dims):
        role = "seed" if dim == "seed" else role_of(dataset, dim)
        if role is None and held.sizes[dim] == 1:
            held = held.isel({dim: 0}, drop=True)
        elif role is None:
            raise ConfigError(
                f"{where}: what the dimension '{dim}' of {held.sizes[dim]} points is, nothing tells",
                do="name it sample, time, level, z, y or x:  ds.rename({'" + dim + "': 'sample'})",
            )
        elif role in roles.values():
            raise ConfigError(f"{where}: two dimensions of {name} look like {role}")
        else:
            roles[dim] = role
    space = [role for role in SPACE if role in roles.values()]
    if space not in (["x"], ["y", "x"], ["z", "y", "x"], ["lat", "lon"]):
        raise ConfigError(
            f"{where}: {name} has the axes of space {', '.join(space)}",
            do="x, or y and x, or z, y and x, or lat and lon",
        )
    dims = {role: dim for dim, role in roles.items()}
    lines = tuple(_line(dataset, dims[role], role, where) for role in space)
    held = held.rename({dim: role for dim, role in roles.items() if dim != role})
    if asked.level is not None:
        held = _at_level(held, asked.level, where)
    missing = [dim for dim in LEADING if dim not in held.dims]
    return Laid(held.expand_dims(missing).transpose(*LEADING, *space), lines, where)


def _line(dataset: xr.Dataset, dim: str, role: Any, where: str) -> Line:
    line = line_of(dataset, dim, role)
    if isinstance(line, str):
        raise ConfigError(f"{where}: {line}")
    if not line.known:
        raise ConfigError(
            f"{where}: {dim} has no coordinate, so nobody can tell where its points are",
            do=f"ds.assign_coords({dim}=...): the positions of the {line.n} points",
        )
    if line.falls:
        raise ConfigError(f"{where}: {dim} runs downwards", do=f"ds.sortby('{dim}')")
    return line


def _at_level(held: xr.DataArray, level: float, where: str) -> xr.DataArray:
    there = [float(v) for v in held["level"].values] if "level" in held.coords and "level" in held.dims else []
    if level not in there:
        listed = ", ".join(f"{v:g}" for v in there) or "none"
        raise ConfigError(f"{where} has no level {level:g}; it has {listed}")
    return held.isel(level=[there.index(level)])


def _check_alike(a: Laid, b: Laid, *, what: str, space: bool = True) -> None:
    """Raises ConfigError where sizes or coordinates along shared dimensions differ."""
    for dim in ("sample", "time", "level"):
        n, m = a.array.sizes[dim], b.array.sizes[dim]
        if n != m:
            raise ConfigError(f"{what} have {n} and {m} points along {dim}", do="give the same samples to each")
        if dim in a.array.coords and dim in b.array.coords:
            one, other = np.asarray(a.array[dim].values), np.asarray(b.array[dim].values)
            if (differ := np.flatnonzero(one != other)).size:
                i = int(differ[0])
                raise ConfigError(f"{what} differ along {dim}: {one[i]} and {other[i]} at place {i}")
    if not space:
        return
    if len(a.lines) != len(b.lines):
        raise ConfigError(f"{what} have {len(a.lines)} and {len(b.lines)} axes of space")
    for p, q in zip(a.lines, b.lines, strict=True):
        near = 1e-3 * q.spacing
        if p.role != q.role or p.n != q.n or abs(p.first - q.first) > near or abs(p.last - q.last) > near:
            raise ConfigError(
                f"{what} are on different points along {q.dim}: {p.n} from {p.first:.6g} to {p.last:.6g}, "
                f"{q.n} from {q.first:.6g} to {q.last:.6g}",
                do="give the truth on the model's own points",
            )


def _clusters(goal: Laid, truth: xr.Dataset, name: str | None) -> tuple[Tensor, tuple[Any, ...], tuple[str, ...]]:
    """Which independent unit each (sample, time) belongs to; (B,), their names, and what was taken for granted."""
    n_samples, n_times = goal.array.sizes["sample"], goal.array.sizes["time"]
    if name is not None:
        if name not in truth.variables or len(truth[name].dims) != 1 or truth[name].size not in (n_samples, n_times):
            raise ConfigError(
                f"--cluster {name}: the truth has no such coordinate along its samples or times",
                do="ds.assign_coords(trajectory=('sample', [...]))",
            )
        own = np.asarray(truth[name].values)
        labels, number = np.unique(own, return_inverse=True)
        along = np.repeat(number, n_times) if own.size == n_samples else np.tile(number, n_samples)
        return torch.from_numpy(np.asarray(along)), tuple(labels.tolist()), ()
    if n_samples > 1 or n_times < 2 * LEAST_FRAMES:
        note = () if n_times == 1 else ("each sample counts as one trajectory: its frames are pooled",)
        return torch.arange(n_samples).repeat_interleave(n_times), tuple(range(n_samples)), note
    blocks = min(BLOCKS, n_times // LEAST_FRAMES)
    block = torch.arange(n_times) * blocks // n_times
    said = (f"there is one sample: {blocks} blocks of time stand for trajectories, right where they are independent",)
    return block, tuple(range(blocks)), said


def _weights(truth: xr.Dataset, goal: Laid, asked: Asked, where: str) -> np.ndarray | None:
    """The product of mask and weights: (B, 1, *grid), float64."""
    whole = goal.array.isel(seed=0)
    out: np.ndarray | None = None
    for option, name in (("--mask", asked.mask), ("--weights", asked.weights)):
        if name is None:
            continue
        if option == "--mask" and name == "nan":
            values = np.isfinite(whole.values).all(axis=2).astype(np.float64)
        else:
            values = _like(truth, name, whole.isel(level=0), option, where)
        out = values if out is None else out * values
    return None if out is None else out.reshape(-1, 1, *out.shape[2:])


def _like(truth: xr.Dataset, name: str, whole: xr.DataArray, option: str, where: str) -> np.ndarray:
    if name not in truth.variables:
        raise ConfigError(
            f"{option}: {where}: {unknown('variable', name, map(str, truth.data_vars))}",
            do="--mask nan: what is missing in the truth is not scored" if option == "--mask" else None,
        )
    held = truth[name]
    held = held.rename({d: r for d in held.dims if (r := role_of(truth, str(d))) is not None and r != d})
    if odd := [str(d) for d in held.dims if d not in whole.dims]:
        raise ConfigError(f"{option} {name}: {where}: the field has no dimension {', '.join(odd)}")
    values = np.asarray(held.reset_coords(drop=True).drop_vars(list(held.coords)).broadcast_like(
        whole.drop_vars(list(whole.coords))).transpose(*whole.dims).values, dtype=np.float64)  # fmt: skip
    values = np.where(np.isfinite(values), values, 0.0)
    if (values < 0).any() or not values.any():
        raise ConfigError(f"{option} {name}: {where}: weights are not negative, and not all zero")
    return values


def _check_finite(guess: Laid, goal: Laid, weights: np.ndarray | None, *, rung: int, what: str) -> None:
    for laid, side in ((goal, "the truth"), (guess, f"the {what}")):
        values = laid.array.values
        wrong = ~np.isfinite(values)
        if weights is not None:
            wrong &= weights.reshape(1, *values.shape[1:3], 1, *values.shape[4:]) > 0
        if wrong.any():
            raise ConfigError(
                f"{side} at {rung} has {int(wrong.sum())} values that are NaN or infinite"
                + ("" if weights is None else " where the mask is not 0"),
                do="--mask nan (what is missing in the truth is not scored), or --mask NAME, a variable of the truth",
            )


def _tensor(laid: Laid, *, seeds: bool) -> Tensor:
    """(seed, sample, time, level, *space) as (seed, sample x time, level, *space)."""
    values = np.nan_to_num(np.asarray(laid.array.values, dtype=np.float64), posinf=0.0, neginf=0.0)
    if not seeds and len(values) > 1:
        raise ConfigError(f"{laid.where} has a dimension 'seed': there is one truth")
    return torch.from_numpy(np.ascontiguousarray(values)).flatten(1, 2)
