"""topography, samples: ERA5's orography and land, and a radar scene of SRTM, each cut into tiles with gaps between.

`sample`: two NetCDF members, `zs(latitude, longitude)` and `lsm(latitude, longitude)`, 721 x 1440 points of a quarter
of a degree, both poles in.  One globe is one sample; it is cut into sectors from pole to pole, with gaps of longitude.
Its traps, each with a test:

- latitudes fall from 90 to −90, and are turned;
- `zs` is a geopotential, m²/s²: divided by 9.80665 it is an elevation in m;
- `lsm` is called a binary mask, and is a share of land between 0 and 1 on a fifth of the points;
- the sea is not at 0 m: ERA5's spectral model leaves ripples there (7 m rms, −103 m at worst).  They stay.

`sample-srtm`: a GeoTIFF of heights in m, int16, three seconds of arc.  Its traps, each with a test:

- rows run from north to south, and are turned;
- voids are whatever the file declares (0 in this scene, which has no sea), and −32767 and −32768 where it does not;
- a second of longitude is shorter than one of latitude: the tiles take their kilometres from the scene's middle.

Tiles go round-robin to the splits, so that they share a landscape: a score over them is about this globe, or this
scene.  Each tile is a cluster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import netCDF4
import numpy as np
from pydantic import Field, field_validator

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by, require
from anchorbench.data.splits import Split
from anchorbench.errors import ConfigError, DownloadError

#: m/s²: the standard acceleration that ERA5 divides by.
STANDARD_GRAVITY = 9.80665
#: km along a meridian, on a sphere of 6371 km.
KM_PER_DEGREE = math.radians(1.0) * 6371.0
#: What SRTM files hold where the radar saw nothing, whether or not they declare it.
VOIDS = (-32767, -32768)
#: Relative difference between a scene's spacing and the catalogue's that is one of rounding.
TOLERANCE = 0.01


class Options(Frozen):
    """Which tiles are cut; all of it is in the ladder's digest."""

    gap: int = Field(12, ge=0, description="least points of the file between two tiles")
    turns: tuple[Split, ...] = Field(
        ("train", "test", "train", "validation", "train"), description="whose turn a tile is, in order"
    )
    most: dict[Split, int] = Field(default_factory=dict, description="most tiles of a split, spread evenly")

    @field_validator("turns")
    @classmethod
    def _all_splits_have_a_turn(cls, turns: tuple[Split, ...]) -> tuple[Split, ...]:
        if set(turns) != {"train", "validation", "test"}:
            raise ValueError(f"name train, validation and test, each at least once: {turns}")
        return turns

    @field_validator("most")
    @classmethod
    def _at_least_one(cls, most: dict[Split, int]) -> dict[Split, int]:
        if any(n < 1 for n in most.values()):
            raise ValueError(f"is at least 1 for each split: {most}")
        return most


def load(ask: Ask) -> Loaded:
    """Elevation in m (and the share of land of ERA5), (tile, 1, y, x), rows northward.

    Raises DownloadError where a file cannot be had or read, ConfigError where the tiles do not fit it, or leave a split
    without one.
    """
    paths = [ask.sample(file) for file in ask.source.files]
    if paths[0].suffix == ".tif":
        fields, valid, attrs = _scene_tiles(paths[0], ask)
    else:
        fields, valid, attrs = _sectors(paths, ask)
    split_of = [ask.options.turns[i % len(ask.options.turns)] for i in range(len(next(iter(fields.values()))))]
    splits: dict[str, SplitFields] = {}
    for split in ("train", "validation", "test"):
        found = np.array([i for i, owner in enumerate(split_of) if owner == split], dtype=int)
        if not len(found):
            raise ConfigError(
                f"{len(split_of)} tiles leave the {split} split of {ask.source.display_name} without one",
                do="make them smaller (crop), or the gap narrower (selection.gap)",
            )
        most = min(ask.options.most.get(split, len(found)), len(found))
        tiles = found[np.linspace(0, len(found) - 1, most).round().astype(int)]
        splits[split] = SplitFields(
            {name: values[tiles][:, None] for name, values in fields.items()},
            valid=None if valid is None else valid[tiles][:, None],
            times=None,
            clusters=tiles,
        )
    return Loaded(splits, attrs=carried_by(*ask.source.files) | dict(attrs))


