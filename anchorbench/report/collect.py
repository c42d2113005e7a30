"""From the runs in a results folder to a report document: pool seeds, judge, and gather what figures need.

Runs of one ladder, task, lead and scored band make a group; runs that differ only in their seed make a curve.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

import anchorbench
from anchorbench.analysis import ROUNDING, SCORE_NAMES, Cells, Interval, Sums, Verdict, curve, explain, judge, shares
from anchorbench.analysis.intervals import GIVEN_SEEDS
from anchorbench.config import LadderSpec, RunSpec, digest_of
from anchorbench.errors import RunError
from anchorbench.fields import Grid
from anchorbench.fields.grid import rung_name
from anchorbench.methods.base import Plan
from anchorbench.methods.registry import METHODS, build_method
from anchorbench.runs.evaluate import COARSE
from anchorbench.runs.plan import group_key
from anchorbench.runs.store import RunFolder, find_runs

#: Sums are kept in units of σ², so σ is 1 wherever they are pooled.
SIGMA = 1.0


@dataclass(frozen=True)
class Scored:
    """A finished run and its curve.nc."""

    run: RunFolder

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

    def budget(self, rung: int) -> dict[str, float] | None:
        at = self.data.sel(rung=rung)
        names = [name for name in self.data.data_vars if str(name).startswith("budget_")]
        if not names or not np.isfinite(at[names[0]].values).all():
            return None
        found = shares(Sums({str(name): at[name].values for name in names}), sigma=SIGMA)
        return None if found is None else {p: getattr(found, p) for p in ("model", "grid", "information")}

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
    def seeds(self) -> list[int]:
        return [run.spec.seed for run in self.runs]

    def cells(self, prefix: str = "") -> Cells:
        return Cells.from_sums([run.sums(prefix) for run in self.runs], sigma=SIGMA)


def collect(results: Path, *, delta: float = 0.1, dataset: str | None = None) -> dict[str, Any]:
    """The report document of all finished runs of a folder.

    Raises RunError where there is none.
    """
    runs = [run for run in find_runs(results) if dataset in (None, run.spec.dataset)]
    finished = [Scored(run) for run in runs if run.finished]
    if not finished:
        raise RunError(
            f"there is no finished run in {results}" + (f" ({len(runs)} unfinished)" if runs else ""),
            do="anchorbench train --method baseline --with-references",
        )
    by_group: dict[str, list[Scored]] = defaultdict(list)
    for scored in finished:
        by_group[group_key(scored.spec)].append(scored)
    document: dict[str, Any] = {
        "schema": 1,
        "version": anchorbench.__version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "groups": [],
        "curves": [],
        "missing": [
            {"what": f"{run.path.name} is not finished", "command": "run the `anchorbench train` that began it again"}
            for run in runs
            if not run.finished
        ],
    }
    for key, members in sorted(by_group.items(), key=lambda item: (item[1][0].spec.dataset, item[0])):
        group = Group(key, members, delta=delta)
        document["groups"].append(group.describe())
        document["curves"] += group.curves()
        document["missing"] += group.missing()
    return document


class Group:
    """The families of one figure, and their documents."""

    def __init__(self, key: str, members: Sequence[Scored], *, delta: float) -> None:
        self.key, self.delta = key, delta
        self.members = members
        self.methods = _families(m for m in members if m.spec.kind == "method")
        self.references = _families(m for m in members if m.spec.kind == "reference")
        self.natives = [m for m in members if m.spec.kind == "native"]
        first = members[0]
        self.attrs = first.data.attrs
        self.spec = first.spec
        self.ladder = LadderSpec(**json.loads(self.attrs["ladder"]))
        self.provenance: dict[str, str] = json.loads(self.attrs["provenance"])
        self.sigma = float(np.atleast_1d(self.attrs["sigma"])[0])
        self.rungs = list(self.ladder.rungs)

    @property
    def variable(self) -> Any:
        return self.ladder.variables[0]

    @property
    def floor(self) -> dict[int, float]:
        """The truth's own error in ρ₀'s band over the lead, in σ: the same field, so the same number, on every rung."""
        band = {int(rung): e for rung, e in json.loads(self.attrs["floor"]).items()}.get(self.spec.band_rung)
        if band is None or self.spec.lead != 1:
            return {}
        return {rung: band / self.sigma for rung in self.rungs if rung >= self.spec.band_rung}

    def mix(self, spec: RunSpec) -> dict[int, float]:
        """Share of a method's training samples by rung."""
        grid = Grid.from_dict(self.ladder.grid).with_rung(spec.train_rung)
        plan = Plan(self.ladder.rungs, grid, self.ladder.restriction, masked=False, increment=False)  # type: ignore[arg-type]
        return build_method(spec.method, plan, spec.method_options, task=spec.task).mix()

    def baseline(self, model: str, options: Mapping[str, Any]) -> Family | None:
        """The baseline of the same model: the zero of `native` and the denominator of the papers' ratio."""
        for family in self.methods:
            spec = family.spec
            if spec.method == "baseline" and spec.model == model and spec.model_options == options:
                return family
        return None

    def native_cells(self, spec: RunSpec) -> dict[int, Cells]:
        """rung -> cells of the model trained there, the baseline at ρ₀; empty where nobody trained one."""
        found = [m for m in self.natives if m.spec.model == spec.model and m.spec.model_options == spec.model_options]
        baseline = self.baseline(spec.model, spec.model_options)
        if not found or baseline is None:
            return {}
        by_rung: dict[int, list[Scored]] = defaultdict(list)
        for scored in found:
            by_rung[scored.spec.train_rung].append(scored)
        cells = {rung: Family(tuple(runs)).cells() for rung, runs in by_rung.items()}
        return {self.spec.band_rung: baseline.cells(), **cells}

    def curves(self) -> list[dict[str, Any]]:
        """Methods first, then the baseline's coarse prediction, native, and the references without training."""
        labels = _labels(self.methods)
        out = [self._method(family, labels[i]) for i, family in enumerate(self.methods)]
        for i, family in enumerate(self.methods):
            if family.spec.method == "baseline":
                name = f"{COARSE} ({labels[i]})" if len(self.methods) > 1 else COARSE
                out.append(self._curve(family, name, family.cells(f"{COARSE}_"), kind="reference", method=COARSE))
                if native := self._native(family):
                    out.append(native)
        for family in self.references:
            out.append(
                self._curve(family, family.spec.method, family.cells(), kind="reference", method=family.spec.method)
            )
        return out

    def _method(self, family: Family, label: str) -> dict[str, Any]:
        out = self._curve(family, label, family.cells(), kind="method", method=family.spec.method)
        budgets = []
        for rung in out["rungs"]:
            parts = [b for run in family.runs if (b := run.budget(rung)) is not None]
            budgets.append({p: float(np.mean([b[p] for b in parts])) for p in parts[0]} if parts else None)
        card = family.runs[0].run.path / "card.json"
        out |= {
            "budget": budgets,
            "cost": self._cost(family),
            "card": json.loads(card.read_text()) if card.exists() else None,
        }
        if out["card"] is not None:
            out["cost"]["parameters"] = out["card"]["parameters"]
        return out

    def _curve(self, family: Family, label: str, cells: Cells, *, kind: str, method: str) -> dict[str, Any]:
        spec = family.spec
        seen = sorted(rung for rung, share in self.mix(spec).items() if share > 0) if kind == "method" else []
        baseline = self.baseline(spec.model, spec.model_options) or next(
            (f for f in self.methods if f.spec.method == "baseline"), None
        )
        drawn = curve(cells, train_rung=spec.band_rung, baseline=None if baseline is None else baseline.cells())
        verdict = judge(
            cells,
            train_rung=spec.band_rung,
            seen=seen,
            native=self.native_cells(spec) or None,
            floor=self.floor,
            delta=self.delta,
        )
        if spec.train is None:
            verdict = _without_seeds(verdict)
        said = verdict.to_dict()
        headroom = verdict.headroom

        def bounds(name: str) -> list[list[float] | None]:
            return [None if i is None or i.high <= ROUNDING else [i.low, i.high] for i in drawn.intervals[name]]

        return {
            **self._head(),
            "kind": kind,
            "label": label,
            "method": method,
            "model": spec.model if spec.train is not None else None,
            "track": METHODS[method][2] if method in METHODS else None,
            "seeds": family.seeds if spec.train is not None else [],
            "seen_rungs": seen,
            "rungs": list(drawn.rungs),
            "error": _rounded(drawn.error),
            "error_interval": bounds("error"),
            "unseen": _rounded(drawn.unseen),
            "unseen_interval": bounds("unseen"),
            "skill": _rounded(drawn.skill),
            "skill_interval": bounds("skill"),
            "total": _rounded(drawn.total),
            "ratio": {"own": list(drawn.ratio_own), "baseline": list(drawn.ratio_baseline)},
            "anchoring_index": [verdict.anchoring_index.get(rung) for rung in drawn.rungs],
            "anchoring_reason": [verdict.anchoring_reasons.get(rung) for rung in drawn.rungs],
            "budget": [None] * len(drawn.rungs),
            **{
                name: said[name]
                for name in (
                    "slope",
                    "interval",
                    "interval_kind",
                    "level",
                    "delta",
                    "smallest_slope",
                    "local_slopes",
                    "verdict",
                    "second_word",
                    "used",
                    "left_out",
                )  # fmt: skip
            },
            "headroom": {
                "shown": said["headroom"]["shown"],
                "slope": None if headroom.slope is None else headroom.slope.estimate,
                "interval": None if headroom.slope is None else [headroom.slope.low, headroom.slope.high],
                "text": headroom.reason or headroom.word,
            },
            "notes": list(verdict.notes),
            "words": explain(verdict, name=label),
            "cost": None,
            "card": None,
        }

    def _native(self, baseline: Family) -> dict[str, Any] | None:
        """`native` as one reference: each rung another model, the baseline itself at ρ₀; no verdict of its own."""
        cells = self.native_cells(baseline.spec)
        if not cells:
            return None
        rungs = sorted(cells)
        curves = {rung: curve(c) for rung, c in cells.items()}

        def at(name: str) -> list[float | None]:
            return [getattr(curves[r], name)[curves[r].rungs.index(r)] for r in rungs]

        def bounds(name: str) -> list[list[float] | None]:
            found = [curves[r].intervals[name][curves[r].rungs.index(r)] for r in rungs]
            return [None if i is None else [i.low, i.high] for i in found]

        seeds = sorted({m.spec.seed for m in self.natives})
        natives = [m for m in self.natives if m.spec.model == baseline.spec.model]
        nulls = [None] * len(rungs)
        return {
            **self._head(),
            "kind": "reference",
            "label": "native",
            "method": "native",
            "model": baseline.spec.model,
            "track": None,
            "seeds": seeds,
            "seen_rungs": rungs,
            "rungs": rungs,
            "error": at("error"),
            "error_interval": bounds("error"),
            "unseen": at("unseen"),
            "unseen_interval": bounds("unseen"),
            "skill": at("skill"),
            "skill_interval": bounds("skill"),
            "total": at("total"),
            "ratio": {"own": nulls, "baseline": nulls},
            "anchoring_index": nulls,
            "anchoring_reason": nulls,
            "budget": nulls,
            "slope": None, "interval": None, "interval_kind": "given these seeds", "smallest_slope": None,
            "local_slopes": [], "verdict": None, "second_word": None,
            "headroom": {"shown": None, "slope": None, "interval": None, "text": ""},
            "notes": [_convergence(m) for m in natives],
            "words": f"native is the baseline trained at each rung (seeds {', '.join(map(str, seeds))})",
            "cost": {"train_seconds": _mean_seconds(natives), "steps": natives[0].spec.train.steps if natives and natives[0].spec.train else None, "parameters": None, "train_points": None},
            "card": None,
        }  # fmt: skip

    def _head(self) -> dict[str, Any]:
        return {
            "group": self.key,
            "dataset": self.spec.dataset,
            "display_name": self.provenance["display_name"],
            "source": self.spec.source,
            "size": self.spec.size,
            "task": self.spec.task,
            "protocol": self.spec.protocol,
            "variable": self.variable.name,
            "unit": self.variable.units,
            "lead": self.spec.lead * self.ladder.time_step,
            "lead_unit": self.ladder.time_unit,
            "train_rung": self.spec.band_rung,
        }

    def _cost(self, family: Family) -> dict[str, Any]:
        spec = family.spec
        assert spec.train is not None
        ndim = Grid.from_dict(self.ladder.grid).ndim
        mix = self.mix(spec)
        samples = spec.train.steps * spec.train.batch
        return {
            "train_seconds": _mean_seconds(family.runs),
            "steps": spec.train.steps,
            "samples": samples,
            "train_points": round(samples * sum(share * rung**ndim for rung, share in mix.items())),
            "parameters": None,
            "device": family.runs[0].run.environment().get("device"),
        }

    def describe(self) -> dict[str, Any]:
        head = self._head()
        return {
            **{k: v for k, v in head.items() if k not in ("group", "protocol")},
            "id": self.key,
            "title": f"{head['display_name']} · {head['size']} · {head['task']}",
            "restriction": self.ladder.restriction,
            "rungs": self.rungs,
            "sigma": self.sigma,
            "floor": self.floor or None,
            "provenance": {
                **{k: v for k, v in self.provenance.items() if k not in ("terms", "display_name")},
                "ladder": self.ladder.digest,
                "energy removed by each step": ", ".join(
                    f"{name} {share:.1%}" for name, share in json.loads(self.attrs["energy_removed"]).items() if share
                ),
            },
            "terms": self.provenance["terms"],
            "spectra": self._spectra(),
            "fields": self._fields(),
            "environment": self.members[0].run.environment(),
            "specs": [
                {
                    "run": m.run.path.name,
                    "spec": yaml.safe_dump(m.spec.model_dump(mode="json"), sort_keys=False),
                    "environment": m.run.environment(),
                }
                for m in self.members
            ],
        }

    def _spectra(self) -> dict[str, Any] | None:
        if not self.methods:
            return None
        grid = Grid.from_dict(self.ladder.grid)
        labels = _labels(self.methods)
        first = self.methods[0].runs[0]
        out: dict[str, Any] = {
            "unit": f"rad/{grid.unit}" if grid.unit != "1" else "rad",
            "k_train_nyquist": grid.with_rung(self.spec.band_rung).k_nyquist,
            "k": {}, "truth": {}, "predictions": {}, "error": {},
        }  # fmt: skip
        for rung in self.rungs:
            k = first.data["k"].values
            kept = np.isfinite(first.data["spectrum_truth"].sel(rung=rung).values)
            out["k"][rung] = k[kept].tolist()
            out["truth"][rung] = (first.data["spectrum_truth"].sel(rung=rung).values[kept]).tolist()
        for label, family in zip(labels, self.methods, strict=True):
            for what, name in (("predictions", "prediction"), ("error", "error")):
                out[what][label] = {}
                for rung in self.rungs:
                    rows = [run.data[f"spectrum_{name}"].sel(rung=rung).values for run in family.runs]
                    mean = np.mean(rows, axis=0)
                    out[what][label][rung] = mean[np.isfinite(mean)].tolist()
        return out

    def _fields(self) -> dict[str, Any] | None:
        grid = Grid.from_dict(self.ladder.grid)
        if not self.methods or grid.ndim != 2:
            return None
        finer = [rung for rung in self.rungs if rung > self.spec.band_rung]
        rungs = sorted({self.spec.band_rung, *finer[(len(finer) - 1) // 2 :][:1], *finer[-1:]})
        labels = _labels(self.methods)
        shown = {
            label: {rung: family.runs[0].fields(rung) for rung in rungs}
            for label, family in zip(labels, self.methods, strict=True)
        }
        one = next(iter(shown.values()))
        return {
            "rungs": rungs,
            "truth": {rung: one[rung]["truth"] for rung in rungs},
            "predictions": {
                label: {rung: by_rung[rung]["prediction"] for rung in rungs} for label, by_rung in shown.items()
            },
            "extent": [0.0, grid.extent[1], 0.0, grid.extent[0]],
            "unit": grid.unit,
            "cmap": "rain" if "rain" in self.variable.name else "diverging",
        }

    def missing(self) -> list[dict[str, str]]:
        """What a reader would want beside these curves, and the command that makes it."""
        spec = self.spec
        command = f"anchorbench train --dataset {spec.dataset} --size {spec.size} --train-rung {spec.band_rung}"
        out = []
        name = self.provenance["display_name"]
        models = {f.spec.model for f in self.methods}
        for model in sorted(models):
            has_baseline = any(f.spec.method == "baseline" and f.spec.model == model for f in self.methods)
            has_native = any(m.spec.model == model for m in self.natives)
            if not (has_baseline and has_native):
                lacking = " and ".join(
                    n for n, there in (("baseline", has_baseline), ("native", has_native)) if not there
                )
                out.append(
                    {
                        "what": f"{name}: no {lacking} for {model}, so headroom is not shown",
                        "command": f"{command} --model {model} --method baseline --with-references",
                    }
                )
        for family in self.methods:
            if len(family.seeds) < 3:
                out.append(
                    {
                        "what": f"{name}: {family.spec.method} has {len(family.seeds)} of the 3 seeds that an interval "
                        "over seeds needs",
                        "command": f"{command} --model {family.spec.model} --method {family.spec.method} --seeds 3",
                    }
                )
        return out


def _families(members: Iterable[Scored]) -> list[Family]:
    by_spec: dict[str, list[Scored]] = defaultdict(list)
    for scored in members:
        plain = scored.spec.model_dump(mode="json") | {"seed": None}
        by_spec[digest_of(plain)].append(scored)
    families = [Family(tuple(sorted(runs, key=lambda r: r.spec.seed))) for runs in by_spec.values()]
    return sorted(families, key=lambda f: (f.spec.model, f.spec.method != "baseline", f.spec.method, f.spec.digest))


def _labels(families: Sequence[Family]) -> list[str]:
    """A short name each: the method, with the model or the options where others share it."""
    models = {f.spec.model for f in families}
    labels = []
    for family in families:
        spec = family.spec
        label = spec.method if len(models) == 1 else f"{spec.method} · {Path(spec.model).name}"
        twins = [f for f in families if f is not family and (f.spec.method, f.spec.model) == (spec.method, spec.model)]
        own = _flat(spec)
        telling = sorted({k for f in twins for k in own if own[k] != _flat(f.spec).get(k)})
        if telling:
            label += " (" + ", ".join(f"{k.rpartition('.')[2]}={own[k]}" for k in telling) + ")"
        labels.append(label)
    return labels


def _flat(spec: RunSpec) -> dict[str, Any]:
    groups = {"method": spec.method_options, "model": spec.model_options,
              "train": {} if spec.train is None else spec.train.model_dump()}  # fmt: skip
    return {f"{group}.{name}": value for group, options in groups.items() for name, value in options.items()}


def _without_seeds(verdict: Verdict) -> Verdict:
    """A reference without training has no seeds to be given: its interval is over trajectories alone."""

    def plain(found: Interval | None) -> Interval | None:
        return None if found is None else replace(found, given_seeds=False)

    return replace(
        verdict,
        slope=plain(verdict.slope),
        skill_interval=plain(verdict.skill_interval),
        notes=tuple(note for note in verdict.notes if note != GIVEN_SEEDS),
    )


def _rounded(values: Iterable[float | None]) -> list[float | None]:
    """float32's rounding is zero: the oracle's error is 0, not 1e-7."""
    return [0.0 if v is not None and abs(v) <= ROUNDING else v for v in values]


def _mean_seconds(runs: Sequence[Scored]) -> float | None:
    found = [s for run in runs if (s := run.run.environment().get("train_seconds")) is not None]
    return float(np.mean(found)) if found else None


def _convergence(scored: Scored) -> str:
    """How much the native model's validation error still fell over the last quarter of its steps."""
    rung = rung_name(scored.spec.train_rung)
    path = scored.run.path / "log.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()[1:]] if path.exists() else []
    looks = [(int(line[0]), float(line[3])) for line in lines if line[3]]
    if len(looks) < 2:
        return f"native {rung}: too few looks at the validation split to say whether it converged"
    late = [e for step, e in looks if step <= 0.75 * looks[-1][0]]
    before, after = min(late or [looks[0][1]]), min(e for _, e in looks)
    fell = 1 - after / before if before > 0 and math.isfinite(before) else 0.0
    said = "converged" if fell < 0.05 else "still falling, so its error is an upper bound"
    return f"native {rung}: validation error fell {fell:.0%} over the last quarter of the steps ({said})"
