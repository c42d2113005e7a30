"""The figure of cost: what training and its data took, error at that cost, and error at the cost of a forecast."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from anchorbench.report.break_even import break_even, solver_points, spent_flops
from anchorbench.report.document import (
    Curve,
    Group,
    at,
    finite,
    heading,
    is_method,
    label_of,
    rungs_of,
    seen,
    value_at,
)
from anchorbench.report.style import REFERENCES, Key, Style, log_limits, log_ticks, look, sheet, styles, wrapped

BAR = 0.105  # inches a curve
Point = tuple[float, float]


def cost(group: Group, curves: Sequence[Curve]) -> Figure:
    """Bars: FLOPs of training, and of its data hatched.  E_res by that sum.  E_res by the FLOPs of one forecast.

    A curve without counted FLOPs is named under the figure, not drawn.
    """
    with look():
        methods = [c for c in curves if is_method(c)]
        style, price = styles(curves), {label_of(c): spent_flops(c.get("cost") or {}) for c in methods}
        counted = [c for c in methods if price[label_of(c)][0]]
        key = Key([(style[label_of(c)].handle(), wrapped(label_of(c))) for c in counted], _notes(group, curves))
        key.rows += [
            (Patch(facecolor="0.6"), "training, forward and backward"),
            (Patch(facecolor="white", edgecolor="0.3", hatch="//////"), "its data, solved once by the ladder's solver"),
            (Line2D([], [], color="0.3", marker="o", linestyle="none", markersize=4), "E_res on the finest rung"),
            (_hollow(), "E_res on ρ₀, or on a rung seen in training"),
        ]
        solver = solver_points(group, curves)
        if solver:
            key.rows.append((REFERENCES["solver"].handle(), "the ladder's solver, rung by rung"))
        bars_tall = max(0.5, BAR * len(counted) + 0.12)
        figure, (bars, errors) = sheet(heading(group), (bars_tall, 1.5), key, room=1.92)
        _bars(bars, counted, price, style)
        _errors(errors, group, counted, price, style)
        sums = [sum(v or 0.0 for v in price[label_of(c)]) for c in counted]
        parts = [v for c in counted for v in price[label_of(c)] if v]
        _flop_axis(errors, [*sums, *parts], "FLOPs of training and data")
        _forecasts(_panel_below(figure, errors, 1.5), counted, style, solver)
    return figure


def _hollow() -> Line2D:
    return Line2D([], [], color="0.3", marker="o", linestyle="none", markersize=4, markerfacecolor="white")


def _panel_below(figure: Figure, last: Axes, height: float) -> Axes:
    """A panel with an x axis of its own under the others, in the room that `sheet` left for it."""
    _, tall = figure.get_size_inches()
    box = last.get_position()
    return figure.add_axes((box.x0, box.y0 - (0.42 + height) / tall, box.width, height / tall))


def _bars(
    ax: Axes,
    curves: Sequence[Curve],
    price: Mapping[str, tuple[float | None, float | None]],
    style: Mapping[str, Style],
) -> None:
    """A pair of bars a curve, the first curve on top; what was not counted has none."""
    for row, curve in enumerate(curves):
        label = label_of(curve)
        for part, (value, hatch) in enumerate(zip(price[label], ("", "//////"), strict=True)):
            if value:
                y = -row + (0.2 if part == 0 else -0.2)
                face = "white" if hatch else style[label].colour
                ax.barh(y, value, 0.36, color=face, edgecolor=style[label].colour, hatch=hatch, linewidth=0.5)
    ax.set_ylim(-len(curves) + 0.4, 0.6)
    ax.set_yticks([])
    ax.set_ylabel("training, data\n(in the key's order)")


def _errors(
    ax: Axes,
    group: Group,
    curves: Sequence[Curve],
    price: Mapping[str, tuple[float | None, float | None]],
    style: Mapping[str, Style],
) -> None:
    train, drawn = finite(group.get("train_rung")), []
    for curve in curves:
        x = sum(v or 0.0 for v in price[label_of(curve)])
        scored = [(r, e) for r in rungs_of(curve) if (e := finite(value_at(curve, r, "error")))]
        ends = [(r, e) for r, e in scored if r == train] + scored[-1:]
        ax.plot([x] * len(ends), [e for _, e in ends], **style[label_of(curve)].line() | {"linewidth": 0.7})
        for rung, error in ends:
            hollow = rung == train or seen(curve, rung)
            ax.plot([x], [error], linestyle="none", **style[label_of(curve)].points(hollow=hollow))
            drawn.append(error)
    log_ticks(ax, *_roomy(drawn))
    ax.set_ylabel("$E_{\\rm res}$ (in σ)")


def _roomy(values: Sequence[float]) -> Point:
    """Limits that leave markers at the ends whole."""
    low, high = log_limits(values)
    return low / 1.25, high * 1.25


def _forecasts(
    ax: Axes, curves: Sequence[Curve], style: Mapping[str, Style], solver: Sequence[tuple[float, float, float]]
) -> None:
    """E_res by FLOPs of one forecast, a point a rung; left and down is better."""
    drawn: list[Point] = []
    for curve in curves:
        given = (curve.get("cost") or {}).get("inference")
        points = [
            (rung, x, y)
            for rung in rungs_of(curve)
            if (x := finite(at(given, int(rung)))) and (y := finite(value_at(curve, rung, "error")))
        ]
        look_of = style[label_of(curve)]
        ax.plot([x for _, x, _ in points], [y for *_, y in points], **look_of.line())
        for rung, x, y in points:
            ax.plot([x], [y], linestyle="none", **look_of.points(hollow=seen(curve, rung)))
        drawn += [(x, y) for _, x, y in points]
    if solver:
        grey = REFERENCES["solver"]
        ax.plot([c for *_, c in solver], [e for _, e, _ in solver], **grey.line(), **grey.points(hollow=False))
        drawn += [(c, e) for _, e, c in solver if e > 0]
    if not drawn:
        ax.text(0.5, 0.5, "no forecast was counted", transform=ax.transAxes, ha="center", color="0.4")
        return
    log_ticks(ax, *_roomy([y for _, y in drawn]))
    _flop_axis(ax, [x for x, _ in drawn], "FLOPs of one forecast")
    ax.set_ylabel("$E_{\\rm res}$ (in σ)")


def _flop_axis(ax: Axes, values: Sequence[float], label: str) -> None:
    """A log axis with a tick a power of ten, or three a decade where there is one decade."""
    low, high = log_limits(values, least=4.0)
    high *= 1.2
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    lead = (1, 2, 5) if high / low < 40 else (1,)
    ax.xaxis.set_major_locator(FixedLocator([m * 10.0**p for p in powers for m in lead if low <= m * 10.0**p <= high]))
    ax.xaxis.set_minor_locator(NullLocator())

    def written(x: float, _: object) -> str:
        power = math.floor(math.log10(x) + 1e-9)
        first = round(x / 10.0**power)
        return f"$10^{{{power}}}$" if first == 1 else f"${first}\\times10^{{{power}}}$"

    ax.xaxis.set_major_formatter(FuncFormatter(written))
    ax.set_xlabel(label, labelpad=2)


def _notes(group: Group, curves: Sequence[Curve]) -> list[str]:
    """What the FLOPs are, what was not measured, and the break-even in one line."""
    methods = [c for c in curves if is_method(c)]
    notes = [
        "FLOPs: products and convolutions; of the solver transforms too. Left and down is better.",
        "A forecast: one forward pass. Members, the steps of a diffusion and hybrid's own solver come on top.",
    ]
    absent = [label_of(c) for c in methods if not spent_flops(c.get("cost") or {})[0]]
    without_data = [label_of(c) for c in methods if spent_flops(c.get("cost") or {})[1] is None]
    if absent:
        notes.append(f"Training not counted: {', '.join(absent)}.")
    if len(without_data) == len(methods):
        notes.append("Data not measured: no solver of this ladder was timed.")
    elif without_data:
        notes.append(f"Data not measured: {', '.join(without_data)}.")
    found = break_even(group, curves)
    soonest = min((one for one in found if one.forecasts is not None), key=lambda e: e.forecasts or 0.0, default=None)
    if soonest is not None:
        notes.append(f"Break-even with the solver: {soonest.label} on {soonest.rung:g} points {soonest.word}.")
    elif found and all(one.word.startswith("never") for one in found):
        notes.append("No break-even: at equal error the solver's forecast is cheaper than every model's.")
    elif not found:
        notes.append("Break-even not known: no solver of this ladder was timed.")
    return notes
