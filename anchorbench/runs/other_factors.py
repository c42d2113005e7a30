"""One refiner of rain asked for factors that it was not trained for: the zero-shot line of the resolution axis.

    (s, T) it was trained for, (s′, T′) it is asked for:
    in space   its inputs are the means over s′ x s′ points, and its output lies on the same grid as ever
    in time    its T frames, each T′/T hours long, are read as hours: y′_h = Σ_t |h ∩ t| y_t / |h|

The second is ours: a network has as many output frames as it was built with.  The amount of the newest coarse frame
stays what it was, so mass is kept where the run keeps it.  Every run is scored on the same hours, those that a run
trained for (s′, T′) has; where its own context reaches before the event, the event's first coarse frame is repeated.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from anchorbench.analysis import Sums
from anchorbench.config import inputs_of, of_rain, targets_of
from anchorbench.data.samples import Batch
from anchorbench.data.space_time_windows import each_frame
from anchorbench.errors import RunError
from anchorbench.fields import prolong, restrict
from anchorbench.methods.scale import PUBLISHED, setting
from anchorbench.runs.evaluate import POINTS_PER_BATCH, members_of, of_members
from anchorbench.runs.probes import Subject, Tell

#: Asked of every run beside the published pairs: those between, by the table's own factors.
FACTORS_IN_SPACE, FACTORS_IN_TIME = (1, 5, 10, 25), (1, 3, 6)

#: Of the coarse frame as it is: before each name, and which are kept.
NEAREST, OF_ONE = "nearest_", ("ensemble_weight", "ensemble_absolute_error", "ensemble_mean_error")


def other_factors(subject: Subject, *, tell: Tell = lambda share: None) -> xr.Dataset:
    """The sums of `member_sums` by (pair, cluster, channel), on the train rung; coordinates space and time by pair.

    `nearest_...`: of the coarse frame as it is, on the same hours.

    Raises RunError where it is no refiner of rain under block_mean, or values are missing.
    """
    session = subject.session
    spec, ladder = session.spec, session.ladder
    if spec.task != "super_resolve" or not of_rain(ladder.spec.variables) or ladder.restriction != "block_mean":
        raise RunError(f"{spec.folder} refines no rain under block_mean: it has no other factors")
    if ladder.masked:
        raise RunError(f"{ladder.spec.name} has gaps: its fields cannot be made coarser by other factors here")
    pairs = [pair for pair in _pairs() if _fits(subject, *pair)]
    sums = []
    for number, (space, time) in enumerate(pairs):
        sums.append(_asked(subject, space, time))
        tell((number + 1) / len(pairs))
    dims = ("pair", "cluster", "channel")
    arrays = {name: (dims, np.stack([one[name] for one in sums])) for name in sums[0]}
    coords = {"space": ("pair", [s for s, _ in pairs]), "time": ("pair", [t for _, t in pairs])}
    return xr.Dataset(arrays, coords=coords)


def _pairs() -> list[tuple[int, int]]:
    between = {(s, t) for s in FACTORS_IN_SPACE for t in FACTORS_IN_TIME} - {(1, 1)}
    return sorted({(round(s), t) for s, t in PUBLISHED} | between)


def _fits(subject: Subject, space: int, time: int) -> bool:
    spec, ladder = subject.session.spec, subject.session.ladder
    frames = ladder.array("test", spec.train_rung, ladder.spec.variables[0].name).shape[1]
    return spec.train_rung % space == 0 and spec.train_rung // space > 1 and time <= frames


def _asked(subject: Subject, space: int, time: int) -> Sums:
    session = subject.session
    owners = session.ladder.clusters("test")
    events, n_clusters = len(owners), int(owners.max()) + 1
    asked = [(event, newest) for event in range(events) for newest in _newest(subject, space, time)]
    size = max(1, POINTS_PER_BATCH // session.plan.train_grid.n_points // 8)
    parts = []
    for first in range(0, len(asked), size):
        batch, hours = _batches(subject, asked[first : first + size], space, time)
        frames = members_of(subject.predict, batch)[:, :, : batch.frames_out]
        members = in_hours(frames, time).flatten(1, 2)[:, :, None]
        scored = of_members(session, members, hours, n_clusters)
        coarse = batch.last_frame()
        assert coarse is not None  # rain is refined from rain
        as_it_is = prolong(coarse[:, :1], batch.out_grid, how="block_mean").repeat_interleave(time, 0)
        of_it = of_members(session, as_it_is[None], hours, n_clusters)
        parts.append(Sums({**scored.arrays, **{f"{NEAREST}{name}": of_it[name] for name in OF_ONE}}))
    return reduce(add, parts)


def _newest(subject: Subject, space: int, time: int) -> range:
    """Numbers of the coarse frames that are refined: each that leaves the pair's own context before it."""
    spec, ladder = subject.session.spec, subject.session.ladder
    coarse = ladder.array("test", spec.train_rung, ladder.spec.variables[0].name).shape[1] // time
    return range(min(setting(space, time).frames, coarse) - 1, coarse)


