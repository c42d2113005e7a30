"""The grids of some rungs of one box, read off their coordinates, and the restriction that goes with them.

points, right end left out    x₀ and N Δ are the same on every rung                 periodic: spectral
cells                         x₀ − Δ/2 and N Δ are the same                         overlap areas
points, both ends in          the first and the last point are the same             overlap areas, half cells there
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from anchorbench.data.cf import Line
from anchorbench.errors import ConfigError, unknown
from anchorbench.fields import Centring, Grid, Restriction

Layout = Literal["around", "cells", "ends"]
#: Share of the finest spacing by which the coordinates of two rungs may disagree.
ROUNDING = 1e-2
PROJECTIONS = tuple(how for how in get_args(Restriction) if how not in ("bilinear", "bicubic"))


def grids_of(
    lines: Mapping[int, Sequence[Line]], *, restriction: str | None, masked: bool
) -> tuple[dict[int, Grid], Restriction, str]:
    """The grid of each rung, the restriction, and one line that says it and why.

    lines: the axes of space of each rung, slowest first.  restriction: what was asked for; None chooses.
    Raises ConfigError where the rungs do not cover one box, or the restriction does not go with them.
    """
    if restriction is not None and restriction not in PROJECTIONS:
        raise ConfigError(f"--restriction: {unknown('projection', restriction, PROJECTIONS)}")
    n_axes = len(next(iter(lines.values())))
    layouts = [_layout([(rung, axes[i]) for rung, axes in lines.items()], restriction) for i in range(n_axes)]
    if len(set(layouts)) > 1 and "cells" in layouts:
        said = ", ".join(f"{line.dim}: {layout}" for line, layout in zip(_any(lines), layouts, strict=True))
        raise ConfigError(
            f"some axes hold centres of cells and others points ({said})",
            do="write all of them as centres, or all as points",
        )
    finest = lines[max(lines)]
    sphere = finest[0].role == "lat"
    centring: Centring = "cell" if layouts[0] == "cells" else "point"
    around = tuple(layout == "around" or (layout == "cells" and _closed(line, restriction))
                   for layout, line in zip(layouts, finest, strict=True))  # fmt: skip
    if sphere:
        around = (False, _turns(finest[1]))
    half = 0.5 if centring == "cell" else 0.0
    extent = tuple(_extent(line, layout) for line, layout in zip(finest, layouts, strict=True))
    unit = next((line.unit for line in finest if line.unit), "1")
    box = Grid(
        tuple(line.n for line in finest),
        extent,
        centring,
        "latlon" if sphere else "planar",
        around,
        unit="degree" if sphere else unit,
        origin=tuple(float(f"{line.first - half * line.spacing:.9g}") for line in finest),
    )
    grids = {rung: box.with_shape(tuple(line.n for line in axes)) for rung, axes in lines.items()}
    how, why = _restriction(layouts, restriction, sphere=sphere, masked=masked)
    return grids, how, f"restriction: {how} ({why})"


def _layout(axis: Sequence[tuple[int, Line]], restriction: str | None) -> Layout:
    """How one axis lies on all rungs.  Raises ConfigError where no layout gives them one box."""
    fine = axis[-1][1]
    near = ROUNDING * fine.spacing

    def one(values: Sequence[float]) -> bool:
        return max(values) - min(values) <= near

    lines = [line for _, line in axis]
    lengths = [line.n * line.spacing for line in lines]
    if one([line.first for line in lines]) and one(lengths):
        return "around"
    if one([line.first - line.spacing / 2 for line in lines]) and one(lengths):
        return "cells"
    if one([line.first for line in lines]) and one([line.last for line in lines]):
        return "ends"
    spans = ", ".join(f"{rung}: {line.first:.5g} to {line.last:.5g}" for rung, line in axis)
    raise ConfigError(
        f"the rungs do not cover one box along {fine.dim} ({spans})",
        do="they share the first point and N Δ (periodic), the edges of their cells, or both ends",
    )


def _extent(line: Line, layout: Layout) -> float:
    length = (line.n - 1 if layout == "ends" else line.n) * line.spacing
    return float(f"{length:.9g}")


def _turns(lon: Line) -> bool:
    return abs(lon.n * lon.spacing - 360) <= ROUNDING * lon.spacing


def _closed(line: Line, restriction: str | None) -> bool:
    """Whether an axis of cells is periodic: where its coordinate says so, or waves are asked for."""
    return bool(line.periodic) or restriction == "spectral"


def _any(lines: Mapping[int, Sequence[Line]]) -> Sequence[Line]:
    return next(iter(lines.values()))


def _restriction(
    layouts: Sequence[Layout], asked: str | None, *, sphere: bool, masked: bool
) -> tuple[Restriction, str]:
    if asked is not None:
        if masked and asked == "spectral":
            raise ConfigError(
                "waves know no mask: spectral restriction takes none",
                do="--restriction stride (the shared points), or conservative for cells",
            )
        how: Restriction = next(p for p in PROJECTIONS if p == asked)
        return how, "asked for"
    if sphere:
        return "conservative", "by overlap areas on the sphere"
    if all(layout == "around" for layout in layouts):
        if masked:
            return "stride", "the shared points: a mask and the waves of a periodic box do not go together"
        return "spectral", "the rungs share their first point and leave out the right end: a periodic box"
    if layouts[0] == "cells":
        return "conservative", "by overlap areas: the points are centres of cells"
    return "conservative", "by overlap areas, half cells at the ends: both ends of the box are points"
