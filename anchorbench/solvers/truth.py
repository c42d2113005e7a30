"""What the truths of the solved sets share: the grid they spin up on, their seeds, their speed, their windows."""

from __future__ import annotations

import numpy as np
import torch

from anchorbench.errors import AnchorbenchError, ConfigError


def require_coarser_spin_up(spin_up_rung: int, truth_rung: int) -> None:
    """Raises ConfigError unless 4 ≤ spin_up_rung ≤ truth_rung."""
    if not 4 <= spin_up_rung <= truth_rung:
        raise ConfigError(
            f"spin_up_rung {spin_up_rung} is not between 4 and truth_rung {truth_rung}",
            do="spin up on a grid no finer than the truth's",
        )


def require_trajectories(first: int, n: int) -> None:
    """Raises AnchorbenchError where these are no trajectories."""
    if n < 1 or first < 0:
        raise AnchorbenchError(
            f"trajectories {first} to {first + n - 1} were asked for", do="ask for one or more, from 0 on"
        )


def generator_of(*seed: int) -> torch.Generator:
    """A generator of its own for each tuple of whole numbers: nobody else's draws move it."""
    state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(state)


def require_speed(speed: float, top_speed: float) -> None:
    """Raises AnchorbenchError where a flow is over twice as fast as its fixed steps are meant for."""
    if speed > 2 * top_speed:
        raise AnchorbenchError(
            f"the flow reaches a speed of {speed:.3g}, and its time step is meant for {top_speed:.3g}",
            do=f"set top_speed to {speed:.2g} or more",
        )


def windows(
    shape: tuple[int, int], lead: float, *, interval: float, n_windows: int
) -> tuple[list[tuple[int, int]], int]:
    """Where windows of one lead begin, (trajectory, frame), and the frames of a lead.

    Spread evenly over the trajectories, and over the frames by the golden ratio, so that the two never beat.
    shape: trajectories and their frames, `interval` apart.  Raises AnchorbenchError where no window is that long.
    """
    n, n_frames = shape
    frames = round(lead / interval)
    if frames < 1 or abs(frames * interval - lead) > 1e-9 * lead or frames >= n_frames:
        raise AnchorbenchError(
            f"a lead of {lead} is no whole number of intervals of {interval} within {n_frames} frames",
            do="choose a lead that the stored frames hold",
        )
    starts = [(j * n // n_windows, int(j * 0.6180339887 % 1.0 * (n_frames - frames))) for j in range(n_windows)]
    return starts, frames
