"""On what footing runs are compared: equal steps, equal training cost, or equal parameters.

    cost         steps × batch × 3 Σ_ρ share(ρ) FLOPs(ρ)  is the yardstick's: the steps are chosen
    parameters   the number of weights is the yardstick's: the model's width is chosen

FLOPs are those of the model's card, matrix products and convolutions of one forward pass; a backward pass costs twice
as much, hence the 3.  share(ρ) is the method's mix: a coarser level is cheaper, a finer rung dearer.  All passes that
one loss makes are counted.  What is no product is not: transforms, and the solver's own steps in `hybrid`, whose number
follows the flow.  Static fields and masks, which only a ladder on disk knows of, are left out on both sides.

Counting needs no data, so that a spec is known before anything is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anchorbench.config import LadderSpec, RunSpec, inputs_of, targets_of
from anchorbench.data.ladder import Ladder
from anchorbench.data.samples import Batch, Normaliser
from anchorbench.data.space_time_windows import each_frame
from anchorbench.errors import AnchorbenchError, ConfigError, MethodError, ModelError
from anchorbench.fields import Grid
from anchorbench.methods.hybrid import Hybrid
from anchorbench.models.card import IN_PLACE
from anchorbench.models.registry import BUILT_IN, validate_options
from anchorbench.runs.session import Session
from anchorbench.runs.train import step_generator

Footing = Literal["steps", "cost", "parameters"]
FOOTINGS: tuple[Footing, ...] = ("steps", "cost", "parameters")
#: Two runs within this share of one another stand on the same footing.
WITHIN = 0.05
#: Draws of a loss, until every level of its mix has come up: of four, one is still lacking with a chance of 10⁻⁷.
MOST_DRAWS = 60


def on_footing(spec: RunSpec, ladder: LadderSpec, *, footing: Footing, yardstick: RunSpec) -> RunSpec:
    """The spec with its steps (`cost`) or its width (`parameters`) chosen, within 5 % of the yardstick's.

    Where it is within 5 % as it is, nothing changes but the word `footing`; the yardstick itself comes back as it is.
    Raises MethodError where no whole number of steps will do, ModelError where no width will.
    """
    if footing == "steps" or spec.digest == yardstick.digest:
        return spec
    chosen = _at_equal_cost(spec, ladder, yardstick) if footing == "cost" else _of_equal_size(spec, ladder, yardstick)
    return chosen.model_copy(update={"footing": footing})


def training_flops(spec: RunSpec, ladder: LadderSpec) -> float:
    """FLOPs of a whole training, forward and backward: steps × batch × 3 Σ_ρ share(ρ) FLOPs(ρ), stage by stage."""
    assert spec.train is not None
    stages = _session(spec, ladder).method.stages(spec.train.steps)
    return spec.train.batch * sum(n * sample_flops(spec, ladder, step=first) for first, n in stages)


def sample_flops(spec: RunSpec, ladder: LadderSpec, *, step: int = 0) -> float:
    """FLOPs of one sample of a step of that stage, the mean over the method's mix, forward and backward.

    Raises AnchorbenchError where the model does not take the ladder's grid.
    """
    return _counted(_alike(spec), ladder.model_dump_json(), step)


def count_parameters(spec: RunSpec, ladder: LadderSpec) -> int:
    """Real numbers that are trained, of the model as the method wraps it; a complex one counts twice."""
    module = _session(spec, ladder).build_model()
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in module.parameters() if p.requires_grad)


def doubled(model: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options at twice the width: the check whether the error at home is limited by capacity.

    Raises ModelError where the model has no width.
    """
    return validate_options(model, {**options, "width": 2 * _width_of(model, options)})


