"""The curves beside the models' that need no training: persistence, interpolations, oracle_lowpass, solver.

`coarse_then_upsample` belongs to each run and is made where the run is evaluated; `native` is trained (runs/plan.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from anchorbench.config import of_rain, targets_of
from anchorbench.data.ladder import Ladder
from anchorbench.data.samples import Batch, Normaliser
from anchorbench.errors import MethodError, unknown
from anchorbench.fields import Grid, project, prolong
from anchorbench.fields.resample_points import interpolate
from anchorbench.methods.climatology import Climatology
from anchorbench.methods.equation import equation_of, has_equation, newest_state
from anchorbench.methods.registry import REFERENCES
from anchorbench.models.spectral_resize import spectral_resize

Predictor = Callable[[Batch], Tensor]


@runtime_checkable
class HasMembers(Protocol):
    """A predictor whose mean is that of an ensemble."""

    def __call__(self, batch: Batch) -> Tensor: ...

    def members(self, batch: Batch) -> Tensor: ...


UNTRAINED = (
    "persistence", "interpolate", "nearest", "bilinear", "bicubic", "fourier", "climatology", "oracle_lowpass", "solver"
)  # fmt: skip


def available(ladder: Ladder, task: str) -> tuple[str, ...]:
    """The references without training that this ladder and task have: `solver` only where its equation is known."""
    names = [n for n in UNTRAINED if task in REFERENCES[n][0]]
    waves = all(ladder.finest.periodic) and ladder.finest.kind == "planar"
    # What `interpolate` is already is not drawn twice.
    lacking = {"fourier" if waves else "bilinear", "" if has_equation(ladder.spec) else "solver"}
    if not of_rain(ladder.spec.variables):
        lacking |= {"nearest", "climatology"}
    return tuple(n for n in names if n not in lacking)


def build_reference(
    name: str, ladder: Ladder, *, task: str, band: Grid, normaliser: Normaliser, lead: int
) -> Predictor:
    """A function from a Batch to (B, C', *out_grid), normalised.  Raises MethodError where the ladder has none."""
    if name not in available(ladder, task):
        raise MethodError(f"{ladder.spec.dataset}: {unknown('reference', name, available(ladder, task))}")
    if name in ("persistence", "interpolate"):
        return _start
    if name == "bilinear":
        return lambda batch: interpolate(_given(batch), batch.grid, batch.out_grid, "bilinear")
    if name == "bicubic":
        return lambda batch: interpolate(_given(batch), batch.grid, batch.out_grid, "bicubic")
    if name == "nearest":
        return lambda batch: prolong(_given(batch), batch.out_grid, how="conservative")
    if name == "climatology":
        return Climatology(ladder, normaliser)
    if name == "fourier":
        return lambda batch: spectral_resize(_given(batch), batch.grid, batch.out_grid)
    if name == "oracle_lowpass":
        # In float64, so that its own rounding is no error: E_res and S are 0, not 1e-7.
        return lambda batch: project(batch.targets.double(), band, how=ladder.restriction, weights=batch.mask)
    return solver(ladder, normaliser=normaliser, lead=lead)


def _start(batch: Batch) -> Tensor:
    start = batch.start()
    if start is None:
        raise MethodError("a target that is not among the inputs has no newest frame: no persistence")
    return start


def _given(batch: Batch) -> Tensor:
    last = batch.last_frame()
    if last is None:
        raise MethodError("a target that is not among the inputs cannot be interpolated from them")
    return last


def solver(ladder: Ladder, *, normaliser: Normaliser, lead: int) -> Predictor:
    """The ladder's equation from the restricted state, every mode of the rung advanced (3/2 padding)."""
    later = equation_of(ladder.spec, lead=lead)
    asked = normaliser.only(targets_of(ladder.spec.variables))

    def predict(batch: Batch) -> Tensor:
        return asked.apply(later(newest_state(batch), batch.grid))

    return predict
