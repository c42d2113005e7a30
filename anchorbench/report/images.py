"""The figure of fields: truth, predictions and errors on three rungs, on colour scales that they share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from anchorbench.report.document import Curve, Group, at, finite, group_rungs, heading, is_method, label_of, rungs_of
from anchorbench.report.factor_figure import inset, liveliest
from anchorbench.report.lines import lines
from anchorbench.report.style import look
from anchorbench.report.super_resolution import factor_text

MOST_FIELDS = 4  # methods drawn: more make a figure that no page holds

Images = dict[Any, NDArray[np.float64]]
Rows = list[tuple[str, Images]]


def fields(group: Group, curves: Sequence[Curve]) -> Figure:
    """One sample on three rungs: the truth, each method's prediction, and prediction − truth; limits are shared."""
    if group["fields"].get("kind") == "lines":
        return lines(group, curves)
    with look():
        held: dict[str, Any] = dict(group["fields"])
        rungs = [r for r in rungs_of(held) or group_rungs(held["truth"], curves) if at(held["truth"], r) is not None]
        given = held.get("predictions") or {}
        labels = [label_of(c) for c in curves if is_method(c) and label_of(c) in given]
        labels = (labels or [str(label) for label in given])[:MOST_FIELDS]
        truth = {r: _image(at(held["truth"], r)) for r in rungs}
        made = {
            (name, r): _image(at(given[name], r)) for name in labels for r in rungs if at(given[name], r) is not None
        }
        wrong = {(name, r): image - truth[r] for (name, r), image in made.items() if image.shape == truth[r].shape}

        rows: Rows = [("truth", truth)]
        rows += [(name, {r: made[name, r] for r in rungs if (name, r) in made}) for name in labels]
        errors = [(f"{name} − truth", {r: wrong[name, r] for r in rungs if (name, r) in wrong}) for name in labels]
        colours = _colours(list(truth.values()), str(held.get("cmap") or ""))
        wrong_colours = _signed_colours(list(wrong.values()), "PuOr_r")
        return _draw_images(group, held, rungs, (rows, colours), (errors, wrong_colours))


