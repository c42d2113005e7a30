"""Sources: one module a family, each handing over fields on the finest grid, split, with masks and provenance.

A reader module has `Selection` (its options, a frozen model) and

    load(dataset, *, size, cache, offline, progress) -> {"train": SplitFields, "validation": ..., "test": ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from anchorbench.errors import CatalogError, unknown

#: Dataset -> module in this room that reads its real sources.
READERS = {"sevir": "sevir"}


@dataclass(frozen=True)
class SplitFields:
    """The fields of one split.

    values: per variable (sample, time, *grid) float32, 0 where not valid.
    valid: (sample, time, *grid) bool, one mask for all variables; None where nothing is missing.
    times: (sample, time) datetime64, or None where time has no date.
    clusters: (sample,) int; samples of one cluster are not independent of each other.
    attrs: provenance, for the ladder's file.
    """

    values: Mapping[str, np.ndarray]
    valid: np.ndarray | None
    times: np.ndarray | None
    clusters: np.ndarray
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_samples(self) -> int:
        return len(self.clusters)

    @property
    def n_frames(self) -> int:
        return int(next(iter(self.values.values())).shape[1])


def load_module(dataset: str) -> ModuleType:
    """The module that reads the real sources of a dataset.  Raises CatalogError where there is none."""
    if dataset not in READERS:
        raise CatalogError(f"no reader: {unknown('dataset with real sources', dataset, READERS)}")
    return import_module(f"{__name__}.{READERS[dataset]}")
