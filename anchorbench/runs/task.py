"""What a task leaves open, and what all runs of one task on one ladder share."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from anchorbench.config import Frozen
from anchorbench.data.degradations import Degradation
from anchorbench.data.fetch import Request
from anchorbench.data.ladder import Ladder
from anchorbench.errors import ConfigError, LadderError
from anchorbench.methods.registry import REPRESENT
from anchorbench.methods.scale import setting


class TaskOptions(Frozen):
    """What a task leaves open."""

    input_rung: int | None = Field(
        default=None, description="of super_resolve: where the inputs are; null: the ladder's coarsest rung"
    )
    factor: int | None = Field(
        default=None, ge=1, description="of super_resolve: points of the train rung to one of the inputs' rung, an axis"
    )
    time_factor: int = Field(
        default=1,
        ge=1,
        description="of super_resolve: frames that are asked for within the newest input frame, which is their mean",
    )
    degradation: Degradation | None = Field(
        default=None, description="of super_resolve: how inputs come from the train rung; null: the ladder's own"
    )
    input_noise: float = Field(
        default=0.0, ge=0, description="of super_resolve: its deviation, in deviations of the field"
    )
    fields: int | None = Field(default=None, ge=1, description="of represent: how many fields; null: the preset's")
    frames: int | None = Field(
        default=None,
        ge=1,
        description="of represent: of each field; of super_resolve: coarse frames given.  null: one; of super_resolve "
        "with a factor the published number for the factors, as far as a sample of the ladder reaches",
    )


def require(ladder: Ladder, *rungs: int) -> None:
    """As `ladder.require`, with the option of `train` that makes such a ladder."""
    try:
        ladder.require(*rungs)
    except LadderError as error:
        wanted = ",".join(map(str, sorted({*ladder.rungs, *rungs})))
        raise LadderError(error.what, do=f"to have it made:  --set data.rungs={wanted}") from None


def require_nested(ladder: Ladder, rung: int) -> None:
    """Raises LadderError where cells of a finer rung cross those of the train rung: no band to score."""
    finer = [r for r in ladder.rungs if r > rung and r % rung]
    if ladder.spec.restriction == "conservative" and finer:
        held = ",".join(str(r) for r in ladder.rungs if r not in finer)
        raise LadderError(
            f"the cells of {', '.join(map(str, finer))} points do not lie within those of the train rung {rung}",
            do=f"another --train-rung, or --set data.rungs={held}",
        )


def require_cells(ladder: Ladder, *, task: str, given: int | None) -> None:
    """Raises ConfigError where the inputs are no means over cells of all finer rungs: there is no mass to keep."""
    if task != "super_resolve" or given is None or ladder.spec.restriction != "block_mean":
        raise ConfigError(
            f"method.conserve keeps the mass of a coarser input under block_mean, not in {task} under "
            f"{ladder.spec.restriction}",
            do="--task super_resolve",
        )
    if apart := [r for r in ladder.rungs if r > given and r % given]:
        raise ConfigError(f"method.conserve: the cells of rung {given} are no whole number of those of {apart}")


def common_fields(request: Request, ladder: Ladder, *, task: str, rung: int, options: TaskOptions) -> dict[str, Any]:
    """What all runs of a task share.  Raises ConfigError where the dataset is not made for the task."""
    entry = request.entry
    lead, frames_in = 0, 1
    extra: dict[str, Any] = {}
    if task == "forecast":
        if entry.time is None:
            raise ConfigError(f"dataset '{entry.name}' has no time: there is nothing to forecast")
        lead, frames_in = round(entry.time.lead / ladder.spec.time_step), entry.frames_in
        frames = getattr(request.options, "frames", math.inf)
        if frames_in + lead > frames:
            raise ConfigError(f"{frames} frames a sample are too few for {frames_in} in and lead {lead}")
    refined, spoilt = options.time_factor > 1, options.degradation is not None or options.input_noise > 0
    if task == "super_resolve":
        given = input_rung(ladder, rung, options)
        if given > rung or (given == rung and not refined):
            raise ConfigError(
                f"super_resolve: the inputs' rung {given} is not coarser than the train rung {rung}",
                do=f"--set task.input_rung={ladder.rungs[0]}, or a finer --train-rung",
            )
        extra = {"degradation": options.degradation, "input_noise": options.input_noise, "input_rung": given}
        if refined and spoilt:
            raise ConfigError("task.degradation and task.input_noise are of one frame, not of a refined time")
        if refined:
            extra["time_factor"] = options.time_factor
        if refined or options.frames is not None or (options.factor is not None and entry.time is not None):
            frames_in = coarse_frames(request, rung / given, options)
    elif spoilt:
        raise ConfigError(f"task.degradation and task.input_noise belong to super_resolve, not to {task}")
    elif options.input_rung is not None or options.factor is not None or refined:
        raise ConfigError(f"task.input_rung and the factors belong to super_resolve, not to {task}")
    if task == REPRESENT:
        extra, frames_in = {"fields": options.fields or 1}, options.frames or 1
    elif options.fields is not None or (options.frames is not None and task != "super_resolve"):
        raise ConfigError(f"task.fields belongs to represent, task.frames to it or to super_resolve, not to {task}")
    return {
        **extra,
        "ladder": ladder.spec.digest,
        "dataset": entry.name,
        "source": request.source,
        "size": request.spec.size,
        "task": task,
        "lead": lead,
        "frames_in": frames_in,
    }


def input_rung(ladder: Ladder, rung: int, options: TaskOptions) -> int:
    """Where the inputs are: what was asked for, by number or by factor, else the coarsest rung.

    Raises ConfigError for both at once, LadderError for a rung that there is not.
    """
    if options.factor is None:
        given = ladder.rungs[0] if options.input_rung is None else options.input_rung
        require(ladder, given)
        return given
    if options.input_rung is not None:
        raise ConfigError("the inputs' rung is given by task.input_rung or by the factor, not by both")
    if rung % options.factor or rung // options.factor not in ladder.rungs:
        held = ", ".join(f"{rung // r}" for r in ladder.rungs if r <= rung and rung % r == 0)
        raise LadderError(
            f"ladder {ladder.spec.name} has no rung {options.factor} times coarser than {rung}; factors there: {held}",
            do="without --set data.rungs and --train-rung, --factor makes a ladder that holds it",
        )
    return rung // options.factor


def coarse_frames(request: Request, factor: float, options: TaskOptions) -> int:
    """L: as asked for, else as published for the factors, but no more than a sample of the ladder holds.

    Raises ConfigError where the fields have no time, or a sample is too short.
    """
    if request.entry.time is None:
        raise ConfigError(
            f"dataset '{request.entry.name}' has no time: no earlier frames, and none to refine",
            do="leave task.frames and the time factor out",
        )
    frames: float = getattr(request.options, "frames", math.inf)
    most = frames // options.time_factor
    wanted = options.frames or min(setting(factor, options.time_factor).frames, max(1, most))
    if wanted > most:
        raise ConfigError(
            f"{frames:g} frames a sample are too few for {wanted} coarse frames of {options.time_factor} each",
            do=f"--set data.frames={wanted * options.time_factor}",
        )
    return int(wanted)
