"""The figures of a group: error against rung, the papers' ratio, and from their own modules spectra and fields.

Each takes a group and its curves from a report document (`document.py`) and returns a matplotlib Figure; none touches
pyplot.  `plots.py` knows them by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from anchorbench.report.document import (
    Curve,
    Group,
    at,
    finite,
    given_these_seeds,
    group_rungs,
    heading,
    is_method,
    is_told,
    label_of,
    number,
    pair,
    per_rung,
    rungs_of,
    seen,
    slope,
    words,
)
from anchorbench.report.factor_figure import error_vs_factor
from anchorbench.report.images import fields
from anchorbench.report.spectrum import spectrum
from anchorbench.report.style import (
    Key,
    Style,
    array,
    axis_above,
    log_limits,
    log_ticks,
    look,
    png,
    rung_axis,
    save,
    say,
    sheet,
    styles,
    svg,
    wrapped,
)

__all__ = ["error_vs_res", "fields", "png", "ratio", "save", "spectrum", "svg"]

FAINT = 0.35


def error_vs_res(group: Group, curves: Sequence[Curve]) -> Figure:
    """E_res(ρ) = ‖P e_ρ‖ / σ on log-log axes, and under it S(ρ) = 1 − ‖(I−P) e_ρ‖² / ‖(I−P) y_ρ‖².

    The models in colour with their intervals as bands, the references in grey, `native` as separate stars; rungs seen
    in training hollow, rungs coarser than the train rung faint.  Of a super-resolution `error_vs_factor`.
    """
    if group.get("input_rung") and any(curve.get("psnr") for curve in curves):
        return error_vs_factor(group, curves)
    with look():
        rungs, train, style = group_rungs(group, curves), finite(group.get("train_rung")), styles(curves)
        shown = [c for c in curves if any((finite(e) or 0) > 0 for e in per_rung(c, "error"))]
        key = Key(_key_rows(shown, style), _key_notes(shown, train))
        if train is not None:
            key.rows.append((Line2D([], [], color="0.3", linewidth=0.8), f"train rung ρ₀ = {train:g}"))
        floors = [f for f in (finite(at(group.get("floor"), r)) for r in rungs) if f is not None and f > 0]
        low, high = _error_limits(shown, floors)
        if floors:
            patch = Patch(facecolor="0.8", edgecolor="0.4", linestyle=":", linewidth=0.8)
            key.rows.append((patch, _floor_text(floors, low)))
        tall = 2.2 + 0.05 * max(0, len(shown) - 6)
        figure, (upper, lower) = sheet(heading(group), (tall, 1.25), key, top=0.3)
        log_ticks(upper, low, high)
        for ax in (upper, lower):
            rung_axis(ax, rungs)
            if train is not None:
                ax.axvline(train, color="0.3", linewidth=0.8, zorder=1.5)
        upper.set_xlabel("")
        if train and rungs:
            axis_above(upper, {r: "ρ₀" if r == train else f"{r / train:.3g}×" for r in rungs}, "α = ρ/ρ₀")
        if floors:
            _draw_floor(upper, group, rungs, low)
        for curve in shown:
            _draw_curve(upper, curve, "error", style[label_of(curve)], train, log=True)
        upper.set_ylabel("resolved error  $E_{\\rm res}$  (in σ)")
        if not shown:
            upper.text(0.5, 0.5, "no scores", transform=upper.transAxes, ha="center", color="0.4")
        _draw_skill(lower, [c for c in curves if c.get("method") != "coarse_then_upsample"], style, train)
    return figure


def ratio(group: Group, curves: Sequence[Curve]) -> Figure:
    """The papers' ratio RMSE(ρ)/RMSE(ρ₀), total error on its own rung: own denominator solid, the baseline's dashed."""
    with look():
        rungs, train, style = group_rungs(group, curves), finite(group.get("train_rung")), styles(curves)
        curves = [c for c in curves if any(_numbers(c, "ratio", part) for part in ("own", "baseline"))]
        key = Key([(style[label_of(c)].handle(), wrapped(label_of(c))) for c in curves], [])
        key.rows += [
            (Line2D([], [], color="0.3", linewidth=1.2), "solid: over its own error at ρ₀"),
            (Line2D([], [], color="0.3", linewidth=1.2, linestyle="--"), "dashed: over the baseline's error at ρ₀"),
        ]
        key.notes.append(
            "The total error, each on its own rung. The truth itself gains energy with the rung, so this ratio carries "
            "no verdict."
        )
        figure, (ax,) = sheet(heading(group), (2.2,), key, top=0.3)
        values = [v for c in curves for part in ("own", "baseline") for v in _numbers(c, "ratio", part)]
        log_ticks(ax, *log_limits([*values, 1.0]))
        rung_axis(ax, rungs)
        ax.axhline(1.0, color="0.3", linewidth=0.8, zorder=1.5)
        if train is not None:
            ax.axvline(train, color="0.3", linewidth=0.8, zorder=1.5)
        if train and rungs:
            axis_above(ax, {r: "ρ₀" if r == train else f"{r / train:.3g}×" for r in rungs}, "α = ρ/ρ₀")
        for curve in curves:
            look_of, x = style[label_of(curve)], rungs_of(curve)
            for part, dashes in (("baseline", "--"), ("own", "-")):
                y = array(per_rung(curve, "ratio", part))
                line = look_of.line() | {"linestyle": dashes if look_of.joined else "none"}
                ax.plot(x, np.where(y > 0, y, np.nan), label=f"{label_of(curve)} / {part}", **line)
                for hollow in (False, True):
                    chosen = [seen(curve, r) == hollow for r in x]
                    ax.plot(np.array(x)[chosen], y[chosen], linestyle="none", **look_of.points(hollow=hollow))
        ax.set_ylabel("papers' ratio (no verdict)\nRMSE(ρ) / RMSE(ρ₀)")
    return figure


def _key_rows(curves: Sequence[Curve], style: dict[str, Style]) -> list[tuple[Any, str]]:
    """One row a curve with its words and slope; upsampled coarse predictions of several runs share one."""
    rows = []
    coarse = [curve for curve in curves if curve.get("method") == "coarse_then_upsample"]
    for curve in curves:
        if curve in coarse[1:]:
            continue
        text = label_of(curve) if is_method(curve) else label_of(curve).replace("_", " ")
        if len(coarse) > 1 and curve is coarse[0]:
            text = "coarse then upsample, of each run"
        if is_told(curve):
            slanted = f"slope {slope(curve)}".replace(" ", "\u00a0") if slope(curve) else ""  # kept on one line
            told = "; ".join(part for part in (words(curve), slanted) if part)
            text += f" — {told}" if told else ""
        rows.append((style[label_of(curve)].handle(), wrapped(text)))
    return rows


def _key_notes(curves: Sequence[Curve], train: float | None) -> list[str]:
    notes = ["σ: the truth's standard deviation on ρ₀. Hollow: rung seen in training."]
    if train is not None and any(r < train for c in curves for r in rungs_of(c)):
        notes[0] += " Faint: coarser than ρ₀ (own band only)."
    if any(pair(band) for c in curves for band in per_rung(c, "error_interval")):
        levels = {finite(c.get("level")) for c in curves if is_method(c)}
        level = levels.pop() if len(levels) == 1 else None
        notes[0] += f" Bands: {f'{100 * level:g} % ' if level else ''}interval."
    if any(given_these_seeds(c) and is_told(c) for c in curves):
        notes.append("† given these seeds: fewer than three, so not an interval over seeds.")
    return notes


def _error_limits(curves: Sequence[Curve], floors: Sequence[float]) -> tuple[float, float]:
    low, high = log_limits([e for c in curves for e in _numbers(c, "error")])
    ends = [end for c in curves for band in per_rung(c, "error_interval") for end in pair(band) or () if end > 0]
    if ends:  # by no more than a factor 3: a very wide band runs off the panel
        low, high = max(low / 3, min(low, min(ends) / 1.05)), min(high * 3, max(high, max(ends) * 1.05))
    # The floor is shown where it is near the curves; a far one would flatten them, and the key gives its value.
    if floors and min(floors) > low / 6:
        low = min(low, min(floors) / 1.2)
    return low, high


def _floor_text(floors: Sequence[float], bottom: float) -> str:
    low, high = number(min(floors), digits=2), number(max(floors), digits=2)
    span = low if low == high else f"{low} to {high}"
    where = "; light: 3× it, out of the fit" if 3 * max(floors) > bottom else ", below the axis"
    return f"the truth's own error: {span}{where}"


def _draw_floor(ax: Axes, group: Group, rungs: Sequence[float], bottom: float) -> None:
    known = [(r, f) for r in rungs if (f := finite(at(group.get("floor"), r))) is not None and f > 0]
    x, y = [r for r, _ in known], np.array([f for _, f in known])
    ax.fill_between(x, np.full_like(y, bottom * 0.5), 3 * y, color="0.94", linewidth=0, zorder=0.5)
    ax.fill_between(x, np.full_like(y, bottom * 0.5), y, color="0.8", linewidth=0, zorder=0.6)
    ax.plot(x, y, color="0.4", linestyle=":", linewidth=0.8, zorder=0.7)


def _draw_curve(ax: Axes, curve: Curve, key: str, style: Style, train: float | None, *, log: bool) -> None:
    """Line, band and points of one curve; faint below the train rung, hollow where training saw the rung."""
    x = np.array(rungs_of(curve), dtype=float)
    y = array(per_rung(curve, key))[: x.size]
    if log:
        y = np.where(y > 0, y, np.nan)
    above = np.full(x.shape, True) if train is None else x >= train
    coarse = np.full(x.shape, False) if train is None else x <= train
    front = 2.5 if is_method(curve) else 2.2
    ax.plot(np.where(above, x, np.nan), y, label=label_of(curve), zorder=front, **style.line())
    if (coarse & ~above).any():
        ax.plot(np.where(coarse, x, np.nan), y, alpha=FAINT, zorder=front, **style.line())

    bands = [pair(band) for band in per_rung(curve, f"{key}_interval")][: x.size]
    low = np.array([np.nan if band is None else band[0] for band in bands])
    high = np.array([np.nan if band is None else band[1] for band in bands])
    if np.isfinite(high[above]).any():
        bottom = np.where(low > 0, low, ax.get_ylim()[0] * 0.5) if log else low
        bottom = np.where(np.isfinite(low), bottom, np.nan)
        if style.joined:
            ax.fill_between(
                x[above], bottom[above], high[above], color=style.colour, alpha=0.16, linewidth=0, zorder=1.8
            )
        ax.vlines(x[above], bottom[above], high[above], color=style.colour, linewidth=0.7, alpha=0.7, zorder=front)
    for hollow in (False, True):
        for faint in (False, True):
            chosen = [seen(curve, r) == hollow and (not up) == faint for r, up in zip(x, above, strict=True)]
            if style.marker and any(chosen):
                alpha = FAINT if faint else 1.0
                points = style.points(hollow=hollow and style.joined)
                ax.plot(x[chosen], y[chosen], linestyle="none", alpha=alpha, zorder=front + 0.1, **points)


def _draw_skill(ax: Axes, curves: Sequence[Curve], style: dict[str, Style], train: float | None) -> None:
    values = [v for c in curves for v in _numbers(c, "skill")]
    lowest = min(values, default=0.0)
    if lowest < -1.5:
        # Linear from −1 to 1, logarithmic below: a curve that writes noise falls to −100 and stays on the page.
        ax.set_yscale("symlog", linthresh=1.0, linscale=1.0)
        bottom = lowest * 1.6
        powers = range(1, math.floor(math.log10(-bottom)) + 1)
        ticks = [*(-(10.0**p) for p in reversed(powers)), -1.0, 0.0, 1.0]
        if len(ticks) > 6:
            ticks = [*ticks[:-3:2], *ticks[-3:]]
    else:
        bottom = min(-0.3, lowest - 0.15)
        ticks = [t for t in (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0) if t >= bottom]
    ax.set_ylim(bottom, 1.12)
    ax.set_yticks(ticks, [f"{t:g}".replace("-", "−") for t in ticks])
    ax.yaxis.minorticks_off()
    ax.axhspan(bottom, 0, color="0.95", linewidth=0, zorder=0.4)
    for level in (0.0, 1.0):
        ax.axhline(level, color="0.3", linewidth=0.8, zorder=1.5)
    for curve in curves:
        _draw_curve(ax, curve, "skill", style[label_of(curve)], train, log=False)
    # Nothing is drawn left of the first finer rung: the two lines are named there.
    say(ax, 0.0, "0: coarse, upsampled", above=True)
    say(ax, 1.0, "1: the truth", above=False)
    say(ax, 0.0, "below: harms", above=False, ground="0.95")
    ax.set_ylabel("skill  $S$  in the\nunseen band")


def _numbers(curve: Curve, key: str, inner: str | None = None) -> list[float]:
    return [v for v in map(finite, per_rung(curve, key, inner)) if v is not None]
