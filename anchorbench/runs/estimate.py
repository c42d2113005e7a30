"""What runs will take, before they are begun: seconds of training, megabytes, and both in words."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from anchorbench.config import LadderSpec, RunSpec
from anchorbench.data.ladder import Ladder
from anchorbench.fields import Grid
from anchorbench.runs.session import Session
from anchorbench.runs.train import draw_batch, step_generator


def estimate_seconds(spec: RunSpec, ladder: Ladder, device: torch.device, *, steps: int = 2) -> float:
    """Seconds of training, from a few timed steps on each rung of the mix (untrained weights, thrown away)."""
    if spec.train is None:
        return 0.0
    session = Session(spec, ladder, device)
    method, module = session.method, session.build_model()
    drawn = [method.draw_rung(step, step_generator(spec.seed, step)) for step in range(200)]
    seconds = 0.0
    for rung in set(drawn):
        windows = session.training_windows("train", rung)
        took = []
        for step in range(steps + 1):
            rng = step_generator(spec.seed, step)
            began = time.monotonic()
            torch.autograd.backward(method.loss(module, draw_batch(windows, spec.train.batch, rng), step=step, rng=rng))
            if device.type == "cuda":
                torch.cuda.synchronize()
            took.append(time.monotonic() - began)
        seconds += min(took[1:]) * drawn.count(rung) / len(drawn)
    return seconds * spec.train.steps


def kind_of(spec: RunSpec) -> str:
    """Runs of one kind take equally long: they differ only in their seed."""
    return spec.model_copy(update={"seed": 0}).digest


def megabytes(specs: Sequence[RunSpec], ladder: LadderSpec) -> float:
    """Weights, optimiser state and curve of each run, roughly; fields dominate at fine rungs."""
    finest = Grid.from_dict(ladder.grid)
    points = sum(finest.with_rung(rung).n_points for rung in ladder.rungs)
    return sum((8.0 if spec.train else 1.0) + 16 * points / 1e6 for spec in specs)


def minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
