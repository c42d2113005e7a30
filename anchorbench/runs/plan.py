"""From what a person asks for to the specs of the runs that answer it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from anchorbench.config import (
    Frozen,
    Preset,
    RunSpec,
    TrainOptions,
    digest_of,
    inputs_of,
    load_preset,
    merged,
    validated,
)
from anchorbench.data.degradations import Degradation
from anchorbench.data.fetch import Request
from anchorbench.data.ladder import Ladder
from anchorbench.errors import ConfigError, LadderError, ModelError, unknown
from anchorbench.methods.base import Plan
from anchorbench.methods.references import available
from anchorbench.methods.registry import METHODS, REPRESENT, build_method, check_method
from anchorbench.methods.scale import setting
from anchorbench.models.coordinate_options import COORDINATE_NETWORKS
from anchorbench.models.registry import BUILT_IN, build, validate_options
from anchorbench.runs.footing import FOOTINGS, Footing, doubled, on_footing

#: What `train --set` may change; `data` is the ladder's and is taken out before.
GROUPS = ("task", "train", "model", "method", "native")


class NativeOptions(Frozen):
    """Which rungs the baseline is trained at for `native`, and what differs from the baseline's own training."""

    rungs: tuple[int, ...] | None = Field(default=None, description="null: every rung finer than the train rung")
    warm_start: bool = Field(default=False, description="each begins with the weights of the rung below it")
    train: dict[str, Any] = Field(default_factory=dict)

    @field_validator("rungs", mode="before")
    @classmethod
    def _one_is_a_list(cls, rungs: Any) -> Any:
        return (rungs,) if isinstance(rungs, int) else rungs


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


