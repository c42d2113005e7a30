"""Worlds with a known truth: cells drawn from seeds and trajectories, as many replicates as one likes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from anchorbench.analysis import slope_weights


@dataclass(frozen=True)
class World:
    """log q_scr = 2 log E(ρ) + L_c + 2 (s_s + b_s x + b_c x + ε_scr), x = log ρ less its mean: all normal.

    energy: spread of L_c, a trajectory's log energy, shared by rungs and seeds (1 is heavy: 1 in 20 has 5 times the
    median).  level: spread of a seed's log error.  seed, trajectory: spread of their own slopes.  cell: spread of ε.
    bend: departure of the true log curve from a power law.  ride: how far a trajectory's slope follows its energy.
    """

    energy: float = 1.0
    level: float = 0.1
    seed: float = 0.05
    trajectory: float = 0.05
    cell: float = 0.05
    bend: float = 0.0
    ride: float = 0.0

    def draw(
        self, rng: np.random.Generator, *, n: int, seeds: int, clusters: int, slope: float, rungs: tuple[int, ...]
    ) -> np.ndarray:
        """q (n, S, C, R), whose E_res(ρ) = √E[q_r] has the least-squares slope `slope` on log ρ exactly."""
        x = np.log(rungs) - np.mean(np.log(rungs))
        noise = rng.standard_normal
        log_q = (
            noise((n, 1, clusters, 1)) * (self.energy + 2 * self.ride * x)
            + 2 * self.level * noise((n, seeds, 1, 1))
            + 2 * self.seed * noise((n, seeds, 1, 1)) * x
            + 2 * self.trajectory * noise((n, 1, clusters, 1)) * x
            + 2 * self.cell * noise((n, seeds, clusters, len(rungs)))
        )
        # log E[exp(g)] = var(g)/2 for a normal g: what the spreads add to the true curve
        added = 2 * ((self.seed**2 + self.trajectory**2 + self.ride**2) * x**2 + self.energy * self.ride * x)
        curve = self.bend * np.sin(3 * np.arange(len(rungs))) + added / 2
        fit = sum(a * y for a, y in zip(slope_weights(rungs).values(), curve, strict=True))
        return np.exp(log_q - added + 2 * (curve + (slope - fit) * x))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture
def world() -> type[World]:
    return World
