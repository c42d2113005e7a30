"""What a reader would want beside the curves, and the command that makes it.

A command names what differs from the preset and the catalogue, so that it makes a run of the same figure.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from anchorbench.analysis.intervals import SEEDS_FOR_RANDOM
from anchorbench.config import LadderSpec, Preset, RunSpec, TrainOptions, load_preset, validated
from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import ENVIRONMENT, load_catalog
from anchorbench.data.fetch import Request, request
from anchorbench.data.ladder import Ladder
from anchorbench.errors import AnchorbenchError
from anchorbench.fields import Grid
from anchorbench.methods.base import Plan
from anchorbench.methods.references import available
from anchorbench.methods.registry import build_method
from anchorbench.models.registry import validate_options
from anchorbench.report.group import Group
from anchorbench.report.native import same_model
from anchorbench.report.scored import Family, labels
from anchorbench.runs.store import RunFolder

T = TypeVar("T")


def missing(group: Group) -> list[dict[str, str]]:
    """What a reader would want beside a group's curves, and the command that makes it."""
    name, ladder = group.provenance["display_name"], group.ladder
    out: list[dict[str, str]] = []

    def add(what: str, command: str) -> None:
        out.append({"what": f"{name}: {what}", "command": command})

    by_model: dict[str, list[Family]] = {}
    for family in group.methods:
        by_model.setdefault(repr(same_model(family.spec)), []).append(family)
    shown = dict(zip((f.spec.digest for f in group.methods), labels(group.methods), strict=True))
    for members in by_model.values():
        baseline = next((f for f in members if f.spec.method == "baseline"), None)
        first = (baseline or members[0]).spec
        trained_there = any(same_model(f.spec) == same_model(first) for f in group.native_families)
        lacking = [n for n, there in (("baseline", baseline is not None), ("native", trained_there)) if not there]
        if lacking:
            seeds = (baseline or members[0]).seeds
            as_baseline = first if baseline is not None else first.model_copy(update={"method": "baseline"})
            command = train_command(as_baseline, ladder, seeds=seeds, own=baseline is not None, references=True)
            add(f"no {' and '.join(lacking)} for {first.model}, so headroom is not shown", command)
    for family in group.methods:
        label = shown[family.spec.digest]
        if len(family.seeds) < SEEDS_FOR_RANDOM:
            add(
                f"{label} has {len(family.seeds)} of the {SEEDS_FOR_RANDOM} seeds that an interval over seeds needs",
                train_command(family.spec, ladder, seeds=_filled(family.seeds)),
            )
        if family.spec.method == "multires" and not _held_out(group, family):
            held = dict(family.spec.method_options) | {"hold_out": True}
            add(
                f"{label} saw the finest rung: it is also wanted with its finest rungs held out",
                train_command(
                    family.spec.model_copy(update={"method_options": held}), ladder, seeds=_filled(family.seeds)
                ),
            )
    there = {f.spec.method for f in group.references}
    offered = available(Ladder(ladder, Path(), {"masked": False, "static": []}), group.spec.task)
    absent = [reference for reference in offered if reference not in there]
    if absent and group.methods:
        family = group.methods[0]
        add(f"no {', '.join(absent)}", train_command(family.spec, ladder, seeds=family.seeds))
    return out


def unfinished(run: RunFolder, runs: Sequence[RunFolder], ladders: Mapping[str, LadderSpec]) -> dict[str, str]:
    """That a run is not finished, and the command that goes on with it.

    runs: all of the folder, for a native run stands in a row of others; ladders: by digest, those that are known.
    """
    spec = run.spec
    ladder = ladders.get(spec.ladder)
    what = f"{run.path.name} is not finished"
    if spec.kind == "reference":
        beside = next((r.spec for r in runs if r.spec.kind == "method" and r.spec.ladder == spec.ladder), None)
        if beside is None:
            return {"what": what, "command": shlex.join([*_where(spec, ladder), "--train-rung", str(spec.band_rung)])}
        command = train_command(beside, ladder, seeds=[beside.seed])
    elif spec.kind == "native":
        row = [r.spec for r in runs if r.spec.kind == "native" and _in_a_row(r.spec, spec)]
        command = _native_command(spec, row, [r.spec for r in runs], ladder)
    else:
        command = train_command(spec, ladder, seeds=[spec.seed])
    wanted = _wanted(spec, ladder)
    if wanted is None or (ladder is None and wanted.spec.digest != spec.ladder):
        what += "; its ladder is not the catalogue's: add the --set data... that it was begun with"
    return {"what": what, "command": command}


