"""A trained run, or a reference, on every rung of the test split: sums by rung and cluster, spectra, a few fields.

`curve.nc` keeps sums, never roots, so runs of several seeds are pooled exactly when they are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from anchorbench.analysis import Sums, anomalies, budget, score
from anchorbench.analysis.members import corrected, member_sums, rain_cap, spread_of
from anchorbench.config import inputs_of, of_rain, targets_of
from anchorbench.data.samples import Batch
from anchorbench.errors import RunError
from anchorbench.fields import Grid, Restriction, covers_sphere, project, prolong, radial_spectrum
from anchorbench.methods.references import HasMembers, Predictor, build_reference
from anchorbench.runs.curve_file import RungResult, write_curve
from anchorbench.runs.event import event_of
from anchorbench.runs.image_sums import image_range, image_sums
from anchorbench.runs.price import solver_price
from anchorbench.runs.selection import keep_selection
from anchorbench.runs.session import Session
from anchorbench.runs.store import RunFolder

#: Points of one evaluated batch: memory stays bounded whatever the rung.
POINTS_PER_BATCH = 1 << 19


def evaluate(
    session: Session,
    run: RunFolder,
    *,
    rungs: Iterable[int],
    trained: nn.Module | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Score on each rung and write curve.nc.  trained: the module; without it the spec's reference is scored.

    Raises AnchorbenchError where a prediction is not finite (rung named), RunError where `coarse_then_upsample`, which
    is flat by construction, is not: then the projection or the ladder is broken and no curve is worth drawing.
    """
    spec = session.spec
    if trained is None:
        predict = build_reference(
            spec.method,
            session.ladder,
            task=spec.task,
            band=session.band,
            normaliser=session.normaliser,
            lead=spec.lead,
        )
    else:
        predict = method_predictor(session, trained)
    wanted, shown = sorted(rungs), shown_window(session)
    work = [rung**session.band.ndim for rung in wanted]
    results: dict[int, RungResult] = {}
    for i, rung in enumerate(wanted):
        with torch.no_grad():
            results[rung] = _evaluate_rung(session, predict, rung, shown=shown)
        if on_progress is not None:
            on_progress(sum(work[: i + 1]) / sum(work))
    _assert_flat(results, session.band.rung)
    price = None
    if trained is None and spec.method == "solver":
        with torch.no_grad():
            price = solver_price(session, predict, wanted)
    if spec.fields is not None and trained is not None:
        keep_selection(session, run, trained)
    event = None
    if is_rain(session) and spec.task == "super_resolve" and session.band.rung in results:
        with torch.no_grad():
            event = event_of(session, predict, near=shown)
    run.replace("curve.nc", lambda part: write_curve(part, session, results, price=price, event=event))


@dataclass(frozen=True)
class MethodPredictor:
    """The mean of a method's members, float32; or the members themselves."""

    session: Session
    trained: nn.Module

    def __call__(self, batch: Batch) -> Tensor:
        return self.members(batch).mean(0)

    def members(self, batch: Batch) -> Tensor:
        """(M, B, C', *out_grid), float32."""
        return self.session.method.predict(self.trained, batch, members=1, rng=None).float()


def method_predictor(session: Session, trained: nn.Module) -> MethodPredictor:
    return MethodPredictor(session, trained)


def members_of(predict: Predictor, batch: Batch) -> Tensor:
    """(M, B, C', *out_grid); M is 1 of what has no members."""
    return predict.members(batch) if isinstance(predict, HasMembers) else predict(batch)[None]


def coarse_input(batch: Batch, home: Batch, session: Session) -> Batch:
    """The batch with its inputs projected on ρ₀'s band, still on its own grid: P u.  home: the same samples at ρ₀.

    A variable with a restriction of its own (a coefficient that must stay positive) is what it is at ρ₀, repeated.

    Missing points stay 0, as in every batch.  The mask itself stays that of the batch's rung: the information that is
    held is the fields', not where they were observed.
    """
    seen = project(batch.inputs, home.grid, how=session.ladder.restriction, weights=batch.input_mask)
    variables, frames = session.ladder.spec.variables, session.spec.frames_in
    for place, number in enumerate(inputs_of(variables)):
        if variables[number].restriction is not None:
            own = slice(place * frames, (place + 1) * frames)
            seen[:, own] = prolong(home.inputs[:, own], batch.grid, how="block_mean")
    if batch.input_mask is not None:
        # A cell of ρ₀ that is observed in part has a mean, and prolonged it would fill the part that is missing.  The
        # mask is of all frames together: what one of them did observe is not 0, and keeps its mean.
        missing = (batch.input_mask == 0) & (batch.inputs == 0)
        seen = seen.masked_fill(missing, 0.0)
    return batch.with_inputs(seen, batch.input_mask)


