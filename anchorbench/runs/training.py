"""Anchoring over training: every rung's error at each kept checkpoint.

    e_ρ(t) = M_ρ(t)(u_ρ) − y_ρ,   t the optimiser steps so far

so that the slope at t tells when a model anchors: a network may first learn what holds on every grid, and only then
what holds on its own.  Checkpoints are the last weights of their step, not the best of the validation split, and they
are kept where `train.keep_checkpoints` asked for it.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from anchorbench.analysis import SCORE_NAMES, Sums
from anchorbench.errors import RunError
from anchorbench.runs.probes import Subject, Tell, in_batches


def training(subject: Subject, *, tell: Tell = lambda share: None) -> xr.Dataset:
    """The sums of `score` by (rung, step, cluster, channel), P that of the scored band.

    Coordinates: rung, as in the run's curve, and step, the optimiser steps of each checkpoint.  Raises RunError where
    the run kept none, AnchorbenchError where a prediction is not finite.
    """
    if not subject.checkpoints:
        raise RunError(
            f"{subject.session.spec.folder} kept no checkpoint of its training",
            do="train it with --set train.keep_checkpoints=6 (another spec, another run)",
        )
    session, steps = subject.session, sorted(subject.checkpoints)
    rungs = session.scored_rungs
    found: dict[tuple[int, int], Sums] = {}
    for step in steps:
        predict = subject.checkpoints[step]()
        for rung in rungs:
            windows = session.test_windows(rung)
            parts = [
                subject.scored(predict(batch), batch, band=session.band, n_clusters=windows.n_clusters)
                for batch in in_batches(windows, windows.out_grid.n_points)
            ]
            found[rung, step] = sum(parts[1:], parts[0])
            tell(len(found) / (len(rungs) * len(steps)))
    dims = ("rung", "step", "cluster", "channel")
    arrays = {
        name: (dims, np.stack([np.stack([found[rung, step][name] for step in steps]) for rung in rungs]))
        for name in SCORE_NAMES
    }
    return xr.Dataset(arrays, coords={"rung": list(rungs), "step": steps})