def commands(group: Group) -> list[dict[str, str]]:
    """Each method's curve with the command that makes its runs."""
    return [
        {"label": label, "command": train_command(family.spec, group.ladder, seeds=family.seeds)}
        for label, family in zip(labels(group.methods), group.methods, strict=True)
    ]


def train_command(
    spec: RunSpec,
    ladder: LadderSpec | None,
    *,
    seeds: Sequence[int],
    own: bool = True,
    references: bool = False,
    more: Iterable[str] = (),
) -> str:
    """The `anchorbench train` that makes this spec's runs.

    own: whether the method's options are the spec's (else the preset's).  ladder: of the spec; None where unknown.
    """
    preset = _preset(spec)
    # The options that the preset gives; None where they cannot be known, so that all are said.
    models = _tolerant(lambda: validate_options(spec.model, preset.models.get(spec.model, {})))
    train = _tolerant(lambda: validated(TrainOptions, preset.train, where="train").model_dump())
    settings = _differences("model", spec.model_options, models)
    if own:
        settings += _differences("method", spec.method_options, _method_options(spec, ladder, preset))
    if spec.train is not None:
        settings += _differences("train", spec.train.model_dump(), train)
    return shlex.join(
        [
            *_where(spec, ladder),
            *("--train-rung", str(spec.band_rung)),
            *("--model", spec.model, "--method", spec.method, "--seeds", _seeds(seeds)),
            *(["--with-references"] if references else []),
            *(part for setting in [*settings, *more] for part in ("--set", setting)),
        ]
    )


def _where(spec: RunSpec, ladder: LadderSpec | None) -> list[str]:
    """The words for the ladder and the task."""
    wanted = _wanted(spec, ladder)
    usual = _tolerant(lambda: request(_catalog(os.environ.get(ENVIRONMENT)), spec.dataset, size=spec.size))
    words = ["anchorbench", "train", "--dataset", spec.dataset, "--size", spec.size]
    if usual is None or usual.source != spec.source:
        words += ["--source", spec.source]
    if usual is None or usual.entry.default_task != spec.task:
        words += ["--task", spec.task]
    settings = []
    if spec.input_rung is not None and (ladder is None or spec.input_rung != ladder.rungs[0]):
        settings.append(f"task.input_rung={spec.input_rung}")
    if spec.time_factor > 1:
        settings.append(f"task.time_factor={spec.time_factor}")
    if spec.task == "super_resolve" and spec.frames_in > 1:
        settings.append(f"task.frames={spec.frames_in}")
    if ladder is None or wanted is None:
        return [*words, *(part for setting in settings for part in ("--set", setting))]
    if ladder.rungs != wanted.spec.rungs:
        settings.append(f"data.rungs={','.join(map(str, ladder.rungs))}")
        again = _tolerant(
            lambda: request(
                _catalog(os.environ.get(ENVIRONMENT)),
                spec.dataset,
                size=spec.size,
                source=spec.source,
                settings={"rungs": ladder.rungs},
            )
        )
        wanted = again or wanted
    if ladder.source.startswith("generated"):
        if (crop := _crop(ladder, wanted)) is not None:
            settings.append(f"data.crop={crop}")
        settings += _differences("data.generator", ladder.origin, wanted.spec.origin)
    else:
        for part in ("crop", "selection"):
            settings += _differences("data", {part: ladder.origin.get(part)}, {part: wanted.spec.origin.get(part)})
    return [*words, *(part for setting in settings for part in ("--set", setting))]


def _crop(ladder: LadderSpec, wanted: Request) -> int | None:
    """Of a generated ladder, which keeps none in its origin; None where it is the catalogue's."""
    own, usual = (Grid.from_dict(spec.grid).extent[0] for spec in (ladder, wanted.spec))
    return None if wanted.size.crop is None or own == usual else round(wanted.size.crop * own / usual)


def _wanted(spec: RunSpec, ladder: LadderSpec | None) -> Request | None:
    """What the catalogue makes of the ladder's name."""
    source = spec.source if ladder is None else ladder.source
    return _tolerant(
        lambda: request(_catalog(os.environ.get(ENVIRONMENT)), spec.dataset, size=spec.size, source=source)
    )


