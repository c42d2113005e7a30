"""`diagnose`: from predictions and truth on several rungs to curve, verdict and cause."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchorbench.analysis import Cells, Curve, Interval, Stability, Verdict, curve, explain, judge, stability
from anchorbench.analysis.intervals import SEEDS_FOR_RANDOM
from anchorbench.diagnose.causes import Cause, cause_of
from anchorbench.diagnose.files import by_rung
from anchorbench.diagnose.rungs import Asked, Fields, matched
from anchorbench.diagnose.scored import Scale, cells, mismatch, upsampled
from anchorbench.errors import ConfigError
from anchorbench.report.said import without_seeds

if TYPE_CHECKING:
    import xarray as xr

    from anchorbench.report.build import Report

#: Truths whose bands differ by more than this, in σ, are not one field under one restriction.
ONE_FIELD = 1e-3
OF_TRUTH = "σ is the deviation of the truth that is given, at the train rung"


@dataclass(frozen=True)
class Diagnosis:
    """What files of predictions say of a model.

    curve, verdict: as of our own runs.  cause: the dominant one.  restriction: one line on which, and why.  sigma: of
    the truth at ρ₀, the unit of every error.  fields, native: what was scored.
    """

    name: str
    train_rung: int
    curve: Curve
    verdict: Verdict
    cause: Cause
    restriction: str
    scale: Scale
    fields: Fields
    native: Fields | None
    cells: Cells
    notes: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slope(self) -> float | None:
        return self.verdict.slope_estimate

    @property
    def interval(self) -> Interval | None:
        """The slope's."""
        return self.verdict.slope

    @property
    def words(self) -> str:
        """The verdict in one sentence, and its cause in another."""
        return f"{explain(self._told, name=self.name)}. Cause: {self.cause.word}: {self.cause.sentence}."

    @property
    def _told(self) -> Verdict:
        """One closed model has no seeds to be given: what is told of it is over the samples."""
        return self.verdict if self.fields.seeds > 1 else without_seeds(self.verdict)

    @property
    def stability(self) -> Stability | None:
        """The first word for every δ from half to twice the one that was taken; None without a verdict."""
        return stability(self._told)

    def to_dict(self) -> dict[str, Any]:
        """JSON's types only."""
        held, said = self.stability, self._told.to_dict()
        if self.fields.seeds == 1 and said["interval_kind"] is not None:
            said["interval_kind"] = "trajectories"
        return {
            "schema": 1,
            "name": self.name,
            "variable": self.fields.variable,
            "unit": self.fields.unit,
            "train_rung": self.train_rung,
            "restriction": self.restriction,
            "sigma": self.scale.sigma.tolist(),
            "curve": self.curve.to_dict(),
            **said,
            "stability": None if held is None else held.to_dict(),
            **self.cause.to_dict(),
            "words": self.words,
            "notes": list(self.notes),
        }

    def document(self) -> dict[str, Any]:
        """The report document of this one curve and its references."""
        from anchorbench.diagnose.document import document_of

        return document_of(self)

    def report(self, out: Path | str) -> Report:
        """Write curve, verdict, figures and a page into a folder."""
        from anchorbench.diagnose.document import write_report

        return write_report(self, Path(out))


def diagnose(
    predictions: Mapping[int, xr.Dataset | xr.DataArray],
    truth: Mapping[int, xr.Dataset | xr.DataArray],
    *,
    train_rung: int,
    native: Mapping[int, xr.Dataset | xr.DataArray] | None = None,
    variable: str | None = None,
    level: float | None = None,
    mask: str | None = None,
    weights: str | None = None,
    restriction: str | None = None,
    cluster: str | None = None,
    seen: Collection[int] = (),
    name: str = "model",
    delta: float = 0.1,
) -> Diagnosis:
    """E_res(ρ) = ‖P(M(u_ρ) − y_ρ)‖ / σ of fields that are given, its slope, both words, and why.

    predictions, truth: rung -> fields with dimensions (sample, [time,] [level,] y, x) and coordinates; a prediction
    may have `seed` too.  native: predictions of models trained at the finer rungs, for headroom and the anchoring
    index; the model itself stands for its baseline at ρ₀.  variable, level: which, where there are several; levels
    not chosen are pooled, each in its own σ.  mask: `nan`, or a variable of the truth; weights: one too.
    restriction: spectral, conservative, block_mean or stride; None chooses by the coordinates.  cluster: a coordinate
    along samples or time that names what was drawn independently; else each sample is.  seen: finer rungs that
    training saw.

    Raises ConfigError where the fields do not fit each other, AnchorbenchError where they cannot be judged.
    """
    asked = Asked(variable, level, mask, weights, restriction, cluster)
    goal = by_rung(truth, what="truth")
    fields = matched(by_rung(predictions, what="predictions"), goal, asked)
    # What else is compared on the same truth is restricted as the predictions were.
    alike = replace(asked, restriction=fields.restriction)
    there = matched(by_rung(native, what="native"), goal, alike, what="native predictions") if native else None
    return judged(fields, train_rung=train_rung, native=there, seen=seen, name=name, delta=delta)


