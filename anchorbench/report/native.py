"""Which runs stand for `native` beside a run, and what must be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anchorbench.analysis.intervals import SEEDS_FOR_RANDOM
from anchorbench.config import RunSpec, TrainOptions
from anchorbench.fields.grid import rung_name
from anchorbench.report.scored import Family

NUMBERS = {1: "one seed", 2: "two seeds"}


def same_model(spec: RunSpec) -> tuple[Any, ...]:
    """What two runs of one model have in common: its name, options and file."""
    return spec.model, spec.model_options, spec.model_digest


def choose(families: Sequence[Family], baseline: Family) -> dict[int, Family]:
    """rung -> the native runs of the baseline's own model, those trained as it was before others, then most seeds.

    A warm start is no difference: `native` may begin with the weights of the rung below.
    """
    found: dict[int, Family] = {}
    for family in families:
        if same_model(family.spec) != same_model(baseline.spec):
            continue
        rung = family.spec.train_rung
        if rung not in found or _rank(family, baseline) > _rank(found[rung], baseline):
            found[rung] = family
    return found


def _rank(family: Family, baseline: Family) -> tuple[bool, int]:
    return not differences(family.spec, baseline.spec), len(family.runs)


def differences(native: RunSpec, baseline: RunSpec) -> dict[str, tuple[Any, Any]]:
    """Training option -> (native's, the baseline's) where they differ; what changes no weight is none."""
    assert native.train is not None
    assert baseline.train is not None
    names = [name for name in TrainOptions.model_fields if name not in ("warm_start", "keep_checkpoints")]
    pairs = {name: (getattr(native.train, name), getattr(baseline.train, name)) for name in names}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def training_notes(natives: Mapping[int, Family], baseline: Family) -> list[str]:
    """One sentence a native rung that was trained otherwise than the baseline."""
    notes = []
    for rung, family in sorted(natives.items()):
        told = [
            f"had {a} steps, the baseline {b}" if name == "steps" else f"was trained with {name} {a}, the baseline {b}"
            for name, (a, b) in differences(family.spec, baseline.spec).items()
        ]
        if told:
            notes.append(f"native {rung_name(rung)} {'; it '.join(told)}")
    return notes


def warm_started(natives: Mapping[int, Family]) -> str:
    """`; r032 warm-started from the coarser rung`; empty where none was."""
    warm = [r for r, f in sorted(natives.items()) if f.spec.train is not None and f.spec.train.warm_start is not None]
    if not warm:
        return ""
    which = "each" if len(warm) == len(natives) else ", ".join(map(rung_name, warm))
    return f"; {which} warm-started from the coarser rung"


def seeds_note(families: Sequence[Family]) -> str | None:
    """That headroom and A stand on few seeds; None where native has enough for an interval over seeds."""
    fewest = min((len(family.runs) for family in families), default=SEEDS_FOR_RANDOM)
    if fewest >= SEEDS_FOR_RANDOM:
        return None
    given = "that seed" if fewest == 1 else "those seeds"
    return f"native has {NUMBERS[fewest]}: headroom and A are given {given}"
