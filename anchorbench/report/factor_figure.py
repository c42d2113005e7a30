"""The figure of super-resolution: error over interpolation, skill in the unseen band and consistency, by factor;
and the zoomed inset of its fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from anchorbench.report.document import Curve, Group, finite, group_rungs, heading, is_method, label_of, rungs_of
from anchorbench.report.style import (
    Key,
    Style,
    array,
    axis_above,
    log_limits,
    log_ticks,
    look,
    rung_axis,
    sheet,
    styles,
    wrapped,
)
from anchorbench.report.super_resolution import factor_text, over_interpolation, trained_range

#: Of an axis: the side of the box that is shown larger, and of the inset in the panel.
BOX, INSET = 0.25, 0.44
SHADE = "#e9eef6"


def error_vs_factor(group: Group, curves: Sequence[Curve]) -> Figure:
    """‖e‖ / ‖e_interpolate‖, S and ‖R M(u) − u‖ / σ by rung and factor; the factors trained on are shaded."""
    given = finite(group.get("input_rung")) or 1.0
    with look():
        rungs, style = group_rungs(group, curves), styles(curves)
        shown = [c for c in curves if c.get("method") not in ("coarse_then_upsample", "oracle_lowpass", "native")]
        ratios = {label_of(c): [over_interpolation(c, curves, r) for r in rungs_of(c)] for c in shown}
        ends = sorted({r[1] for c in shown if (r := trained_range(c)) is not None})
        key = Key([(style[label_of(c)].handle(), wrapped(_named(c, given, ends))) for c in shown], [])
        if ends:
            key.rows.append((Patch(facecolor=SHADE), f"factors trained on, up to {factor_text(ends[-1] / given)}"))
        key.notes.append(f"The input has {given:g} points an axis. Above 1 interpolation has the smaller error.")
        figure, axes = sheet(heading(group), (1.9, 1.15, 1.15), key, top=0.3)
        upper, middle, lower = axes
        for ax in axes:
            rung_axis(ax, rungs)
            ax.set_xlabel("points per axis of the output" if ax is lower else "")
            if ends and rungs:
                ax.axvspan(rungs[0] / 2, ends[-1], color=SHADE, linewidth=0, zorder=0.3)
                for end in ends[:-1]:
                    ax.axvline(end, color="0.6", linewidth=0.7, linestyle=":", zorder=0.4)
        axis_above(upper, {r: factor_text(r / given) for r in rungs}, "factor")
        log_ticks(upper, *log_limits([v for row in ratios.values() for v in row if v] + [1.0], least=1.3))
        upper.axhline(1.0, color="0.3", linewidth=0.8, zorder=1.5)
        upper.set_ylabel("error over\ninterpolation's")
        skills = [v for c in shown for v in _scored(c, "skill") if v is not None]
        lowest = max(-1.0, min([0.0, *skills]))
        middle.set_ylim(lowest - 0.1, max([0.5, *skills]) * 1.1)
        middle.axhline(0.0, color="0.3", linewidth=0.8, zorder=1.5)
        middle.set_ylabel("skill  $S$  in the\nunseen band")
        consistent = {label_of(c): [v if v and v > 1e-6 else None for v in _scored(c, "consistency")] for c in shown}
        log_ticks(lower, *log_limits([v for row in consistent.values() for v in row if v]))
        lower.set_ylabel("consistency with\nthe input  (in σ)")
        for curve in shown:
            own = style[label_of(curve)]
            _draw(upper, curve, ratios[label_of(curve)], own)
            _draw(middle, curve, _scored(curve, "skill"), own)
            _draw(lower, curve, consistent[label_of(curve)], own)
    return figure


def _named(curve: Curve, given: float, ends: Sequence[float]) -> str:
    """The label, and where ranges differ the one that was trained on."""
    own = trained_range(curve)
    name = label_of(curve) if is_method(curve) else label_of(curve).replace("_", " ")
    return name if own is None or len(ends) < 2 else f"{name} — trained to {factor_text(own[1] / given)}"


def _scored(curve: Curve, key: str) -> list[float | None]:
    values = [finite(v) for v in curve.get(key) or ()]
    return values or [None] * len(rungs_of(curve))


def _draw(ax: Axes, curve: Curve, values: Sequence[float | None], style: Style) -> None:
    x, y = np.array(rungs_of(curve), dtype=float), array(values)
    front = 2.5 if is_method(curve) else 2.2
    ax.plot(x, y, label=label_of(curve), zorder=front, **style.line())
    if style.marker:
        own = trained_range(curve)
        for hollow in (False, True):
            inside = np.array([own is not None and own[0] <= r <= own[1] for r in x]) == hollow
            ax.plot(x[inside], y[inside], linestyle="none", zorder=front + 0.1, **style.points(hollow=hollow))


def liveliest(truth: NDArray[np.float64]) -> tuple[float, float]:
    """Corner (row, column), as shares of the axes, of the box of side `BOX` in which the truth varies most."""
    best, where = -1.0, (0.0, 0.0)
    for row in np.linspace(0, 1 - BOX, 7):
        for column in np.linspace(0, 1 - BOX, 7):
            part = _cut(truth, (float(row), float(column)))
            spread = float(np.nanvar(part)) if np.isfinite(part).any() else -1.0
            if spread > best:
                best, where = spread, (float(row), float(column))
    return where


def inset(ax: Axes, image: NDArray[np.float64], where: tuple[float, float], *, style: dict[str, Any],
          colours: Colormap, norm: Normalize) -> None:  # fmt: skip
    """The box at `where` of an image, larger, in the corner of its panel that is furthest from it."""
    row, column = where
    if style.get("origin") == "upper":
        row = 1 - row - BOX
    ax.add_patch(Rectangle((column, row), BOX, BOX, transform=ax.transAxes, fill=False, edgecolor="k", linewidth=0.6))
    right, up = column + BOX / 2 < 0.5, row + BOX / 2 < 0.5
    larger = ax.inset_axes((0.99 - INSET if right else 0.01, 0.99 - INSET if up else 0.01, INSET, INSET))
    larger.set(xticks=[], yticks=[])
    larger.grid(visible=False)
    larger.imshow(
        np.ma.masked_invalid(_cut(image, where)), cmap=colours, norm=norm, interpolation="nearest", aspect="auto",
        origin=style.get("origin") or "lower",
    )  # fmt: skip
    for edge in larger.spines.values():
        edge.set(visible=True, color="k", linewidth=0.6)


def _cut(image: NDArray[np.float64], where: tuple[float, float]) -> NDArray[np.float64]:
    """The points of the box, one at least."""
    spans = []
    for start, n in zip(where, image.shape, strict=True):
        first = min(n - 1, round(start * n))
        spans.append(slice(first, max(first + 1, min(n, round((start + BOX) * n)))))
    return image[tuple(spans)]
