"""The figure of the frequency response: what a model makes of one wave, beside what the solver makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anchorbench.report.controlled import probe_styles
from anchorbench.report.document import Curve, Group, at, finite, heading, is_method, label_of, number
from anchorbench.report.residual import spread
from anchorbench.report.style import REFERENCES, Key, Style, array, look, round_ticks, sheet, wrapped

MOST_RUNGS = 3


def response(group: Group, curves: Sequence[Curve]) -> Figure:
    """Gain by wavenumber on up to three rungs, then phase and leakage on the finest; the solver's in grey.

    In the key: the mean of |gain − the solver's| below and above ρ₀'s Nyquist, on the finest rung drawn.
    """
    with look():
        held: dict[str, Any] = dict(group["probes"]["response"])
        methods = {label_of(c) for c in curves if is_method(c)}
        labels = [label for label in held["curves"] if label in methods] or list(held["curves"])
        first = held["curves"][labels[0]]
        train = finite(group.get("train_rung"))
        rungs = [r for r in sorted(int(r) for r in first["rungs"]) if train is None or r >= train]
        drawn = spread(rungs, MOST_RUNGS)
        style = probe_styles(labels, curves)
        solved = bool(at(first["rungs"], rungs[-1]).get("solver_gain"))
        cut = finite(held.get("k_train_nyquist"))
        key = Key(
            [(style[label].handle(), wrapped(label + _said(held["curves"][label], drawn[-1]))) for label in labels], []
        )
        if solved:
            key.rows.append((REFERENCES["solver"].handle(), "the solver, from the same states"))
        key.notes.append(
            f"One wave of {number(held.get('amplitude'), digits=1)} σ is added to real states; root mean square over "
            "directions and states. Leakage: the share of the response in other waves. Vertical line: ρ₀'s Nyquist."
        )
        if held.get("others"):
            key.notes.append(f"Tested with other settings, not drawn: {', '.join(held['others'])}.")
        figure, axes = sheet(heading(group), (*[0.95] * len(drawn), 0.95, 0.8), key)
        for ax, rung in zip(axes, drawn, strict=False):
            _lines(ax, held, labels, style, rung, "gain")
            ax.set_ylim(0, _top(ax))
            ax.set_ylabel(f"{rung:g} points" + (" (ρ₀)" if rung == train else "") + "\ngain")
        told = "phase_error" if solved else "phase"
        _lines(axes[-2], held, labels, style, drawn[-1], told)
        _phase_axis(axes[-2])
        axes[-2].set_ylabel(f"{drawn[-1]:g} points\n" + ("phase − solver's" if solved else "phase"))
        _lines(axes[-1], held, labels, style, drawn[-1], "leakage")
        axes[-1].set_ylim(-0.04, 1.04)
        axes[-1].set_ylabel(f"{drawn[-1]:g} points\nleakage")
        k = array(first["k"])
        for ax in axes:
            ax.set_xscale("log")
            if cut is not None:
                ax.axvline(cut, color="0.3", linewidth=0.8, zorder=1.5)
        axes[0].set_xlim(k.min() / 1.1, k.max() * 1.1)
        round_ticks(axes[-1], k.min(), k.max())
        axes[-1].set_xlabel(f"wavenumber k ({held['unit']})", labelpad=2, parse_math=False)
    return figure


def _lines(
    ax: Axes, held: Mapping[str, Any], labels: Sequence[str], style: Mapping[str, Style], rung: float, name: str
) -> None:
    for label in labels:
        told = held["curves"][label]
        ax.plot(array(told["k"]), array(at(told["rungs"], rung)[name]), label=label, **style[label].line(),
                **style[label].points(hollow=False) | {"markersize": 2.6})  # fmt: skip
    first = held["curves"][labels[0]]
    if (solver := at(first["rungs"], rung).get(f"solver_{name}")) is not None:
        grey = REFERENCES["solver"]
        ax.plot(array(first["k"]), array(solver), label="solver", zorder=1.8, **grey.line(),
                **grey.points(hollow=False) | {"markersize": 2.6})  # fmt: skip


def _said(told: Mapping[str, Any], rung: float) -> str:
    """The mean distance of the gain from the solver's; empty where there is no solver."""
    found = at(told.get("gain_difference"), rung)
    if not found:
        return ""
    below, above = number(found["below"], digits=2), number(found["above"], digits=2)
    return f" — |gain − solver's| on {rung:g}: {below} below ρ₀'s Nyquist, {above} above"


def _top(ax: Axes) -> float:
    """Room for the curves, and for gain 1; a gain of many is cut off no lower than it stands."""
    heights = [y for line in ax.get_lines() for y in np.asarray(line.get_ydata(), float) if np.isfinite(y)]
    return 1.12 * float(max([1.0, *heights]))


def _phase_axis(ax: Axes) -> None:
    heights = [abs(y) for line in ax.get_lines() for y in np.asarray(line.get_ydata(), float) if np.isfinite(y)]
    widest = max([0.2, *heights])
    ends = (math.pi, math.pi / 2, math.pi / 4, math.pi / 8)
    names = ("π", "π/2", "π/4", "π/8")
    end, name = next(
        ((e, n) for e, n in zip(reversed(ends), reversed(names), strict=True) if widest <= e), (ends[0], "π")
    )
    ax.set_ylim(-1.08 * end, 1.08 * end)
    ax.set_yticks([-end, 0, end], [f"−{name}", "0", name])
    ax.axhline(0.0, color="0.3", linewidth=0.6, zorder=1.5)