def _at_equal_cost(spec: RunSpec, ladder: LadderSpec, yardstick: RunSpec) -> RunSpec:
    assert spec.train is not None
    target, whole = training_flops(yardstick, ladder), training_flops(spec, ladder)
    if not whole or not target:
        raise ModelError(
            f"{spec.model} has neither products nor convolutions whose cost could be counted", do="take footing steps"
        )
    if abs(whole / target - 1) <= WITHIN:
        return spec
    # Of the stages only the last grows with the steps.
    first, n = _session(spec, ladder).method.stages(spec.train.steps)[-1]
    step = spec.train.batch * sample_flops(spec, ladder, step=first)
    wanted = first + (target - (whole - n * step)) / step
    steps = max(first + 1, round(wanted))
    if abs((whole + (steps - first - n) * step) / target - 1) > WITHIN:
        raise MethodError(
            f"{spec.method} ({spec.model}) would have {wanted:.1f} steps for the cost of "
            f"{yardstick.method} ({yardstick.model}): too few to be within {WITHIN:.0%}",
            do="take more train.steps, a smaller train.batch, or footing steps",
        )
    return spec.model_copy(update={"train": spec.train.model_copy(update={"steps": steps})})


def _of_equal_size(spec: RunSpec, ladder: LadderSpec, yardstick: RunSpec) -> RunSpec:
    target = count_parameters(yardstick, ladder)

    def at(width: int) -> RunSpec:
        options = validate_options(spec.model, {**spec.model_options, "width": width})
        return spec.model_copy(update={"model_options": options})

    def count(width: int) -> int | None:
        try:
            return count_parameters(at(width), ladder)
        except (ConfigError, ModelError):  # a width that its heads or groups do not divide
            return None

    if abs(count_parameters(spec, ladder) / target - 1) <= WITHIN:
        return spec
    tried = widths_near(count, target, start=_width_of(spec.model, spec.model_options))
    width = min(tried, key=lambda w: abs(tried[w] - target))
    if abs(tried[width] / target - 1) > WITHIN:
        near = sorted(sorted(tried, key=lambda w: abs(tried[w] - target))[:2])
        raise ModelError(
            f"no width of {spec.model} comes within {WITHIN:.0%} of the {target:,} parameters of {yardstick.model}: "
            + ", ".join(f"{w} has {tried[w]:,}" for w in near),
            do="change another option of the model, or take footing steps or cost",
        )
    return at(width)


def widths_near(count: Callable[[int], int | None], target: int, *, start: int) -> dict[int, int]:
    """Parameters by width, of widths on both sides of the target where there are such.

    count: of a width, None for one that cannot be built.  It rises with the width, so a doubling finds two ends and a
    halving of what is between them the pair.  No width is tried that has much more than four times the target.
    """
    tried: dict[int, int] = {}

    def valid(width: int, *, below: int) -> int | None:
        """The first width from this one up that can be built."""
        for w in range(width, below):
            n = tried[w] if w in tried else count(w)
            if n is not None:
                tried[w] = n
                return w
        return None

    top = valid(start, below=2 * start + 64)
    while top is not None and tried[top] < target:
        top = valid(2 * top, below=4 * top + 64)
    low, high = 1, max(tried, default=start) + 1
    while low < high:
        middle = (low + high) // 2
        found = valid(middle, below=high)
        if found is None or tried[found] >= target:
            high = middle
        else:
            low = found + 1
    return tried


def _width_of(model: str, options: dict[str, Any]) -> int:
    width = options.get("width")
    if not isinstance(width, int):
        has = ", ".join(BUILT_IN[model].options.model_fields) if model in BUILT_IN else ", ".join(options) or "none"
        raise ModelError(f"model {model} has no whole number 'width' to choose; its options: {has}")
    return width


def _session(spec: RunSpec, ladder: LadderSpec) -> Session:
    """Of a ladder that need not be on disk."""
    return Session(spec, Ladder(ladder, Path(), {"masked": False, "static": []}), torch.device("cpu"))


def _alike(spec: RunSpec) -> str:
    """What specs have in common whose steps cost the same."""
    assert spec.train is not None
    train = spec.train.model_copy(update={"steps": 1, "batch": 1, "warm_start": None, "compile": False})
    return spec.model_copy(update={"seed": 0, "train": train, "footing": None}).model_dump_json()


