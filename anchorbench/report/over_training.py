"""The figure of anchoring over training: error on each rung, and the slope, at every kept checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from anchorbench.report.controlled import probe_styles
from anchorbench.report.document import Curve, Group, finite, heading
from anchorbench.report.lead_time import MOST_RUNGS, errors_panel, has_slope, limits_of, skill_panel, slopes_panel
from anchorbench.report.residual import spread
from anchorbench.report.style import Key, array, log_ticks, look, sheet, wrapped

#: Ticks of the axis of steps, apart by this factor or more.
APART = 1.6


def over_training(group: Group, curves: Sequence[Curve]) -> Figure:
    """E_res by optimiser steps on up to three rungs from ρ₀ up, S on the finest, and the slope at each checkpoint."""
    with look():
        held: dict[str, Any] = dict(group["probes"]["training"])
        train = finite(group.get("train_rung"))
        rungs = [r for r in sorted(map(int, held["rungs"])) if train is None or r >= train]
        drawn, labels = spread(rungs, MOST_RUNGS), list(held["curves"])
        style = probe_styles(labels, curves)
        x = {label: array(held["curves"][label]["step"]) for label in labels}
        key = Key([(style[label].handle(), wrapped(label)) for label in labels], [])
        key.notes.append("The weights of each step as they were, not the best so far. σ: the truth's deviation on ρ₀.")
        if len(drawn) < len(rungs):
            key.notes.append(f"Not drawn: {', '.join(f'{r:g}' for r in rungs if r not in drawn)} points.")
        sloped = [label for label in labels if has_slope(held, label)]
        figure, axes = sheet(heading(group), (*[0.95] * len(drawn), 0.8, *[0.9] * bool(sloped)), key)
        limits = limits_of(held, labels, labels, drawn)
        for ax, rung in zip(axes, drawn, strict=False):
            errors_panel(ax, held, labels, style, x, rung)
            log_ticks(ax, *limits)
            ax.set_ylabel(f"{rung:g} points" + (" (ρ₀)" if rung == train else "") + "\n$E_{\\rm res}$ (in σ)")
        skill_panel(axes[len(drawn)], held, labels, style, x, drawn[-1])
        if sloped:
            slopes_panel(axes[-1], held, sloped, style, x)
        steps = sorted({step for places in x.values() for step in places.tolist()})
        ticks = [steps[-1]]
        for step in reversed(steps):
            if step * APART <= ticks[0]:
                ticks.insert(0, step)
        last = axes[-1]
        last.set_xscale("log")
        last.xaxis.set_major_locator(FixedLocator(ticks))
        last.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:g}"))
        last.xaxis.set_minor_locator(NullLocator())
        last.set_xlim(steps[0] / 1.15, steps[-1] * 1.15)
        last.set_xlabel("optimiser steps", labelpad=2)
    return figure
