"""Intervals where seeds and trajectories are crossed random effects.

Every statistic here is a smooth function of pooled sums T_k = ΣΣ x_sck over seeds s and clusters c (a cluster is what
was drawn independently: a trajectory, a subject, an event, a block of time; never a frame).  To first order

    ĝ − g = ΣΣ z_sc,   z_sc = Σ_k η_k (x_sck / T_k − w_sck / W_k),   η_k = ∂g / ∂log T_k,

and ΣΣ z_sc = 0, so a two-way analysis of variance of z gives the variance of ĝ:

    V = max(V_s − V_r, 0) + max(V_c, V_r),   V_s = Σ_s z_s·² / (1 − h_s),   V_c = Σ_c z_·c² / (1 − h_c),
    V_r = ΣΣ r_sc² / ((1 − h_s)(1 − h_c)),   r_sc = z_sc − p_c z_s· − p_s z_·c.

Turbulent energies are heavy-tailed: a pooled slope is close to a mean of the trajectories' slopes weighted by their
share p of the energy, and a few of them carry it.  So the leverage h = 2p − Σp² replaces ANOVA's 1/n (equal shares
give 1/n back), and the degrees of freedom are Kish's 1/Σp² − 1 instead of n − 1.  With equal weights, three seeds and
eight trajectories of lognormal energies a plain two-way t covers 89 %.

Sources: Satterthwaite, Biometrics Bulletin 2 (1946); Bell and McCaffrey, Survey Methodology 28 (2002), for the
leverage; Kish, Survey Sampling (1965); the combination and its exponent are ours, measured in tests/analysis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from anchorbench.errors import AnchorbenchError

Array = NDArray[np.float64]

SEEDS_FOR_RANDOM = 3
"""Below three seeds their spread says too little: the interval is given these seeds."""

TWO_CLUSTERS = 1.5
"""Degrees of freedom of the clusters below which ν is 2 at most: their variance, often estimated far too small, would
else lend the interval the seeds' degrees.  Two clusters and eight seeds cover 87 % without, 92 % with it."""