def _evaluate_rung(session: Session, predict: Predictor, rung: int, *, shown: int) -> RungResult:
    band, how, ladder = session.band, session.ladder.restriction, session.ladder
    windows = session.test_windows(rung)
    # A native run has no prediction at ρ₀: it is compared on its own rung alone.
    at_home = session.test_windows(band.rung) if session.spec.kind == "method" and rung >= band.rung else None
    grid, scale = windows.out_grid, session.channel_scale
    usual = climatology(session, rung) if has_climatology(session) else None
    extent = image_range(session) if session.spec.task == "super_resolve" else None
    size = max(1, POINTS_PER_BATCH // grid.n_points)
    result: RungResult | None = None
    taper: Literal["hann"] | None = None if all(grid.periodic) else "hann"
    for first in range(0, len(windows), size):
        numbers = range(first, min(first + size, len(windows)))
        given = windows.batch(numbers)
        batch, members = frame_by_frame(given), apart(members_of(predict, given), given.frames_out, axis=2)
        out = members.mean(0) if len(members) > 1 else members[0]
        common: dict[str, Any] = {
            "grid": grid,
            "band": band,
            "how": how,
            "weights": batch.mask,
            "clusters": batch.clusters,
            "n_clusters": windows.n_clusters,
            "channel_scale": scale,
        }
        part = RungResult(_scored(members, batch.targets, usual, **common))
        if len(members) > 1 or is_rain(session):
            part.sums = part.sums.joined(of_members(session, members, batch, windows.n_clusters))
        if extent is not None:
            n = windows.n_clusters
            part.sums = part.sums.joined(image_sums(session, out, batch, given, extent=extent, n_clusters=n))
        if at_home is not None:
            home_batch = at_home.batch(numbers)
            at_band = members  # what is predicted at ρ₀ is predicted once
            if rung != band.rung:
                at_band = apart(members_of(predict, home_batch), home_batch.frames_out, axis=2)
            # In float64: its flatness is asserted far below what float32 would leave.
            upsampled = torch.stack([prolong(member.double(), grid, how=how) for member in at_band])
            part.coarse = _scored(upsampled, batch.targets, usual, **common)
            if rung > band.rung:
                home = at_band.mean(0) if len(at_band) > 1 else at_band[0]
                # What is super-resolved is below ρ₀ already: information is held as it is.
                held = out if session.spec.input_rung else predict(coarse_input(batch, home_batch, session))
                part.sums = part.sums.joined(budget(out, held, home, batch.targets, **common))
        for name, u in (("prediction", out), ("truth", batch.targets), ("error", out - batch.targets)):
            seen = u if batch.mask is None else u * (batch.mask > 0)
            spectrum = radial_spectrum(seen[:, 0] / float(scale[0]), grid, taper=taper)
            part.spectra[name] = spectrum.energy.double().sum(0).cpu().numpy()
            part.spectra["k"] = spectrum.k.cpu().numpy()
        if len(members) > 1:
            part.spectra["member"] = _of_a_member(members, batch, grid, scale=float(scale[0]), taper=taper)
        fields = {} if result is None else result.fields
        if shown in numbers:
            fields = _one_window(session, batch, out, pick=(shown - first) * given.frames_out)
        if result is None:
            result = part
        else:
            result.sums = result.sums + part.sums
            if result.coarse is not None and part.coarse is not None:
                result.coarse = result.coarse + part.coarse
            for name in result.spectra.keys() - {"k"}:
                result.spectra[name] = result.spectra[name] + part.spectra[name]
        result.fields = fields
    if result is None:
        raise RunError(f"the test split of {ladder.spec.name} holds no window")
    result.sums = corrected(result.sums)
    result.coarse = None if result.coarse is None else corrected(result.coarse)
    for name in result.spectra.keys() - {"k"}:
        result.spectra[name] = result.spectra[name] / (len(windows) * windows.frames_out)
    return result


def _scored(
    members: Tensor, truth: Tensor, usual: Tensor | None, *, band: Grid, how: Restriction, **common: Any
) -> Sums:
    """The score of the mean, of several members what their number adds to it, and with a climatology the anomalies'."""
    u = members.mean(0) if len(members) > 1 else members[0]
    sums = score(u, truth, band=band, how=how, **common)
    if len(members) > 1:
        sums = sums.joined(spread_of(members, band=band, how=how, **common))
    return sums if usual is None else sums.joined(anomalies(u, truth, usual, **common))


def _of_a_member(
    members: Tensor, batch: Batch, grid: Grid, *, scale: float, taper: Literal["hann"] | None
) -> np.ndarray:
    """The power spectrum of one member, on the mean over the members: summed over the batch."""
    seen = members if batch.mask is None else members * (batch.mask > 0)
    energy = [radial_spectrum(member[:, 0] / scale, grid, taper=taper).energy.double().sum(0) for member in seen]
    found: np.ndarray = torch.stack(energy).mean(0).cpu().numpy()
    return found


def of_members(session: Session, members: Tensor, batch: Batch, n_clusters: int) -> Sums:
    """CRPS and its kin in the variable's unit; of rain also with all amounts cut at the published cap."""
    units, ladder = session.target_units, session.ladder.spec
    physical, truth = units.undo(members.flatten(0, 1)).unflatten(0, members.shape[:2]), units.undo(batch.targets)
    return member_sums(
        physical,
        truth,
        grid=batch.out_grid,
        weights=batch.mask,
        clusters=batch.clusters,
        n_clusters=n_clusters,
        cap=rain_cap(ladder.time_step, ladder.time_unit) if is_rain(session) else None,
    )


def is_rain(session: Session) -> bool:
    """Whether the headline is an amount of rain: then its members' scores are kept of a single one too."""
    return of_rain(session.ladder.spec.variables)


def frame_by_frame(batch: Batch) -> Batch:
    """Each target frame as a sample of its own: what is scored.  Untouched where there is one frame."""
    n = batch.frames_out
    if n == 1:
        return batch
    return replace(
        batch,
        targets=apart(batch.targets, n, axis=1),
        mask=None if batch.mask is None else batch.mask.repeat_interleave(n, dim=0),
        clusters=batch.clusters.repeat_interleave(n),
    )


def apart(u: Tensor, frames: int, *, axis: int) -> Tensor:
    """(..., B, variable · frame, *grid) -> (..., B · frame, variable, *grid); axis: of the channels."""
    if frames == 1:
        return u
    one_by_one: Tensor = u.unflatten(axis, (-1, frames)).movedim(axis + 1, axis).flatten(axis - 1, axis)
    return one_by_one


def has_climatology(session: Session) -> bool:
    """Whether forecasts are scored as anomalies: of the weather, and of a user's own fields on the whole globe."""
    of_weather = session.spec.dataset == "weather" or covers_sphere(session.ladder.finest)
    return session.spec.task == "forecast" and of_weather


def climatology(session: Session, rung: int) -> Tensor:
    """Mean over the training split at each point of a rung, in this run's normalised units: (C', *grid), float64.

    Of the rung's own training fields: a statistic of the score, which no training sees.  Where nothing was ever
    observed it is 0, the mean of all points.
    """
    ladder, targets = session.ladder, targets_of(session.ladder.spec.variables)
    valid = ladder.valid_area("train", rung)
    means = []
    for i in targets:
        values = ladder.array("train", rung, ladder.spec.variables[i].name)
        if valid is None:
            means.append(np.mean(values, axis=(0, 1), dtype=np.float64))
            continue
        weight = np.sum(valid, axis=(0, 1), dtype=np.float64)
        total = np.sum(values * valid, axis=(0, 1), dtype=np.float64)
        mean = session.normaliser.mean[i]
        means.append(np.where(weight > 0, total / np.maximum(weight, 1e-300), mean))
    return session.target_units.apply(torch.from_numpy(np.stack(means))[None])[0]


def shown_window(session: Session) -> int:
    """The test window whose fields are kept, one and the same for every rung and run of a ladder.

    The first; of rain, and where something is missing, the liveliest by the truth's variance on the coarsest rung:
    rain is rare.
    """
    if not session.ladder.masked and not is_rain(session):
        return 0
    windows = session.test_windows(session.ladder.rungs[0])
    size = max(1, POINTS_PER_BATCH // windows.out_grid.n_points)
    variances = [
        windows.batch(range(first, min(first + size, len(windows)))).targets[:, 0].flatten(1).var(1).cpu()
        for first in range(0, len(windows), size)
    ]
    return int(torch.cat(variances).argmax())


def _one_window(session: Session, batch: Batch, out: Tensor, *, pick: int) -> dict[str, np.ndarray]:
    """Truth and prediction of one window, physical units, missing points NaN: (*grid) each."""
    shown = {}
    for name, u in (("prediction", out), ("truth", batch.targets)):
        physical = session.target_units.undo(u[pick : pick + 1])[0, 0]
        if batch.mask is not None:
            physical = torch.where(batch.mask[pick, 0] > 0, physical, torch.nan)
        shown[name] = physical.float().cpu().numpy()
    return shown


def _assert_flat(results: dict[int, RungResult], band_rung: int) -> None:
    """E_res of the run's own coarse prediction is one number on every rung."""
    errors = {
        rung: float(np.sqrt(r.coarse["resolved"].sum() / r.coarse["weight"].sum()))
        for rung, r in results.items()
        if r.coarse is not None and rung >= band_rung
    }
    # The ladder's rungs are rounded to float32 each on its own: 1e-7 of the truth, even where the error is 0.
    if errors and max(errors.values()) - min(errors.values()) > 1e-6 * max(errors.values()) + 1e-6:
        raise RunError(
            f"coarse_then_upsample should be flat over the rungs, but its error is {errors}",
            do="this is a bug of the resampler or of the ladder: please report it",
        )