def _draw_images(
    group: Group,
    held: dict[str, Any],
    rungs: Sequence[float],
    values: tuple[Rows, tuple[Colormap, Normalize]],
    errors: tuple[Rows, tuple[Colormap, Normalize]],
) -> Figure:
    """Panels: value rows with one colour bar, error rows with another."""
    first = next(iter(values[0][0][1].values()))
    side, left, right, gap = 1.35, 0.42, 0.62, 0.06
    tall = side * min(2.0, max(0.4, first.shape[0] / max(1, first.shape[1])))
    n_rows = len(values[0]) + len(errors[0])
    width = left + right + side * len(rungs) + gap * (len(rungs) - 1)
    title = textwrap.fill(heading(group), int(width * 15.5))
    above, below = 0.14 + 0.135 * (title.count("\n") + 1) + 0.13, 0.22
    height = above + below + n_rows * tall + (n_rows - 1) * gap + 0.06
    figure = Figure(figsize=(width, height))
    figure.text(0.06 / width, 1 - 0.05 / height, title, va="top", size=8, weight="bold", parse_math=False)
    train, unit = finite(group.get("train_rung")), str(group.get("unit") or "")
    extent = held.get("extent")
    extent = tuple(extent) if isinstance(extent, Sequence) and len(extent) == 4 else None
    y, holes = height - above, False
    # To super-resolve is to make what is small: a box of each panel stands in it enlarged.
    given = finite(group.get("input_rung"))
    zoomed = liveliest(values[0][0][1][rungs[-1]]) if given else None
    for rows, (colours, norm) in (values, errors):
        top, drawn = y, None
        for name, images in rows:
            for column, rung in enumerate(rungs):
                x = left + column * (side + gap)
                ax = figure.add_axes((x / width, (y - tall) / height, side / width, tall / height))
                ax.set(xticks=[], yticks=[])
                ax.grid(False)
                if rung in images:
                    holes = holes or bool(np.isnan(images[rung]).any())
                    drawn = ax.imshow(
                        np.ma.masked_invalid(images[rung]), cmap=colours, norm=norm, interpolation="nearest",
                        origin=held.get("origin") or "lower", extent=extent, aspect="auto",
                    )  # fmt: skip
                    if zoomed is not None:
                        inset(ax, images[rung], zoomed, style=held, colours=colours, norm=norm)
                if rows is values[0] and name == "truth":
                    scale = "" if not train else ", train rung" if rung == train else f", {rung / train:.3g}×"
                    if given:
                        scale = f", factor {factor_text(rung / given)}"
                    ax.set_title(f"{rung:g} points{scale}", size=7, pad=3)
                if column == 0:
                    ax.set_ylabel(textwrap.fill(name, max(9, int(14.5 * tall))), parse_math=False, size=7, labelpad=4)
            y -= tall + gap
        if drawn is not None:
            bar = figure.add_axes(
                (
                    (width - right + 0.07) / width,
                    (y + gap + 0.05) / height,
                    0.08 / width,
                    (top - y - gap - 0.1) / height,
                )
            )
            figure.colorbar(drawn, cax=bar, extend=_extend(norm), format=FuncFormatter(_written))
            bar.grid(False)
            bar.tick_params(labelsize=6, length=2)
            kind = "error" if rows is errors[0] else str(group.get("variable") or "")
            bar.set_ylabel(f"{kind} ({unit})" if unit and unit != "1" else kind, size=6.5, parse_math=False)
    note = "One sample, chosen before any score was seen." if held.get("chosen_blind") else "One sample."
    note += " Limits are shared along each colour bar." + (" Grey: no data." if holes else "")
    figure.text(0.06 / width, 0.05 / height, note, va="bottom", size=5.6, color="0.35")
    return figure


def rain_colours(images: Sequence[NDArray[np.float64]]) -> tuple[Colormap, Normalize]:
    """Of rain in mm, all on one scale."""
    return _colours(list(images), "rain")


def _colours(images: list[NDArray[np.float64]], kind: str) -> tuple[Colormap, Normalize]:
    """Rain: a scale in steps of 1, 2, 5 that spans 200-fold below the largest value, white under it. Else signed."""
    if kind != "rain":
        return _signed_colours(images, "RdBu_r")
    largest = max((float(np.nanmax(image)) for image in images if np.isfinite(image).any()), default=0.0)
    if largest <= 0:
        largest = 1.0
    steps = [m * 10.0**p for p in range(-9, 9) for m in (1, 2, 5)]
    above = next(n for n, step in enumerate(steps) if step >= largest * 0.98)
    edges = steps[max(0, above - 7) : above + 1]
    blues = colormaps["YlGnBu"]
    # From a visible green on: white is "no rain", so the lightest step must not look like it.
    ramp = LinearSegmentedColormap.from_list("rain", [blues(x) for x in np.linspace(0.2, 1.0, 32)])
    colours = ramp.with_extremes(under="white", bad="0.75")
    return colours, BoundaryNorm(edges, colours.N, extend="both")


def _signed_colours(images: list[NDArray[np.float64]], name: str) -> tuple[Colormap, Normalize]:
    sizes = [np.abs(image[np.isfinite(image)]) for image in images]
    pooled = np.concatenate(sizes) if sizes else np.empty(0)
    limit = float(np.quantile(pooled, 0.998)) if pooled.size else 1.0
    limit = limit or 1.0
    return colormaps[name].with_extremes(bad="0.75"), Normalize(-limit, limit)


def _written(value: float, _: Any) -> str:
    return f"{value:.4g}".replace("-", "−")


def _extend(norm: Normalize) -> Any:
    return None if isinstance(norm, BoundaryNorm) else "both"


def _image(values: Any) -> NDArray[np.float64]:
    return np.atleast_2d(np.asarray(values, dtype=float))
