"""The figure of the two controlled tests: the grid changes with the information held, and the other way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from anchorbench.report.document import Curve, Group, finite, heading, pair
from anchorbench.report.style import (
    REFERENCES,
    Key,
    Style,
    array,
    log_limits,
    log_ticks,
    look,
    rung_axis,
    sheet,
    wrapped,
)
from anchorbench.report.style import styles as styles_of

AXIS = {"resolution": "grid", "information": "low-pass cut-off"}


def controlled(group: Group, curves: Sequence[Curve]) -> Figure:
    """Total error (solid) and its part in the band (dashed) by rung, and by cut-off on one grid; in σ, log-log."""
    with look():
        held = group.get("probes") or {}
        shown: dict[str, dict[str, Any]] = {
            name: held[name] for name in ("resolution", "information") if held.get(name)
        }
        labels = list(dict.fromkeys(label for test in shown.values() for label in test["curves"]))
        style = probe_styles(labels, curves)
        key = Key([(style[label].handle(), wrapped(label)) for label in labels], [])
        key.rows.append((Line2D([], [], color="0.3", linewidth=1.0, linestyle=":"), "dotted: its part in the band"))
        key.notes += _notes(shown)
        figure, axes = sheet(heading(group), (1.65,) * len(shown), key)
        train = finite(group.get("train_rung"))
        places = sorted({at for test in shown.values() for told in test["curves"].values() for at in told["at"]})
        for ax, (name, test) in zip(axes, shown.items(), strict=True):
            _panel(ax, test["curves"], style)
            rung_axis(ax, places)
            if train is not None:
                ax.axvline(train, color="0.3", linewidth=0.8, zorder=1.5)
            held_fast = f"band of {test['band']:g}" if name == "resolution" else f"grid of {test['grid_rung']:g}"
            ax.set_ylabel(f"{held_fast} held\nerror (in σ)")
            ax.set_xlabel("")
        by = [AXIS[name] for name in shown]
        axes[-1].set_xlabel(
            f"rung of the {by[0]}" if len(by) == 1 else f"rung: of the {by[0]} above, of the {by[1]} below"
        )
    return figure


def probe_styles(labels: Sequence[str], curves: Sequence[Curve]) -> dict[str, Style]:
    """The curves' own styles; a reference that no curve shows has its usual one."""
    known = styles_of(curves)
    plain = Style("0.6", None, "-", 0.9)
    return {label: known.get(label) or REFERENCES.get(label, plain) for label in labels}


def _panel(ax: Axes, curves: Mapping[str, Mapping[str, Any]], style: Mapping[str, Style]) -> None:
    heights: list[float] = []
    for label, told in curves.items():
        x, look_of = np.array(told["at"], float), style[label]
        for part in ("total", "resolved"):
            y = array(told.get(part))
            y = np.where(y > 0, y, np.nan)
            heights += y[np.isfinite(y)].tolist()
            line = look_of.line() if part == "total" else look_of.line() | {"linestyle": ":", "linewidth": 1.0}
            ax.plot(x, y, label=f"{label} / {part}", **line)
            if part == "total" and look_of.marker:
                ax.plot(x, y, linestyle="none", **look_of.points(hollow=False))
        bands = [pair(band) for band in told.get("total_interval") or ()]
        known = [(place, band) for place, band in zip(x, bands, strict=False) if band is not None and band[0] > 1e-6]
        ax.vlines(
            [place for place, _ in known],
            [band[0] for _, band in known],
            [band[1] for _, band in known],
            color=look_of.colour,
            linewidth=0.7,
            alpha=0.7,
        )
    log_ticks(ax, *log_limits(heights))


def _notes(shown: Mapping[str, Mapping[str, Any]]) -> list[str]:
    notes = ["Vertical line: the train rung. Bars: 95 % interval of the total error."]
    if "information" in shown:
        notes[0] += " Where the grid is held, the band is the train rung's."
    note = next((str(test["note"]) for test in shown.values() if test.get("note")), "")
    notes += [f"{note[:1].upper()}{note[1:]}."] if note else []
    for test in shown.values():
        if test.get("left_out"):
            notes.append(f"Left out: {test['left_out']}.")
        if test.get("others"):
            notes.append(f"Tested with other settings, not drawn: {', '.join(test['others'])}.")
    return notes
