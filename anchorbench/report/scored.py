"""Finished runs as they are read back: one run's sums, and the family of runs that differ only in their seed."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from anchorbench.analysis import ANOMALY_NAMES, SCORE_NAMES, Cells, Sums, correlation, in_blocks, shares
from anchorbench.config import RunSpec, canonical, digest_of
from anchorbench.errors import RunError
from anchorbench.fields.grid import rung_name
from anchorbench.report.studies import AS_SET, Words, footing_of
from anchorbench.runs.probes import read_probes
from anchorbench.runs.store import RunFolder

#: Sums are kept in units of σ², so σ is 1 wherever they are pooled.
SIGMA = 1.0
NO_WORDS = Words()


@dataclass(frozen=True)
class Scored:
    """A finished run and its curve.nc, and what a study calls it."""

    run: RunFolder
    words: Words = NO_WORDS

    @property
    def spec(self) -> RunSpec:
        return self.run.spec

    @cached_property
    def data(self) -> xr.Dataset:
        path = self.run.path / "curve.nc"
        try:
            with xr.open_dataset(path, engine="netcdf4") as data:
                return data.load()
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read: {error}", do=f"anchorbench evaluate {self.run.path.name} makes it again"
            ) from None

    @cached_property
    def probes(self) -> dict[str, xr.Dataset]:
        """What the tests of `anchorbench evaluate --test` left, by test."""
        return read_probes(self.run)

    def sums(self, prefix: str = "") -> dict[int, Sums]:
        """The score's sums by rung; prefix: of the run's own coarse prediction."""
        names = [f"{prefix}{name}" for name in SCORE_NAMES]
        out = {}
        for rung in self.data["rung"].values.tolist():
            at = self.data.sel(rung=rung)
            arrays = {name.removeprefix(prefix): at[name].values for name in names}
            if np.isfinite(arrays["weight"]).all():
                out[int(rung)] = Sums(arrays)
        return out

    def budget(self, rung: int) -> Sums | None:
        """The budget's sums on one rung; None where it has none."""
        at = self.data.sel(rung=rung)
        names = [str(name) for name in self.data.data_vars if str(name).startswith("budget_")]
        if not names or not np.isfinite(at[names[0]].values).all():
            return None
        return Sums({name: at[name].values for name in names})

    def anomalies(self, rung: int, prefix: str = "") -> Sums | None:
        """The sums of the anomaly correlation on one rung; None where none were made."""
        names = [f"{prefix}{name}" for name in ANOMALY_NAMES]
        if names[0] not in self.data or not np.isfinite(self.data[names[0]].sel(rung=rung).values).all():
            return None
        return Sums({name.removeprefix(prefix): self.data[name].sel(rung=rung).values for name in names})

    def fields(self, rung: int) -> dict[str, np.ndarray]:
        path = self.run.path / "curve.nc"
        with xr.open_dataset(path, engine="netcdf4", group=f"fields/{rung_name(rung)}") as data:
            return {str(name): data[name].values for name in data.data_vars}


@dataclass(frozen=True)
class Family:
    """Runs that differ only in their seed."""

    runs: tuple[Scored, ...]

    @property
    def spec(self) -> RunSpec:
        return self.runs[0].spec

    @property
    def steps(self) -> int | None:
        return None if self.spec.train is None else self.spec.train.steps

    @property
    def seeds(self) -> list[int]:
        return [run.spec.seed for run in self.runs]

    @property
    def study_label(self) -> str | None:
        """The label that all its runs have in their studies."""
        found = {run.words.label for run in self.runs}
        return found.pop() if len(found) == 1 else None

    @property
    def footing(self) -> str:
        """`equal cost`, `equal parameters`, or `as set` where not all its runs stand on one."""
        found = {footing_of(run.words, run.spec.footing) for run in self.runs}
        return found.pop() if len(found) == 1 else AS_SET

    def budget(self, rung: int) -> dict[str, float] | None:
        """Signed shares of E_res², pooled over the seeds; None where the rung has none."""
        sums = [found for run in self.runs if (found := run.budget(rung)) is not None]
        pooled = shares(reduce(add, sums), sigma=SIGMA) if sums else None
        return None if pooled is None else {part: getattr(pooled, part) for part in ("model", "grid", "information")}

    def acc(self, rung: int, prefix: str = "") -> float | None:
        """The anomaly correlation, pooled over the seeds; None where the rung has none."""
        sums = [found for run in self.runs if (found := run.anomalies(rung, prefix)) is not None]
        return correlation(sums) if sums else None

    def cells(self, prefix: str = "") -> Cells:
        """Of one record in time (its provenance has a start) neighbouring clusters are added up to stretches."""
        cells = Cells.from_sums([run.sums(prefix) for run in self.runs], sigma=SIGMA)
        one_record = "record_start" in json.loads(self.runs[0].data.attrs["provenance"])
        return in_blocks(cells) if one_record else cells


