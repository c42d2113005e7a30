"""The spectrum figure: how much truth, predictions and errors hold at each wavenumber, on the finest rung."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from anchorbench.report.document import Curve, Group, at, finite, group_rungs, heading, label_of
from anchorbench.report.style import (
    Key,
    Style,
    array,
    axis_above,
    log_limits,
    log_ticks,
    look,
    positive,
    round_ticks,
    say,
    sheet,
    styles,
    wrapped,
)


def spectrum(group: Group, curves: Sequence[Curve]) -> Figure:
    """Power spectra of truth and predictions on the finest rung; beneath, the error's spectrum over the truth's.

    Vertical lines: the Nyquist wavenumber of the train rung (solid) and of each other rung (dotted).
    """
    with look():
        spectra: dict[str, Any] = dict(group["spectra"])
        finest = max(r for r in group_rungs(group, curves) if at(spectra["truth"], r) is not None)
        k = array(at(spectra.get("k"), finest))
        truth = positive(at(spectra["truth"], finest))
        style = styles(curves)
        order = [label_of(c) for c in curves] + sorted(map(str, spectra.get("predictions") or {}))
        drawn = {
            label: (positive(at(at(spectra.get("predictions"), label), finest)),
                    positive(at(at(spectra.get("error"), label), finest)))
            for label in dict.fromkeys(order)
        }  # fmt: skip
        drawn = {label: both for label, both in drawn.items() if any(part.size for part in both)}
        ink = Style("black", None, "-", 1.6)
        key = Key([(ink.handle(), "truth")], [f"On the finest rung, {finest:g} points per axis."])
        key.rows += [(_plain(style, label).handle(), wrapped(label)) for label in drawn]

        figure, (upper, lower) = sheet(heading(group), (1.9, 1.4), key, top=0.3)
        _spectrum_line(upper, k, truth, ink, "truth")
        for label, (power, error) in drawn.items():
            _spectrum_line(upper, k, power, _plain(style, label), label)
            share = error / truth if error.size == truth.size else np.empty(0)
            _spectrum_line(lower, k, share, _plain(style, label), label)
        lower.axhline(1.0, color="0.3", linewidth=0.8, zorder=1.5)
        say(lower, 1.0, "1: as wrong as writing nothing", above=True)
        for ax in (upper, lower):
            heights = [v for line in ax.get_lines() for v in np.asarray(line.get_ydata(), float) if v > 0]
            log_ticks(ax, *log_limits(heights))
            ax.set_xscale("log")
        wave = k[np.isfinite(k) & (k > 0)]
        if wave.size:
            upper.set_xlim(wave.min() / 1.1, wave.max() * 1.1)
            round_ticks(lower, wave.min(), wave.max())
        _nyquist_lines(upper, lower, group, curves)
        upper.set_ylabel("power spectrum")
        lower.set_ylabel("error / truth")
        unit = str(spectra.get("unit") or "")
        axis = str(spectra.get("axis") or "wavenumber k")
        lower.set_xlabel(f"{axis} ({unit})" if unit else axis, labelpad=2, parse_math=False)
    return figure


def _nyquist_lines(upper: Axes, lower: Axes, group: Group, curves: Sequence[Curve]) -> None:
    """k_N(ρ) = k_N(ρ₀) ρ/ρ₀, one line a rung."""
    train, cut = finite(group.get("train_rung")), finite((group.get("spectra") or {}).get("k_train_nyquist"))
    if not train or cut is None:
        return
    ticks: dict[float, str] = {}
    low, high = upper.get_xlim()
    for rung in group_rungs(group, curves):
        place = cut * rung / train
        if not low <= place <= high:
            continue
        ticks[place] = "ρ₀" if rung == train else f"{rung:g}"
        for ax in (upper, lower):
            ax.axvline(place, color="0.3" if rung == train else "0.6", linewidth=0.8, zorder=1.5,
                       linestyle="-" if rung == train else ":")  # fmt: skip
    if ticks:
        axis_above(upper, ticks, f"Nyquist wavenumber of rung (ρ₀ = {train:g})")


def _spectrum_line(ax: Axes, k: NDArray[np.float64], y: NDArray[np.float64], style: Style, label: str) -> None:
    if y.size == k.size:
        chosen = k > 0
        ax.plot(k[chosen], y[chosen], label=label, **style.line())


def _plain(style: dict[str, Style], label: str) -> Style:
    """The curve's style as a line without points: a spectrum has too many."""
    base = style.get(label) or Style("0.6", None, (0, (3, 3)), 0.9)
    return Style(base.colour, None, base.dashes if base.joined else (0, (1, 0.6)), base.width)