def starts(n: int, size: int, *, gap: int, around: bool = False) -> np.ndarray:
    """First points of as many tiles of `size` as fit `n` points with at least `gap` between, spread evenly.

    around: the last point is a neighbour of the first.  Empty where none fits.
    """
    count = n // (size + gap) if around else (n + gap) // (size + gap)
    if around:
        return np.arange(count) * n // max(count, 1)
    return np.linspace(0, n - size, count).astype(int) if count > 1 else np.zeros(count, dtype=int)


def _sectors(paths: list[Path], ask: Ask) -> tuple[dict[str, np.ndarray], None, Mapping[str, str]]:
    """The globe, cut into sectors of longitude: per variable (sector, y, x)."""
    by_name = {path.name: path for path in paths}
    if set(by_name) != {"zs.nc", "lsm.nc"}:
        raise DownloadError(f"the orography is made of zs.nc and lsm.nc, not of {', '.join(sorted(by_name))}")
    fields = {
        "elevation": read_globe(by_name["zs.nc"], "zs", units="m2 s-2") / np.float32(STANDARD_GRAVITY),
        "land_area_fraction": read_globe(by_name["lsm.nc"], "lsm", units="1"),
    }
    rows, columns = fields["elevation"].shape
    # The spacing is the file's; the box says how wide a sector is.
    width = round(ask.finest.extent[1] / (360 / columns)) + 1
    first = starts(columns, width, gap=ask.options.gap, around=True)
    cut = first[:, None] + np.arange(width)
    west = ", ".join(f"{360 / columns * i:g}" for i in first)
    between = min(np.diff([*first, first[0] + columns]), default=0) - width + 1
    attrs = {
        "split_by": f"sectors of {ask.finest.extent[1]:g} degrees of longitude, one globe",
        "sectors_begin_at": west,
        "least_gap_between_sectors": f"{360 / columns * between:g} degrees",
        "standard_gravity": f"{STANDARD_GRAVITY} m/s2",
        "grid_in_file": f"{rows} x {columns} points",
    }
    return {name: np.moveaxis(u[:, cut], 1, 0).copy() for name, u in fields.items()}, None, attrs