def plan_runs(
    request: Request,
    *,
    methods: Sequence[str],
    seeds: Iterable[int],
    model: str | None = None,
    task: str | None = None,
    train_rung: int | None = None,
    settings: Mapping[str, Any] | None = None,
    with_references: bool = False,
    native_seeds: int = 1,
    footing: Footing = "steps",
    yardstick: str | None = None,
    double_width: bool = False,
) -> list[RunSpec]:
    """All runs of a `train`: the untrained references, each method and seed, and, where asked for, baseline and native.

    native_seeds: how many of the seeds `native` has.  footing: `cost` chooses the steps by which each training costs
    what the yardstick's does, `parameters` the width (footing.py).  yardstick: the model whose baseline it is; null:
    for `cost` each model's own, for `parameters` the preset's.  double_width: of the models, to see whether the error
    at the train rung is limited by capacity.

    Everything that can be wrong in the words is found here, before anything is fetched or trained.

    Raises ConfigError, MethodError, ModelError or LadderError.
    """
    given = dict(settings or {})
    for name, values in given.items():
        if name not in GROUPS:
            raise ConfigError(f"--set {name}: {unknown('group', name, (*GROUPS, 'data'))}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"--set {name}={values}: '{name}' is a group of options", do=f"--set {name}.OPTION=...")
    task = task or request.entry.default_task
    tasks = dict.fromkeys((*request.entry.tasks, REPRESENT))  # any field is a function of its place
    if task not in tasks:
        raise ConfigError(f"dataset '{request.entry.name}': {unknown('task', task, tasks)}")
    for method in methods:
        check_method(method, task)
    for name in given.get("method", {}):
        if name in METHODS and name not in methods:
            raise ConfigError(f"--set method.{name}: {unknown('method asked for', name, methods)}")
    preset = load_preset(request.spec.size, request.entry.name, task=task)
    options = validated(TaskOptions, merged(preset.task, given.get("task", {})), where="task")
    rung = request.size.train_rung if train_rung is None else train_rung
    ladder = Ladder(request.spec, Path(), {"masked": False, "static": []})
    _require(ladder, rung)
    _require_nested(ladder, rung)
    seed_list = sorted(set(seeds))

    common = _common(request, ladder, task=task, rung=rung, options=options)
    specs = [_reference(common, name, rung=rung) for name in available(ladder, task)]
    _check_footing(footing, given, double_width=double_width)
    words: dict[str, Any] = {"common": common, "rung": rung, "double_width": double_width}

    def made(method: str, settings: Mapping[str, Any], *, measured: bool = True) -> RunSpec:
        spec = _method_spec(ladder, preset, method, model=model, settings=settings, **words)
        if footing == "steps" or not measured:
            return spec
        return on_footing(spec, ladder.spec, footing=footing, yardstick=beside(spec.model))

    def beside(own: str) -> RunSpec:
        """The baseline that is measured against: `method.option` is for what was asked for by name."""
        of = yardstick or (preset.model if footing == "parameters" else own)
        settings = {k: v for k, v in given.items() if k != "method" and (k != "model" or of == own)}
        return _method_spec(ladder, preset, "baseline", model=of, settings=settings, **words)

    for method in dict.fromkeys(methods):
        one = made(method, given)
        specs += [one.model_copy(update={"seed": seed}) for seed in seed_list]
    # So too a baseline that stands beside others as their reference: it keeps its own options.
    baseline = next((spec for spec in specs if spec.method == "baseline"), None) or made(
        "baseline", {k: v for k, v in given.items() if k != "method"}, measured=with_references
    )
    natives: list[RunSpec] = []
    for seed in seed_list[:native_seeds]:
        natives += native_specs(baseline, ladder, preset, given.get("native", {}), seed=seed)
    if with_references:
        if "baseline" not in methods:
            specs += [baseline.model_copy(update={"seed": seed}) for seed in seed_list]
        specs += natives
    return specs


def native_specs(
    baseline: RunSpec, ladder: Ladder, preset: Preset, options: Mapping[str, Any], *, seed: int
) -> list[RunSpec]:
    """The baseline trained at finer rungs, scored on the band of the baseline's train rung.

    options: NativeOptions, over the preset's; equal steps unless they say otherwise.  Rungs of the preset that this
    ladder lacks, or that are not finer, are passed over; those that a person names are not.

    Raises ConfigError or LadderError.
    """
    chosen = validated(NativeOptions, merged(preset.native, options), where="native")
    finer = [rung for rung in ladder.rungs if rung > baseline.band_rung]
    rungs = sorted(set(chosen.rungs or ()))
    if "rungs" in options:
        _require(ladder, *rungs)
        if low := [rung for rung in rungs if rung not in finer]:
            raise ConfigError(f"native.rungs: {low} are not finer than the train rung {baseline.band_rung}")
    specs: list[RunSpec] = []
    before = baseline.model_copy(update={"seed": seed})
    assert baseline.train is not None
    for rung in [r for r in rungs if r in finer] or finer:
        train = merged(baseline.train.model_dump(), chosen.train)
        if chosen.warm_start:
            train["warm_start"] = before.folder
        spec = baseline.model_copy(
            update={
                "kind": "native",
                "train_rung": rung,
                "seed": seed,
                "footing": None,
                "train": validated(TrainOptions, train, where="native.train"),
            }
        )
        specs.append(spec)
        before = spec
    return specs


def _check_footing(footing: str, settings: Mapping[str, Any], *, double_width: bool) -> None:
    """Raises ConfigError for a footing that there is not, or that would undo a width that is asked for."""
    if footing not in FOOTINGS:
        raise ConfigError(unknown("footing", footing, FOOTINGS))
    if footing == "parameters" and (double_width or "width" in settings.get("model", {})):
        asked = "twice the width" if double_width else "model.width"
        raise ConfigError(f"footing parameters chooses the width, so {asked} cannot be asked for", do="footing cost")


def _require(ladder: Ladder, *rungs: int) -> None:
    """As `ladder.require`, with the option of `train` that makes such a ladder."""
    try:
        ladder.require(*rungs)
    except LadderError as error:
        wanted = ",".join(map(str, sorted({*ladder.rungs, *rungs})))
        raise LadderError(error.what, do=f"to have it made:  --set data.rungs={wanted}") from None


def _require_nested(ladder: Ladder, rung: int) -> None:
    """Raises LadderError where cells of a finer rung cross those of the train rung: no band to score."""
    finer = [r for r in ladder.rungs if r > rung and r % rung]
    if ladder.spec.restriction == "conservative" and finer:
        held = ",".join(str(r) for r in ladder.rungs if r not in finer)
        raise LadderError(
            f"the cells of {', '.join(map(str, finer))} points do not lie within those of the train rung {rung}",
            do=f"another --train-rung, or --set data.rungs={held}",
        )


def _reference(common: Mapping[str, Any], name: str, *, rung: int) -> RunSpec:
    return RunSpec(
        **common,
        kind="reference",
        model="none",
        method=name,
        train=None,
        train_rung=rung,
        band_rung=rung,
    )


def _method_spec(
    ladder: Ladder,
    preset: Preset,
    method: str,
    *,
    common: Mapping[str, Any],
    model: str | None,
    rung: int,
    settings: Mapping[str, Any],
    double_width: bool = False,
) -> RunSpec:
    model = model or preset.model
    if (task := common["task"]) == REPRESENT and model in BUILT_IN and model not in COORDINATE_NETWORKS:
        known = ", ".join(sorted(COORDINATE_NETWORKS))
        raise ModelError(f"represent takes networks from coordinates to values, not {model}", do=f"one of {known}")
    if task != REPRESENT and model in COORDINATE_NETWORKS:
        raise ModelError(f"{model} knows places and no fields: it cannot {task}", do="--task represent")
    asked = merged(preset.models.get(model, {}), settings.get("model", {}))
    if model in BUILT_IN:
        # What a model must know of the task's channels, and nobody said.
        channels = {"frames": common["frames_in"], "variables": len(inputs_of(ladder.spec.variables))}
        own = BUILT_IN[model].options.model_fields
        asked |= {name: n for name, n in channels.items() if name in own and asked.get(name) is None}
    model_options = validate_options(model, asked)
    if double_width:
        model_options = doubled(model, model_options)
    if model not in BUILT_IN or BUILT_IN[model].package:
        # Built once now: the mistakes of a user's own model, or a package that is missing, belong before the data.
        build(model, in_channels=2, out_channels=1, grid=ladder.grid(rung), options=model_options)
    # `method.NAME.option` is meant for one of several methods, `method.option` for all that are asked for.
    given = settings.get("method", {})
    for_all = {name: value for name, value in given.items() if name not in METHODS}
    method_options = merged(preset.methods.get(method, {}), for_all, given.get(method, {}))
    plan = replace(
        Plan.of(ladder.spec, rung), input_rung=common.get("input_rung"), time_factor=common.get("time_factor", 1)
    )
    checked = build_method(method, plan, method_options, task=task)
    if getattr(checked.options, "conserve", "none") != "none":
        require_cells(ladder, task=task, given=plan.input_rung)
    given_train = settings.get("train", {})
    usual = merged(preset.train, preset.trains.get(model, {}))
    if task == REPRESENT:
        usual["batch"] = whole = common["fields"] * common["frames_in"]
        if given_train.get("batch", whole) != whole:
            raise ConfigError(
                f"represent fits all {whole} frames of its fields at every step", do="choose how many: task.fields"
            )
    train = validated(TrainOptions, merged(usual, given_train), where="train")
    checked.stages(train.steps)
    return RunSpec(
        **common,
        model=model,
        model_options=model_options,
        model_digest=file_digest(model),
        method=method,
        method_options=checked.options.model_dump(mode="json"),
        train=train,
        train_rung=rung,
        band_rung=rung,
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


def _common(request: Request, ladder: Ladder, *, task: str, rung: int, options: TaskOptions) -> dict[str, Any]:
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
        _require(ladder, given)
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


def file_digest(model: str) -> str | None:
    """SHA-256 of the file of a user's own model; None for a model that has a name, or whose file is gone."""
    path = Path(model.rpartition(":")[0]) if ":" in model else None
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.exists() else None


def group_key(spec: RunSpec) -> str:
    """Runs with one key belong on one figure: the same ladder, task, lead and scored band."""
    parts = [spec.ladder, spec.task, spec.lead, spec.frames_in, spec.band_rung, spec.protocol]
    parts += [] if spec.input_rung is None else [spec.input_rung]
    parts += [] if spec.time_factor == 1 else [f"time x{spec.time_factor}"]
    parts += [] if spec.degradation is None else [spec.degradation]
    parts += [f"noise {spec.input_noise:g}"] if spec.input_noise else []
    parts += [] if spec.fields is None else [f"{spec.fields} fields"]
    return digest_of(parts)[:12]