@lru_cache(maxsize=1024)
def _counted(spec_json: str, ladder_json: str, first: int) -> float:
    spec = RunSpec.model_validate_json(spec_json)
    session = _session(spec, LadderSpec.model_validate_json(ladder_json))
    method = session.method
    if isinstance(method, Hybrid):
        method.equation = _no_steps(len(targets_of(session.ladder.spec.variables)))
    module = session.build_model().eval()
    levels: list[int] = []

    def note(_: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Batch):
            levels.append(given[0].out_grid.rung)

    module.register_forward_pre_hook(note)
    mix = {rung: share for rung, share in method.mix().items() if share > 0}
    flops: dict[int, list[int]] = {}
    for rung in method.rungs():
        batch = _noise(session, rung)
        for step in range(first, first + MOST_DRAWS):
            levels.clear()
            spent = _forward_flops(session, module, batch, step)
            # The first pass tells the level that a loss has drawn; later ones are what it compares it with.
            flops.setdefault(levels[0] if levels else rung, []).append(spent)
            if len(method.rungs()) > 1 or set(mix) <= set(flops):
                break
    known = {rung: share for rung, share in mix.items() if rung in flops}
    if not known:
        raise MethodError(f"what a step of {spec.method} costs cannot be counted", do="take footing steps")
    mean = sum(share * sum(flops[rung]) / len(flops[rung]) for rung, share in known.items()) / sum(known.values())
    return 3 * mean


@torch.no_grad()
def _forward_flops(session: Session, module: nn.Module, batch: Batch, step: int) -> int:
    """Of the network alone, in all passes that one loss of one sample makes: restrictions of the data are no cost."""
    network, inside, began = getattr(module, "model", module), [0], [0]
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:

        def enter(*_: Any) -> None:
            began[0] = counter.get_total_flops()

        def leave(*_: Any) -> None:
            inside[0] += counter.get_total_flops() - began[0]

        hooks = (network.register_forward_pre_hook(enter), network.register_forward_hook(leave))
        try:
            session.method.loss(module, batch, step=step, rng=step_generator(0, step))
        except AnchorbenchError:
            raise
        except Exception as error:
            if session.spec.model in BUILT_IN:
                raise
            said = (str(error).splitlines() or [""])[0]
            raise ModelError(
                f"the model {session.spec.model} does not run on rung {batch.grid.name}: {type(error).__name__}: {said}"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
    return inside[0]


def _noise(session: Session, rung: int) -> Batch:
    """One sample of noise about 1, in units where it is physical: a coefficient must stay positive."""
    variables, finest = session.ladder.spec.variables, session.ladder.finest
    inputs, targets = inputs_of(variables), targets_of(variables)
    grid = finest.with_rung(rung)
    given = grid if session.spec.input_rung is None else finest.with_rung(session.spec.input_rung)
    noise = torch.Generator().manual_seed(0)

    def field(channels: int, on: Grid) -> Tensor:
        return torch.randn(1, channels, *on.shape, generator=noise)

    units = Normaliser((1.0,) * len(variables), (0.1,) * len(variables))
    batch = Batch(
        inputs=field(session.spec.frames_in * len(inputs), given),
        targets=field(session.spec.time_factor * len(targets), grid),
        grid=given,
        out_grid=grid,
        clusters=torch.zeros(1, dtype=torch.long),
        in_units=units.only(inputs),
        out_units=each_frame(units.only(targets), session.spec.time_factor),
        frames_out=session.spec.time_factor,
    )
    return batch if inputs == targets else replace(batch, newest=())


def _no_steps(channels: int) -> Callable[[Tensor, Grid], Tensor]:
    """In place of a solver, whose steps are not counted: nothing moves."""

    def stay(state: Tensor, grid: Grid) -> Tensor:
        return state[:, :channels]

    return stay