def families(members: Iterable[Scored]) -> list[Family]:
    by_spec: dict[str, list[Scored]] = defaultdict(list)
    for scored in members:
        by_spec[_seedless(scored.spec)].append(scored)
    found = [Family(tuple(sorted(runs, key=lambda r: r.spec.seed))) for runs in by_spec.values()]
    return sorted(found, key=_place)


def _place(family: Family) -> tuple[Any, ...]:
    """By model; in it the baseline first, and of each method the row without a label."""
    spec = family.spec
    return spec.model, spec.method != "baseline", spec.method, family.study_label or "", spec.digest


def labels(families: Sequence[Family]) -> list[str]:
    """A short name each, no two alike: the method, with model, a study's label or the options where others share it.

    Where that tells two apart no more (one file name in two folders), the beginning of the spec's digest does.
    """
    models = {f.spec.model for f in families}
    out = []
    for family in families:
        spec = family.spec
        label = spec.method if len(models) == 1 else f"{spec.method} · {Path(spec.model).name}"
        own, like = _flat(spec), (spec.method, spec.model, family.study_label)
        twins = [f for f in families if f is not family and (f.spec.method, f.spec.model, f.study_label) == like]
        telling = sorted({k for f in twins for k in own if own[k] != _flat(f.spec).get(k)})
        told = [family.study_label] if family.study_label else []
        told += [f"{k.rpartition('.')[2]}={own[k]}" for k in telling]
        out.append(f"{label} ({', '.join(told)})" if told else label)
    twice = {label for label in out if out.count(label) > 1}
    return [
        f"{label} #{_seedless(family.spec)[:4]}" if label in twice else label
        for label, family in zip(out, families, strict=True)
    ]


def _seedless(spec: RunSpec) -> str:
    """The digest of what the runs of a family have in common."""
    return digest_of(spec.model_dump(mode="json") | {"seed": None, "footing": None})


def environments(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each distinct environment of some runs, and of how many."""
    count: dict[str, int] = defaultdict(int)
    distinct: dict[str, dict[str, Any]] = {}
    for one in found:
        packages = one.get("packages") or {}
        named = {name: one.get(name) for name in ("anchorbench", "python", "machine", "platform", "device")}
        told = {name: value for name, value in {**named, "torch": packages.get("torch")}.items() if value is not None}
        key = canonical(told)
        count[key] += 1
        distinct[key] = told
    return [{"runs": count[key], **told} for key, told in distinct.items()]


def _flat(spec: RunSpec) -> dict[str, Any]:
    groups = {"method": spec.method_options, "model": spec.model_options,
              "train": {} if spec.train is None else spec.train.model_dump()}  # fmt: skip
    return {f"{group}.{name}": value for group, options in groups.items() for name, value in options.items()}


def mean_seconds(runs: Sequence[Scored]) -> float | None:
    found = [s for run in runs if (s := run.run.environment().get("train_seconds")) is not None]
    return float(np.mean(found)) if found else None


def convergence(scored: Scored) -> str:
    """How much the native model's validation error still fell over the last quarter of its steps."""
    rung = rung_name(scored.spec.train_rung)
    looks = [(int(row["step"]), float(row["validation"])) for row in scored.run.logged() if row["validation"]]
    if len(looks) < 2:
        return f"native {rung}: too few looks at the validation split to say whether it converged"
    late = [e for step, e in looks if step <= 0.75 * looks[-1][0]]
    before, after = min(late or [looks[0][1]]), min(e for _, e in looks)
    fell = 1 - after / before if before > 0 and math.isfinite(before) else 0.0
    said = "converged" if fell < 0.05 else "still falling, so its error is an upper bound"
    return f"native {rung}: validation error fell {fell:.0%} over the last quarter of the steps ({said})"
