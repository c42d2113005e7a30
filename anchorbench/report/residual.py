"""The residual spectra: spectrum of the error over the truth's, on every rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from anchorbench.report.document import Curve, Group, at, finite, group_rungs, heading, label_of, number
from anchorbench.report.style import (
    Key,
    Style,
    array,
    axis_above,
    log_limits,
    log_ticks,
    look,
    round_ticks,
    say,
    sheet,
    styles,
    wrapped,
)

MOST_RUNGS = 5


def residual_spectrum(group: Group, curves: Sequence[Curve]) -> Figure:
    """E_error(k) / E_truth(k) a panel a rung; at 1 a prediction is as wrong as writing nothing.

    In the key: Σ error / Σ truth over the rings below and above ρ₀'s Nyquist, on the finest rung.
    """
    with look():
        spectra: dict[str, Any] = dict(group["spectra"])
        rungs = [r for r in group_rungs(group, curves) if at(spectra["truth"], r) is not None]
        drawn = spread(rungs, MOST_RUNGS)
        style, cut = styles(curves), finite(spectra.get("k_train_nyquist"))
        known = [label_of(c) for c in curves if at(spectra.get("error"), label_of(c)) is not None]
        labels = list(dict.fromkeys([*known, *map(str, spectra.get("error") or {})]))
        lines = {label: _plain(style.get(label)) for label in labels}
        key = Key(
            [(lines[label].handle(), wrapped(label + _shares(spectra, label, rungs[-1], cut))) for label in labels],
            ["Spectrum of the error over the truth's, ring by ring. Vertical line: the train rung's Nyquist, ρ₀."],
        )
        if len(drawn) < len(rungs):
            key.notes.append(f"Not drawn: {', '.join(f'{r:g}' for r in rungs if r not in drawn)} points.")
        figure, axes = sheet(heading(group), (0.85,) * len(drawn), key, top=0.3)
        everywhere, waves = [], []
        for ax, rung in zip(axes, drawn, strict=True):
            k, truth = array(at(spectra.get("k"), rung)), array(at(spectra["truth"], rung))
            for label in labels:
                error = array(at(at(spectra["error"], label), rung))
                if error.size != k.size or truth.size != k.size:
                    continue
                chosen = (k > 0) & (truth > 0) & (error > 0)
                share = error[chosen] / truth[chosen]
                everywhere += share.tolist()
                waves += k[chosen].tolist()
                ax.plot(k[chosen], share, label=label, **lines[label].line())
            ax.axhline(1.0, color="0.3", linewidth=0.8, zorder=1.5)
            train = finite(group.get("train_rung"))
            ax.set_ylabel(f"{rung:g} points\nerror / truth" + (" (ρ₀)" if rung == train else ""))
        for ax in axes:
            log_ticks(ax, *log_limits([*everywhere, 1.0]))
            ax.set_xscale("log")
            if cut is not None:
                ax.axvline(cut, color="0.3", linewidth=0.8, zorder=1.5)
        say(axes[0], 1.0, "1: as wrong as writing nothing", above=False)
        if waves:
            axes[0].set_xlim(min(waves) / 1.1, max(waves) * 1.1)
            round_ticks(axes[-1], min(waves), max(waves))
        if cut is not None:
            axis_above(axes[0], {cut: "ρ₀"}, "the train rung's Nyquist")
        unit, axis = str(spectra.get("unit") or ""), str(spectra.get("axis") or "wavenumber k")
        axes[-1].set_xlabel(f"{axis} ({unit})" if unit else axis, labelpad=2, parse_math=False)
    return figure


def spread(rungs: Sequence[float], most: int) -> list[float]:
    """At most so many of the rungs, the coarsest and the finest among them."""
    if len(rungs) <= most:
        return list(rungs)
    return [rungs[round(i)] for i in np.linspace(0, len(rungs) - 1, most).tolist()]


def residual_shares(
    spectra: Mapping[str, Any], label: str, rung: float, cut: float
) -> tuple[float | None, float | None]:
    """Σ error / Σ truth over the rings 0 < k < cut, and over those from it up; None where the truth has nothing."""
    k, truth = array(at(spectra.get("k"), rung)), array(at(spectra["truth"], rung))
    error = array(at(at(spectra["error"], label), rung))
    if not k.size == truth.size == error.size:
        return None, None

    def share(chosen: NDArray[np.bool_]) -> float | None:
        whole = float(truth[chosen].sum())
        return float(error[chosen].sum()) / whole if whole > 0 else None

    return share((k > 0) & (k < cut)), share(k >= cut)


def _shares(spectra: Mapping[str, Any], label: str, rung: float, cut: float | None) -> str:
    if cut is None:
        return ""
    below, above = residual_shares(spectra, label, rung, cut)
    return f" — on {rung:g}: {number(below, digits=2)} below ρ₀'s Nyquist, {number(above, digits=2)} above"


def _plain(style: Style | None) -> Style:
    """The curve's style as a line without points: a spectrum has too many."""
    base = style or Style("0.6", None, (0, (3, 3)), 0.9)
    return Style(base.colour, None, base.dashes if base.joined else (0, (1, 0.6)), base.width)