def _native_command(spec: RunSpec, row: Sequence[RunSpec], runs: Sequence[RunSpec], ladder: LadderSpec | None) -> str:
    """Native's own training options are said where a baseline is there to tell them from its."""
    assert spec.train is not None
    bases = [
        r for r in runs if r.kind == "method" and r.method == "baseline" and same_model(r) == same_model(spec)
        and (r.ladder, r.band_rung) == (spec.ladder, spec.band_rung)
    ]  # fmt: skip
    base = next((r for r in bases if r.seed == spec.seed), bases[0] if bases else None)
    own = spec.train.model_dump() | {"warm_start": None}
    trained = own if base is None or base.train is None else base.train.model_dump()
    more = [f"native.rungs={','.join(str(r) for r in sorted({s.train_rung for s in row}))}"]
    more += _differences("native.train", own, trained)
    if spec.train.warm_start is not None:
        more.append("native.warm_start=true")
    as_baseline = spec.model_copy(
        update={
            "kind": "method",
            "train": validated(TrainOptions, trained, where="train"),
            "train_rung": spec.band_rung,
        }
    )
    return train_command(as_baseline, ladder, seeds=[spec.seed], references=True, more=more)


def _in_a_row(a: RunSpec, b: RunSpec) -> bool:
    return (same_model(a), a.ladder, a.band_rung, a.seed) == (same_model(b), b.ladder, b.band_rung, b.seed)


def _held_out(group: Group, family: Family) -> bool:
    """Whether this mix, or another of its model, leaves the ladder's finest rung out."""
    alike = [f for f in group.methods if f.spec.method == "multires" and same_model(f.spec) == same_model(family.spec)]
    return any(group.mix(f.spec).get(max(group.rungs), 0.0) <= 0 for f in alike)


@lru_cache(maxsize=1)
def _catalog(_: str | None) -> Catalog:
    """Read once for all commands of a report; keyed by the variable that names another file."""
    return load_catalog()


def _preset(spec: RunSpec) -> Preset:
    return _tolerant(lambda: load_preset(spec.size, spec.dataset, task=spec.task)) or Preset(model="")


def _method_options(spec: RunSpec, ladder: LadderSpec | None, preset: Preset) -> dict[str, Any] | None:
    if ladder is None:
        wanted = _wanted(spec, None)
        if wanted is None:
            return None
        ladder = wanted.spec
    plan = Plan.of(ladder, spec.band_rung)
    usual = preset.methods.get(spec.method, {})
    return _tolerant(
        lambda: dict(build_method(spec.method, plan, usual, task=spec.task).options.model_dump(mode="json"))
    )


def _tolerant(make: Callable[[], T]) -> T | None:
    """The value; None where a name or option is not known here, as of a model whose file is gone."""
    try:
        return make()
    except AnchorbenchError:
        return None


def _differences(prefix: str, own: Mapping[str, Any], usual: Mapping[str, Any] | None) -> list[str]:
    """`prefix.name=value` for each option that differs; all of them where the usual ones are not known."""
    out = []
    for name, value in own.items():
        known = (usual or {}).get(name)
        if usual is not None and name in usual and known == value:
            continue
        if isinstance(value, Mapping) and isinstance(known, Mapping) and set(known) <= set(value):
            out += _differences(f"{prefix}.{name}", value, known)
        else:
            out.append(f"{prefix}.{name}={_yaml(value)}")
    return out


def _yaml(value: Any) -> str:
    """A value as `--set` reads it: one line of YAML, floats with all their figures."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


def _filled(seeds: Sequence[int]) -> list[int]:
    """The seeds that are there, and the smallest others up to the number an interval needs."""
    others = (n for n in range(len(seeds) + SEEDS_FOR_RANDOM) if n not in seeds)
    lacking = max(0, SEEDS_FOR_RANDOM - len(seeds))
    return sorted([*seeds, *(next(others) for _ in range(lacking))])


def _seeds(seeds: Sequence[int]) -> str:
    """As `--seeds` reads them: 3 for 0, 1 and 2; `0,4`; `4,` for 4 alone."""
    if list(seeds) == list(range(len(seeds))):
        return str(len(seeds))
    return ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")
