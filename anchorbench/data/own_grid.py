"""The grid of a user's file: its box, centring and periodicity, from its coordinates and what the user says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from anchorbench.data.catalog import Restriction
from anchorbench.data.cf import Line, Role
from anchorbench.data.own_words import Doubts, Said
from anchorbench.errors import GridError
from anchorbench.fields import Centring, Grid

#: Share of a spacing by which coordinates may miss a pole, the full circle, or the extent that is given.
ROUNDING = 1e-2


def grid_of(lines: list[Line], said: Said, doubts: Doubts) -> tuple[Grid | None, tuple[Role, ...]]:
    """The grid of the file, and the axes whose last point repeats the first; None where something is in doubt."""
    how, before = said.restriction, len(doubts.facts)
    if lines[0].role == "lat":
        return _sphere(lines[0], lines[1], said, how, doubts)
    periodic = _periodic(lines, said, how, doubts)
    extents = _per_axis(said.extent, len(lines), "--extent", "numbers", doubts)
    centring: Centring = said.centring or ("point" if all(periodic) or how in ("stride", "spectral") else "cell")
    if len(set(periodic)) > 1 and said.centring is None:
        centring = "cell"
    shape, lengths, left_out = [], [], []
    for i, line in enumerate(lines):
        if not line.known and not extents:
            option = f"--extent {','.join('1.0' for _ in lines)}"
            doubts.say(f"how long the box is along {line.dim}, which has no coordinate", option)
            continue
        n, spacing = line.n, line.spacing
        between = n if periodic[i] or centring == "cell" else n - 1
        if not line.known:
            shape.append(n)
            lengths.append(extents[i])
            continue
        length = extents[i] if extents else between * spacing
        if periodic[i] and abs(length - (n - 1) * spacing) < ROUNDING * spacing:
            # Both ends of a periodic axis: the last point is the first again.
            left_out.append(line.role)
            n, between = n - 1, n - 1
        if abs(length - between * spacing) > ROUNDING * spacing:
            doubts.say(
                f"its points along {line.dim} span {between * spacing:g}, not the extent {length:g} that was given",
                "--extent ...",
            )
        shape.append(n)
        lengths.append(length)
    if len(doubts.facts) > before:
        return None, ()
    unit = next((line.unit for line in lines if line.unit), "1")
    return Grid(tuple(shape), tuple(lengths), centring, "planar", periodic, unit=unit), tuple(left_out)


def _periodic(lines: list[Line], said: Said, how: Restriction | None, doubts: Doubts) -> tuple[bool, ...]:
    """As it was said, else as the file says; asked for where `spectral` depends on it; else not periodic."""
    given = _per_axis(said.periodic, len(lines), "--periodic", "answers", doubts)
    if given:
        if how == "spectral" and not all(given):
            doubts.say("spectral restriction needs a box that is periodic on every axis", "--restriction block_mean")
        return given
    unsaid = [line.dim for line in lines if line.periodic is None]
    if how == "spectral" and unsaid:
        doubts.say(f"whether it is periodic along {', '.join(unsaid)}, as spectral needs", "--periodic yes")
    elif how == "spectral" and not all(line.periodic for line in lines):
        doubts.say("spectral restriction needs a box that is periodic on every axis", "--restriction block_mean")
    return tuple(bool(line.periodic) for line in lines)


def _per_axis(given: Sequence[Any], n: int, option: str, what: str, doubts: Doubts) -> tuple[Any, ...]:
    """One for all axes, or one each."""
    if len(given) not in (0, 1, n):
        doubts.say(f"{option} has {len(given)} {what} for {n} axes", f"{option} ...")
    return tuple(given) * n if len(given) == 1 else tuple(given)


def _sphere(
    lat: Line, lon: Line, said: Said, how: Restriction | None, doubts: Doubts
) -> tuple[Grid | None, tuple[Role, ...]]:
    """Latitudes and longitudes, whole circles and poles recognised."""
    if how == "spectral":
        doubts.say("spectral restriction needs a periodic plane, not a sphere", "--restriction conservative")
    if not lat.known or not lon.known:
        doubts.say("its latitudes and longitudes have no coordinates: write them into the file")
        return None, ()
    left_out: tuple[Role, ...] = ()
    if abs((lon.n - 1) * lon.spacing - 360) < ROUNDING * lon.spacing:
        lon, left_out = replace(lon, n=lon.n - 1), ("lon",)  # 0 and 360 degrees are one meridian
    around = abs(lon.n * lon.spacing - 360) < ROUNDING * lon.spacing
    at_a_pole = lat.first < -90 + ROUNDING * lat.spacing or lat.last > 90 - ROUNDING * lat.spacing
    between_poles = abs(lat.n * lat.spacing - 180) < ROUNDING * lat.spacing
    centring: Centring
    if said.centring:
        centring = said.centring
    elif at_a_pole:
        centring = "point"
    elif between_poles or lat.cells or lon.cells or how != "stride":
        centring = "cell"
    else:
        centring = "point"
    half = 0.5 if centring == "cell" else 0.0
    height = (lat.n - 1 + 2 * half) * lat.spacing
    width = 360.0 if around else (lon.n - 1 + 2 * half) * lon.spacing
    south, west = lat.first - half * lat.spacing, lon.first - half * lon.spacing
    if at_a_pole or between_poles:
        near = ROUNDING * lat.spacing
        south = -90.0 if abs(south + 90) < near else south
        height = 90 - south if abs(south + height - 90) < near else height
    try:
        grid = Grid(
            (lat.n, lon.n),
            (float(f"{height:.8g}"), float(f"{width:.8g}")),
            centring,
            "latlon",
            (False, around),
            unit="degree",
            origin=(float(f"{south:.8g}"), float(f"{west:.8g}")),
        )
    except GridError as error:
        doubts.say(f"its latitudes and longitudes make no grid: {error.what}", "--set centring=cell (or point)")
        return None, ()
    return grid, left_out


def cropped(grid: Grid, points: tuple[int, ...], doubts: Doubts) -> tuple[Grid, tuple[int, ...]]:
    """The grid of the points at the centre.  A periodic axis is not cut."""
    before = len(doubts.facts)
    crop = _per_axis(points, grid.ndim, "--set crop", "numbers", doubts)
    if not crop or len(doubts.facts) > before:
        return grid, ()
    if any(c > n or c < 2 for c, n in zip(crop, grid.shape, strict=True)):
        doubts.say(f"a crop of {crop} points is not between 2 and its {grid.shape}", "--set crop=...")
        return grid, ()
    if any(p and c != n for c, n, p in zip(crop, grid.shape, grid.periodic, strict=True)):
        doubts.say("an axis that is periodic cannot be cropped", "--periodic no")
        return grid, ()
    first = [(n - c) // 2 for c, n in zip(crop, grid.shape, strict=True)]
    inner = [c - (n - i) for c, n, i in zip(crop, grid.shape, grid.intervals, strict=True)]
    extent = tuple(length * c / i for length, c, i in zip(grid.extent, inner, grid.intervals, strict=True))
    origin = tuple(o + f * d for o, f, d in zip(grid.origin, first, grid.spacing, strict=True))
    if grid.kind == "planar":
        origin = grid.origin
    return replace(grid, shape=crop, extent=extent, origin=origin), crop