def read_globe(path: Path, variable: str, *, units: str) -> np.ndarray:
    """A field on the whole globe, (latitude ascending, longitude eastward from 0) float32, points at both poles.

    Raises DownloadError where the file is not laid out so, or has gaps.
    """
    try:
        with netCDF4.Dataset(path) as nc:
            nc.set_auto_maskandscale(False)
            held = nc[variable]
            layout = (held.dimensions, str(held.units))
            values = np.asarray(held[...], dtype=np.float32)
            latitude, longitude = (np.asarray(nc[name][...], dtype=float) for name in ("latitude", "longitude"))
    except (OSError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        raise DownloadError(f"{path} cannot be read as a field on the globe: {error}") from None
    promised = (("latitude", "longitude"), units)
    if layout != promised:
        raise DownloadError(f"{path.name} holds '{variable}' as {layout}, not as {promised}")
    rows, columns = values.shape
    if latitude[0] > latitude[-1]:
        latitude, values = latitude[::-1], values[::-1]
    from_pole_to_pole = np.allclose(latitude, np.linspace(-90, 90, rows), atol=1e-4)
    if not from_pole_to_pole or not np.allclose(longitude, np.arange(columns) * 360 / columns, atol=1e-4):
        raise DownloadError(f"{path.name} is no grid from pole to pole and from 0 to 360 degrees east")
    if not np.isfinite(values).all():
        raise DownloadError(f"{path.name} has gaps, where '{variable}' is meant to cover the globe")
    return values


def _scene_tiles(path: Path, ask: Ask) -> tuple[dict[str, np.ndarray], np.ndarray | None, Mapping[str, str]]:
    """The scene, cut into squares of `crop` points: elevation and mask (tile, y, x), row by row from the south."""
    if (crop := ask.size.crop) is None:
        raise ConfigError(f"dataset '{ask.entry.name}' needs a crop in the catalogue: the points of a tile")
    heights, valid, box = read_scene(path)
    spacing = box.kilometres
    wanted = tuple(length / crop for length in ask.finest.extent)
    if any(abs(found / meant - 1) > TOLERANCE for found, meant in zip(spacing, wanted, strict=True)):
        raise DownloadError(
            f"the cells of {path.name} are {spacing[0]:.4f} x {spacing[1]:.4f} km at its middle, "
            f"not the catalogue's {wanted[0]:.4f} x {wanted[1]:.4f}"
        )
    south = starts(heights.shape[0], crop, gap=ask.options.gap)
    west = starts(heights.shape[1], crop, gap=ask.options.gap)
    corners = [(y, x) for y in south for x in west]
    if not corners:
        raise ConfigError(
            f"no tile of {crop} x {crop} fits {path.name}, which has {heights.shape[0]} x {heights.shape[1]} points",
            do=f"--set crop={min(heights.shape) // 4}",
        )
    gaps = [int(np.diff(edges).min()) - crop for edges in (south, west) if len(edges) > 1]
    attrs = {
        "split_by": f"tiles of {crop} x {crop} points, one scene",
        "tiles": f"{len(south)} rows of {len(west)}, from the south-west",
        "least_gap_between_tiles": f"{min(gaps, default=0)} points",
        "scene": f"{box.south:.4f} to {box.north:.4f} degrees north, {box.west:.4f} to {box.east:.4f} east",
        "void_share": f"{1 - float(valid.mean()):.6f}",
    }

    def cut(u: np.ndarray) -> np.ndarray:
        return np.stack([u[y : y + crop, x : x + crop] for y, x in corners])

    mask = None if valid.all() else cut(valid)
    return {"elevation": cut(np.where(valid, heights, np.float32(0)))}, mask, attrs


class Box(Frozen):
    """Where a scene lies, degrees, and its points; edges are those of the outer cells."""

    south: float
    north: float
    west: float
    east: float
    shape: tuple[int, int]

    @property
    def kilometres(self) -> tuple[float, float]:
        """Size of a cell at the scene's middle: (northward, eastward)."""
        middle = math.radians((self.south + self.north) / 2)
        rows, columns = self.shape
        north = (self.north - self.south) / rows * KM_PER_DEGREE
        return north, (self.east - self.west) / columns * KM_PER_DEGREE * math.cos(middle)


def read_scene(path: Path) -> tuple[np.ndarray, np.ndarray, Box]:
    """Heights of a GeoTIFF in m, float32, and where they are valid, (y northward, x); and the box.

    Raises DownloadError where it is no scene of longitudes and latitudes with one band.
    """
    rasterio = require("rasterio", extra="topography")
    try:
        with rasterio.open(path) as scene:
            bands, crs, transform, declared = scene.count, scene.crs, scene.transform, scene.nodata
            heights = scene.read(1) if bands == 1 else None
    except (rasterio.errors.RasterioError, OSError) as error:
        raise DownloadError(f"{path} cannot be read as a GeoTIFF: {error}") from None
    if heights is None or crs is None or not crs.is_geographic or transform.b or transform.d:
        raise DownloadError(f"{path.name} is no scene of longitudes and latitudes with one band")
    valid = ~np.isin(heights, [code for code in (*VOIDS, declared) if code is not None]) & np.isfinite(heights)
    rows, columns = heights.shape
    top, bottom = transform.f, transform.f + transform.e * rows
    if transform.e < 0:
        heights, valid = heights[::-1], valid[::-1]
    box = Box(
        south=min(top, bottom),
        north=max(top, bottom),
        west=transform.c,
        east=transform.c + transform.a * columns,
        shape=(rows, columns),
    )
    return np.ascontiguousarray(heights, dtype=np.float32), np.ascontiguousarray(valid), box
