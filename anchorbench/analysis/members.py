"""What an evaluation keeps of an ensemble: the score of its mean, corrected for its size, and the sums of the rest.

    E[(x̄ − y)²] = (x̄_∞ − y)² + s²/M   in each band on its own, so   Σ |P(x̄ − y)|² − Σ_m |P(x_m − x̄)|² / (M (M−1))

is without bias what an ensemble of any size would have (Leutbecher 2009).  A run with one member has no spread, and
its CRPS is its mean absolute error: so both stand in one table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from anchorbench.analysis.ensemble import (
    crps,
    ensemble,
    mass_error,
    mean_rmse,
    quantile_error,
    rank_deviation,
    spread_skill,
    wet_shares,
)
from anchorbench.analysis.score import Sums, score
from anchorbench.fields import Grid, Restriction

#: Before the name of each sum in curve.nc.
PREFIX = "ensemble_"
#: Sums of `score` from which a finite ensemble takes s²/M away.
CORRECTED = ("resolved", "unseen", "total")
SPREAD = f"{PREFIX}spread_"
CRPS_NAMES = ("weight", "absolute_error", "difference", "difference_plain")
#: mm an hour: what the published data were cut at; and hours of a catalogue's unit of time.
CAP_RATE = 5.5
HOURS_OF = {"h": 1.0, "min": 1 / 60}
#: mm: a point with less is dry.  Radars code rain in steps of 0.1 mm: thresholds lie half way between two, so that no
#: rounding decides.
WET_ABOVE = 0.05
#: Levels of the tail's error; thresholds in mm, and sides of boxes as shares of the box's shorter side, of FSS.
TAIL_LEVELS = (0.99, 0.999)
FSS_THRESHOLDS = (0.05, 0.95)
FSS_SHARES = (1 / 32, 1 / 8)
#: Sums that say nothing of one member.
NOT_OF_ONE = ("rank_", "variance", "reliable_")


def spread_of(members: Tensor, *, band: Grid, how: Restriction, **common: Any) -> Sums:
    """Σ_m |P(x_m − x̄)|² / (M (M−1)) and its kin beyond the band and on all points, `ensemble_spread_resolved` etc.

    members: (M, B, C, *grid), M >= 2.  The rest as in `score`.
    """
    n, mean = len(members), members.double().mean(0)
    found = [score(member.double(), mean, band=band, how=how, **common) for member in members]
    return Sums({f"{SPREAD}{name}": np.add.reduce([one[name] for one in found]) / (n * (n - 1)) for name in CORRECTED})


def corrected(sums: Sums) -> Sums:
    """The score's sums less s²/M where that is known, after all batches are in.

    Never below 0, which a cluster whose mean happens to be near the truth would be.
    """
    if f"{SPREAD}{CORRECTED[0]}" not in set(sums):
        return sums
    less = {name: np.maximum(sums[name] - sums[f"{SPREAD}{name}"], 0.0) for name in CORRECTED}
    return Sums({**sums.arrays, **less})


def rain_cap(step: float, unit: str) -> float:
    """mm of a frame that the published data were cut at."""
    return CAP_RATE * step * HOURS_OF[unit]


def member_sums(members: Tensor, truth: Tensor, *, grid: Grid, cap: float | None = None, **common: Any) -> Sums:
    """`ensemble` in physical units; of one member what it has.

    cap: where given, the fields are rain in mm: the scores of rain too, and CRPS with all amounts cut at the cap.
    members: (M, B, C, *grid), M >= 1.  The rest as in `ensemble`.
    """
    side = min(grid.extent)
    rain: dict[str, Any] = {"wet_above": WET_ABOVE, "quantiles": TAIL_LEVELS, "thresholds": FSS_THRESHOLDS,
                            "scales": [share * side for share in FSS_SHARES]} if cap is not None else {}  # fmt: skip
    one = len(members) == 1
    several = members.expand(2, *members.shape[1:]) if one else members
    sums = ensemble(several, truth, grid=grid, **rain, **common)
    # Two copies of one member differ by nothing and rank nothing.
    kept = {name: a for name, a in sums.arrays.items() if not (one and name.startswith(NOT_OF_ONE))}
    if cap is not None:
        cut = ensemble(several.clamp_max(cap), truth.clamp_max(cap), grid=grid, **common)
        kept |= {f"cut_{name}": cut[name] for name in CRPS_NAMES}
    return Sums({f"{PREFIX}{name}": a for name, a in kept.items()})


def summary(parts: Iterable[Sums], *, channel: int = 0) -> dict[str, float | None] | None:
    """The scores of all that was summed (one entry a seed): None where there is nothing.

    crps (fair), crps_plain, rmse (of the mean, corrected): in the variable's unit.  spread_skill, rank_deviation: None
    of one member.  crps_cut: of amounts up to the published cap; tail_error: of the 99.9th percentile; wet_error,
    mass_error: of members over truth, less 1; all four None but of rain.
    """
    whole: Sums | None = None
    for one in parts:
        whole = one if whole is None else whole + one
    if whole is None:
        return None
    sums = Sums({name.removeprefix(PREFIX): a for name, a in whole.arrays.items()})
    several, rain = "variance" in set(sums), "members_wet" in set(sums)
    said: dict[str, float | None] = {
        "crps": float(crps(sums)[channel]),
        "crps_plain": float(crps(sums, fair=False)[channel]),
        "rmse": float((mean_rmse(sums) if several else mean_rmse(sums_of_one(sums)))[channel]),
        "spread_skill": float(spread_skill(sums)[channel]) if several else None,
        "rank_deviation": float(rank_deviation(sums)[channel]) if several else None,
        **dict.fromkeys(("crps_cut", "tail_error", "wet_error", "mass_error")),
    }
    if rain:
        made, truth = (float(share[channel]) for share in wet_shares(sums))
        said["wet_error"] = made / truth - 1 if truth > 0 else None
        cut = Sums({name: sums[f"cut_{name}"] for name in CRPS_NAMES})
        said["crps_cut"] = float(crps(cut)[channel])
        said["tail_error"] = float(quantile_error(sums, level=TAIL_LEVELS[-1])[channel])
        said["mass_error"] = float(mass_error(sums)[channel]) if float(sums["truth_mass"].sum()) > 0 else None
    return said


def sums_of_one(sums: Sums) -> Sums:
    """With the variance that one member has not, as 0."""
    return Sums({**sums.arrays, "variance_of_mean": np.zeros(sums.shape)})
