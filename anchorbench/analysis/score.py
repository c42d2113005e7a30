"""`Sums` that merge, and `score` that makes them.

A score is a ratio of sums, and its root is taken last (in `curve`): a mean of batches' RMSE would let the size of a
batch into the score, and batches shrink as rungs grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anchorbench.analysis.intervals import Array
from anchorbench.errors import AnchorbenchError, GridError
from anchorbench.fields import Grid, Restriction, covers_sphere, project, quadrature_weights

SCORE_NAMES = ("weight", "resolved", "unseen", "unseen_truth", "truth_resolved", "total")


@dataclass(frozen=True, eq=False)
class Sums:
    """Named float64 sums, (cluster, channel) each; a commutative monoid under `+`, with `Sums.zero`.

    Batches, ranks and machines merge in whatever order.  Raises AnchorbenchError where shapes or names do not fit.
    """

    arrays: Mapping[str, Array]

    def __post_init__(self) -> None:
        kept = {name: np.array(a, np.float64) for name, a in self.arrays.items()}
        shapes = {a.shape for a in kept.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2:
            raise AnchorbenchError(f"sums share one shape (cluster, channel), not {sorted(shapes)}")
        for a in kept.values():
            a.flags.writeable = False
        object.__setattr__(self, "arrays", MappingProxyType(kept))

    @classmethod
    def zero(cls, n_clusters: int, n_channels: int, names: Iterable[str] = SCORE_NAMES) -> Sums:
        """The neutral element."""
        return cls({name: np.zeros((n_clusters, n_channels)) for name in names})

    @property
    def shape(self) -> tuple[int, int]:
        n_clusters, n_channels = next(iter(self.arrays.values())).shape
        return n_clusters, n_channels

    def __getitem__(self, name: str) -> Array:
        if name not in self.arrays:
            raise AnchorbenchError(f"there is no sum '{name}'; there is {', '.join(self.arrays)}")
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __add__(self, other: Sums) -> Sums:
        if self.shape != other.shape or set(self.arrays) != set(other.arrays):
            raise AnchorbenchError(
                f"these sums do not merge: {self.shape} of {', '.join(sorted(self))} "
                f"and {other.shape} of {', '.join(sorted(other))}"
            )
        return Sums({name: a + other.arrays[name] for name, a in self.arrays.items()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sums) or set(self.arrays) != set(other.arrays):
            return False
        return all(np.array_equal(a, other.arrays[name]) for name, a in self.arrays.items())

    def __hash__(self) -> int:
        return hash(tuple((name, self.arrays[name].tobytes()) for name in sorted(self.arrays)))

    def joined(self, other: Sums) -> Sums:
        """Both sets of names side by side: a score and its budget.  Raises AnchorbenchError where a name is in both."""
        twice = sorted(set(self.arrays) & set(other.arrays))
        if twice or self.shape != other.shape:
            raise AnchorbenchError(f"sums {self.shape} and {other.shape} do not join; both have {twice}")
        return Sums({**self.arrays, **other.arrays})

    def to_dict(self) -> dict[str, Any]:
        return {name: a.tolist() for name, a in self.arrays.items()}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Sums:
        return cls({name: np.asarray(a, np.float64) for name, a in d.items()})


def score(
    prediction: Tensor,
    truth: Tensor,
    *,
    grid: Grid,
    band: Grid,
    how: Restriction,
    weights: Tensor | None = None,
    clusters: Tensor,
    n_clusters: int,
    channel_scale: Tensor | None = None,
) -> Sums:
    """Σ w|Pe|², Σ w|(I−P)e|², Σ w|(I−P)y|², Σ w|Py|², Σ w|e|² and Σ w by cluster and channel, e = M(u) − y.

    P projects on what `band`, ρ₀'s grid, can carry; on a rung coarser than ρ₀, P e = e.  w is the grid's area weight
    times `weights`.  All of it in float64; where w is 0, neither truth nor prediction counts.  Σ w|e|² is the sum of
    the first two, but under `stride`: there E_res is the mean over the shared points, or it would thin out with rungs.

    prediction, truth: (B, C, *grid).  weights: (B, 1, *grid), the valid share of each cell; None is 1 everywhere.
    clusters: (B,), whose trajectory each sample is, 0 ... n_clusters − 1.  channel_scale: (C,), divides e and y.
    Raises GridError where shapes do not fit, AnchorbenchError where a prediction is NaN or infinite.
    """
    prediction, truth, weights = checked(prediction, truth, grid=grid, weights=weights, clusters=clusters, n=n_clusters)
    if channel_scale is not None:
        scale = channel_scale.to(truth).reshape(-1, *(1,) * grid.ndim)
        prediction, truth = prediction / scale, truth / scale
    w = point_weights(grid, weights, how=how, like=truth)
    error = prediction - truth
    seen_error, seen_truth = (project(u, band, how=how, weights=weights) for u in (error, truth))
    counted = counted_points(truth, band, how=how)
    share = counted.mean()
    energies = {
        "weight": counted.expand_as(error),
        "resolved": seen_error**2,
        "unseen": (error - seen_error) ** 2 * share,
        "unseen_truth": (truth - seen_truth) ** 2 * share,
        "truth_resolved": seen_truth**2,
        "total": error**2 * share,
    }
    return by_cluster(energies, w, clusters=clusters, n_clusters=n_clusters)


def checked(
    prediction: Tensor, truth: Tensor, *, grid: Grid, weights: Tensor | None, clusters: Tensor, n: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """float64 copies with zeros where nothing is valid; see `score` for shapes and errors."""
    if prediction.shape != truth.shape or truth.ndim != grid.ndim + 2 or tuple(truth.shape[2:]) != grid.shape:
        raise GridError(
            f"on rung {grid.name} the prediction is {tuple(prediction.shape)} and the truth {tuple(truth.shape)}; "
            f"both are (samples, channels, {', '.join(map(str, grid.shape))})"
        )
    if weights is not None and tuple(weights.shape) != (len(truth), 1, *grid.shape):
        raise GridError(f"weights on rung {grid.name} are (samples, 1, *grid), not {tuple(weights.shape)}")
    if clusters.shape != (len(truth),) or (len(clusters) and not 0 <= int(clusters.min()) <= int(clusters.max()) < n):
        raise AnchorbenchError(f"each of the {len(truth)} samples needs a cluster between 0 and {n - 1}")
    for name, field in (("prediction", prediction), ("truth", truth)):
        wrong = ~torch.isfinite(field)
        if weights is not None and name == "truth":
            wrong = wrong & (weights > 0)
        if wrong.any():
            raise AnchorbenchError(
                f"the {name} on rung {grid.name} has {int(wrong.sum())} values that are NaN or infinite",
                do="look at the run's log: a training that diverged, or a model that this rung breaks"
                if name == "prediction"
                else "mask the missing points: weights 0 there",
            )
    prediction, truth = prediction.double(), truth.double()
    if weights is None:
        return prediction, truth, None
    weights = weights.to(truth)
    valid = weights > 0
    return prediction.where(valid, 0.0), truth.where(valid, 0.0), weights


def point_weights(grid: Grid, weights: Tensor | None, *, how: Restriction, like: Tensor) -> Tensor:
    """The inner product in which P is orthogonal, times the valid share: (B or 1, 1, *grid).

    Areas; for harmonics on the sphere the weights of the quadrature that is exact for products of two of them.
    """
    harmonics = how == "spectral" and covers_sphere(grid)
    area = (quadrature_weights(grid) if harmonics else grid.area_weights()).to(like)[None, None]
    return area if weights is None else area * weights


def counted_points(like: Tensor, band: Grid, *, how: Restriction) -> Tensor:
    """1 at the points over which E_res is a mean, else 0: all of them, but under `stride` the shared ones."""
    ones = torch.ones_like(like[:1, :1])
    return project(ones, band, how=how) if how == "stride" else ones


def by_cluster(energies: Mapping[str, Tensor], w: Tensor, *, clusters: Tensor, n_clusters: int) -> Sums:
    """Σ w energy over points, added up by cluster: (B, C, *grid) each to (n_clusters, C) each."""
    where = clusters.to(w.device, torch.long)
    arrays = {}
    for name, energy in energies.items():
        by_sample = (w * energy).flatten(2).sum(-1)
        total = torch.zeros(n_clusters, energy.shape[1], dtype=torch.float64, device=w.device)
        arrays[name] = total.index_add_(0, where, by_sample).cpu().numpy()
    return Sums(arrays)
