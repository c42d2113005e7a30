"""When a trained model has paid for itself against the numerical solver, at equal error.

    C_s(E)  FLOPs of one solve with the error E: log C on log E between the solver's own rungs
    n*      = (training + data) / (C_s(E) − C_m)        C_m: one forecast of the model, on the rung where its error is E

Both errors are E_res in ρ₀'s band over the same lead, so both answer one question.  FLOPs on both sides: seconds of a
model's forecast are not measured, and a busy machine's are more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from anchorbench.report.document import (
    Curve,
    Group,
    at,
    finite,
    is_method,
    label_of,
    number,
    rungs_of,
    value_at,
)

Bound = Literal["", "at most", "at least"]
#: The columns of the table, in order: the key of a row, and its heading.
COLUMNS = {
    "label": "Curve",
    "rung": "Rung",
    "error": "E_res",
    "model": "One forecast, FLOP",
    "solver": "Solver at that error, FLOP",
    "spent": "Training and data, FLOP",
    "word": "Break-even",
}
CAPTION = (
    "A forecast of the model against the ladder's own solver at equal error in ρ₀'s band. Break-even: the number of "
    "forecasts after which training and data are paid by what each forecast saves. FLOPs: products, convolutions and "
    "the solver's transforms. A forecast is one forward pass: members, the steps of a diffusion and hybrid's solver "
    "come on top. Seconds of a model's forecast were not measured."
)


@dataclass(frozen=True)
class Even:
    """One curve on one rung.  forecasts: n*; None where it is never, or not known.  bound: of the solver's cost."""

    label: str
    rung: float
    error: float
    model: float | None
    solver: float | None
    bound: Bound
    spent: float | None
    forecasts: float | None
    word: str


def solver_at(error: float, errors: Sequence[float], costs: Sequence[float]) -> tuple[float, Bound] | None:
    """C_s(E), by lines in log-log between the solver's points; beyond them the nearest, as a bound.

    errors, costs: of the solver's rungs.  An error above its coarsest rung's is had for that one's cost at most; one
    below its finest rung's costs at least as much as that.  None without points.
    """
    points = sorted((e, c) for e, c in zip(errors, costs, strict=True) if e > 0 and c > 0)
    if not points or error <= 0:
        return None
    if error >= points[-1][0]:
        return points[-1][1], "at most" if error > points[-1][0] else ""
    if error < points[0][0]:
        return points[0][1], "at least"
    for (e0, c0), (e1, c1) in pairwise(points):
        if e0 <= error <= e1:
            share = (math.log(error) - math.log(e0)) / (math.log(e1) - math.log(e0)) if e1 > e0 else 0.0
            return math.exp(math.log(c0) + share * (math.log(c1) - math.log(c0))), ""
    return None


def solver_points(group: Group, curves: Sequence[Curve]) -> list[tuple[float, float, float]]:
    """(rung, E_res, FLOPs of one solve) of the ladder's own solver; empty where it was not run or not counted."""
    flops = (group.get("solver_price") or {}).get("flops")
    solver = next((c for c in curves if not is_method(c) and c.get("method") == "solver"), None)
    if solver is None or not isinstance(flops, Mapping):
        return []
    found = ((r, finite(value_at(solver, r, "error")), finite(at(flops, r))) for r in rungs_of(solver))
    return [(r, e, c) for r, e, c in found if e is not None and c is not None]


def break_even(group: Group, curves: Sequence[Curve]) -> list[Even]:
    """Of each method, on ρ₀ and on its finest rung; empty without a solver that was run and counted."""
    points = solver_points(group, curves)
    if not points:
        return []
    train, out = finite(group.get("train_rung")), []
    for curve in filter(is_method, curves):
        rungs = [r for r in rungs_of(curve) if finite(value_at(curve, r, "error")) is not None]
        for rung in dict.fromkeys([r for r in rungs if r == train] + ([max(rungs)] if rungs else [])):
            out.append(_even(curve, rung, points))
    return out


def even_table(found: Sequence[Even]) -> list[dict[str, str]]:
    """A row a curve and rung, as it is shown: `COLUMNS` -> text."""
    return [
        {
            "label": one.label,
            "rung": f"{one.rung:g}",
            "error": number(one.error),
            "model": _short(one.model) if one.model is not None else "not measured",
            "solver": f"{one.bound} {_short(one.solver)}".strip(),
            "spent": _short(one.spent) if one.spent is not None else "not measured",
            "word": one.word,
        }
        for one in found
    ]


def spent_flops(cost: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """FLOPs of training, and of solving its data once with the ladder's own solver; None each where not counted."""
    return finite(cost.get("flops")), finite((cost.get("data") or {}).get("flops"))


def _short(flops: float | None) -> str:
    return number(flops, digits=2).replace("e+", "e")


def _even(curve: Curve, rung: float, points: Sequence[tuple[float, float, float]]) -> Even:
    cost = curve.get("cost") or {}
    error = finite(value_at(curve, rung, "error")) or 0.0
    model = finite(at(cost.get("inference"), int(rung)))
    training, data = spent_flops(cost)
    spent = None if training is None or data is None else training + data
    solver, bound = solver_at(error, [e for _, e, _ in points], [c for *_, c in points]) or (None, "")
    n, word = _forecasts(model, solver, bound, spent)
    return Even(label_of(curve), rung, error, model, solver, bound, spent, n, word)


def _forecasts(
    model: float | None, solver: float | None, bound: Bound, spent: float | None
) -> tuple[float | None, str]:
    if model is None or solver is None:
        return None, "not known: no forecast was counted" if model is None else "not known"
    if solver <= model:
        if bound == "at least":
            return None, "not known: the solver has no rung of that error"
        return None, f"never: the solver is {number(model / solver, digits=2)}x cheaper" + " or more" * (
            bound == "at most"
        )
    if spent is None:
        return None, "not known: training or data were not counted"
    n = spent / (solver - model)
    which = {"": "after", "at most": "after at least", "at least": "after at most"}[bound]
    return n, f"{which} {number(n, digits=2)} forecasts"
