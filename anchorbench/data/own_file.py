"""What a user's file says of itself, and what it leaves open: grid, time, samples, variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from anchorbench.config import Variable
from anchorbench.data.catalog import Restriction
from anchorbench.data.cf import Clock, Line, Role, clock_of, line_of, open_set, roles_of
from anchorbench.data.own_grid import cropped, grid_of
from anchorbench.data.own_words import Doubts, Said
from anchorbench.data.sources.own import FileVariable
from anchorbench.fields import Grid

if TYPE_CHECKING:
    import xarray as xr

SPACE: tuple[Role, ...] = ("z", "y", "x", "lat", "lon")


@dataclass(frozen=True)
class Found:
    """What was found.

    dims: dimensions of the file by role, those of one point left out.  read_as: the file's variable behind each of the
    ladder's.  grid: as the fields will be handed over.  clock: None without time.  n_samples: None for a series.
    """

    dims: dict[Role, str]
    variables: tuple[Variable, ...]
    read_as: dict[str, FileVariable]
    grid: Grid
    restriction: Restriction
    clock: Clock | None
    n_samples: int | None
    leave_out_last: tuple[Role, ...]
    crop: tuple[int, ...]
    title: str
    producer: str
    terms: str
    cite: str


def look_into(path: str, said: Said, doubts: Doubts) -> Found | None:
    """Read the header of a file; None where what `doubts` has gathered leaves no grid to go on with.

    Raises DownloadError where the file cannot be read.
    """
    with open_set(path) as dataset:
        chosen = _chosen_variables(dataset, said, doubts)
        dims = _dims(dataset, [name for name, _ in chosen], said, doubts) if chosen else None
        if dims is None:
            return None
        lines = _lines(dataset, dims, doubts)
        grid, left_out = grid_of(lines, said, doubts) if lines is not None else (None, ())
        variables, read_as = _levels(dataset, chosen, dims, said, doubts)
        clock = clock_of(dataset, dims["time"]) if "time" in dims else None
        n_samples = int(dataset.sizes[dims["sample"]]) if "sample" in dims else None
        if isinstance(clock, str):
            doubts.say(clock)
            return None
        if clock is not None and n_samples is not None and (np.diff(clock.steps) > 1).any():
            doubts.say("times are missing from its samples: fill them, or leave those samples out")
        if grid is None:
            return None
        grid, crop = cropped(grid, said.crop, doubts)
        attrs = {name: str(value).strip() for name, value in dataset.attrs.items()}
    usual: Restriction = "spectral" if all(grid.periodic) else "block_mean"
    return Found(
        dims=dims,
        variables=variables,
        read_as=read_as,
        grid=grid,
        restriction=said.restriction or ("conservative" if grid.kind == "latlon" else usual),
        clock=clock,
        n_samples=n_samples,
        leave_out_last=left_out,
        crop=crop,
        title=attrs.get("title", ""),
        producer=attrs.get("institution") or attrs.get("creator_name") or "your own file",
        terms=attrs.get("license") or attrs.get("licence") or "yours; the file states none",
        cite=attrs.get("references", ""),
    )


def _chosen_variables(dataset: xr.Dataset, said: Said, doubts: Doubts) -> list[tuple[str, str]]:
    """(name, role) of each variable that is wanted, asked for where the file has several.

    Where none is known, one that could be meant stands for them, so that the rest of the file is looked at too.
    """
    fields = [
        str(name)
        for name, held in dataset.data_vars.items()
        if held.dtype.kind in "fiu" and set(SPACE) & set(roles_of(dataset, _names(held), said.dims).values())
    ]
    there = ", ".join(f"{name}({', '.join(_names(held))})" for name, held in dataset.data_vars.items()) or "none"
    if not fields:
        doubts.say(f"no variable has a dimension of space (it has {there})", "--set dims.NAME=x")
        return []
    if not said.variables and len(fields) > 1:
        doubts.say(f"which variables are meant (it has {', '.join(fields)})", f"--variables {','.join(fields)}")
    wanted = []
    for word in said.variables:
        name, _, role = word.partition(":")
        if name not in dataset.data_vars:
            doubts.say(f"it has no variable '{name}' (it has {there})", "--variables ...")
        elif role not in ("", "input", "target", "both"):
            doubts.say(f"'{role}' is no role of a variable", f"--variables {name}:input")
        elif name not in fields:
            doubts.say(f"'{name}' is no field of numbers on a grid (it has {there})", "--variables ...")
        else:
            wanted.append((name, role or "both"))
    return wanted or [(fields[0], "both")]


def _names(held: Any) -> list[str]:
    return [str(dim) for dim in held.dims]


def _dims(dataset: xr.Dataset, names: Sequence[str], said: Said, doubts: Doubts) -> dict[Role, str] | None:
    """The dimensions by role; those that nothing tells, or that two claim, are asked for.  None: no axes of space."""
    for dim in said.dims:
        if dim not in dataset.sizes:
            doubts.say(f"it has no dimension '{dim}' (it has {', '.join(map(str, dataset.sizes))})")
    all_dims = list(dict.fromkeys(dim for name in names for dim in _names(dataset[name])))
    wide = [dim for dim in all_dims if dataset.sizes[dim] > 1]
    by_role: dict[Role, str] = {}
    for dim, role in roles_of(dataset, wide, said.dims).items():
        if role is None:
            what = f"what the dimension '{dim}' of {dataset.sizes[dim]} points is"
            doubts.say(what, f"--set dims.{dim}=time (or sample, level, x, y, z)")
        elif role in by_role:
            what = f"both '{by_role[role]}' and '{dim}' look like {role}"
            doubts.say(what, f"--set dims.{dim}=sample (or another)")
        else:
            by_role[role] = dim
    for name in names:
        lacking = [dim for role, dim in by_role.items() if role != "level" and dim not in _names(dataset[name])]
        if lacking:
            doubts.say(f"'{name}' has no dimension {', '.join(lacking)}, as the others have", "--variables ...")
    space = {role for role in by_role if role in SPACE}
    if space in ({"x"}, {"y", "x"}, {"z", "y", "x"}, {"lat", "lon"}):
        return by_role
    if None not in roles_of(dataset, wide, said.dims).values():
        listed = ", ".join(sorted(by_role[role] for role in space)) or "none"
        doubts.say(
            f"its dimensions of space are {listed}, not x, or y and x, or z, y and x, or latitude and longitude",
            "--set dims.NAME=x",
        )
    return None


def _lines(dataset: xr.Dataset, dims: dict[Role, str], doubts: Doubts) -> list[Line] | None:
    """The axes of space, slowest first; None where one of them is not even."""
    found = [line_of(dataset, dims[role], role) for role in SPACE if role in dims]
    for line in found:
        if isinstance(line, str):
            doubts.say(line)
    lines = [line for line in found if not isinstance(line, str)]
    units = {line.unit for line in lines if line.known and line.unit}
    if lines and lines[0].role not in ("lat", "lon") and len(units) > 1:
        doubts.say(f"its axes have different units ({', '.join(sorted(units))}): give them one")
    return lines if len(lines) == len(found) else None


def _levels(
    dataset: xr.Dataset, chosen: list[tuple[str, str]], dims: dict[Role, str], said: Said, doubts: Doubts
) -> tuple[tuple[Variable, ...], dict[str, FileVariable]]:
    """Each variable, or each level of it as one of its own: `t_850`."""
    dim = dims.get("level")
    numbers: list[float] = []
    if dim is not None:
        held = dataset.variables.get(dim)
        n = dataset.sizes[dim]
        there = list(range(n)) if held is None else [float(v) for v in held.values]
        numbers = [float(v) for v in there]
        listed = ",".join(f"{v:g}" for v in numbers)
        if not said.levels:
            doubts.say(f"which of the levels {listed} along '{dim}' are meant", f"--set levels={listed}")
        elif unknown := [v for v in said.levels if v not in numbers]:
            doubts.say(
                f"it has no level {', '.join(f'{v:g}' for v in unknown)} (it has {listed})", f"--set levels={listed}"
            )
    elif said.levels:
        doubts.say("levels are asked for, and it has none")
    variables: list[Variable] = []
    read_as: dict[str, FileVariable] = {}
    for name, role in chosen:
        attrs = dataset[name].attrs
        units, long_name = str(attrs.get("units", "1")), str(attrs.get("long_name", attrs.get("standard_name", "")))
        layered = dim is not None and dim in dataset[name].dims
        for level in [v for v in said.levels if v in numbers] if layered else [None]:
            own = name if level is None else f"{name}_{level:g}"
            said_at = "" if level is None else f" at {level:g}"
            variables.append(Variable(name=own, units=units, long_name=f"{long_name}{said_at}", role=cast(Any, role)))
            read_as[own] = FileVariable(name=name, level=None if level is None else numbers.index(level))
    return tuple(variables), read_as
