"""Two controlled tests, and the matrix: what part of an error is the grid's, and what the information's.

    resolution     inputs and targets hold one band B on every rung:  e_ρ = M_ρ(P_B u) − P_B y    only the grid changes
    information    the grid is held at R, the cut-off c changes:      e_c = M_R(P_c u) − P_c y    only the waves change
    matrix         the run as it is on every rung:                    e_ρ = M_ρ(u_ρ) − y_ρ        both change together

P u on another grid is the fields of the cut-off's own rung, carried there by `prolong`, which adds nothing: on a
periodic box û'(k) = û(k) for |kᵢ| < N_c/2 and 0 elsewhere, exactly.  Static fields and masks are carried alike.

A filtered pair no longer satisfies the equation: P y is not what the equation makes of P u, and what the waves beyond
the cut-off did to those below is missing from both tests.  (Sakarvadia et al., ICLR 2026, for the two tests; theirs
resize with a bicubic kernel, which damps and shifts waves well below Nyquist, and filter with a mask that is not
symmetric.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import xarray as xr
from torch import Tensor

from anchorbench.analysis import Sums
from anchorbench.config import Variable, inputs_of, targets_of
from anchorbench.data.samples import Batch
from anchorbench.errors import GridError, RunError
from anchorbench.fields import Grid, prolong
from anchorbench.fields.resample import Restriction
from anchorbench.runs.probes import Subject, Tell, in_batches, require_rung, stacked

FILTERED = (
    "a filtered pair no longer satisfies the equation: the truth below the cut-off was also driven by what is above it"
)
FIXED_INPUT = "the input stays on its own grid with all that it holds: only the output and its truth are filtered"


def resolution(subject: Subject, *, band: int | None = None, tell: Tell = lambda share: None) -> xr.Dataset:
    """Error by rung with the information held: the sums of `score` (rung, cluster, channel), P that of `band`.

    band: a rung; without it the coarsest that is scored and no finer than the train rung.  The rungs are those from it
    up.  Raises RunError where the band is no rung of the run's or leaves fewer than two.
    """
    cut = min(r for r in subject.rungs if r <= subject.session.spec.train_rung) if band is None else band
    require_rung(cut, subject.rungs, option="--band")
    reached, why = _reached(subject, [(cut, rung) for rung in subject.rungs if rung >= cut])
    if len(reached) < 2:
        raise RunError(
            f"the test `resolution` takes two rungs or more from its band {cut} up; there is {len(reached)}"
            + (f": {why[0]}" if why else ""),
            do=f"--band {subject.rungs[0]}",
        )
    sums = _swept(subject, reached, band=subject.session.ladder.grid(cut), tell=tell)
    data = xr.Dataset(stacked(dict(zip((r for _, r in reached), sums, strict=True)), "rung"))
    data = data.assign_coords(rung=[rung for _, rung in reached])
    return data.assign_attrs(band=cut, left_out="; ".join(why), note=_note(subject))


def information(subject: Subject, *, rung: int | None = None, tell: Tell = lambda share: None) -> xr.Dataset:
    """Error by cut-off on one grid: the sums of `score` (cut, cluster, channel), P that of the scored band.

    rung: whose grid; without it the finest.  The cut-offs are the rungs up to it.  Raises RunError where it is no rung
    of the run's or leaves fewer than two.
    """
    held = max(subject.rungs) if rung is None else rung
    require_rung(held, subject.rungs, option="--rung")
    reached, why = _reached(subject, [(cut, held) for cut in subject.rungs if cut <= held])
    if len(reached) < 2:
        raise RunError(
            f"the test `information` takes two cut-offs or more up to rung {held}; there is {len(reached)}"
            + (f": {why[0]}" if why else ""),
            do=f"--rung {subject.rungs[-1]}",
        )
    sums = _swept(subject, reached, band=subject.session.band, tell=tell)
    data = xr.Dataset(stacked(dict(zip((c for c, _ in reached), sums, strict=True)), "cut"))
    data = data.assign_coords(cut=[cut for cut, _ in reached])
    return data.assign_attrs(grid_rung=held, left_out="; ".join(why), note=_note(subject))


def matrix(subject: Subject, *, tell: Tell = lambda share: None) -> xr.Dataset:
    """One row of the matrix train rung x test rung: the sums of `score` (rung, cluster, channel) on every rung.

    P is that of the run's own train rung, of a `native` run too; the unit stays σ of the scored band, so that rows of
    one ladder compare.
    """
    session = subject.session
    band, sums = session.ladder.grid(session.spec.train_rung), {}
    for done, rung in enumerate(subject.rungs):
        windows, parts = session.test_windows(rung), []
        for batch in in_batches(windows, windows.out_grid.n_points):
            parts.append(subject.scored(subject.predict(batch), batch, band=band, n_clusters=windows.n_clusters))
        sums[rung] = sum(parts[1:], parts[0])
        tell((done + 1) / len(subject.rungs))
    data = xr.Dataset(stacked(sums, "rung")).assign_coords(rung=list(sums))
    return data.assign_attrs(train_rung=session.spec.train_rung)


def carried(batch: Batch, grid: Grid, *, how: Restriction, variables: Sequence[Variable], frames_in: int) -> Batch:
    """The batch's own fields on a finer grid of the box: û'(k) = û(k), nothing added.

    Inputs that are on a grid of their own (super-resolution) stay there.  A variable with a restriction of its own is
    repeated.  Fields (B, C, *grid) of the batch's grid to (B, C, *grid.shape).  Raises GridError as `prolong`.
    """

    def each(u: Tensor, numbers: Sequence[int], frames: int) -> Tensor:
        parts = []
        for place, number in enumerate(numbers):
            own = u[:, place * frames : (place + 1) * frames]
            parts.append(prolong(own, grid, how="block_mean" if variables[number].restriction else how))
        return torch.cat(parts, dim=1)

    def whole(u: Tensor | None) -> Tensor | None:
        return None if u is None else prolong(u, grid, how=how)

    out = replace(
        batch,
        targets=each(batch.targets, targets_of(variables), 1),
        out_grid=grid,
        mask=whole(batch.mask),
    )
    if batch.grid != batch.out_grid:
        return out
    inputs = each(batch.inputs, inputs_of(variables), frames_in)
    return replace(out, inputs=inputs, grid=grid, input_mask=whole(batch.input_mask), static=whole(batch.static))


def _note(subject: Subject) -> str:
    return FILTERED if subject.session.spec.input_rung is None else FIXED_INPUT


def _swept(subject: Subject, pairs: Sequence[tuple[int, int]], *, band: Grid, tell: Tell) -> list[Sums]:
    """The sums of each (cut-off, rung): the fields of the one on the grid of the other."""
    session, out = subject.session, []
    for done, (cut, rung) in enumerate(pairs):
        windows, grid, parts = session.test_windows(cut), session.ladder.grid(rung), []
        for batch in in_batches(windows, grid.n_points):
            fed = carried(
                batch,
                grid,
                how=session.ladder.restriction,
                variables=session.ladder.spec.variables,
                frames_in=session.spec.frames_in,
            )
            parts.append(subject.scored(subject.predict(fed), fed, band=band, n_clusters=windows.n_clusters))
        out.append(sum(parts[1:], parts[0]))
        tell((done + 1) / len(pairs))
    return out


def _reached(subject: Subject, pairs: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[str]]:
    """The (cut-off, rung) whose fields the ladder's restriction can carry, and why the others cannot."""
    ladder, fit, why = subject.session.ladder, [], []
    for cut, rung in pairs:
        try:
            prolong(torch.zeros(ladder.grid(cut).shape), ladder.grid(rung), how=ladder.restriction)
        except GridError as error:
            why.append(f"{cut} on {rung}: {error.what}")
        else:
            fit.append((cut, rung))
    return fit, why
