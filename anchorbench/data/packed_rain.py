"""Rain as radars and their archives write it: whole numbers of small steps, and a code where nothing was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np


@dataclass(frozen=True)
class PackedRain:
    """A record of rain, kept packed: unpacked it takes several times the memory.

    missing: the code of what was not measured.  step: mm of a code's unit.
    codes: (time, y, x), y northward.  times: (time,) datetime64[s], rising.
    """

    missing: ClassVar[int]
    step: ClassVar[float]

    codes: np.ndarray
    times: np.ndarray

    def within(self, rows: slice, columns: slice) -> Self:
        """The record of a part of the map."""
        return replace(self, codes=self.codes[:, rows, columns])

    def valid(self, index: Any = slice(None)) -> np.ndarray:
        """True where something was measured: (*index, y, x)."""
        return np.asarray(self.codes[index] != self.missing)

    def rain(self, index: Any = slice(None)) -> np.ndarray:
        """mm in one step of time, float32, 0 where not valid: (*index, y, x)."""
        codes = self.codes[index]
        return np.where(codes == self.missing, 0, codes).astype(np.float32) * np.float32(self.step)

    def wet_share(self, above: float) -> np.ndarray:
        """Share of the valid cells with more than `above` mm: (time,)."""
        threshold = np.floor(above / self.step + 1e-6)
        measured = self.valid()
        wet = ((self.codes > threshold) & measured).sum(axis=(1, 2))
        return np.asarray(wet / np.maximum(measured.sum(axis=(1, 2)), 1))