def judged(
    fields: Fields,
    *,
    train_rung: int,
    native: Fields | None = None,
    seen: Collection[int] = (),
    name: str = "model",
    delta: float = 0.1,
    scale: Scale | None = None,
    about: Mapping[str, Any] | None = None,
) -> Diagnosis:
    """As `diagnose`, of fields that are tensors already.  scale: σ of a training split, where there is one.

    Raises ConfigError where ρ₀ is not among the rungs, or no rung is finer.
    """
    rungs = ", ".join(map(str, fields.rungs))
    if train_rung not in fields.rungs:
        raise ConfigError(f"the train rung {train_rung} has no predictions; there are the rungs {rungs}")
    if max(fields.rungs) == train_rung:
        raise ConfigError(f"no rung is finer than the train rung {train_rung}; there are {rungs}")
    if native is not None and native.clusters != fields.clusters:
        raise ConfigError("the native predictions are of other samples than the model's")
    unit = Scale.of(fields, train_rung) if scale is None else scale
    own = cells(fields, train_rung=train_rung, scale=unit)
    verdict = judge(
        own,
        train_rung=train_rung,
        seen=seen,
        native=_native_cells(fields, native, train_rung=train_rung, scale=unit),
        delta=delta,
    )
    return Diagnosis(
        name=name,
        train_rung=train_rung,
        curve=curve(own, train_rung=train_rung, baseline=own),
        verdict=verdict,
        cause=cause_of(
            fields,
            verdict,
            scale=unit,
            native=native,
            budget=dict(zip(fields.rungs, (about or {}).get("budget") or (), strict=False)),
        ),
        restriction=fields.said,
        scale=unit,
        fields=fields,
        native=native,
        cells=own,
        notes=(*([OF_TRUTH] if scale is None else []), *_notes(fields, verdict, train_rung, unit)),
        about=about or {},
    )


def coarse_cells(found: Diagnosis) -> Cells:
    """Cells of the prediction at ρ₀, upsampled."""
    return upsampled(found.fields, train_rung=found.train_rung, scale=found.scale)


def native_cells(found: Diagnosis) -> dict[int, Cells]:
    """rung -> cells of the model trained there, the model itself at ρ₀; empty where none was given."""
    return _native_cells(found.fields, found.native, train_rung=found.train_rung, scale=found.scale) or {}


def _native_cells(fields: Fields, native: Fields | None, *, train_rung: int, scale: Scale) -> dict[int, Cells] | None:
    if native is None:
        return None
    finer = [rung for rung in native.rungs if rung > train_rung]
    if not finer:
        raise ConfigError(f"native takes predictions of a model trained finer than {train_rung}")
    # ρ₀'s grid is the band's: it need not be among the native rungs.
    both = replace(native, rungs={**native.rungs, train_rung: fields.rungs[train_rung]})
    at_home = cells(fields, train_rung=train_rung, scale=scale, rungs=[train_rung])
    return {train_rung: at_home} | {
        rung: cells(both, train_rung=train_rung, scale=scale, rungs=[rung]) for rung in finer
    }


def _notes(fields: Fields, verdict: Verdict, train_rung: int, scale: Scale) -> tuple[str, ...]:
    notes = [*fields.notes]
    gaps = mismatch(fields, train_rung=train_rung, scale=scale)
    rung, worst = max(gaps.items(), key=lambda item: item[1])
    if worst > ONE_FIELD:
        notes.append(
            f"the truths are not one field under {fields.restriction}: restricted to {train_rung}, that of {rung} is "
            f"{worst:.2g} σ from its own; each rung is scored against its own truth, and part of the slope is theirs"
        )
    if fields.seeds < SEEDS_FOR_RANDOM and verdict.slope is not None:
        notes.append("the interval is over the samples of this one model: another training may differ")
    return tuple(dict.fromkeys((*notes, *verdict.notes)))