def _batches(subject: Subject, asked: list[tuple[int, int]], space: int, time: int) -> tuple[Batch, Batch]:
    """What the run is given, and the hours that its answer is scored on, a sample each."""
    session = subject.session
    spec, ladder, grid = session.spec, session.ladder, session.plan.train_grid
    coarse = grid.with_rung(spec.train_rung // space)
    variables = ladder.spec.variables
    inputs, targets = inputs_of(variables), targets_of(variables)
    held = {i: ladder.array("test", spec.train_rung, variables[i].name) for i in {*inputs, *targets}}

    def coarse_frame(i: int, event: int, number: int) -> Tensor:
        first = max(number, 0) * time
        return torch.from_numpy(np.array(held[i][event, first : first + time]))

    frames = [range(newest - spec.frames_in + 1, newest + 1) for _, newest in asked]
    seen = torch.stack([
        torch.stack([torch.stack([coarse_frame(i, event, n).mean(0) for n in numbers]) for i in inputs])
        for (event, _), numbers in zip(asked, frames, strict=True)
    ])  # fmt: skip
    truth = torch.cat([coarse_frame(targets[0], event, newest) for event, newest in asked])[:, None]
    in_units, out_units = session.normaliser.only(inputs), session.target_units
    clusters = torch.from_numpy(ladder.clusters("test")[[event for event, _ in asked]])
    static = ladder.static(spec.train_rung)
    if static is not None:
        scaled = torch.from_numpy(static / session.static_scale).float()
        static_given = restrict(scaled, coarse, how="block_mean").expand(len(asked), -1, *coarse.shape)
    given = Batch(
        inputs=in_units.apply(restrict(seen, coarse, how="block_mean")).flatten(1, 2).to(session.device),
        targets=torch.zeros(len(asked), spec.time_factor * len(targets), *grid.shape, device=session.device),
        grid=coarse,
        out_grid=grid,
        clusters=clusters.to(session.device),
        static=None if static is None else static_given.to(session.device),
        newest=None if inputs == targets else (),
        in_units=in_units,
        out_units=each_frame(out_units, spec.time_factor),
        frames_out=spec.time_factor,
    )
    hours = replace(
        given,
        targets=out_units.only([0]).apply(truth).to(session.device),
        clusters=given.clusters.repeat_interleave(time),
        out_units=out_units.only([0]),
        frames_out=1,
    )
    return given, hours


def in_hours(frames: Tensor, hours: int) -> Tensor:
    """(M, B, T, *grid), each the mean over 1/T of a time, to (M, B, hours, *grid): by how much they overlap."""
    n = frames.shape[2]
    edges, cuts = torch.linspace(0, 1, n + 1), torch.linspace(0, 1, hours + 1)
    low = torch.maximum(cuts[:-1, None], edges[None, :-1])
    high = torch.minimum(cuts[1:, None], edges[None, 1:])
    share = ((high - low).clamp_min(0) * hours).to(frames)
    return torch.einsum("ht,mbt...->mbh...", share, frames)
