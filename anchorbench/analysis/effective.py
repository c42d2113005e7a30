"""Effective resolution: down to which scale a prediction still knows where things are.

    γ²(k) = (Re ⟨p̂ ŷ*⟩)² / (⟨|p̂|²⟩ ⟨|ŷ|²⟩),   Re ⟨p̂ ŷ*⟩ = (⟨|p̂|²⟩ + ⟨|ŷ|²⟩ − ⟨|p̂ − ŷ|²⟩) / 2

over the waves of a ring and all samples, 0 where the cross-spectrum is not positive.  So the three power spectra that a
run keeps suffice.  The effective wavenumber k_e is where γ² first falls below one half: beyond it less than half of the
truth's variance is a linear function of the prediction's.  A grid may carry far finer waves; a model that is anchored
keeps its k_e whatever the grid.

It is the real part that counts: a wave in the wrong place does not know where things are, however coherent.

Source: Bendat and Piersol, Random Data, for γ²; the half is the custom of satellite altimetry's effective resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from anchorbench.analysis.intervals import Array
from anchorbench.errors import AnchorbenchError

HALF = 0.5

EMPTY = 1e-12
"""Of the truth's largest ring: a ring with less is rounding, and says nothing."""


@dataclass(frozen=True, slots=True)
class Effective:
    """k: where γ² first falls below the threshold, in the spectrum's unit.

    at_least: it never does on this grid, and k is its last ring.  None in k: it does so from the first ring on.
    """

    k: float | None
    at_least: bool = False

    @property
    def text(self) -> str:
        if self.k is None:
            return "below the first wave"
        return f"{'at least ' if self.at_least else ''}{self.k:.3g}"

    def to_dict(self) -> dict[str, Any]:
        return {"k": self.k, "at_least": self.at_least, "text": self.text}


def coherence(prediction: ArrayLike, truth: ArrayLike, error: ArrayLike) -> Array:
    """γ² by ring, (..., K), from power spectra of one unit; NaN where the truth has no energy, 0 where p has none.

    Raises AnchorbenchError where shapes differ, or a spectrum is negative.
    """
    p, y, e = (np.asarray(values, np.float64) for values in (prediction, truth, error))
    if not p.shape == y.shape == e.shape:
        raise AnchorbenchError(f"the three spectra share their rings, unlike {p.shape}, {y.shape} and {e.shape}")
    if min(np.nanmin(values, initial=0.0) for values in (p, y, e)) < 0:
        raise AnchorbenchError("a power spectrum is not negative")
    known = y > EMPTY * np.nanmax(y, axis=-1, keepdims=True, initial=0.0)
    cross = np.maximum((p + y - e) / 2, 0.0)
    product = p * y
    squared = np.where(product > 0, cross**2 / np.where(product > 0, product, 1.0), 0.0)
    return np.where(known, np.minimum(squared, 1.0), np.nan)


def effective_wavenumber(k: ArrayLike, squared: ArrayLike, *, threshold: float = HALF) -> Effective | None:
    """Where γ² first falls below the threshold, on the straight line between the two rings about it.

    k: (K,) ascending; squared: (K,), NaN where unknown; the mean's ring, k = 0, does not count.  None where no ring is
    known.  Raises AnchorbenchError where the shapes differ or k does not ascend.
    """
    waves, values = np.asarray(k, np.float64), np.asarray(squared, np.float64)
    if waves.shape != values.shape or waves.ndim != 1 or (np.diff(waves) <= 0).any():
        raise AnchorbenchError("γ² has one value for each k, and k ascends")
    chosen = (waves > 0) & np.isfinite(values)
    waves, values = waves[chosen], values[chosen]
    if not waves.size:
        return None
    below = np.flatnonzero(values < threshold)
    if not below.size:
        return Effective(float(waves[-1]), at_least=True)
    i = int(below[0])
    if i == 0:
        return Effective(None)
    share = (values[i - 1] - threshold) / (values[i - 1] - values[i])
    return Effective(float(waves[i - 1] + share * (waves[i] - waves[i - 1])))
