"""The curves of a group as one drawing inside the page: SVG whose points tell their values, in the page's own colours.

The drawing is part of the HTML, so that light and dark, the pointer, the keyboard and the legend reach every point.
For papers there are the figures of `figures.py`; both take colours, markers and dashes from `style.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from anchorbench.report.document import (
    Curve,
    Group,
    finite,
    fixed,
    group_rungs,
    heading,
    interval,
    is_method,
    is_told,
    label_of,
    number,
    pair,
    rungs_of,
    seen,
    sentence,
    slope,
    value_at,
    words,
)
from anchorbench.report.style import COLOURS, Style, log_limits, styles

WIDTH, LEFT, RIGHT, TOP = 760.0, 64.0, 14.0, 22.0
TALL, SHORT, GAP, BELOW = 300.0, 150.0, 18.0, 40.0
HEIGHT = TOP + TALL + GAP + SHORT + BELOW

#: Paths about the origin, within a circle of radius 5.
SHAPES = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "s": "M-3.6-3.6H3.6V3.6H-3.6z",
    "^": "M0-4.6L4.4 3.4H-4.4z",
    "v": "M0 4.6L4.4-3.4H-4.4z",
    "<": "M-4.6 0L3.4-4.4V4.4z",
    ">": "M4.6 0L-3.4-4.4V4.4z",
    "D": "M0-5L5 0L0 5L-5 0z",
    "d": "M0-5.4L3.2 0L0 5.4L-3.2 0z",
    "P": "M-1.6-4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6V-1.6H-1.6z",
    "X": "M-4.6-2.4L-2.4-4.6L0-2.2L2.4-4.6L4.6-2.4L2.2 0L4.6 2.4L2.4 4.6L0 2.2L-2.4 4.6L-4.6 2.4L-2.2 0z",
    "p": "M0-4.8L4.6-1.5L2.8 3.9H-2.8L-4.6-1.5z",
    "h": "M0-4.8L4.2-2.4V2.4L0 4.8L-4.2 2.4V-2.4z",
    "*": "M0-6L1.5-1.9L5.7-1.9L2.3 0.8L3.5 4.9L0 2.4L-3.5 4.9L-2.3 0.8L-5.7-1.9L-1.5-1.9z",
    "x": "M-3.8-3.8L3.8 3.8M-3.8 3.8L3.8-3.8",
    "+": "M0-4.6V4.6M-4.6 0H4.6",
    "|": "M0-4.6V4.6",
}
DOT = "M-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z"  # of a reference without marker: something to point at


@dataclass(frozen=True)
class Chart:
    """The drawing, and the rows of its legend: number, label, what was said of it, a sample of its line, its colour."""

    svg: Markup
    legend: list[dict[str, Any]]


@dataclass(frozen=True)
class Panel:
    """Where a value lies on the page: linear in `scale(value)`, low at the bottom."""

    top: float
    height: float
    low: float
    high: float
    log: bool

    def y(self, value: float) -> float:
        """Beyond the panel its edge: a band that runs off ends there."""
        share = (self._scaled(value) - self._scaled(self.low)) / (self._scaled(self.high) - self._scaled(self.low))
        return self.top + self.height * (1 - min(1.0, max(0.0, share)))

    def _scaled(self, value: float) -> float:
        if self.log:
            return math.log(max(value, 1e-300))
        # Linear from −1 to 1, logarithmic below, as in `figures.py`.
        return value if value > -1 or self.low >= -1.5 else -1 - math.log10(-value)


def curves_chart(group: Group, curves: Sequence[Curve]) -> Chart | None:
    """E_res above, S below, by points per axis; None where no curve has an error above zero."""
    shown = [c for c in curves if any((finite(value_at(c, r, "error")) or 0) > 0 for r in rungs_of(c))]
    rungs, train, style = group_rungs(group, shown), finite(group.get("train_rung")), styles(shown)
    if not shown or not rungs:
        return None
    errors = [e for c in shown for r in rungs_of(c) if (e := finite(value_at(c, r, "error")))]
    low, high = log_limits(errors)
    upper = Panel(TOP, TALL, low / 1.1, high * 1.1, log=True)
    skills = [s for c in shown for r in rungs_of(c) if (s := finite(value_at(c, r, "skill"))) is not None]
    bottom = min([-0.3, *(s - 0.15 if s >= -1.5 else s * 1.6 for s in skills)])
    lower = Panel(TOP + TALL + GAP, SHORT, bottom, 1.12, log=False)
    x = _Axis(rungs)
    parts = [_frame(upper, _log_ticks(upper)), _frame(lower, _skill_ticks(bottom))]
    parts += [_rungs(x, rungs, train, lower), _names(upper, lower)]
    for n, curve in enumerate(shown):
        drawn = [_line(curve, panel, x, key, style[label_of(curve)], train) for panel, key in _of(curve, upper, lower)]
        drawn += [_points(curve, panel, x, key, style[label_of(curve)]) for panel, key in _of(curve, upper, lower)]
        kind = "model" if is_method(curve) else "ref"
        parts.append(
            f'<g class="curve {kind} {colour_class(style[label_of(curve)])}" data-n="{n}">{"".join(drawn)}</g>'
        )
    told = " ".join(sentence(curve) for curve in shown if is_method(curve))
    name = escape(f"Resolved error and skill by points per axis, {heading(group)}. {told} The tables hold every value.")
    svg = (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" tabindex="0" aria-label="{name}">'
        f"{''.join(parts)}</svg>"
    )
    legend = [_legend(n, curve, style[label_of(curve)]) for n, curve in enumerate(shown)]
    return Chart(Markup(svg), legend)  # every text in it was escaped


def colour_class(style: Style) -> str:
    """The class whose colour the page sets for light and for dark: c0 to c5, ink or soft."""
    if style.colour in COLOURS:
        return f"c{COLOURS.index(style.colour)}"
    return "ink" if style.colour == "black" else "soft"


def _of(curve: Curve, upper: Panel, lower: Panel) -> list[tuple[Panel, str]]:
    coarse = curve.get("method") == "coarse_then_upsample"  # its skill is 0 by definition, which the axis shows
    return [(upper, "error")] if coarse else [(upper, "error"), (lower, "skill")]


class _Axis:
    """x of a rung, logarithmic, with a margin on both sides."""

    def __init__(self, rungs: Sequence[float]) -> None:
        self.low, self.high = math.log(min(rungs) / 1.15), math.log(max(rungs) * 1.15)

    def __call__(self, rung: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(rung) - self.low) / (self.high - self.low)


def _frame(panel: Panel, ticks: Sequence[tuple[float, str]]) -> str:
    right = WIDTH - RIGHT
    rows = "".join(
        f'<path class="grid" d="M{LEFT:g} {panel.y(v):.1f}H{right:g}"/>'
        f'<text class="tick" x="{LEFT - 6:g}" y="{panel.y(v) + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        for v, text in ticks
    )
    return f'{rows}<path class="axis" d="M{LEFT:g} {panel.top:g}V{panel.top + panel.height:g}H{right:g}"/>'


def _log_ticks(panel: Panel) -> list[tuple[float, str]]:
    decades = math.log10(panel.high / panel.low)
    lead = (1, 1.5, 2, 3, 4, 5, 6, 8) if decades < 0.75 else (1, 2, 5) if decades < 2.6 else (1,)
    step = max(1, math.ceil(decades / 7))
    powers = range(math.floor(math.log10(panel.low)), math.ceil(math.log10(panel.high)) + 1)
    found = [m * 10.0**p for p in powers if p % step == 0 for m in lead]
    return [(v, f"{v:g}" if v >= 1e-3 else number(v, digits=1)) for v in found if panel.low <= v <= panel.high]


def _skill_ticks(bottom: float) -> list[tuple[float, str]]:
    below = [-(10.0**p) for p in range(1, math.floor(math.log10(-bottom)) + 1)] if bottom < -1.5 else []
    marks = [1.0, 0.0, *([-1.0] if bottom < -1.05 else []), *below[:: max(1, len(below) // 3)]]
    return [(v, f"{v:g}".replace("-", "−")) for v in marks]


def _rungs(x: _Axis, rungs: Sequence[float], train: float | None, lower: Panel) -> str:
    """Ticks, α on top, and the line of ρ₀.  Of rungs too near for their numbers every other has none."""
    end, out, last = lower.top + lower.height, [], -1e9
    for rung in rungs:
        at = x(rung)
        if at - last < 26 and rung != train:
            continue
        last = at
        alpha = "" if not train else "ρ₀" if rung == train else f"{rung / train:.3g}×"
        out.append(f'<text class="tick" x="{at:.1f}" y="{end + 15:g}" text-anchor="middle">{rung:g}</text>')
        out.append(f'<text class="tick" x="{at:.1f}" y="{TOP - 7:g}" text-anchor="middle">{alpha}</text>')
    if train is not None and rungs[0] <= train <= rungs[-1]:
        out.append(f'<path class="home" d="M{x(train):.1f} {TOP:g}V{end:g}"/>')
    return "".join(out)


def _names(upper: Panel, lower: Panel) -> str:
    def along(panel: Panel, text: str) -> str:
        y = panel.top + panel.height / 2
        return f'<text class="name" transform="translate(13 {y:g}) rotate(-90)" text-anchor="middle">{text}</text>'

    zero = lower.y(0.0)
    return (
        along(upper, "resolved error E_res (σ)")
        + along(lower, "skill S, unseen")
        + f'<path class="home" d="M{LEFT:g} {zero:.1f}H{WIDTH - RIGHT:g}"/>'
        + f'<text class="tick" x="{LEFT + 5:g}" y="{zero + 12:.1f}">below 0: harms</text>'
        + f'<text class="name" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 7:g}" text-anchor="middle">'
        "points per axis</text>"
    )


def _values(curve: Curve, key: str) -> list[tuple[float, float]]:
    found = [(r, finite(value_at(curve, r, key))) for r in rungs_of(curve)]
    return [(r, v) for r, v in found if v is not None and (key != "error" or v > 0)]


def _line(curve: Curve, panel: Panel, x: _Axis, key: str, style: Style, train: float | None) -> str:
    """The line, and from ρ₀ up the band of its interval; rungs coarser than ρ₀ are joined faintly."""
    values = _values(curve, key)
    if not style.joined:
        return ""
    out = []
    bands = [(r, pair(value_at(curve, r, f"{key}_interval"))) for r, _ in values if train is None or r >= train]
    ends = [(r, band) for r, band in bands if band is not None]
    if len(ends) > 1:
        there = " ".join(f"{x(r):.1f},{panel.y(high):.1f}" for r, (_, high) in ends)
        back = " ".join(f"{x(r):.1f},{panel.y(low):.1f}" for r, (low, _) in reversed(ends))
        out.append(f'<polygon class="band" points="{there} {back}"/>')
    dashes = "" if style.dashes == "-" else " ".join(f"{2 * d:g}" for d in style.dashes[1])
    for part, faint in (
        ([(r, v) for r, v in values if train is None or r >= train], ""),
        ([(r, v) for r, v in values if train is not None and r <= train], " faint"),
    ):
        if len(part) > 1:
            points = " ".join(f"{x(r):.1f},{panel.y(v):.1f}" for r, v in part)
            dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
            out.append(f'<polyline class="line{faint}" points="{points}"{dashed}/>')
    return "".join(out)


def _points(curve: Curve, panel: Panel, x: _Axis, key: str, style: Style) -> str:
    """A point a rung, hollow where training saw it, with its value as a title (the script makes it a card)."""
    shape = SHAPES.get(style.marker or "", DOT)
    strokes = style.marker in ("x", "+", "|")
    out = []
    for rung, value in _values(curve, key):
        hollow = style.joined and seen(curve, rung) and not strokes
        told = f"{_said(curve, key, rung, value)}{' (seen in training)' if hollow else ''}"
        kind = "stroke" if strokes else "hollow" if hollow else "full"
        out.append(
            f'<path class="point {kind}" transform="translate({x(rung):.1f} {panel.y(value):.1f})" d="{shape}">'
            f"<title>{escape(told)}</title></path>"
        )
    return "".join(out)


def _said(curve: Curve, key: str, rung: float, value: float) -> str:
    """`frl at 128 points: E_res 0.196 [0.184, 0.208]`."""
    ends = value_at(curve, rung, f"{key}_interval")
    if key == "error":
        return f"{label_of(curve)} at {rung:g} points: E_res {number(value)} {interval(ends, places=3)}".strip()
    return f"{label_of(curve)} at {rung:g} points: S {fixed(value)} {interval(ends)}".strip()


def _legend(n: int, curve: Curve, style: Style) -> dict[str, Any]:
    told = "; ".join(part for part in (words(curve), f"slope {slope(curve)}" if slope(curve) else "") if part)
    dashes = "" if style.dashes == "-" or not style.joined else " ".join(f"{2 * d:g}" for d in style.dashes[1])
    line = f'<path class="line" d="M0 7H34" stroke-dasharray="{dashes}"/>' if style.joined else ""
    kind = "stroke" if style.marker in ("x", "+", "|") else "full"
    mark = f'<path class="point {kind}" transform="translate(17 7)" d="{SHAPES.get(style.marker or "", DOT)}"/>'
    sample = f'<svg class="key {colour_class(style)}" viewBox="0 0 34 14" aria-hidden="true">{line}{mark}</svg>'
    name = label_of(curve) if is_method(curve) else label_of(curve).replace("_", " ")
    return {"n": n, "label": name, "told": told if is_told(curve) else "", "sample": Markup(sample)}
