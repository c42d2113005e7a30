"""curve.nc: what an evaluation leaves of each rung."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from anchorbench.analysis import Sums
from anchorbench.config import targets_of
from anchorbench.runs.price import SolverPrice
from anchorbench.runs.session import Session

COARSE = "coarse_then_upsample"


@dataclass
class RungResult:
    """What one rung leaves: sums of the run, of its coarse prediction prolonged, spectra, and one window's fields."""

    sums: Sums
    coarse: Sums | None = None
    spectra: dict[str, np.ndarray] = field(default_factory=dict)
    fields: dict[str, np.ndarray] = field(default_factory=dict)


def write_curve(
    path: Path,
    session: Session,
    results: dict[int, RungResult],
    *,
    price: SolverPrice | None = None,
    event: xr.Dataset | None = None,
) -> None:
    """curve.nc: sums (rung, cluster, channel); spectra (rung, ring), NaN beyond a rung's own; groups with fields.

    price: of the ladder's own solver, where it is what was scored.  event: the group `event`, of `event.py`.
    """
    rungs = sorted(results)
    rings = max(len(r.spectra["k"]) for r in results.values())
    longest = max(results.values(), key=lambda r: len(r.spectra["k"])).spectra["k"]
    data = xr.Dataset(coords={"rung": rungs, "k": longest})
    names = sorted({name for r in results.values() for name in r.sums})
    for name in names:
        data[name] = (("rung", "cluster", "channel"), _stacked([r.sums for r in results.values()], name))
    for name in next(([*r.coarse] for r in results.values() if r.coarse is not None), []):
        stacked = _stacked([r.coarse for r in results.values()], name)
        data[f"{COARSE}_{name}"] = (("rung", "cluster", "channel"), stacked)
    for name in sorted({name for r in results.values() for name in r.spectra} - {"k"}):
        rows = [np.pad(r.spectra[name], (0, rings - len(r.spectra[name])), constant_values=np.nan)
                for r in results.values()]  # fmt: skip
        data[f"spectrum_{name}"] = (("rung", "k"), np.stack(rows))
    variables = session.ladder.spec.variables
    targets = targets_of(variables)
    units = session.band_normaliser.only(targets)
    data.attrs = {
        "Conventions": "CF-1.11",
        "spec": session.spec.digest,
        "band_rung": session.band.rung,
        "train_rung": session.spec.train_rung,
        "sigma": list(units.std),
        "mean": list(units.mean),
        "variables": [variables[i].name for i in targets],
        "ladder": session.ladder.spec.model_dump_json(),
        "provenance": json.dumps(session.ladder.about["attrs"]),
        "floor": json.dumps(session.ladder.floor),
        "energy_removed": json.dumps(session.ladder.about["splits"]["test"]["energy_removed"]),
        "about": "sums are in units of sigma squared; divide by `weight`, then take the root",
    }
    if price is not None:
        data.attrs["solver_price"] = json.dumps(price.to_dict())
    data.to_netcdf(path, engine="netcdf4")
    for rung, result in results.items():
        axes = session.ladder.finest.axes
        shown = xr.Dataset({name: (axes, values) for name, values in result.fields.items()})
        shown.to_netcdf(path, engine="netcdf4", mode="a", group=f"fields/r{rung:03d}")
    if event is not None:
        packed = {name: {"zlib": True} for name in event.data_vars}
        event.to_netcdf(path, engine="netcdf4", mode="a", group="event", encoding=packed)


def _stacked(sums: list[Sums | None], name: str) -> np.ndarray:
    shape = next(s for s in sums if s is not None).shape
    return np.stack([s[name] if s is not None and name in set(s) else np.full(shape, np.nan) for s in sums])
