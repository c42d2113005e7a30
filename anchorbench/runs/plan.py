"""From what a person asks for to the specs of the runs that answer it."""

from __future__ import annotations

import hashlib
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
from anchorbench.data.fetch import Request
from anchorbench.data.ladder import Ladder
from anchorbench.errors import ConfigError, ModelError, unknown
from anchorbench.methods.base import Plan
from anchorbench.methods.references import available
from anchorbench.methods.registry import METHODS, REPRESENT, build_method, check_method
from anchorbench.models.coordinate_options import COORDINATE_NETWORKS
from anchorbench.models.registry import BUILT_IN, build, validate_options
from anchorbench.runs.footing import FOOTINGS, Footing, doubled, on_footing
from anchorbench.runs.task import TaskOptions, common_fields, require, require_cells, require_nested

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
    require(ladder, rung)
    require_nested(ladder, rung)
    seed_list = sorted(set(seeds))

    common = common_fields(request, ladder, task=task, rung=rung, options=options)
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
        require(ladder, *rungs)
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
