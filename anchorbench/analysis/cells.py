"""`Cells`: the sums of one run, seed by cluster by rung, the headline channel chosen."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anchorbench.analysis.intervals import Array, Part, part
from anchorbench.analysis.score import Sums
from anchorbench.errors import AnchorbenchError

ROUNDING = 1e-6
"""Relative size below which a number of a float32 field is rounding: an error E/σ or a skill below it is zero."""

ENERGIES = ("resolved", "unseen", "unseen_truth", "total")


@dataclass(frozen=True, eq=False)
class Cells:
    """ΣΣ w|·|² over the points and samples of each (seed, cluster, rung); (S, C, R) each.

    weight: broadcast to (S, C, R) where it lacks the seeds.  rungs: ascending, points along the shortest axis.
    sigma: the truth's standard deviation at ρ₀ over the training split, in the unit of √energy.
    clusters: what each cluster is; two runs are paired where these agree.

    Raises AnchorbenchError where shapes, signs or rungs do not fit.
    """

    rungs: tuple[int, ...]
    sigma: float
    resolved: Array
    unseen: Array
    unseen_truth: Array
    total: Array
    weight: Array
    clusters: tuple[Hashable, ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "rungs", tuple(int(r) for r in self.rungs))
        shape = np.shape(self.resolved)
        if len(shape) != 3 or shape[2] != len(self.rungs) or min(shape) < 1:
            raise AnchorbenchError(f"cells are (seed, cluster, rung), with {len(self.rungs)} rungs, not {shape}")
        if list(self.rungs) != sorted(set(self.rungs)):
            raise AnchorbenchError(f"rungs ascend and differ: {self.rungs}")
        if not (np.isfinite(self.sigma) and self.sigma > 0):
            raise AnchorbenchError(f"sigma is a positive number, not {self.sigma}")
        for name in (*ENERGIES, "weight"):
            given = np.asarray(getattr(self, name), np.float64)
            if name == "weight":
                try:
                    given = np.broadcast_to(given, shape)
                except ValueError:
                    raise AnchorbenchError(f"weight {given.shape} does not broadcast to {shape}") from None
            if given.shape != shape:
                raise AnchorbenchError(f"{name} is {given.shape} where resolved is {shape}")
            if not (np.isfinite(given).all() and (given >= 0).all()):
                raise AnchorbenchError(f"{name} holds values that are negative, NaN or infinite")
            kept = given.copy()
            kept.flags.writeable = False
            put(self, name, kept)
        empty = [rung for i, rung in enumerate(self.rungs) if not self.weight[:, :, i].sum() > 0]
        if empty:
            raise AnchorbenchError(f"nothing was scored on the rungs {empty}: their weights are all zero")
        put(self, "clusters", tuple(self.clusters) or tuple(range(shape[1])))
        if len(self.clusters) != shape[1]:
            raise AnchorbenchError(f"{len(self.clusters)} names for {shape[1]} clusters")

    @property
    def n_seeds(self) -> int:
        return int(self.resolved.shape[0])

    def index(self, rung: int) -> int:
        """Where a rung stands.  Raises AnchorbenchError where it is not scored."""
        if rung not in self.rungs:
            raise AnchorbenchError(f"rung {rung} is not scored; there are {', '.join(map(str, self.rungs))}")
        return self.rungs.index(rung)

    def rms(self, name: str, rung: int) -> float:
        """√(ΣΣ energy / ΣΣ weight) / σ."""
        i = self.index(rung)
        energy = float(getattr(self, name)[:, :, i].sum()) / float(self.weight[:, :, i].sum())
        return float(np.sqrt(energy)) / self.sigma

    def skill(self, rung: int) -> float | None:
        """S = 1 − ‖(I−P)e‖² / ‖(I−P)y‖²; None where the truth has no energy there."""
        if self.rms("unseen_truth", rung) <= ROUNDING:
            return None
        i = self.index(rung)
        return 1.0 - float(self.unseen[:, :, i].sum()) / float(self.unseen_truth[:, :, i].sum())

    def part(self, terms: Sequence[tuple[str, int, float]]) -> Part:
        """This run's part in the statistic Σ η log(ΣΣ energy / ΣΣ weight); terms: (energy, rung, η).

        Raises AnchorbenchError for a rung that is not scored.
        """
        where = [(name, self.index(rung)) for name, rung, _ in terms]
        x = np.stack([getattr(self, name)[:, :, i] for name, i in where], -1)
        weight = np.stack([self.weight[:, :, i] for _, i in where], -1)
        return part(x, weight, np.array([eta for *_, eta in terms]))

    @classmethod
    def from_sums(
        cls,
        sums: Sequence[Mapping[int, Sums]],
        *,
        sigma: float,
        channel: int = 0,
        clusters: Sequence[Hashable] = (),
    ) -> Cells:
        """One mapping rung -> Sums for each seed; the same rungs in each."""
        if not sums or not sums[0]:
            raise AnchorbenchError("there is nothing to judge: no seed, or no rung")
        rungs = sorted(sums[0])
        if any(sorted(seed) != rungs for seed in sums):
            raise AnchorbenchError(f"the seeds were scored on different rungs: {[sorted(seed) for seed in sums]}")
        arrays = {
            name: np.stack([np.stack([seed[r][name][:, channel] for r in rungs], -1) for seed in sums])
            for name in (*ENERGIES, "weight")
        }
        return cls(rungs=tuple(rungs), sigma=sigma, clusters=tuple(clusters), **arrays)
