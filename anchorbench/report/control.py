"""Whether a learned method that holds the solver within it is a positive control: no worse than the solver alone.

    E_res(ρ) <= E_res,solver(ρ)   on every rung ρ >= ρ₀ whose solver's error is above the truth's own

Else its curve falls because the solver's does, and shows nothing of what was learned.  Ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anchorbench.report.document import Curve

#: Of the solver's error: what two runs of one solver may differ by in float32.
WITHIN = 0.01


def with_controls(curves: Sequence[Curve], floor: Mapping[int, float]) -> list[dict[str, Any]]:
    """The curves; those of `hybrid` with `control` (True or False) and a note, where the solver stands beside them.

    floor: the truth's own error by rung, in the errors' unit.
    """
    solver = next((curve for curve in curves if curve["method"] == "solver"), None)
    out = []
    for curve in curves:
        above = worse_than(curve, solver, floor) if solver is not None and curve["method"] == "hybrid" else None
        if above is None:
            out.append({**curve})
            continue
        where = ", ".join(f"{rung:g}" for rung in above)
        said = f"no positive control: above the solver's error on {where} points" if above else "a positive control"
        out.append({**curve, "control": not above, "notes": [*curve["notes"], said]})
    return out


def worse_than(curve: Curve, solver: Curve, floor: Mapping[int, float]) -> list[int] | None:
    """Rungs from the train rung up where the curve is above the solver's; None where they share none to compare."""
    errors = dict(zip(solver["rungs"], solver["error"], strict=True))
    compared = [
        (rung, error, errors[rung])
        for rung, error in zip(curve["rungs"], curve["error"], strict=True)
        if rung >= curve["train_rung"] and error is not None and errors.get(rung) is not None
    ]
    compared = [(rung, error, of_solver) for rung, error, of_solver in compared if of_solver > floor.get(rung, 0.0)]
    if not compared:
        return None
    return [rung for rung, error, of_solver in compared if error > (1 + WITHIN) * of_solver]
