"""Files of fields as data sets by rung: one file a rung, or one file with a group a rung; NetCDF or Zarr."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchorbench.data.cf import open_set, role_of
from anchorbench.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

SPACE = ("z", "y", "x", "lat", "lon")


def read_rungs(paths: Iterable[Path | str], *, option: str) -> dict[int, xr.Dataset]:
    """rung -> data set, in whatever order the files come; the rung is the number of points along the shortest axis.

    option: what the paths were given as, for messages.  Raises ConfigError where two files have one rung, or a file has
    no field; DownloadError where one cannot be read.
    """
    found: dict[int, xr.Dataset] = {}
    names: dict[int, str] = {}
    for path in paths:
        for name, dataset in _parts(str(path)):
            rung = rung_of(dataset, name)
            if rung in found:
                raise ConfigError(
                    f"{option}: both {names[rung]} and {name} have {rung} points per axis", do="give one file a rung"
                )
            found[rung], names[rung] = dataset, name
    return dict(sorted(found.items()))


def rung_of(dataset: xr.Dataset, name: str) -> int:
    """Points along the shortest axis of space.  Raises ConfigError where there is no axis of space."""
    sizes = {str(dim): int(n) for dim, n in dataset.sizes.items() if role_of(dataset, str(dim)) in SPACE}
    if not sizes:
        there = ", ".join(f"{dim} ({n})" for dim, n in dataset.sizes.items()) or "none"
        raise ConfigError(
            f"{name} has no axis of space: its dimensions are {there}",
            do="name them x, y, z or lat, lon:  ds.rename({'dim_2': 'y', 'dim_3': 'x'})",
        )
    return min(sizes.values())


def by_rung(given: Mapping[int, Any], *, what: str) -> dict[int, xr.Dataset]:
    """The data sets of a Python caller, arrays wrapped.  Raises ConfigError where a key is not the fields' rung."""
    out: dict[int, xr.Dataset] = {}
    for rung, held in given.items():
        dataset = held.to_dataset(name=held.name or "field") if hasattr(held, "to_dataset") else held
        if (own := rung_of(dataset, f"{what}[{rung}]")) != rung:
            raise ConfigError(f"{what}[{rung}] has {own} points along its shortest axis", do=f"key it as {own}")
        out[int(rung)] = dataset
    return dict(sorted(out.items()))


def _parts(path: str) -> list[tuple[str, xr.Dataset]]:
    """The file itself where it holds variables, else each of its groups."""
    import xarray as xr

    whole = open_set(path)
    if whole.data_vars:
        return [(path, whole)]
    engine: Any = "zarr" if "://" in path or Path(path).is_dir() else "netcdf4"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to open Zarr store with consolidated metadata")
        groups = xr.open_groups(path, engine=engine, decode_times=False)
    parts = [(f"{path}{name}", group) for name, group in groups.items() if group.data_vars]
    if not parts:
        raise ConfigError(f"{path} holds no variable, neither itself nor in a group")
    return parts
