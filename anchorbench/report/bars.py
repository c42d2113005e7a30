"""Small drawings inside the page: a slope against ±δ, and the bars of the error budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from anchorbench.report.document import Curve, finite, fixed, interval, label_of, number, pair, per_rung, rungs_of

#: A slope's strip ends here on both sides.
STEEPEST = 0.5
PARTS = {
    "model": "the model itself",
    "grid": "the finer grid, information held",
    "information": "the finer information, grid held",
}
#: A bar ends here, in shares of E_res² on ρ₀.
LONGEST = 3.0
ROW, NAME, WIDTH = 17.0, 190.0, 760.0


def slope_strip(curve: Curve) -> Markup | None:
    """The slope and its interval on a line from −0.5 to 0.5, over the strip of ±δ; None without a slope."""
    slope, ends, delta = finite(curve.get("slope")), pair(curve.get("interval")), finite(curve.get("delta")) or 0.1
    if slope is None:
        return None

    def x(value: float) -> float:
        return 100 + 96 * max(-STEEPEST, min(STEEPEST, value)) / STEEPEST

    told = f"slope {fixed(slope, signed=True)} {interval(ends)}".strip()
    told += f", between −{STEEPEST:g} and {STEEPEST:g}; the strip is ±{delta:g}"
    line = (
        ""
        if ends is None
        else f'<path class="reach" d="M{x(ends[0]):.1f} 11H{max(x(ends[1]), x(ends[0]) + 0.5):.1f}"/>'
    )
    return Markup(
        f'<svg class="strip" viewBox="0 0 200 22" role="img" aria-label="{escape(told)}">'
        f'<path class="axis" d="M4 11H196M100 5V17"/>'
        f'<rect class="delta" x="{x(-delta):.1f}" y="4" width="{x(delta) - x(-delta):.1f}" height="14"/>'
        f'{line}<circle class="dot" cx="{x(slope):.1f}" cy="11" r="4"/></svg>'
    )


def budget_bars(curves: Sequence[Curve]) -> Markup | None:
    """A bar a curve and rung finer than ρ₀: signed shares of E_res², over E_res² on ρ₀; None without a budget.

    Positive parts to the right one after the other, negative ones to the left; the tick is their sum.
    """
    rows = [row for curve in curves for row in _rows(curve)]
    if not rows:
        return None
    low: float = min(0.0, *(row["negative"] for row in rows))
    high: float = max(1.0, *(row["positive"] for row in rows))
    low, high = max(low, -LONGEST), min(high, LONGEST)
    tall = 22 + ROW * len(rows) + 8 * len({row["label"] for row in rows})

    def x(value: float) -> float:
        return NAME + 8 + (WIDTH - NAME - 60) * (max(low, min(high, value)) - low) / (high - low)

    marks = [(0.0, "0"), (1.0, "E_res² on ρ₀")]
    parts = [
        f'<path class="grid" d="M{x(v):.1f} 18V{tall:g}"/><text class="tick" x="{x(v):.1f}" y="13" '
        f'text-anchor="middle">{text}</text>'
        for v, text in marks
    ]
    y, last = 22.0, None
    for row in rows:
        if row["label"] != last:
            y += 8.0 if last is not None else 0.0
            parts.append(f'<text class="tick label" x="0" y="{y + 12:g}">{escape(_short(row["label"]))}</text>')
            last = row["label"]
        parts.append(f'<text class="tick" x="{NAME:g}" y="{y + 12:g}" text-anchor="end">{row["rung"]:g}</text>')
        for name, start, end in row["bars"]:
            left, right = sorted((x(start), x(end)))
            told = f"{row['label']} at {row['rung']:g} points: {PARTS[name]} {100 * row['share'][name]:.0f} % of E_res²"
            told = told.replace(" -", " −")
            parts.append(
                f'<rect class="part {name}" x="{left:.1f}" y="{y + 2:g}" width="{max(right - left, 0.0):.1f}" '
                f'height="{ROW - 5:g}"><title>{escape(told)}</title></rect>'
            )
        beyond = "" if row["positive"] <= high else f" → {number(row['positive'], digits=2)}"
        parts.append(f'<path class="sum" d="M{x(row["sum"]):.1f} {y:g}V{y + ROW - 1:g}"/>')
        if beyond:
            parts.append(f'<text class="tick" x="{x(high) + 4:.1f}" y="{y + 12:g}">{escape(beyond)}</text>')
        y += ROW
    name = "Error budget: signed shares of the squared resolved error on each finer rung. The table below holds them."
    svg = f'<svg class="bars" viewBox="0 0 {WIDTH:g} {tall:g}" role="img" aria-label="{name}">{"".join(parts)}</svg>'
    return Markup(svg)  # every text in it was escaped


def _rows(curve: Curve) -> list[dict[str, Any]]:
    """A row a rung that has all three parts and adds to them something beside the model's own."""
    train = finite(curve.get("train_rung"))
    home = next(
        (finite(e) for r, e in zip(rungs_of(curve), per_rung(curve, "error"), strict=False) if r == train), None
    )
    rows = []
    for rung, budget in zip(rungs_of(curve), per_rung(curve, "budget"), strict=False):
        if train is not None and rung <= train:
            continue
        values = {name: finite((budget or {}).get(name)) for name in PARTS}
        known = {name: v for name, v in values.items() if v is not None}
        whole = sum(known.values())
        unit = home**2 if home else whole
        if len(known) < len(PARTS) or unit <= 0:
            continue
        rows.append({"label": label_of(curve), "rung": rung, **_stacked(known, unit)})
    return rows


def _stacked(parts: Mapping[str, float], unit: float) -> dict[str, Any]:
    """Each part from where the one before of its sign ends."""
    positive = negative = 0.0
    bars = []
    whole = sum(parts.values())
    for name, value in parts.items():
        length = value / unit
        if length >= 0:
            bars.append((name, positive, positive + length))
            positive += length
        else:
            bars.append((name, negative, negative + length))
            negative += length
    share = {name: v / whole if whole else 0.0 for name, v in parts.items()}
    return {"bars": bars, "positive": positive, "negative": negative, "sum": positive + negative, "share": share}


def _short(label: str) -> str:
    return label if len(label) <= 24 else f"{label[:23]}…"
