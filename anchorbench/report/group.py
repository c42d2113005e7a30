"""One figure's worth of runs: the families of one ladder, task, lead and scored band, judged, as documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from anchorbench.analysis import Cells, curve, explain, judge
from anchorbench.config import LadderSpec, RunSpec, targets_of
from anchorbench.fields import Grid
from anchorbench.methods.base import Method, Plan
from anchorbench.methods.registry import METHODS, REFERENCES, build_method
from anchorbench.report.control import with_controls
from anchorbench.report.cost import cost_of, inference_cost, solver_price
from anchorbench.report.fresh import selections_of
from anchorbench.report.native import choose, same_model, seeds_note, training_notes, warm_started
from anchorbench.report.paired import comparisons
from anchorbench.report.precipitation import precipitation
from anchorbench.report.probed import probes
from anchorbench.report.said import not_judged, scores_said, verdict_said, without_seeds
from anchorbench.report.scored import Family, Scored, convergence, environments, families, labels, mean_seconds
from anchorbench.report.shown import fields, spectra
from anchorbench.report.super_resolution import factor_scores
from anchorbench.runs.curve_file import COARSE


class Group:
    """The families of one figure, and their documents."""

    def __init__(self, key: str, members: Sequence[Scored], *, delta: float) -> None:
        self.key, self.delta = key, delta
        self.members = members
        self.methods = families(m for m in members if m.spec.kind == "method")
        self.references = families(m for m in members if m.spec.kind == "reference")
        self.native_families = families(m for m in members if m.spec.kind == "native")
        first = members[0]
        self.attrs = first.data.attrs
        self.spec = first.spec
        self.ladder = LadderSpec(**json.loads(self.attrs["ladder"]))
        self.provenance: dict[str, str] = json.loads(self.attrs["provenance"])
        self.sigma = float(np.atleast_1d(self.attrs["sigma"])[0])
        self.rungs = [rung for rung in self.ladder.rungs if rung > (self.spec.input_rung or 0)]
        self.finest = Grid.from_dict(self.ladder.grid)

    @property
    def variable(self) -> Any:
        return self.ladder.variables[targets_of(self.ladder.variables)[0]]

    @property
    def _floor_of_one_step(self) -> float | None:
        """The truth's own error in ρ₀'s band after one step, in the variable's unit; None where nobody measured it."""
        return {int(rung): float(e) for rung, e in json.loads(self.attrs["floor"]).items()}.get(self.spec.band_rung)

    @property
    def _one_step(self) -> bool:
        """True where the lead is what the floor was measured over; fields without time have one step."""
        return self.spec.lead == (1 if self.ladder.time_step else 0)

    @property
    def notes(self) -> list[str]:
        """What holds for every curve of the group."""
        notes = [seeds_note(self.native_families)]
        if self._floor_of_one_step is not None and not self._one_step:
            notes.append("the truth's floor is known for one step only: no point leaves the fit for it here")
        return [note for note in notes if note is not None]

    @property
    def baselines(self) -> list[Family]:
        return [family for family in self.methods if family.spec.method == "baseline"]

    @property
    def floor(self) -> dict[int, float]:
        """The truth's own error in ρ₀'s band over the lead, in σ: the same field, so the same number, on every rung."""
        band = self._floor_of_one_step
        if band is None or not self._one_step:
            return {}
        return {rung: band / self.sigma for rung in self.rungs if rung >= self.spec.band_rung}

    def mix(self, spec: RunSpec) -> dict[int, float]:
        """Share of a method's training samples by rung."""
        return self._built(spec).mix()

    def _seen(self, spec: RunSpec) -> list[int]:
        return sorted(rung for rung, share in self.mix(spec).items() if share > 0)

    def _built(self, spec: RunSpec) -> Method:
        plan = replace(Plan.of(self.ladder, spec.train_rung), input_rung=spec.input_rung, time_factor=spec.time_factor)
        return build_method(spec.method, plan, spec.method_options, task=spec.task)

    def baseline(self, spec: RunSpec) -> Family | None:
        """The baseline of a run's own model, trained alike where there is one: the denominator, and native's start.

        A reference without training has no model: the group's first baseline.
        """
        same = [f for f in self.baselines if spec.train is None or same_model(f.spec) == same_model(spec)]
        alike = [f for f in same if f.spec.train == spec.train]
        return next(iter(alike or same), None)

    def natives(self, spec: RunSpec) -> dict[int, Family]:
        """rung -> the runs trained there with a run's own model, as its baseline was where there are such."""
        baseline = self.baseline(spec)
        return {} if baseline is None or spec.train is None else choose(self.native_families, baseline)

    def native_cells(self, spec: RunSpec) -> dict[int, Cells]:
        """rung -> cells of the model trained there, the baseline at ρ₀; empty where nobody trained one."""
        natives, baseline = self.natives(spec), self.baseline(spec)
        if not natives or baseline is None:
            return {}
        return {self.spec.band_rung: baseline.cells(), **{rung: f.cells() for rung, f in natives.items()}}

    def curves(self) -> list[dict[str, Any]]:
        """Methods first, then the baseline's coarse prediction, native, and the references without training."""
        names = labels(self.methods)
        several = len(self.methods) > 1
        out = [self._method(family, name) for family, name in zip(self.methods, names, strict=True)]
        for family, name in zip(self.methods, names, strict=True):
            label = f"{COARSE} ({name})" if several else COARSE
            coarse = self._curve(family, label, prefix=f"{COARSE}_", kind="reference", method=COARSE)
            out.append(coarse | {"of": name})
            if family.spec.method == "baseline" and (native := self._native(family)):
                out.append(native | {"label": f"native ({name})" if len(self.baselines) > 1 else "native"})
        for family in self.references:
            out.append(self._curve(family, family.spec.method, kind="reference", method=family.spec.method))
        return with_controls(out, self.floor)

    def _notes(self, family: Family) -> list[str]:
        """What must be said of the runs that a curve rests on beside its own."""
        spec, baseline = family.spec, self.baseline(family.spec)
        if baseline is None:
            return ["no baseline of this model: no ratio over the baseline's error, and no headroom"] * (
                spec.train is not None
            )
        if spec.train is not None:
            return training_notes(self.natives(spec), baseline)
        if len(self.baselines) < 2:
            return []
        name = labels(self.methods)[self.methods.index(baseline)]
        return [f"of {len(self.baselines)} baselines the ratio is over {name}'s error"]

    def _method(self, family: Family, label: str) -> dict[str, Any]:
        out = self._curve(family, label, kind="method", method=family.spec.method)
        out |= {"study_label": family.study_label, "footing": family.footing}
        card = family.runs[0].run.path / "card.json"
        out |= {
            "budget": [family.budget(rung) for rung in out["rungs"]],
            "cost": self._cost(family),
            "card": json.loads(card.read_text()) if card.exists() else None,
        }
        if out["card"] is not None:
            out["cost"] |= {"parameters": out["card"]["parameters"], "inference": inference_cost(out["card"])}
        return out

    def _curve(self, family: Family, label: str, *, kind: str, method: str, prefix: str = "") -> dict[str, Any]:
        spec, cells = family.spec, family.cells(prefix)
        seen = self._seen(spec) if kind == "method" else []
        baseline = self.baseline(spec)
        drawn = curve(cells, train_rung=spec.band_rung, baseline=None if baseline is None else baseline.cells())
        verdict = judge(
            cells,
            train_rung=spec.band_rung,
            seen=seen,
            native=self.native_cells(spec) or None,
            floor=self.floor,
            fixed_input=spec.input_rung is not None,
            delta=self.delta,
        )
        said = verdict_said(verdict, drawn.rungs, has_seeds=spec.train is not None)
        notes = verdict.notes if spec.train is not None else without_seeds(verdict).notes

        return {
            **self._head(),
            **_identity(kind, label, method, spec.model if spec.train is not None else None),
            "of": None,
            **scores_said(drawn),
            **said,
            "acc": [family.acc(rung, prefix) for rung in drawn.rungs],
            **({} if prefix else factor_scores(family, drawn.rungs)),
            "seeds": family.seeds if spec.train is not None else [],
            "seen_rungs": seen,
            "rungs": list(drawn.rungs),
            "ratio": {"own": list(drawn.ratio_own), "baseline": list(drawn.ratio_baseline)},
            "budget": [None] * len(drawn.rungs),
            "notes": [*notes, *self._notes(family)],
            "words": explain(verdict, name=label) if kind == "method" else _reference_words(method, said),
            "cost": None,
            "card": None,
        }

    def _native(self, baseline: Family) -> dict[str, Any] | None:
        """`native` as one reference: each rung another model, the baseline itself at ρ₀; no verdict of its own."""
        cells = self.native_cells(baseline.spec)
        if not cells:
            return None
        natives = self.natives(baseline.spec)
        runs = [run for family in natives.values() for run in family.runs]
        seeds = sorted({run.spec.seed for run in runs})
        rungs = sorted(cells)
        scores = {rung: scores_said(curve(c)) for rung, c in cells.items()}
        at = {rung: cells[rung].rungs.index(rung) for rung in rungs}
        nulls = [None] * len(rungs)
        return {
            **self._head(),
            **_identity("reference", "native", "native", baseline.spec.model),
            "of": None,
            **{name: [scores[rung][name][at[rung]] for rung in rungs] for name in scores[rungs[0]]},
            "rungs": rungs,
            "seen_rungs": rungs,
            "seeds": seeds,
            "acc": [(natives.get(rung) or baseline).acc(rung) for rung in rungs],
            "ratio": {"own": nulls, "baseline": nulls},
            **not_judged(len(rungs)),
            "budget": nulls,
            "interval_kind": "given these seeds",
            "notes": [*training_notes(natives, baseline), *(convergence(run) for run in runs)],
            "words": f"native: the baseline trained at each rung (seeds {', '.join(map(str, seeds))})"
            + warm_started(natives),
            "cost": self._cost(natives[max(natives)])
            | {"train_seconds": mean_seconds(runs)}
            | dict.fromkeys(("by_rung", "train_points", "flops", "data")),
            "card": None,
        }

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
            "lead": self.spec.lead * self.ladder.time_step if self.spec.lead else None,
            "lead_unit": self.ladder.time_unit,
            "train_rung": self.spec.band_rung,
        }

    def _cost(self, family: Family) -> dict[str, Any]:
        return cost_of(
            family,
            self.ladder,
            mix=self.mix(family.spec),
            read=self._built(family.spec).rungs(),
            points=self._points,
            price=solver_price(self.references),
        )

    def _points(self, rung: int) -> int:
        """Points of a grid; of a level between two rungs, which a method may restrict to, in proportion."""
        if rung in self.rungs:
            return self.finest.with_rung(rung).n_points
        return round(self.finest.n_points * (rung / self.finest.rung) ** self.finest.ndim)

    def describe(self) -> dict[str, Any]:
        head = self._head()
        return {
            **{k: v for k, v in head.items() if k not in ("group", "protocol")},
            "id": self.key,
            "title": f"{head['display_name']} · {head['size']} · {head['task']}",
            "restriction": self.ladder.restriction,
            "input_rung": self.spec.input_rung,
            "rungs": self.rungs,
            "sigma": self.sigma,
            "floor": self.floor or None,
            "solver_price": solver_price(self.references),
            "paired": comparisons(self.methods, seen=self._seen, floor=self.floor),
            "provenance": {
                **{k: v for k, v in self.provenance.items() if k not in ("terms", "display_name", "dataset")},
                "ladder": self.ladder.digest,
                "energy removed by each step": ", ".join(
                    f"{name} {share:.1%}" for name, share in json.loads(self.attrs["energy_removed"]).items() if share
                ),
            },
            "terms": self.provenance["terms"],
            "spectra": spectra(
                self.methods, Grid.from_dict(self.ladder.grid), self.rungs, band_rung=self.spec.band_rung
            ),
            "fields": fields(
                self.methods, Grid.from_dict(self.ladder.grid), self.rungs, self.variable, band_rung=self.spec.band_rung
            ),
            "selection": selections_of(self.methods, labels(self.methods)),
            "precipitation": precipitation(self.methods, self.references, self.ladder),
            "probes": probes(
                self.methods,
                self.references,
                self.native_families,
                seen=self._seen,
                floor=self.floor,
                delta=self.delta,
                sigma=self.sigma,
            ),
            "notes": self.notes,
            "environment": self.members[0].run.environment(),
            "environments": environments([m.run.environment() for m in self.members]),
            "specs": [
                {
                    "run": m.run.path.name,
                    "spec": yaml.safe_dump(m.spec.model_dump(mode="json"), sort_keys=False),
                    "environment": m.run.environment(),
                }
                for m in self.members
            ],
        }


def _identity(kind: str, label: str, method: str, model: str | None) -> dict[str, Any]:
    track = METHODS[method][2] if method in METHODS else None
    words = dict.fromkeys(("study_label", "footing"))
    return {"kind": kind, "label": label, "method": method, "model": model, "track": track, **words}


def _reference_words(method: str, said: Mapping[str, Any]) -> str:
    """What a reference is, and its words where it has a slope: it was not trained, so no sentence about training."""
    what = REFERENCES[method][1]
    if said["slope"] is None or said["interval"] is None or method != "solver":
        return f"{method}: {what}"
    low, high = said["interval"]
    return f"{method}: {what}; {said['verdict']}, slope {said['slope']:+.2f} [{low:+.2f}, {high:+.2f}]"
