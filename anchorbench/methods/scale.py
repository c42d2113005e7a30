"""What Defez et al. (2026) set anew for each pair of factors: β_max, L and f; and a rule for the pairs between.

    (s, T)     β_max   L    f
    (10, 1)    0.010   10   max(√z − 0.01, 0)
    (1, 3)     0.015    4   the same
    (10, 3)    0.020    5   max(z − 0.02, 0)
    (25, 6)    0.035    3   max(z − 0.04, 0)

s: factor in space, T: in time; z in units of the largest coarse value of the training set.  The table is that of the
released runs.  The rule is ours, the simplest that we found which gives the table back:

    β_max = 0.005 (T + log₁₀ s)                      (25, 6): 0.037, the others exactly
    L = (7 + 3 log₁₀ s + 4.5 ln T) / T               rounded, from 3 to 10: exactly
    f: the root up to β_max = 0.015, then the threshold 0.02 + 4/3 (β_max − 0.02), at least 0.02: exactly, of 0.035
"""

from __future__ import annotations

import math
from typing import NamedTuple

from anchorbench.fields.conserve import Taper


class Setting(NamedTuple):
    """threshold: τ of f, in units of the largest coarse value."""

    beta_max: float
    frames: int
    taper: Taper
    threshold: float


PUBLISHED: dict[tuple[float, int], Setting] = {
    (10, 1): Setting(0.010, 10, "sqrt", 0.01),
    (1, 3): Setting(0.015, 4, "sqrt", 0.01),
    (10, 3): Setting(0.020, 5, "thresholded", 0.02),
    (25, 6): Setting(0.035, 3, "thresholded", 0.04),
}
FEWEST, MOST = 3, 10


def setting(space: float, time: int) -> Setting:
    """Of a pair of factors, 1 or more each: the published one, else the rule's."""
    return PUBLISHED.get((space, time)) or rule(space, time)


def rule(space: float, time: int) -> Setting:
    """The rule alone; see the module."""
    beta = 0.005 * (time + math.log10(space))
    frames = round((7 + 3 * math.log10(space) + 4.5 * math.log(time)) / time)
    frames = min(MOST, max(FEWEST, frames))
    if beta <= 0.015 + 1e-9:
        return Setting(beta, frames, "sqrt", 0.01)
    return Setting(beta, frames, "thresholded", max(0.02, 0.02 + 4 / 3 * (beta - 0.02)))
