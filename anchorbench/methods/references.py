"""The curves beside the models' that need no training: persistence, oracle_lowpass, solver.

`coarse_then_upsample` belongs to each run and is made where the run is evaluated; `native` is trained (runs/plan.py).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from anchorbench.data.ladder import Ladder
from anchorbench.data.samples import Batch, Normaliser
from anchorbench.data.sources.turbulence import Generator
from anchorbench.errors import MethodError, unknown
from anchorbench.fields import Grid, project
from anchorbench.solvers import integrate

Predictor = Callable[[Batch], Tensor]


def available(ladder: Ladder) -> tuple[str, ...]:
    """The references without training that this ladder has: `solver` only where its equation is known."""
    names = ("persistence", "oracle_lowpass")
    solved = (ladder.spec.dataset, ladder.spec.source) == ("turbulence2d", "generated")
    return (*names, "solver") if solved else names


def build_reference(name: str, ladder: Ladder, *, band: Grid, normaliser: Normaliser, lead: int) -> Predictor:
    """A function from a Batch to (B, C', *out_grid), normalised.  Raises MethodError where the ladder has none."""
    if name not in available(ladder):
        raise MethodError(f"{ladder.spec.dataset}: {unknown('reference', name, available(ladder))}")
    if name == "persistence":
        return Batch.last_frame
    if name == "oracle_lowpass":
        # In float64, so that its own rounding is no error: E_res and S are 0, not 1e-7.
        return lambda batch: project(batch.targets.double(), band, how=ladder.restriction, weights=batch.mask)
    return solver(ladder, normaliser=normaliser, lead=lead)


def solver(ladder: Ladder, *, normaliser: Normaliser, lead: int) -> Predictor:
    """The ladder's equation from the restricted state, every mode of the rung advanced (3/2 padding)."""
    generator = Generator(**ladder.spec.origin)

    def predict(batch: Batch) -> Tensor:
        state = normaliser.undo(batch.last_frame())
        later = integrate(
            state[:, 0], generator.flow, duration=lead * generator.interval, dealias="padded", grid=batch.grid
        )
        return normaliser.apply(later[:, None])

    return predict
