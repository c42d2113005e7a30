"""Does a number that is known before training foretell what training reaches?

For each field the rank correlation over settings of the distance with the quality (−1: the nearest spectrum is always
the best network), and what is lost by taking the setting of least distance:

    ρ_f = Spearman(distance_f, quality_f),   loss_f = max_s quality_f(s) − quality_f(argmin_s distance_f(s))

Each with its mean over fields and Student's interval of that mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from anchorbench.errors import AnchorbenchError


@dataclass(frozen=True)
class Mean:
    """A mean over fields and its interval; no interval where there is one field."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, values: np.ndarray, *, level: float = 0.95) -> Mean:
        """NaN, a field without a correlation, is left out.  Raises AnchorbenchError where nothing is left."""
        values = np.asarray(values, dtype=np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            raise AnchorbenchError("nothing varies over the settings: there is no correlation to tell")
        mean, n = float(values.mean()), len(values)
        if n < 2:
            return cls(mean, None, None, n)
        half = float(stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
        return cls(mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class Foretelling:
    """rank: Spearman's ρ; linear: Pearson's r; lost: of the quality; same: share of fields whose choice is the best."""

    rank: Mean
    linear: Mean
    lost: Mean
    same: float

    def to_dict(self) -> dict[str, Any]:
        return {"rank": vars(self.rank), "linear": vars(self.linear), "lost": vars(self.lost), "same": self.same}


def foretelling(distance: np.ndarray, quality: np.ndarray, *, level: float = 0.95) -> Foretelling:
    """distance, quality (field, setting); more quality is better.

    Raises AnchorbenchError where the shapes differ or no field varies.
    """
    distance, quality = np.asarray(distance, np.float64), np.asarray(quality, np.float64)
    if distance.shape != quality.shape or distance.ndim != 2:
        raise AnchorbenchError(f"distance {distance.shape} and quality {quality.shape} are of (field, setting) both")
    rows = range(len(distance))
    chosen, best = distance.argmin(1), quality.argmax(1)
    lost = np.array([quality[f, best[f]] - quality[f, chosen[f]] for f in rows])
    return Foretelling(
        rank=Mean.of(rank_correlations(distance, quality), level=level),
        linear=Mean.of(np.array([_pearson(distance[f], quality[f]) for f in rows]), level=level),
        lost=Mean.of(lost, level=level),
        same=float((chosen == best).mean()),
    )


def rank_correlations(distance: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Spearman's ρ of each field, NaN where one does not vary: (field, setting) both -> (field,)."""
    pairs = zip(np.asarray(distance, np.float64), np.asarray(quality, np.float64), strict=True)
    return np.array([_pearson(stats.rankdata(d), stats.rankdata(q)) for d, q in pairs])


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's τ-b of two choices over the same fields: (field,) each; NaN where one does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(stats.kendalltau(a, b).statistic)


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    dx, dy = x - x.mean(), y - y.mean()
    size = math.sqrt(float((dx**2).sum() * (dy**2).sum()))
    return float((dx * dy).sum()) / size if size > 0 else math.nan
