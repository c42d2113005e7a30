"""The figure of fields on one axis: truth and predictions as lines, errors beneath, on three rungs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from anchorbench.report.document import Curve, Group, at, finite, heading, is_method, label_of, rungs_of
from anchorbench.report.style import Key, Style, array, look, sheet, styles, wrapped

MOST_LINES = 4


def lines(group: Group, curves: Sequence[Curve]) -> Figure:
    """One sample on three rungs, a panel each: truth and predictions; last, the errors on the finest."""
    with look():
        held: dict[str, Any] = dict(group["fields"])
        rungs = rungs_of(held)
        labels = [label_of(c) for c in curves if is_method(c) and label_of(c) in held["predictions"]][:MOST_LINES]
        style, ink = styles(curves), Style("black", None, "-", 1.6)
        note = "One sample, chosen before any score was seen. Lowest panel: prediction − truth on the finest rung."
        key = Key([(ink.handle(), "truth")], [note])
        plain = {label: Style(style[label].colour, None, style[label].dashes, 1.0) for label in labels}
        key.rows += [(plain[label].handle(), wrapped(label)) for label in labels]
        figure, axes = sheet(heading(group), (*[1.0] * len(rungs), 0.9), key)
        train, unit = finite(group.get("train_rung")), str(group.get("unit") or "")
        name = str(group.get("variable") or "value")
        for ax, rung in zip(axes, rungs, strict=False):
            truth = array(at(held["truth"], rung))
            x = array(at(held["x"], rung))
            ax.plot(x, truth, **ink.line())
            for label in labels:
                ax.plot(x, array(at(held["predictions"][label], rung)), **plain[label].line())
                if rung == rungs[-1]:
                    axes[-1].plot(x, array(at(held["predictions"][label], rung)) - truth, **plain[label].line())
            scale = ", train rung" if rung == train else f", {rung / train:.3g}×" if train else ""
            ax.text(0.01, 0.97, f"{rung:g} points{scale}", transform=ax.transAxes, va="top", size=6.5)
            ax.set_ylabel(f"{name} ({unit})" if unit and unit != "1" else name, parse_math=False)
        axes[-1].axhline(0.0, color="0.3", linewidth=0.6, zorder=1.5)
        axes[-1].set_ylabel("error")
        length = str(held.get("unit") or "")
        axes[-1].set_xlabel(f"x ({length})" if length and length != "1" else "x", labelpad=2, parse_math=False)
    return figure