GIVEN_SEEDS = "interval given these seeds: below three, their own spread is not in it"
ONE_CLUSTER = "no interval: it takes two trajectories or more"


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval for one number.

    df: degrees of freedom.  given_seeds: True where the seeds were taken as fixed, for want of three.
    """

    estimate: float
    low: float
    high: float
    level: float
    df: float
    given_seeds: bool

    @property
    def note(self) -> str | None:
        return GIVEN_SEEDS if self.given_seeds else None

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def mapped(self, f: Callable[[float], float]) -> Interval:
        """The interval of f(g), f monotone."""
        low, high = sorted((f(self.low), f(self.high)))
        return replace(self, estimate=f(self.estimate), low=low, high=high)

    def to_dict(self) -> dict[str, Any]:
        d = {name: getattr(self, name) for name in self.__slots__}
        return d | {"df": self.df if math.isfinite(self.df) else None}


@dataclass(frozen=True, slots=True)
class Part:
    """What one run adds to a statistic; leading axes `...` are replicates.

    influence: z_sc, (..., S, C).  seed_shares (..., S), cluster_shares (..., C): the shares p, each summing to 1.
    size: Σ|η|, (...): how much of the statistic hangs on this run.  n_clusters: those that have any weight.
    """

    influence: Array
    seed_shares: Array
    cluster_shares: Array
    size: Array
    n_clusters: int


def part(x: Array, weight: Array, elasticity: Array) -> Part:
    """z_sc = Σ_k η_k (x_sck / T_k − w_sck / W_k), and the shares of seeds and clusters in the sums T_k.

    x, weight: (..., S, C, K), pooled sums all positive; elasticity: η, (..., K), not all zero.
    """
    x, weight = np.broadcast_arrays(x, weight)
    share = x / x.sum((-3, -2), keepdims=True)
    area = weight / weight.sum((-3, -2), keepdims=True)
    eta = np.asarray(elasticity, float)[..., None, None, :]
    size = np.abs(eta).sum(-1)
    energy = (np.abs(eta) * share).sum(-1) / size
    return Part(
        influence=(eta * (share - area)).sum(-1),
        seed_shares=energy.sum(-1),
        cluster_shares=energy.sum(-2),
        size=size[..., 0, 0],
        n_clusters=int((weight.reshape(-1, *weight.shape[-3:]).sum((0, 1, 3)) > 0).sum()),
    )


def spread(parts: Sequence[Part]) -> tuple[Array, Array, bool]:
    """Variance of Σ_i ĝ_i, its degrees of freedom, and whether it is given these seeds.

    The runs saw the same clusters (paired), and their seeds are independent; so clusters add before squaring, seeds
    after.  Degrees of freedom: 1/ν = Σ f^{3/2} / ν over the parts' shares f of V.  Satterthwaite's exponent is 2, right
    where the shares are known; with three seeds they are estimated so badly that 2 covers 92 % when seeds and clusters
    weigh alike, and 1 (Cochran's rule) 97 %.  Where one cluster holds nearly all, or there are two, ν is 2 at most.

    Raises AnchorbenchError where the runs have different clusters.
    """
    counts = {p.influence.shape[-1] for p in parts}
    if len(counts) != 1:
        raise AnchorbenchError(f"runs can only be compared on the same trajectories; these have {sorted(counts)}")
    size = np.sum([p.size for p in parts], axis=0)
    share = np.sum([p.size[..., None] * p.cluster_shares for p in parts], axis=0) / size[..., None]
    along_clusters = np.sum([p.influence.sum(-2) for p in parts], axis=0)
    v_cluster = (along_clusters**2 / _kept(share)).sum(-1)
    df_cluster = _kish(share)
    if any(p.influence.shape[-2] < SEEDS_FOR_RANDOM for p in parts):
        return v_cluster, df_cluster, True

    v_rest = np.zeros_like(v_cluster)
    seeds: list[tuple[Array, Array]] = []
    for p in parts:
        along_seeds, kept_s, kept_c = p.influence.sum(-1), _kept(p.seed_shares), _kept(p.cluster_shares)
        rest = (
            p.influence
            - p.cluster_shares[..., None, :] * along_seeds[..., :, None]
            - p.seed_shares[..., :, None] * p.influence.sum(-2)[..., None, :]
        )
        v_r = (rest**2 / (kept_s[..., :, None] * kept_c[..., None, :])).sum((-2, -1))
        v_s = (along_seeds**2 / kept_s).sum(-1)
        v_rest = v_rest + v_r
        seeds.append((np.maximum(v_s - v_r, 0.0), _kish(p.seed_shares)))
    v_cluster = np.maximum(v_cluster, v_rest)
    variance = v_cluster + sum(v for v, _ in seeds)
    whole = np.where(variance > 0, variance, 1.0)
    inverse = (v_cluster / whole) ** 1.5 / df_cluster + sum((v / whole) ** 1.5 / df for v, df in seeds)
    fewest = np.min([df_cluster, *(df for _, df in seeds)], axis=0)
    df = np.where(variance > 0, 1.0 / np.where(inverse > 0, inverse, 1.0), fewest)
    df = np.where(df_cluster < TWO_CLUSTERS, np.minimum(df, 2.0), df)
    return variance, np.maximum(df, fewest), False


def half_width(parts: Sequence[Part], *, level: float = 0.95) -> Array:
    """t_ν √V: half the width of the interval, (...)."""
    variance, df, _ = spread(parts)
    return np.asarray(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))


def interval(estimate: float, parts: Sequence[Part], *, level: float = 0.95) -> Interval | None:
    """ĝ ± t_ν √V; None where there are fewer than two clusters."""
    if min(p.n_clusters for p in parts) < 2:
        return None
    variance, df, given = spread(parts)
    half = float(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))
    return Interval(estimate, estimate - half, estimate + half, level, float(df), given)


def _kept(p: Array) -> Array:
    """1 − h, h = 2p − Σp²; floored, for one cluster may hold all the energy."""
    return np.asarray(np.maximum(1.0 - 2.0 * p + (p**2).sum(-1, keepdims=True), 0.05))


def _kish(p: Array) -> Array:
    """1/Σp² − 1, at least 1."""
    return np.asarray(np.maximum(1.0 / (p**2).sum(-1) - 1.0, 1.0))
