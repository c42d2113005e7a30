"""Scores of ensembles against each other on the same events, and whether one conditional mean serves all factors.

    ratio       r = Σ_c a_c / Σ_c b_c over clusters c,   Var r ≈ n/(n − 1) Σ_c ((a_c − r b_c) / Σ b)²,   t of n − 1
    transfer    τ = (e_{A→B} − e_B) / (n_B − e_B),   e mean squared errors of the ensemble's mean on B's events

of a model trained for factors A, of one trained for B itself, and of the coarse input as it is (n).  τ = 0: the mean
for A is the mean for B, as the assumption of one structure for all factors wants; 1: no better than what was given.
Both were scored on the same events, so what makes an event hard for both leaves the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from anchorbench.analysis.intervals import Array
from anchorbench.analysis.score import Sums
from anchorbench.errors import AnchorbenchError


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over clusters, given these weights; None where there are fewer than two."""

    value: float
    interval: tuple[float, float] | None


def crps_by_cluster(sums: Sums, *, prefix: str = "ensemble_", cut: bool = False, channel: int = 0) -> Array:
    """Σ w (mean_m |x_m − y| − ½ G), fair, of each cluster; cut: of amounts up to the cap."""
    p = f"{prefix}cut_" if cut else prefix
    found: Array = (sums[f"{p}absolute_error"] - 0.5 * sums[f"{p}difference"])[:, channel]
    return found


def squared_by_cluster(sums: Sums, *, prefix: str = "ensemble_", channel: int = 0) -> Array:
    """Σ w (x̄ − y)² of each cluster, less what a finite ensemble adds to it."""
    found: Array = sums[f"{prefix}mean_error"][:, channel]
    less = f"{prefix}variance_of_mean"
    return found - sums[less][:, channel] if less in set(sums) else found


def ratio(a: Array, b: Array) -> Estimate:
    """Σ a / Σ b, by cluster on the same clusters.

    Raises AnchorbenchError where the clusters differ in number, or b adds up to nothing.
    """
    return _quotient(a, b)


def transfer(of_another: Array, own: Array, given: Array) -> Estimate:
    """τ of the squared errors by cluster; see the module.  Raises as `ratio`, also where the own mean gains nothing."""
    return _quotient(of_another - own, given - own)


def _quotient(a: Array, b: Array) -> Estimate:
    if a.shape != b.shape:
        raise AnchorbenchError(f"scores of {len(a)} and {len(b)} clusters are not of the same events")
    total = float(b.sum())
    if not total > 0:
        raise AnchorbenchError("there is nothing to divide by")
    value, n = float(a.sum()) / total, len(a)
    if n < 2:
        return Estimate(value, None)
    deviation = float(np.sqrt(n / (n - 1) * np.square((a - value * b) / total).sum()))
    reach = float(stdtrit(n - 1, 0.975)) * deviation
    return Estimate(value, (value - reach, value + reach))
