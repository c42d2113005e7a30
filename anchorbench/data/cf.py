"""The axes of a NetCDF file or a Zarr store, found by the CF conventions: which dimension is time, level, latitude.

A dimension is known, in this order, by what its coordinate says of itself (`axis`, `standard_name`, `units`) and by
common names.  A vertical dimension is an axis of space where it is called z, else one of levels.  Axes of space must be
evenly spaced, and are read upwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anchorbench.data.sources import require
from anchorbench.errors import DownloadError

if TYPE_CHECKING:
    import xarray as xr

Role = Literal["sample", "time", "level", "z", "y", "x", "lat", "lon"]
ROLES: tuple[Role, ...] = ("sample", "time", "level", "z", "y", "x", "lat", "lon")

AXIS: dict[str, Role] = {"T": "time", "Z": "z", "Y": "y", "X": "x", "E": "sample"}
STANDARD_NAMES: dict[str, Role] = {
    "time": "time",
    "latitude": "lat",
    "longitude": "lon",
    "grid_latitude": "y",
    "grid_longitude": "x",
    "projection_y_coordinate": "y",
    "projection_x_coordinate": "x",
    "realization": "sample",
    "air_pressure": "level",
    "model_level_number": "level",
    "height": "level",
    "altitude": "level",
    "depth": "level",
}
UNITS: dict[str, Role] = {
    **dict.fromkeys(("degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"), "lat"),
    **dict.fromkeys(("degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"), "lon"),
    **dict.fromkeys(("pa", "hpa", "mb", "mbar", "millibar", "millibars"), "level"),
}  # fmt: skip
NAMES: dict[str, Role] = {
    **dict.fromkeys(("time", "t", "valid_time", "times", "date"), "time"),
    **dict.fromkeys(("lat", "latitude", "lats"), "lat"),
    **dict.fromkeys(("lon", "longitude", "lons", "long"), "lon"),
    **dict.fromkeys(("level", "lev", "plev", "pressure", "pressure_level", "isobaricinhpa"), "level"),
    **dict.fromkeys(("depth", "height", "altitude"), "level"),
    **dict.fromkeys(("x", "nx", "xc", "rlon", "easting", "west_east", "chx", "ni"), "x"),
    **dict.fromkeys(("y", "ny", "yc", "rlat", "northing", "south_north", "chy", "nj"), "y"),
    **dict.fromkeys(("z", "nz", "zc"), "z"),
    **dict.fromkeys(
        ("sample", "samples", "trajectory", "traj", "simulation", "run", "case", "event", "subject",
         "member", "members", "ensemble", "realization", "number", "batch"),
        "sample",
    ),
}  # fmt: skip

#: Relative unevenness of a spacing that is one of rounding: float32 longitudes near 360 are good to 1e-4 of a quarter.
EVEN = 1e-3


@dataclass(frozen=True)
class Line:
    """One axis of space: n points from `first` upwards, `spacing` apart, in `unit`.

    known: False where the file has the dimension but no coordinate.  falls: it runs downwards in the file.  cells: it
    says that its points stand for cells (it has bounds).
    """

    dim: str
    role: Role
    n: int
    first: float = 0.0
    spacing: float = 1.0
    unit: str = ""
    known: bool = True
    falls: bool = False
    cells: bool = False
    periodic: bool | None = None

    @property
    def last(self) -> float:
        return self.first + (self.n - 1) * self.spacing


def open_set(path: str) -> xr.Dataset:
    """A NetCDF file, a Zarr directory, or the address of a Zarr store; nothing of its values is read yet.

    Missing codes and packing are taken care of; times stay the numbers that the file holds.
    Raises DownloadError where it is neither.
    """
    import xarray as xr  # heavy, and only needed by those who bring their own

    is_address = "://" in path
    if is_address or Path(path).is_dir():
        require("zarr", extra="weather")
        if is_address:
            require("fsspec", extra="weather")
        engine: Any = "zarr"
    else:
        engine = "netcdf4"
        _check_is_netcdf(Path(path))
    # The engine is named: else xarray imports every one that is installed, and some of them crash at exit together.
    try:
        with warnings.catch_warnings():
            # Slow to open, says xarray of a store without consolidated metadata: nothing that a person here can change.
            warnings.filterwarnings("ignore", message="Failed to open Zarr store with consolidated metadata")
            return xr.open_dataset(path, engine=engine, decode_times=False)
    except Exception as error:
        raise _unreadable(path, error, "Zarr" if engine == "zarr" else "NetCDF") from None


def values_of(held: xr.DataArray, path: str) -> np.ndarray:
    """The values, read from the file at `path`.  Raises DownloadError where that fails."""
    try:
        return np.asarray(held.values, dtype=np.float32)
    except Exception as error:
        raise _unreadable(path, error, "a field") from None


def _unreadable(path: str, error: Exception, kind: str) -> DownloadError:
    """What the libraries raise is theirs to choose, of a store at an address most of all; other errors are bugs."""
    if "://" in path:  # it may hold a password, and so may what is said of it
        return DownloadError(f"the store cannot be read as {kind}: {type(error).__name__}", do="check the address")
    if not isinstance(error, OSError | ValueError | RuntimeError | KeyError | TypeError):
        raise error
    return DownloadError(f"{path} cannot be read as {kind}: {(str(error) or type(error).__name__).splitlines()[0]}")


def _check_is_netcdf(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}") from None
    if head[:3] != b"CDF" and head != b"\x89HDF":
        raise DownloadError(
            f"{path} is no NetCDF file", do="give a NetCDF file, or the folder or address of a Zarr store"
        )


def role_of(dataset: xr.Dataset, dim: str) -> Role | None:
    """What a dimension is; None where nothing tells."""
    by_name = NAMES.get(dim.lower())
    if dim not in dataset.variables:
        return by_name
    attrs = {name: str(value).strip() for name, value in dataset.variables[dim].attrs.items()}
    units = attrs.get("units", "")
    by_units: Role | None = "time" if " since " in units else UNITS.get(units.lower())
    by_axis = AXIS.get(attrs.get("axis", "").upper())
    found = STANDARD_NAMES.get(attrs.get("standard_name", "")) or by_units
    # An axis Y in degrees_north is a latitude.
    if (found or by_axis) in ("level", "z"):
        return "z" if by_name == "z" else "level"
    return found or by_axis or by_name


def roles_of(dataset: xr.Dataset, dims: Sequence[str], given: Mapping[str, Role]) -> dict[str, Role | None]:
    """What each dimension is: as it was given, else as the file says."""
    return {dim: given.get(dim) or role_of(dataset, dim) for dim in dims}


def line_of(dataset: xr.Dataset, dim: str, role: Role) -> Line | str:
    """The points of an axis of space; a sentence where they are not evenly spaced."""
    n = int(dataset.sizes[dim])
    if dim not in dataset.variables:
        return Line(dim, role, n, known=False)
    held = dataset.variables[dim]
    values = np.asarray(held.values, dtype=np.float64)
    periodic = _said_periodic(held.attrs, dataset.attrs)
    unit, cells = str(held.attrs.get("units", "")), "bounds" in held.attrs
    if n < 2:
        return f"{dim} has {n} point, where an axis of space needs two or more"
    if falls := bool(np.median(np.diff(values)) < 0):
        values = values[::-1]
    if role == "lon":
        values = values[0] + np.mod(values - values[0], 360.0)
        values[-1] += 360.0 if values[-1] < values[-2] else 0.0
    steps, mean = np.diff(values), (values[-1] - values[0]) / (n - 1)
    if not np.isfinite(values).all() or not mean > 0 or np.abs(steps - mean).max() > EVEN * mean:
        return (
            f"{dim} is not evenly spaced (steps of {np.nanmin(steps):.6g} to {np.nanmax(steps):.6g}): "
            "regrid it to even spacing first"
        )
    return Line(dim, role, n, float(values[0]), mean, unit, falls=falls, cells=cells, periodic=periodic)


def _said_periodic(own: Mapping[str, Any], whole: Mapping[str, Any]) -> bool | None:
    """What an attribute `periodic` of the coordinate, else of the file, says."""
    for attrs in (own, whole):
        if "periodic" in attrs:
            word = str(np.asarray(attrs["periodic"]).ravel()[0]).strip().lower()
            if word in ("1", "true", "yes", "y", "1.0"):
                return True
            if word in ("0", "false", "no", "n", "0.0"):
                return False
    return None


@dataclass(frozen=True)
class Clock:
    """The times of a set: `steps` whole steps from the first frame on, each `step` `unit`s long.

    steps: (time,) int64, rising; a jump is a gap.  dates: (time,) datetime64[s], None where time has no date.
    """

    steps: np.ndarray
    step: float
    unit: str
    dates: np.ndarray | None


#: How units of time are written here.
TIME_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
REAL_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")


def clock_of(dataset: xr.Dataset, dim: str) -> Clock | str:
    """The times along a dimension; a sentence where they are no whole numbers of one step."""
    n = int(dataset.sizes[dim])
    if dim not in dataset.variables:
        return Clock(np.arange(n), 1.0, "1", None)
    held = dataset.variables[dim]
    units, calendar = str(held.attrs.get("units", "")).strip(), str(held.attrs.get("calendar", "standard")).lower()
    try:
        values = np.asarray(held.values, dtype=np.float64)
    except (TypeError, ValueError):
        return f"{dim} holds no numbers"
    word = units.partition(" since ")[0].strip().lower()
    unit = TIME_UNITS.get(word, word or "1")
    differences = np.diff(values)
    if n > 1 and (not np.isfinite(values).all() or not (differences > 0).all()):
        return f"the times along {dim} do not rise: sort them first"
    step = float(np.median(differences)) if n > 1 else 1.0
    steps = np.rint((values - values[0]) / step).astype(np.int64) if n else np.zeros(0, np.int64)
    if n > 1 and np.abs((values - values[0]) / step - steps).max() > 0.05:
        return f"the times along {dim} are no whole numbers of {step:g} {unit} apart: regrid them to one step first"
    return Clock(steps, float(f"{step:.10g}"), unit, _dates(values, units, calendar))


def _dates(values: np.ndarray, units: str, calendar: str) -> np.ndarray | None:
    if " since " not in units or calendar not in REAL_CALENDARS:
        return None
    import netCDF4

    try:
        dates = netCDF4.num2date(
            values, units, calendar, only_use_cftime_datetimes=False, only_use_python_datetimes=True
        )
    except (ValueError, OverflowError):
        return None
    rounded = np.asarray(dates, dtype="datetime64[us]") + np.timedelta64(500, "ms")
    return np.asarray(rounded.astype("datetime64[s]"))
