"""What a curve cost: its training by rung, and the data that it read, had the ladder's own solver made them.

samples(ρ) = share(ρ) × steps × batch        points(ρ) = samples(ρ) × points of the grid
FLOPs      = steps × batch × 3 Σ_ρ share(ρ) FLOPs(ρ)                                       (runs/footing.py)
forecast   = FLOPs(ρ) of one forward pass                                                  (models/card.py)
data       = solves of the training split × Σ over the rungs that were read of one solve   (runs/price.py)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anchorbench.config import LadderSpec
from anchorbench.errors import AnchorbenchError
from anchorbench.report.scored import Family, mean_seconds
from anchorbench.runs.footing import training_flops


def cost_of(
    family: Family,
    ladder: LadderSpec,
    *,
    mix: Mapping[int, float],
    read: Sequence[int],
    points: Callable[[int], int],
    price: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Of one run of the family; the seconds are the mean of its seeds.

    mix: share of the samples by the rung they are seen on.  read: the rungs whose samples training opened.  points: of
    a rung's grid.  price: the solver's, from the run of the reference `solver`.
    """
    spec = family.spec
    assert spec.train is not None
    samples = spec.train.steps * spec.train.batch
    by_rung = {
        rung: {"share": share, "samples": round(share * samples), "points": round(share * samples * points(rung))}
        for rung, share in sorted(mix.items())
        if share > 0
    }
    return {
        "train_seconds": mean_seconds(family.runs),
        "steps": spec.train.steps,
        "samples": samples,
        "by_rung": by_rung,
        "train_points": round(samples * sum(share * points(rung) for rung, share in mix.items())),
        "flops": _flops(family, ladder),
        "data": data_cost(read, price),
        "parameters": None,
        "inference": None,
        "device": family.runs[0].run.environment().get("device"),
    }


def inference_cost(card: Mapping[str, Any]) -> dict[int, float]:
    """FLOPs of one forward pass of one sample, by rung, of a model's card; what the card does not run on is left out.

    A method that makes several passes a forecast (members, steps of a diffusion) spends that many times as much.
    """
    return {int(str(name).lstrip("r")): float(n) for name, n in (card.get("flops") or {}).items() if "x" not in name}


def solver_price(references: Sequence[Family]) -> dict[str, Any] | None:
    """What the run of the reference `solver` measured of itself; None where there is none, or an older one."""
    for family in references:
        if family.spec.method == "solver" and (found := family.runs[0].data.attrs.get("solver_price")) is not None:
            told: dict[str, Any] = json.loads(found)
            return told
    return None


def data_cost(read: Sequence[int], price: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Seconds and FLOPs of solving the training split once on each of these rungs; None where no solver was timed."""
    if price is None or any(str(rung) not in price["seconds"] for rung in read):
        return None
    solves = price["solves"]
    flops = [price["flops"][str(rung)] for rung in read]
    return {
        "rungs": list(read),
        "solves": solves,
        "seconds": solves * sum(price["seconds"][str(rung)] for rung in read),
        "flops": None if None in flops else solves * sum(flops),
    }


def _flops(family: Family, ladder: LadderSpec) -> float | None:
    """None where it cannot be counted: a model whose file is gone, a method without products."""
    try:
        return training_flops(family.spec, ladder) or None
    except AnchorbenchError:
        return None
