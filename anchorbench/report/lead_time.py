"""The figure of rollouts: error against lead time on each rung, and the slope at each lead time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from anchorbench.report.controlled import probe_styles
from anchorbench.report.document import Curve, Group, at, finite, fixed, heading, is_method, label_of, pair
from anchorbench.report.residual import spread
from anchorbench.report.style import Key, Style, array, log_limits, log_ticks, look, say, sheet, wrapped

MOST_RUNGS = 3
MOST_LEADS = 8  # ticks
#: label -> where its values stand on the horizontal axis
At = Mapping[str, NDArray[np.float64]]


def lead_time(group: Group, curves: Sequence[Curve]) -> Figure:
    """E_res by lead on up to three rungs from ρ₀ up, S on the finest, and the slope of log E_res on log N at each lead.

    A cross ends the curve of a rung that blew up, at the lead where it did.
    """
    with look():
        held: dict[str, Any] = dict(group["probes"]["rollout"])
        train = finite(group.get("train_rung"))
        rungs = [r for r in sorted(map(int, held["rungs"])) if train is None or r >= train]
        drawn, lead = spread(rungs, MOST_RUNGS), array(held["lead"])
        labels = list(held["curves"])
        style, x = probe_styles(labels, curves), dict.fromkeys(labels, lead)
        methods = [label for label in labels if label in {label_of(c) for c in curves if is_method(c)}]
        key = Key([(style[label].handle(), wrapped(label + _said(held, label))) for label in labels], [])
        if any(any(at(held["curves"][label]["blown"], r) for r in drawn) for label in labels):
            key.rows.append(
                (Line2D([], [], color="0.3", marker="x", linestyle="none"), "blew up: not finite from here")
            )
        key.notes.append("Forecasts fed back from one start a sample. σ: the truth's standard deviation on ρ₀.")
        if len(drawn) < len(rungs):
            key.notes.append(f"Not drawn: {', '.join(f'{r:g}' for r in rungs if r not in drawn)} points.")
        if held.get("others"):
            key.notes.append(f"Tested at other leads or rungs, not drawn: {', '.join(held['others'])}.")
        sloped = [label for label in (*methods, "solver") if label in labels and has_slope(held, label)]
        figure, axes = sheet(heading(group), (*[0.95] * len(drawn), 0.8, *[0.9] * bool(sloped)), key)
        limits = limits_of(held, methods or labels, labels, drawn)
        for ax, rung in zip(axes, drawn, strict=False):
            errors_panel(ax, held, labels, style, x, rung)
            log_ticks(ax, *limits)
            ax.set_ylabel(f"{rung:g} points" + (" (ρ₀)" if rung == train else "") + "\n$E_{\\rm res}$ (in σ)")
        skill_panel(axes[len(drawn)], held, labels, style, x, drawn[-1])
        if sloped:
            slopes_panel(axes[-1], held, sloped, style, x)
        _lead_axis(axes[-1], lead, str(held.get("lead_unit") or ""))
    return figure


def errors_panel(
    ax: Axes, held: Mapping[str, Any], labels: Sequence[str], style: Mapping[str, Style], x: At, rung: float
) -> None:
    """E_res of each curve on one rung against its own x; a cross where it blew up."""
    for label in labels:
        told = held["curves"][label]
        y = array(at(told["error"], rung))
        if y.size != x[label].size:
            continue
        y = np.where(y > 0, y, np.nan)
        _line(ax, x[label], y, style[label], label)
        if (hit := finite(at(told.get("blown"), rung))) is not None:
            last = y[np.isfinite(y)]
            ax.plot([hit], [last[-1] if last.size else 1.0], marker="x", color=style[label].colour, markersize=5)
    ax.axhline(1.0, color="0.7", linewidth=0.6, zorder=1.2)


def limits_of(
    held: Mapping[str, Any], methods: Sequence[str], labels: Sequence[str], rungs: Sequence[float]
) -> tuple[float, float]:
    """The same for every rung; a solver far below the models runs off by no more than a factor 5."""

    def heights(names: Sequence[str]) -> list[float]:
        found = (finite(e) for name in names for r in rungs for e in at(held["curves"][name]["error"], r) or ())
        return [e for e in found if e is not None and e > 0]

    low, _ = log_limits(heights(methods))
    whole = log_limits(heights(labels))
    return max(whole[0], low / 5), whole[1]


def skill_panel(
    ax: Axes, held: Mapping[str, Any], labels: Sequence[str], style: Mapping[str, Style], x: At, rung: float
) -> None:
    """S of each curve on one rung against its own x."""
    values: list[float] = []
    for label in labels:
        y = array(at(held["curves"][label]["skill"], rung))
        if y.size == x[label].size:
            _line(ax, x[label], y, style[label], label)
            values += y[np.isfinite(y)].tolist()
    lowest = min(values, default=0.0)
    if lowest < -1.5:  # linear from −1 to 1, logarithmic below
        ax.set_yscale("symlog", linthresh=1.0, linscale=1.0)
    ax.set_ylim(lowest * 1.3 if lowest < -1.5 else min(-0.3, lowest - 0.15), 1.12)
    ticks = [t for t in (-1000.0, -100.0, -10.0, -1.0, 0.0, 1.0) if t >= ax.get_ylim()[0]]
    ax.set_yticks(ticks, [f"{t:g}".replace("-", "−") for t in ticks])
    ax.yaxis.minorticks_off()
    ax.axhline(0.0, color="0.3", linewidth=0.8, zorder=1.5)
    ax.set_ylabel(f"{rung:g} points\nskill $S$, unseen")


def slopes_panel(ax: Axes, held: Mapping[str, Any], labels: Sequence[str], style: Mapping[str, Style], x: At) -> None:
    """The slope with its interval at each x; the grey strip is ±δ."""
    delta = finite(held.get("delta")) or 0.1
    ax.axhspan(-delta, delta, color="0.92", linewidth=0, zorder=0.4)
    ax.axhline(0.0, color="0.3", linewidth=0.8, zorder=1.5)
    ends: list[float] = [-2 * delta, 2 * delta]
    for label in labels:
        told = held["curves"][label]
        y, bands = array(told["slope"]), [pair(band) for band in told["interval"]]
        _line(ax, x[label], y, style[label], label)
        known = [(place, *band) for place, band in zip(x[label], bands, strict=True) if band is not None]
        ax.vlines(
            [place for place, *_ in known], [low for _, low, _ in known], [high for *_, high in known],
            color=style[label].colour, linewidth=0.8, alpha=0.8,
        )  # fmt: skip
        if label != "solver" or len(labels) == 1:  # its slope of many would flatten the models'
            ends += [end for _, *band in known for end in band]
    room = 0.12 * (max(ends) - min(ends))
    ax.set_ylim(min(ends) - room, max(ends) + room)
    ax.set_ylabel("slope of $E_{\\rm res}$")
    say(ax, delta, f"±δ = {delta:g}", above=True)


def _line(ax: Axes, x: Any, y: Any, style: Style, label: str) -> None:
    ax.plot(x, y, label=label, **style.line(), **style.points(hollow=False) | {"markersize": 2.8})


def _lead_axis(ax: Axes, lead: Any, unit: str) -> None:
    chosen = lead[:: -(-lead.size // MOST_LEADS)].tolist()
    ax.xaxis.set_major_locator(FixedLocator(chosen))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    step = float(lead[0])
    ax.set_xlim(lead.min() - 0.3 * step, lead.max() + 0.3 * step)
    ax.set_xlabel(f"lead time ({unit})" if unit and unit != "1" else "lead time", labelpad=2, parse_math=False)


def has_slope(held: Mapping[str, Any], label: str) -> bool:
    return any(finite(v) is not None for v in held["curves"][label]["slope"])


def _said(held: Mapping[str, Any], label: str) -> str:
    """The solver's slopes, which run off their panel as its errors may; on which rungs it blew up, and when."""
    told = held["curves"][label]
    slopes = [v for v in map(finite, told["slope"]) if v is not None]
    parts = []
    if label == "solver" and slopes:
        parts = [f"slope {fixed(slopes[0])} to {fixed(slopes[-1])}; where it is not seen it is below the panel"]
    hits = {rung: finite(hit) for rung, hit in told["blown"].items()}
    blown = ", ".join(f"{rung} at {hit:g}" for rung, hit in hits.items() if hit is not None)
    return " — " + "; ".join([*parts, *([f"blew up on {blown}"] if blown else [])]) if parts or blown else ""
