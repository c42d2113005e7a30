"""The scores of files: the sums, cells and spectra that our own runs get, from the same functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from anchorbench.analysis import Cells, Sums, score
from anchorbench.analysis.score import point_weights
from anchorbench.diagnose.rungs import Fields, Rung
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, prolong, radial_spectrum, restrict

#: Points of one batch of samples: memory stays bounded whatever the rung.
POINTS = 1 << 20


@dataclass(frozen=True)
class Scale:
    """σ of each channel: the deviation of the truth on ρ₀, over the samples that are given."""

    sigma: Tensor

    @classmethod
    def of(cls, fields: Fields, train_rung: int) -> Scale:
        """Raises ConfigError where the truth does not vary."""
        home = fields.rungs[train_rung]
        w = point_weights(home.grid, home.weights, how=fields.restriction, like=home.truth).expand_as(home.truth[:, :1])
        axes = (0, *range(2, home.truth.ndim))
        total = w.sum()
        mean = (w * home.truth).sum(axes, keepdim=True) / total
        sigma = ((w * (home.truth - mean) ** 2).sum(axes) / total).sqrt()
        if not bool((sigma > 0).all()):
            raise ConfigError(f"the truth at {train_rung} does not vary: there is no σ to measure errors in")
        return cls(sigma)


def cells(fields: Fields, *, train_rung: int, scale: Scale, rungs: Iterable[int] | None = None) -> Cells:
    """Seed by cluster by rung, in units of σ; channels (levels) are pooled.  rungs: which; all without it."""
    chosen = sorted(fields.rungs if rungs is None else rungs)
    seeds = [
        {
            rung: scored(fields, rung, fields.rungs[rung].prediction[seed], train_rung=train_rung, scale=scale)
            for rung in chosen
        }
        for seed in range(fields.seeds)
    ]
    return Cells.from_sums(seeds, sigma=1.0, clusters=fields.clusters)


def upsampled(fields: Fields, *, train_rung: int, scale: Scale) -> Cells:
    """Cells of `coarse_then_upsample`: the prediction at ρ₀, prolonged, on ρ₀ and the finer rungs."""
    home = fields.rungs[train_rung]
    seeds = []
    for seed in range(fields.seeds):
        sums = {}
        for rung, there in fields.rungs.items():
            if rung >= train_rung:
                carried = prolong(home.prediction[seed], there.grid, how=fields.restriction)
                sums[rung] = scored(fields, rung, carried, train_rung=train_rung, scale=scale)
        seeds.append(sums)
    return Cells.from_sums(seeds, sigma=1.0, clusters=fields.clusters)


def scored(fields: Fields, rung: int, prediction: Tensor, *, train_rung: int, scale: Scale) -> Sums:
    """The sums of `score` on one rung, its channels added up: prediction (B, C, *grid)."""
    there, band = fields.rungs[rung], fields.rungs[train_rung].grid
    parts = [
        score(
            prediction[some],
            there.truth[some],
            grid=there.grid,
            band=band,
            how=fields.restriction,
            weights=None if there.weights is None else there.weights[some],
            clusters=there.clusters[some],
            n_clusters=len(fields.clusters),
            channel_scale=scale.sigma,
        )
        for some in batches(there)
    ]
    return pooled(reduce(add, parts))


def pooled(sums: Sums) -> Sums:
    """One channel for all."""
    return Sums({name: sums[name].sum(axis=1, keepdims=True) for name in sums})


def batches(rung: Rung) -> list[slice]:
    size = max(1, POINTS // rung.grid.n_points)
    return [slice(first, first + size) for first in range(0, len(rung.truth), size)]


def mismatch(fields: Fields, *, train_rung: int, scale: Scale) -> dict[int, float]:
    """‖R y_ρ − y_ρ₀‖ / σ by rung: how far the truths are from one field under one restriction."""
    home = fields.rungs[train_rung]
    # At its own size too: the Nyquist wave of an even grid belongs to no band.
    goal = restrict(home.truth, home.grid, how=fields.restriction, weights=home.weights)
    out = {}
    for rung, there in fields.rungs.items():
        if rung > train_rung:
            seen = restrict(there.truth, home.grid, how=fields.restriction, weights=there.weights)
            gap = (seen - goal) / scale.sigma.reshape(-1, *[1] * home.grid.ndim)
            if home.weights is not None:
                gap = gap * (home.weights > 0)
            out[rung] = float(gap.square().mean().sqrt())
    return out


def spectra(fields: Fields, scale: Scale) -> dict[str, dict[int, list[float]]]:
    """Mean ring energies of truth, prediction and error by rung, in σ², over samples, channels and seeds."""
    out: dict[str, dict[int, list[float]]] = {"k": {}, "truth": {}, "prediction": {}, "error": {}}
    for rung, there in fields.rungs.items():
        unit = scale.sigma.reshape(-1, *[1] * there.grid.ndim)
        seen = 1.0 if there.weights is None else (there.weights > 0).double()
        truth = seen * there.truth / unit
        guesses = [seen * guess / unit for guess in there.prediction]
        shown: dict[str, Sequence[Tensor]] = {
            "truth": [truth],
            "prediction": guesses,
            "error": [guess - truth for guess in guesses],
        }
        for name, several in shown.items():
            k, energy = _rings(several, there.grid)
            out[name][rung], out["k"][rung] = energy, k
    return out


def _rings(several: Sequence[Tensor], grid: Grid) -> tuple[list[float], list[float]]:
    taper: Any = None if all(grid.periodic) else "hann"
    found = [radial_spectrum(u, grid, taper=taper).pooled() for u in several]
    return found[0].k.tolist(), torch.stack([s.energy for s in found]).mean(0).tolist()
