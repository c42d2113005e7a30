"""The figure of a ladder: one field on three rungs, the spectrum of every rung with each Nyquist, and what each step
down removed.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from anchorbench.data.ladder import Ladder, Split
from anchorbench.errors import ConfigError, unknown
from anchorbench.fields import Grid, rung_name
from anchorbench.fields.sphere import covers_sphere
from anchorbench.report.ladder_content import field_of, liveliest, rung_spectrum, three_of
from anchorbench.report.style import axis_above, log_limits, log_ticks, look, png, round_ticks, save, svg

WIDTH = 6.6  # inches: the text of a page
TALLEST, LOWEST = 2.4, 0.55  # inches of an image
#: Dark is fine, as ink is; the coarsest rung is the lightest.
RUNG_COLOURS = colormaps["viridis_r"]


def draw_ladder(
    ladder: Ladder,
    path: Path | str,
    *,
    split: Split = "test",
    variable: str | None = None,
    rungs: Sequence[int] = (),
    dpi: int = 200,
) -> list[Path]:
    """Write `ladder_figure` to `path`: one file where it ends in .png or .svg, else three of that name."""
    figure = ladder_figure(ladder, split=split, variable=variable, rungs=rungs)
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        return save(figure, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(figure, dpi=dpi) if path.suffix == ".png" else svg(figure))
    return [path]


def ladder_figure(
    ladder: Ladder, *, split: Split = "test", variable: str | None = None, rungs: Sequence[int] = ()
) -> Figure:
    """Fields, spectra, and shares of energy of a ladder of one, two or three dimensions, or on the sphere.

    variable: the headline without it.  rungs: which are shown as fields; without, the coarsest, a middle one and the
    finest.  Raises LadderError for a rung, ConfigError for a variable, that the ladder lacks.
    """
    names = [v.name for v in ladder.spec.variables]
    name = variable or names[0]
    if name not in names:
        raise ConfigError(unknown("variable", name, names))
    ladder.require(*rungs)
    shown = tuple(rungs) or three_of(ladder.rungs)
    sample, frame = liveliest(ladder, split, name)
    fields = {rung: field_of(ladder, split, rung, name, sample, frame) for rung in shown}
    with look():
        return _draw(ladder, split, name, fields)


def _draw(ladder: Ladder, split: Split, name: str, fields: Mapping[int, NDArray[np.float64]]) -> Figure:
    grid, about = ladder.finest, ladder.about["attrs"]
    called = str(about.get("display_name", ladder.spec.dataset))
    called = ladder.spec.dataset if called == ladder.spec.dataset else f"{ladder.spec.dataset}: {called}"
    title = textwrap.fill(f"{called}, {ladder.spec.size}, {ladder.restriction}", int(WIDTH * 15))
    note = textwrap.fill(_note(ladder, split), int(WIDTH * 22))
    left, right, gap, row_gap, below = 0.55, 0.74, 0.12, 0.34 + 0.16 * (grid.ndim == 1), 0.4
    side = (WIDTH - left - right - gap * (len(fields) - 1)) / len(fields)
    wide, tall = _image_size(grid, side)
    above = 0.16 + 0.14 * (title.count("\n") + 1) + 0.17
    plot = 1.75
    total = above + tall + row_gap + plot + below + 0.1 * (note.count("\n") + 1) + 0.06
    figure = Figure(figsize=(WIDTH, total))
    figure.text(0.06 / WIDTH, 1 - 0.05 / total, title, va="top", size=8, weight="bold", parse_math=False)
    figure.text(0.06 / WIDTH, 0.05 / total, note, va="bottom", size=5.6, color="0.35", parse_math=False)

    y = total - above - tall
    boxes = [(left + i * (side + gap) + (side - wide) / 2, y, wide, tall) for i in range(len(fields))]
    panels = [figure.add_axes(_share(box, total)) for box in boxes]
    variable = next(v for v in ladder.spec.variables if v.name == name)
    unit = f" ({variable.units})" if variable.units not in ("", "1") else ""
    if grid.ndim == 1:
        _lines(panels, ladder, fields, f"{name}{unit}")
    else:
        bar = figure.add_axes(_share((WIDTH - right + 0.06, y + 0.02 * tall, 0.08, 0.96 * tall), total))
        _images(panels, ladder, fields, figure, bar, f"{name}{unit}")
    for ax, rung in zip(panels, fields, strict=True):
        shape = " × ".join(map(str, ladder.grid(rung).shape))
        ax.set_title(f"{rung_name(rung)}: {shape}", size=6.8, pad=3, parse_math=False)

    y = below + 0.1 * (note.count("\n") + 1) + 0.06
    _spectra(figure.add_axes(_share((left, y, 3.55, plot - 0.28), total)), ladder, split, name)
    _removed(figure.add_axes(_share((left + 4.25, y, WIDTH - left - 4.25 - 0.35, plot - 0.28), total)), ladder, split)
    return figure


def _share(box: tuple[float, float, float, float], total: float) -> tuple[float, float, float, float]:
    x, y, wide, tall = box
    return x / WIDTH, y / total, wide / WIDTH, tall / total


def _image_size(grid: Grid, side: float) -> tuple[float, float]:
    """Width and height of an image that is true to the box as far as the page allows."""
    if grid.ndim == 1:
        return side, 1.2
    tall = side * grid.extent[-2] / grid.extent[-1]
    if tall > TALLEST:
        return max(0.7, side * TALLEST / tall), TALLEST
    return side, max(LOWEST, tall)


def _note(ladder: Ladder, split: Split) -> str:
    parts = [f"The liveliest frame of the {split} split; spectra are means over the split."]
    if ladder.finest.ndim == 3:
        parts.append("Fields: the plane in the middle.")
    if not all(ladder.finest.periodic) and not covers_sphere(ladder.finest):
        parts.append("Axes with ends are tapered (Hann).")
    if ladder.masked:
        parts.append("Grey: not observed.")
    if len(ladder.spec.variables) > 1:
        parts.append("Bars: mean of the shares of all variables.")
    about = ladder.about["attrs"]
    parts.append(f"{about.get('producer', '')}. Terms: {about.get('terms', '')}.")
    return " ".join(parts).replace("..", ".").replace(" .", "")


def _lines(panels: Sequence[Axes], ladder: Ladder, fields: Mapping[int, NDArray[np.float64]], label: str) -> None:
    """A line a panel: steps for cells, points joined for points."""
    finest = max(fields)
    low, high = np.nanmin(fields[finest]), np.nanmax(fields[finest])
    room = 0.06 * (high - low or 1.0)
    for ax, (rung, values) in zip(panels, fields.items(), strict=True):
        grid = ladder.grid(rung)
        x = grid.coordinates(0).numpy()
        colour = _colour_of(ladder, rung)
        if grid.centring == "cell":
            ax.stairs(values, grid.edges(0).numpy(), color=colour, linewidth=1.0)
        else:
            ax.plot(x, values, color=colour, linewidth=1.0, marker="." if len(x) <= 64 else "none", markersize=3)
        ends = grid.origin[0], grid.origin[0] + grid.extent[0]
        ax.set_xlim(*ends)
        ax.set_xticks([ends[0], sum(ends) / 2, ends[1]], [f"{x:.3g}" for x in (ends[0], sum(ends) / 2, ends[1])])
        first, _, last = ax.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")  # or one panel's end runs into the next one's start
        ax.set_ylim(low - room, high + room)
        ax.set_xlabel(f"{grid.axes[0]}{_in_unit(grid.unit)}", labelpad=2, parse_math=False)
        ax.tick_params(labelleft=ax is panels[0])
    panels[0].set_ylabel(label, parse_math=False, labelpad=2)


def _images(
    panels: Sequence[Axes],
    ladder: Ladder,
    fields: Mapping[int, NDArray[np.float64]],
    figure: Figure,
    bar: Axes,
    label: str,
) -> None:
    colours, norm = colours_of(list(fields.values()))
    drawn = None
    for ax, (rung, values) in zip(panels, fields.items(), strict=True):
        grid = ladder.grid(rung)
        x, y = grid.edges(grid.ndim - 1).numpy(), grid.edges(grid.ndim - 2).numpy()
        if isinstance(norm, LogNorm) and norm.vmin is not None:
            values = np.maximum(values, norm.vmin / 2)  # what is 0 has no logarithm: it lies under the scale, white
        drawn = ax.pcolormesh(x, y, np.ma.masked_invalid(values), cmap=colours, norm=norm, rasterized=True)
        ax.set_facecolor("0.75")
        ax.set_xlim(x[0], x[-1])
        ax.set_ylim(y[0], y[-1])
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    last = ladder.grid(max(fields))
    high, wide = last.extent[-2:]
    places = f"{wide:.4g} × {high:.4g}{'' if last.unit == '1' else f' {last.unit}'}"
    panels[0].set_xlabel(places, size=6, labelpad=2, parse_math=False)
    assert drawn is not None
    extend: Any = "neither" if norm.vmin == 0 else "min" if isinstance(norm, LogNorm) else "both"
    figure.colorbar(drawn, cax=bar, extend=extend, format=FuncFormatter(_written))
    bar.grid(False)
    bar.minorticks_off()
    bar.tick_params(labelsize=6, length=2)
    bar.set_ylabel(label, size=6.5, parse_math=False)


def colours_of(images: Sequence[NDArray[np.float64]]) -> tuple[Colormap, Normalize]:
    """Rain and the like (never below 0, a fifth of it 0): logarithmic, white below.  About 0: signed.  Else rising."""
    pooled = np.concatenate([image[np.isfinite(image)] for image in images])
    finest = images[-1][np.isfinite(images[-1])]
    if not pooled.size or pooled.min() == pooled.max():
        return colormaps["cividis"].with_extremes(bad="0.75"), Normalize()
    low, high = np.quantile(pooled, [0.002, 0.998])
    if finest.min() >= 0 and (finest <= 1e-3 * finest.max()).mean() > 0.2:
        top = float(pooled.max())
        blues = colormaps["YlGnBu"]
        ramp = LinearSegmentedColormap.from_list("rain", [blues(x) for x in np.linspace(0.2, 1.0, 64)])
        return ramp.with_extremes(under="white", bad="0.75"), LogNorm(top / 200, top)
    if low < -0.2 * high and high > -0.2 * low:
        limit = float(np.quantile(np.abs(pooled), 0.998))
        return colormaps["RdBu_r"].with_extremes(bad="0.75"), Normalize(-limit, limit)
    return colormaps["cividis"].with_extremes(bad="0.75"), Normalize(float(low), float(high))


def _spectra(ax: Axes, ladder: Ladder, split: Split, name: str) -> None:
    """A line a rung, the finest under the others, and a dotted line at each Nyquist."""
    found = {rung: rung_spectrum(ladder, split, rung, name) for rung in reversed(ladder.rungs)}
    ticks: dict[float, str] = {}
    heights: list[float] = []
    finest_k, finest_energy, _ = found[ladder.rungs[-1]]
    waves = finest_k[(finest_k > 0) & (finest_energy > 0)]
    low, high = (waves.min(), max(waves.max(), found[ladder.rungs[-1]][2])) if waves.size else (1.0, 10.0)
    for i, (rung, (k, energy, nyquist)) in enumerate(found.items()):
        held = (k > 0) & (energy > 0)
        colour = _colour_of(ladder, rung)
        ax.plot(k[held], energy[held], color=colour, linewidth=1.0 + 0.25 * i, zorder=2 + 0.1 * i)
        heights += energy[held].tolist()
        ax.axvline(nyquist, color=colour, linestyle=":", linewidth=1.0, zorder=1.5)
        ticks[nyquist] = str(rung)
    ax.set_xscale("log")
    ax.set_xlim(low / 1.15, high * 1.15)
    round_ticks(ax, low, high)
    # Rounding below a spectral cut-off, ten decades down, is no energy.
    log_ticks(ax, *log_limits([h for h in heights if h > 1e-10 * max(heights)]))
    if covers_sphere(ladder.finest):
        ax.set_xlabel("degree l", labelpad=2)
    else:
        per = "" if ladder.finest.unit in ("", "1") else f" (rad/{ladder.finest.unit})"
        ax.set_xlabel(f"wavenumber k{per}", labelpad=2, parse_math=False)
    ax.set_ylabel("energy of a ring", labelpad=2)
    axis_above(ax, ticks, "Nyquist of rung")


def _removed(ax: Axes, ladder: Ladder, split: Split) -> None:
    """Share of the variance that each step down removed, finest step on top, on a log axis with the figures."""
    shares = ladder.about["splits"][split]["energy_removed"]
    steps = list(zip(ladder.rungs[1:], ladder.rungs[:-1], strict=True))[::-1]
    values = [max(0.0, float(shares[rung_name(to)])) for _, to in steps]
    floor = 10.0 ** min(-3, math.floor(math.log10(min([v for v in values if v > 0], default=1e-3))))
    floor = max(floor, 1e-7)
    for i, ((_, to), value) in enumerate(zip(steps, values, strict=True)):
        ax.barh(-i, max(value, floor) - floor * 0.9, left=floor * 0.9, height=0.62, color=_colour_of(ladder, to))
        inside = value > math.sqrt(floor)
        ax.annotate(
            f"{100 * value:.2g} %", (max(value, floor), -i), xytext=(-3 if inside else 3, 0),
            textcoords="offset points", va="center", ha="right" if inside else "left", size=6,
            color=_ink_on(_colour_of(ladder, to)) if inside else "0.2",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlim(floor * 0.9, 1.0)
    powers = range(round(math.log10(floor)), 1)
    ax.xaxis.set_major_locator(FixedLocator([10.0**p for p in powers][:: max(1, len(powers) // 4)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.3g}"))
    ax.set_yticks([-i for i in range(len(steps))], [f"{a} to {b}" for a, b in steps])
    ax.set_ylim(-len(steps) + 0.4, 0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("removed by the step (% of the variance)", labelpad=2)


def _colour_of(ladder: Ladder, rung: int) -> tuple[float, float, float, float]:
    place = ladder.rungs.index(rung) / max(1, len(ladder.rungs) - 1)
    red, green, blue, alpha = RUNG_COLOURS(0.12 + 0.88 * place)
    return red, green, blue, alpha


def _ink_on(colour: tuple[float, float, float, float]) -> str:
    """White on dark colours, black on light ones."""
    red, green, blue, _ = colour
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else "black"


def _in_unit(unit: str) -> str:
    return "" if unit in ("", "1") else f" ({unit})"


def _written(value: float, _: Any) -> str:
    return f"{value:.5g}".replace("-", "−")
