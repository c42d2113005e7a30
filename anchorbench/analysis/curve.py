"""`Curve`: the scores of one run on every rung, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anchorbench.analysis.cells import ROUNDING, Cells
from anchorbench.analysis.intervals import GIVEN_SEEDS, ONE_CLUSTER, Interval, Part, interval
from anchorbench.errors import AnchorbenchError

Values = tuple[float | None, ...]
Intervals = tuple[Interval | None, ...]


@dataclass(frozen=True)
class Curve:
    """Per rung: E_res, E_uns, the skill S, the total error on the rung's own points, and the papers' ratios.

    None where undefined: S where (I−P)y has no energy, ratios without their denominator.  Errors are in units of σ.
    ratio_own: RMSE(ρ)/RMSE(ρ₀) of the total error; ratio_baseline: the same over the baseline's RMSE(ρ₀).
    intervals: by the name of the score; None where there is one trajectory, or nothing to enclose.
    """

    rungs: tuple[int, ...]
    error: Values
    unseen: Values
    skill: Values
    total: Values
    ratio_own: Values
    ratio_baseline: Values
    intervals: dict[str, Intervals]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        names = ("error", "unseen", "skill", "total")
        return {
            "rungs": list(self.rungs),
            **{name: list(getattr(self, name)) for name in names},
            "ratio": {"own": list(self.ratio_own), "baseline": list(self.ratio_baseline)},
            "intervals": {name: [i and i.to_dict() for i in of] for name, of in self.intervals.items()},
            "notes": list(self.notes),
        }


def curve(cells: Cells, *, train_rung: int | None = None, baseline: Cells | None = None, level: float = 0.95) -> Curve:
    """E_res = √(ΣΣ resolved / ΣΣ weight) / σ and its kin, pooled over seeds and clusters; the root last.

    Intervals are made on the log of each error (for S, of 1 − S), so none reaches below zero (or above S = 1).
    train_rung: ρ₀, for the ratios.  baseline: the baseline's cells, same trajectories.
    Raises AnchorbenchError where ρ₀ is not scored, or the baseline's trajectories differ.
    """
    if baseline is not None:
        require_paired(cells, baseline)
    values: dict[str, list[float | None]] = {}
    bounds: dict[str, list[Interval | None]] = {}

    def put(name: str, value: float | None, bound: Interval | None) -> None:
        values.setdefault(name, []).append(value)
        bounds.setdefault(name, []).append(bound)

    for rung in cells.rungs:
        for name, energy in (("error", "resolved"), ("unseen", "unseen"), ("total", "total")):
            rms = cells.rms(energy, rung)
            put(name, rms, _of_log(rms, [cells.part([(energy, rung, 0.5)])] if rms > 0 else [], math.exp, level))
        put("skill", *_skill(cells, rung, level))
        put("ratio_own", *_ratio(cells, rung, cells, train_rung, level))
        put("ratio_baseline", *_ratio(cells, rung, baseline, train_rung, level))
    return Curve(
        rungs=cells.rungs,
        **{name: tuple(v) for name, v in values.items()},
        intervals={name: tuple(b) for name, b in bounds.items()},
        notes=notes_on(*bounds["error"]),
    )


def slope_weights(rungs: tuple[int, ...]) -> dict[int, float]:
    """Least squares of y on log N: slope = Σ a y, a = (x − x̄) / Σ(x − x̄)², x = log N."""
    x = [math.log(r) for r in rungs]
    mean = sum(x) / len(x)
    square = sum((v - mean) ** 2 for v in x)
    return {r: (v - mean) / square for r, v in zip(rungs, x, strict=True)}


def mean_skill(cells: Cells, rungs: tuple[int, ...], *, level: float = 0.95) -> tuple[float, Interval | None]:
    """S = 1 − mean over rungs of ‖(I−P)e‖²/‖(I−P)y‖², each rung counting alike, and its interval (on log(1 − S))."""
    missing = {rung: 1.0 - skill for rung in rungs if (skill := cells.skill(rung)) is not None}
    whole = sum(missing.values())
    if whole <= ROUNDING:
        return 1.0, Interval(1.0, 1.0, 1.0, level, math.inf, False)
    terms = [(n, r, sign * m / whole) for r, m in missing.items() if m > 0 for n, sign in _SKILL_TERMS]
    value = whole / len(missing)
    return 1.0 - value, _of_log(value, [cells.part(terms)], lambda g: 1.0 - math.exp(g), level)


def require_paired(*cells: Cells) -> None:
    """Raises AnchorbenchError where runs were scored on different clusters."""
    if any(c.clusters != cells[0].clusters for c in cells):
        raise AnchorbenchError(
            "runs can only be compared on the same trajectories, and these were scored on different ones",
            do="evaluate them again on the same ladder and split",
        )


def notes_on(*intervals: Interval | None) -> tuple[str, ...]:
    """What must be said beside these intervals."""
    notes = [ONE_CLUSTER if i is None else i.note for i in intervals]
    return tuple(n for n in (ONE_CLUSTER, GIVEN_SEEDS) if n in notes)


_SKILL_TERMS = (("unseen", 1.0), ("unseen_truth", -1.0))


def _of_log(value: float, parts: list[Part], back: Callable[[float], float], level: float) -> Interval | None:
    found = interval(math.log(value), parts, level=level) if parts else None
    return found and found.mapped(back)


def _skill(cells: Cells, rung: int, level: float) -> tuple[float | None, Interval | None]:
    if cells.skill(rung) is None:
        return None, None
    return mean_skill(cells, (rung,), level=level)


def _ratio(
    cells: Cells, rung: int, below: Cells | None, train_rung: int | None, level: float
) -> tuple[float | None, Interval | None]:
    if below is None or train_rung is None:
        return None, None
    top, bottom = cells.rms("total", rung), below.rms("total", train_rung)
    if bottom <= ROUNDING:
        return None, None
    if below is cells and rung == train_rung:
        return 1.0, Interval(1.0, 1.0, 1.0, level, math.inf, False)
    above, under = ("total", rung, 0.5), ("total", train_rung, -0.5)
    if top <= ROUNDING:
        return 0.0, None
    parts = [cells.part([above, under])] if below is cells else [cells.part([above]), below.part([under])]
    return top / bottom, _of_log(top / bottom, parts, math.exp, level)
