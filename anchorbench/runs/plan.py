"""From what a person asks for to the specs of the runs that answer it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anchorbench.config import Preset, RunSpec, TrainOptions, digest_of, load_preset, merged, validated
from anchorbench.data.fetch import Request
from anchorbench.data.ladder import Ladder
from anchorbench.errors import ConfigError, unknown
from anchorbench.methods.base import Plan
from anchorbench.methods.references import available
from anchorbench.methods.registry import build_method, check_method
from anchorbench.models.registry import build, validate_options

#: What `train --set` may change; `data` is the ladder's and is taken out before.
GROUPS = ("train", "model", "method", "native")


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
) -> list[RunSpec]:
    """All runs of a `train`: the untrained references, each method and seed, and, where asked for, baseline and native.

    Everything that can be wrong in the words is found here, before anything is fetched or trained.

    Raises ConfigError, MethodError, ModelError or LadderError.
    """
    for name in settings or {}:
        if name not in GROUPS:
            raise ConfigError(f"--set {name}: {unknown('group', name, (*GROUPS, 'data'))}")
    task = task or request.entry.default_task
    if task not in request.entry.tasks:
        raise ConfigError(f"dataset '{request.entry.name}': {unknown('task', task, request.entry.tasks)}")
    for method in methods:
        check_method(method, task)
    preset = load_preset(request.spec.size, request.entry.name)
    rung = request.size.train_rung if train_rung is None else train_rung
    ladder = Ladder(request.spec, Path(), {"masked": False, "static": []})
    ladder.require(rung)
    wanted = list(dict.fromkeys([*methods, *(["baseline"] if with_references else [])]))
    seed_list = sorted(set(seeds))

    specs = [_reference(request, ladder, name, task=task, rung=rung) for name in available(ladder)]
    for method in wanted:
        one = _method_spec(request, ladder, preset, method, model=model, task=task, rung=rung, settings=settings or {})
        specs += [one.model_copy(update={"seed": seed}) for seed in seed_list]
    if with_references:
        baseline = _method_spec(
            request, ladder, preset, "baseline", model=model, task=task, rung=rung, settings=settings or {}
        )
        specs += native_specs(baseline, ladder, preset, settings or {}, seed=seed_list[0])
    return specs


def native_specs(
    baseline: RunSpec, ladder: Ladder, preset: Preset, settings: Mapping[str, Any], *, seed: int
) -> list[RunSpec]:
    """The baseline trained at finer rungs, scored on the band of the baseline's train rung.

    Equal steps unless the preset's `native` says otherwise.  With `warm_start`, each begins with the weights of the rung
    below it.
    """
    options = merged(preset.native, settings.get("native", {}))
    finer = [rung for rung in ladder.rungs if rung > baseline.band_rung]
    rungs = sorted(options.get("rungs") or finer)
    ladder.require(*rungs)
    specs: list[RunSpec] = []
    before = baseline.model_copy(update={"seed": seed})
    for rung in rungs:
        assert baseline.train is not None
        train = merged(baseline.train.model_dump(), options.get("train", {}))
        if options.get("warm_start", False):
            train["warm_start"] = before.folder
        spec = baseline.model_copy(
            update={
                "kind": "native",
                "train_rung": rung,
                "seed": seed,
                "train": validated(TrainOptions, train, where="native.train"),
            }
        )
        specs.append(spec)
        before = spec
    return specs


def _reference(request: Request, ladder: Ladder, name: str, *, task: str, rung: int) -> RunSpec:
    return RunSpec(
        **_common(request, ladder, task=task),
        kind="reference",
        model="none",
        method=name,
        train=None,
        train_rung=rung,
        band_rung=rung,
    )


def _method_spec(
    request: Request,
    ladder: Ladder,
    preset: Preset,
    method: str,
    *,
    model: str | None,
    task: str,
    rung: int,
    settings: Mapping[str, Any],
) -> RunSpec:
    model = model or preset.model
    model_options = validate_options(model, merged(preset.models.get(model, {}), settings.get("model", {})))
    if "width" not in model_options:
        # A model of the user's own is built once now: its mistakes belong before the data.
        build(model, in_channels=2, out_channels=1, grid=ladder.grid(rung), options=model_options)
    # `method.NAME.option` is meant for one of several methods, `method.option` for all that are asked for.
    given = settings.get("method", {})
    own = {k: v for k, v in given.items() if not isinstance(v, Mapping) or k == "shares"}
    method_options = merged(preset.methods.get(method, {}), own, given.get(method, {}))
    plan = Plan(ladder.rungs, ladder.grid(rung), ladder.restriction, masked=False, increment=True)
    checked = build_method(method, plan, method_options, task=task)
    train = validated(TrainOptions, merged(preset.train, settings.get("train", {})), where="train")
    return RunSpec(
        **_common(request, ladder, task=task),
        model=model,
        model_options=model_options,
        model_digest=_file_digest(model),
        method=method,
        method_options=checked.options.model_dump(mode="json"),
        train=train,
        train_rung=rung,
        band_rung=rung,
    )


def _common(request: Request, ladder: Ladder, *, task: str) -> dict[str, Any]:
    entry = request.entry
    return {
        "ladder": ladder.spec.digest,
        "dataset": entry.name,
        "source": request.source,
        "size": request.spec.size,
        "task": task,
        "lead": round(entry.time.lead / ladder.spec.time_step),
        "frames_in": entry.frames_in,
    }


def _file_digest(model: str) -> str | None:
    path = Path(model.rpartition(":")[0]) if ":" in model else None
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.exists() else None


def group_key(spec: RunSpec) -> str:
    """Runs with one key belong on one figure: the same ladder, task, lead and scored band."""
    parts = [spec.ladder, spec.task, spec.lead, spec.frames_in, spec.band_rung, spec.protocol]
    return digest_of(parts)[:12]
