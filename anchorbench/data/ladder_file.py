"""One split of a ladder as a NetCDF-4 file: a group a rung, coordinates, variables, and what each step down removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, cast

import netCDF4
import numpy as np
import torch

from anchorbench.config import LadderSpec, Variable
from anchorbench.data.sources import SplitFields
from anchorbench.errors import LadderError
from anchorbench.fields import Grid, restrict, restrict_weights
from anchorbench.fields.grid import rung_name
from anchorbench.fields.resample import Restriction

MEANS: dict[str, tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]] = {
    "block_mean": (np.asarray, np.asarray),
    "geometric_mean": (np.log, np.exp),
    "harmonic_mean": (np.reciprocal, np.reciprocal),
}


def write_split(
    path: Path,
    spec: LadderSpec,
    fields: SplitFields,
    attrs: Mapping[str, str],
    static: Mapping[str, np.ndarray],
    *,
    masked: bool,
) -> dict[str, float]:
    """One NetCDF file with a group a rung.

    Returns the share of variance that each step down removed, the mean of the variables' shares.
    """
    finest = Grid.from_dict(spec.grid)
    valid = fields.valid
    if masked and valid is None:
        valid = np.ones_like(next(iter(fields.values.values())), dtype=bool)
    lost: dict[str, float] = {}
    above: dict[str, float] = {}
    with netCDF4.Dataset(path, "w", format="NETCDF4") as nc:
        nc.setncatts(
            {
                "Conventions": "CF-1.11",
                "title": f"anchorbench ladder {spec.name}",
                "restriction": spec.restriction,
                "ladder_digest": spec.digest,
                "ladder_spec": spec.model_dump_json(),
                **attrs,
            }
        )
        for rung in reversed(spec.rungs):
            grid = finest.with_rung(rung)
            group = nc.createGroup(rung_name(rung))
            _write_coordinates(group, grid, fields, spec)
            weights = None if valid is None else _chunked(valid, grid, spec, kind="weights")
            removed = []
            for variable in spec.variables:
                values = _on_rung(fields, variable, grid, spec, valid=valid)
                if not np.isfinite(values).all():
                    raise LadderError(
                        f"'{variable.name}' is NaN or infinite at points that are not masked: {path.stem}"
                    )
                variance = _variance(values, grid, weights)
                before = above.get(variable.name, variance)
                removed.append(1.0 - variance / before if before > 0 else 0.0)
                above[variable.name] = variance
                if weights is not None:
                    values = np.where(weights > 0, values, np.float32(np.nan))
                _write_variable(group, variable.name, values, units=variable.units, long_name=variable.long_name)
            if weights is not None:
                _write_variable(group, "valid_area", weights, units="1", long_name="share of the cell observed")
            for name, values in static.items():
                out = restrict(torch.from_numpy(values), grid, how=cast(Restriction, spec.restriction))
                written = group.createVariable(name, "f4", grid.axes)
                written[:] = out.numpy()
                written.long_name = f"{name}, the same in all samples at all times"
            lost[grid.name] = float(np.mean(removed))
            group.energy_removed_by_this_step = lost[grid.name]
    return lost


def _on_rung(
    fields: SplitFields, variable: Variable, grid: Grid, spec: LadderSpec, *, valid: np.ndarray | None
) -> np.ndarray:
    """One variable on one rung: as it was solved there, or restricted, by the variable's own rule if it has one."""
    if fields.by_rung is not None:
        return np.asarray(fields.by_rung[grid.rung][variable.name], dtype=np.float32)
    values = fields.values[variable.name]
    if variable.restriction is None:
        return _chunked(values, grid, spec, valid=valid)
    # A mean of f(u), taken back: of logarithms it is geometric, of reciprocals harmonic.
    there, back = MEANS[variable.restriction]
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = there(values) if valid is None else np.where(valid, there(values), 0.0)
        return np.asarray(back(_chunked(inside, grid, spec, valid=valid, how="block_mean")), dtype=np.float32)


def _variance(values: np.ndarray, grid: Grid, weights: np.ndarray | None) -> float:
    """Σ w (u − ū)² / Σ w over all points, w the areas of the points times their weights."""
    if weights is None and grid.is_uniform:
        return float(values.var(dtype=np.float64))
    w = (np.ones_like(values) if weights is None else weights).astype(np.float64) * grid.area_weights().numpy()
    total = max(w.sum(), 1e-300)
    return float((w * (values - (w * values).sum() / total) ** 2).sum() / total)


def _chunked(
    values: np.ndarray,
    grid: Grid,
    spec: LadderSpec,
    *,
    valid: np.ndarray | None = None,
    kind: Literal["values", "weights"] = "values",
    how: Restriction | None = None,
) -> np.ndarray:
    """Restrict sample by sample, so that memory is bounded by the result."""
    out = np.empty((*values.shape[:2], *grid.shape), np.float32)
    how = how or cast(Restriction, spec.restriction)
    for i in range(len(values)):
        u = torch.from_numpy(np.ascontiguousarray(values[i], dtype=np.float32))
        if kind == "weights":
            out[i] = restrict_weights(u, grid, how=how).numpy()
        else:
            w = None if valid is None else torch.from_numpy(np.ascontiguousarray(valid[i], dtype=np.float32))
            out[i] = restrict(u, grid, how=how, weights=w).numpy()
    return out


def _write_coordinates(group: netCDF4.Group, grid: Grid, fields: SplitFields, spec: LadderSpec) -> None:
    group.setncatts({"rung": grid.rung, "centring": grid.centring, "kind": grid.kind})
    group.extent = list(grid.extent)
    group.periodic = [int(p) for p in grid.periodic]
    group.createDimension("sample", fields.n_samples)
    group.createDimension("time", fields.n_frames)
    sample = group.createVariable("sample", "i4", ("sample",))
    sample[:] = np.arange(fields.n_samples)
    sample.long_name = "trajectory or window"
    cluster = group.createVariable("cluster", "i4", ("sample",))
    cluster[:] = np.asarray(fields.clusters)
    cluster.long_name = "samples of one cluster are not independent"
    time = group.createVariable("time", "f8", ("time",))
    time[:] = np.arange(fields.n_frames) * spec.time_step
    time.setncatts({"units": spec.time_unit, "long_name": "time since the sample's first frame"})
    if fields.times is not None:
        start = group.createVariable("start", "i8", ("sample",))
        start[:] = np.asarray(fields.times)[:, 0].astype("datetime64[s]").astype(np.int64)
        start.setncatts(
            {"units": "seconds since 1970-01-01T00:00:00Z", "standard_name": "time", "calendar": "standard"}
        )
    for i, (axis, n) in enumerate(zip(grid.axes, grid.shape, strict=True)):
        group.createDimension(axis, n)
        coordinate = group.createVariable(axis, "f8", (axis,))
        coordinate[:] = grid.coordinates(i).numpy()
        coordinate.setncatts({"units": grid.unit, "axis": axis.upper(), "long_name": f"{axis} of the {grid.centring}s"})


def _write_variable(group: netCDF4.Group, name: str, values: np.ndarray, *, units: str, long_name: str) -> None:
    grid_axes = tuple(d for d in group.dimensions if d not in ("sample", "time"))
    # One frame a chunk, uncompressed: random windows read 10 to 60 times faster than from compressed chunks.
    variable = group.createVariable(
        name, "f4", ("sample", "time", *grid_axes), chunksizes=(1, 1, *values.shape[2:]), fill_value=np.float32(np.nan)
    )
    variable[:] = values
    variable.setncatts({"units": units, "long_name": long_name or name})
