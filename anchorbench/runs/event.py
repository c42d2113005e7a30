"""A rain event as it was refined, hour by hour: what the figures of super-resolution in space and time show.

    input (time, *coarse), truth (time, *grid), mean (time, *grid), member (number, time, *grid)

The hours of one test sample, window after window, at most HOURS of them; physical units, missing points NaN.  `input`
repeats a coarse frame for each of its hours.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from anchorbench.data.samples import Batch, Normaliser
from anchorbench.methods.references import HasMembers, Predictor
from anchorbench.runs.session import Session

HOURS = 12
MEMBERS = 3


def event_of(session: Session, predict: Predictor, *, near: int) -> xr.Dataset:
    """The sample that the test window `near` belongs to, on the train rung."""
    windows = session.test_windows(session.spec.train_rung)
    first = near // windows.per_sample * windows.per_sample
    count = min(windows.per_sample, max(1, HOURS // windows.frames_out))
    batch = windows.batch(range(first, first + count))
    members = predict.members(batch) if isinstance(predict, HasMembers) else predict(batch)[None]
    last = batch.last_frame()
    assert last is not None  # rain is refined from rain
    held = {
        "truth": _hours(batch.targets, batch),
        "mean": _hours(members.mean(0), batch),
    }
    fine, coarse = ("time", *session.band.axes), ("time", *(f"coarse_{axis}" for axis in session.band.axes))
    data = {name: (fine, u) for name, u in held.items()}
    data["input"] = (coarse, _hours(last, batch, mask=batch.input_mask))
    data["member"] = (("number", *fine), np.stack([_hours(member, batch) for member in members[:MEMBERS]]))
    return xr.Dataset(data, attrs={"members": len(members), "time_factor": batch.frames_out})


def _hours(u: Tensor, batch: Batch, *, mask: Tensor | None = None) -> np.ndarray:
    """The headline, (window, variable · frame, *grid) -> (hour, *grid), physical."""
    units, n = batch.out_units, batch.frames_out
    assert units is not None
    valid = batch.mask if mask is None else mask
    physical = Normaliser(units.mean[:n], units.std[:n]).undo(u[:, :n].float())
    if valid is not None:
        physical = torch.where(valid > 0, physical, torch.nan)
    hours: np.ndarray = physical.flatten(0, 1).cpu().numpy()
    return hours
