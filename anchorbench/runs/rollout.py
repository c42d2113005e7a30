"""Forecasts fed back: error against lead time on each rung.

    û_{t+s} = M(û_{t+s−L−n+1} ... û_{t+s−L}),   true frames where there is one at or before the start

L the lead of one step, n the input frames.  The first n + L − 1 frames of a sample are the start; each later frame is
predicted from the window that ends L before it, so s steps reach s L beyond what was known, however many frames go in.
Every variable that is predicted is fed back; one that is only given (a forcing) and static fields stay the truth's.

Beside the model: persistence (the start, kept) and, where the equation is known, the solver from the same start.  A
prediction that is not finite, or beyond `BLOWN` deviations, is a blow-up: the rung's curve ends with the step before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from torch import Tensor

from anchorbench.analysis import SCORE_NAMES, Sums
from anchorbench.config import Variable, inputs_of, targets_of
from anchorbench.data.samples import Batch, Windows
from anchorbench.errors import AnchorbenchError, RunError
from anchorbench.methods.references import Predictor
from anchorbench.runs.evaluate import POINTS_PER_BATCH
from anchorbench.runs.probes import Subject, Tell

#: Deviations of the truth beyond which a prediction is no forecast any more.
BLOWN = 1e4


def rollout(subject: Subject, *, tell: Tell = lambda share: None) -> xr.Dataset:
    """The sums of `score` by (rung, step, cluster, channel), and those of persistence and of the solver.

    NaN from the step on at which any sample blew up; `blown` (rung,) is that step, 0 where none did.  Coordinates:
    rung, step (from 1), lead (step), in the ladder's unit of time.

    Raises RunError for a task that forecasts nothing, or whose targets are not among its inputs.
    """
    session = subject.session
    spec, ladder = session.spec, session.ladder
    fed = fed_back(session.ladder.spec.variables)
    if spec.task != "forecast" or not fed:
        raise RunError(
            f"the test `rollout` feeds forecasts back: {spec.task} of {spec.dataset} has nothing to feed back",
            do="take a run of the task forecast",
        )
    steps = session.test_windows(spec.train_rung).per_sample // spec.lead
    if steps < 1:
        raise RunError(f"the samples of {ladder.spec.name} are too short for one step of {spec.lead} frames")
    rungs = session.scored_rungs
    names = {"": subject.predict, "persistence_": _newest} | (
        {} if (solver := subject.solver) is None else {"solver_": solver}
    )
    shared = subject.known.setdefault(("rollout", *subject.same_truth), {})
    arrays: dict[str, list[np.ndarray]] = {}
    for done, rung in enumerate(rungs):
        for prefix, predict in names.items():
            if prefix:
                if (prefix, rung) not in shared:
                    shared[prefix, rung] = _scored(subject, predict, rung, steps)
                sums, blown = shared[prefix, rung]
            else:
                sums, blown = _scored(subject, predict, rung, steps)
            windows = session.test_windows(rung)
            shape = (steps, windows.n_clusters, len(targets_of(ladder.spec.variables)))
            for name in SCORE_NAMES:
                values = np.full(shape, np.nan)
                for step, found in enumerate(sums):
                    values[step] = found[name]
                arrays.setdefault(prefix + name, []).append(values)
            arrays.setdefault(f"{prefix}blown", []).append(np.array(blown))
        tell((done + 1) / len(rungs))
    lead = [(step + 1) * spec.lead * ladder.spec.time_step for step in range(steps)]
    dims = ("rung", "step", "cluster", "channel")
    return xr.Dataset(
        {name: (dims[: rows[0].ndim + 1], np.stack(rows)) for name, rows in arrays.items()},
        coords={"rung": list(rungs), "step": list(range(1, steps + 1)), "lead": ("step", lead)},
        attrs={"lead_unit": ladder.spec.time_unit, "start_frames": spec.frames_in + spec.lead - 1},
    )


def fed_back(variables: Sequence[Variable]) -> list[tuple[int, int]]:
    """(place among the inputs, place among the targets) of each variable that is both given and predicted."""
    given, asked = inputs_of(variables), targets_of(variables)
    return [(given.index(number), place) for place, number in enumerate(asked) if number in given]


def walk(
    predict: Predictor, windows: Windows, samples: Sequence[int], *, steps: int, fed: Sequence[tuple[int, int]]
) -> Iterator[tuple[Tensor, Batch]]:
    """Each predicted frame in turn, the earliest first, with the batch that holds its truth.

    It ends before the first frame that blew up, or after `steps` leads.  fed: as `fed_back` gives it.
    """
    n, lead = windows.frames_in, windows.lead
    made: dict[int, Tensor] = {}
    observed: Tensor | None = None
    for frame in range(n + lead - 1, n + lead - 1 + steps * lead):
        start = frame - lead - n + 1
        batch = windows.batch([sample * windows.per_sample + start for sample in samples])
        observed = batch.input_mask if observed is None else observed
        try:
            out = predict(_with(batch, made, start, n, fed, observed))
        except AnchorbenchError as error:
            if type(error) is not AnchorbenchError:  # a model that does not fit, not a solution that blew up
                raise
            return
        if not bool((out.abs() <= BLOWN).all()):
            return
        made[frame] = out
        made.pop(start, None)
        yield out, batch


def _with(
    batch: Batch,
    made: dict[int, Tensor],
    start: int,
    n: int,
    fed: Sequence[tuple[int, int]],
    observed: Tensor | None,
) -> Batch:
    """The batch with what was predicted in place of the truth, seen where the start was seen."""
    if not any(start + i in made for i in range(n)):
        return batch
    inputs = batch.inputs.clone()
    for i in range(n):
        if (frame := made.get(start + i)) is not None:
            for given, asked in fed:
                inputs[:, given * n + i] = frame[:, asked].to(inputs)
    if observed is not None:
        inputs = inputs.masked_fill(observed == 0, 0.0)
    return batch.with_inputs(inputs, observed)


def _scored(subject: Subject, predict: Predictor, rung: int, steps: int) -> tuple[list[Sums], int]:
    """The sums of each step that no sample blew up in, and the step at which one did (0: none)."""
    session = subject.session
    windows, fed = session.test_windows(rung), fed_back(session.ladder.spec.variables)
    n_samples, alive = len(windows) // windows.per_sample, steps
    size = max(1, POINTS_PER_BATCH // windows.out_grid.n_points)
    sums: list[Sums | None] = [None] * steps
    for first in range(0, n_samples, size):
        samples, frames = range(first, min(first + size, n_samples)), 0
        parts: list[list[Sums]] = [[] for _ in range(steps)]
        for out, batch in walk(predict, windows, samples, steps=alive, fed=fed):
            part = subject.scored(out, batch, band=session.band, n_clusters=windows.n_clusters)
            parts[frames // windows.lead].append(part)
            frames += 1
        alive = min(alive, frames // windows.lead)
        for step in range(alive):
            whole = sum(parts[step][1:], parts[step][0])
            before = sums[step]
            sums[step] = whole if before is None else before + whole
    return [found for found in sums[:alive] if found is not None], 0 if alive == steps else alive + 1


def _newest(batch: Batch) -> Tensor:
    start = batch.start()
    if start is None:
        raise RunError("a target that is not among the inputs has no newest frame: no persistence")
    return start
