"""What a run of `represent` leaves beside its curve: `selection.nc`.

    psnr, ssim       (rung, field, trained)   of every network that was trained, against the truth of each rung
    knob, moved      (field, trained)         its setting, and how far training moved its frequencies:
                                              mean |f − f₀| / mean |f₀| over the waves of the embedding
    held_out         (field, trained)         root mean square at the points that were not fitted
    chosen           (field)                  which of them speaks for the field
    distance, distance_error   (field, setting)      where settings were compared without training
    target_spectrum (field, bin), untrained_spectrum (setting, bin)

The range of both scores is the truth's over all fields on the finest rung, one a channel.  A baseline has trained one
network a field, and so has `fresh`; `grid_search` one a setting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from anchorbench.analysis.foretelling import Foretelling, foretelling
from anchorbench.analysis.image_scores import MOST_PSNR, ssim
from anchorbench.data.field_windows import FieldWindows
from anchorbench.data.samples import Batch, Windows
from anchorbench.methods.fresh import Selecting
from anchorbench.methods.represent import Fields, held_out_errors
from anchorbench.models.coordinate_options import knob_of
from anchorbench.runs.session import Session
from anchorbench.runs.store import RunFolder

FILE = "selection.nc"


def keep_selection(session: Session, run: RunFolder, trained: nn.Module) -> None:
    """Score every trained network and write selection.nc."""
    assert isinstance(trained, Fields)
    data = selection(session, trained)
    took = run.environment()
    data.attrs |= {name: took[name] for name in ("train_seconds", "choosing_seconds") if name in took}
    run.replace(FILE, lambda part: data.to_netcdf(part, engine="netcdf4"))


def read_selection(path: Path) -> xr.Dataset | None:
    """Of a run's folder; None where the run left none."""
    if not (path / FILE).exists():
        return None
    with xr.open_dataset(path / FILE, engine="netcdf4") as data:
        return data.load()


@torch.no_grad()
def selection(session: Session, trained: Fields) -> xr.Dataset:
    rungs = session.scored_rungs
    extent = data_range(session.test_windows(max(rungs)))
    scores = [_scores(session, trained, rung, extent) for rung in rungs]
    shape = (trained.fields, trained.settings)
    validation = session.training_windows("validation", session.spec.train_rung)
    assert isinstance(validation, FieldWindows)
    held_out = held_out_errors(trained, validation).sqrt()
    data = xr.Dataset(
        {
            "psnr": (("rung", "field", "trained"), np.stack([p for p, _ in scores])),
            "ssim": (("rung", "field", "trained"), np.stack([s for _, s in scores])),
            "knob": (("field", "trained"), _plain(trained.model.knob.view(shape))),
            "moved": (("field", "trained"), _plain(moved(session, trained).view(shape))),
            "held_out": (("field", "trained"), _plain(held_out)),
            "chosen": ("field", _plain(trained.chosen)),
        },
        coords={"rung": list(rungs)},
        attrs={"option": knob_of(trained.model.options)[0], "unit": "dB (psnr), bins (distance)"},
    )
    if isinstance(session.method, Selecting):
        data = data.assign_coords(setting=list(session.method.settings(trained.model)))
        data["distance"] = (("field", "setting"), _plain(trained.distance))
        data["distance_error"] = (("field", "setting"), _plain(trained.distance_error))
        data["target_spectrum"] = (("field", "bin"), _plain(trained.target_spectrum))
        data["untrained_spectrum"] = (("setting", "bin"), _plain(trained.untrained_spectrum))
        data.attrs["select_rung"] = session.method.select_rung
    return data


def moved(session: Session, trained: Fields) -> Tensor:
    """How far training moved each network's frequencies, relative to where they began: (networks,)."""
    first = session.build_model()
    assert isinstance(first, Fields)
    first.redraw(trained.model.knob.view(trained.fields, trained.settings))
    before, after = (m.model.frequencies().flatten(1) for m in (first, trained))
    return (after - before).abs().mean(1) / before.abs().mean(1).clamp_min(1e-12)


def foretold(data: xr.Dataset, *, score: str = "psnr", rung: int | None = None) -> Foretelling | None:
    """Whether the distance before training foretells a score after it; None where not every setting was trained.

    score: psnr or ssim.  rung: where it is taken; None: the finest.  Raises AnchorbenchError where nothing varies.
    """
    if "distance" not in data or data.sizes["trained"] != data.sizes["setting"]:
        return None
    at = int(data["rung"].max()) if rung is None else rung
    quality = data[score].sel(rung=at).values
    return None if np.isnan(quality).any() else foretelling(data["distance"].values, quality)


def price(data: xr.Dataset) -> float | None:
    """Seconds of choosing over seconds of training; None where either was not measured."""
    choosing, training = data.attrs.get("choosing_seconds"), data.attrs.get("train_seconds")
    return None if choosing is None or not training else float(choosing) / float(training)


def data_range(windows: Windows) -> Tensor:
    """Largest observed value less the smallest, over all windows: (C',)."""
    low = high = None
    for window in range(len(windows)):
        batch = windows.batch([window])
        u = batch.targets if batch.mask is None else batch.targets.where(batch.mask > 0, torch.nan)
        flat = u.flatten(2)[0].double()
        least, most = flat.nan_to_num(torch.inf).amin(1), flat.nan_to_num(-torch.inf).amax(1)
        low = least if low is None else torch.minimum(low, least)
        high = most if high is None else torch.maximum(high, most)
    assert low is not None
    assert high is not None
    return (high - low).clamp_min(1e-12)


def psnr(u: Tensor, batch: Batch, extent: Tensor) -> Tensor:
    """10 log₁₀(R² Σw / Σ w e²), the mean over channels: u (settings, C', *grid) of one window -> (settings,)."""
    square = (u - batch.targets).double().square().flatten(2)
    w = torch.ones_like(square) if batch.mask is None else batch.mask.double().flatten(2).expand_as(square)
    mse = (w * square).sum(2) / w.sum(2).clamp_min(1e-300)
    return (10 * torch.log10(extent.square() / mse.clamp_min(1e-300))).clamp_max(MOST_PSNR).mean(1)


def _scores(session: Session, trained: Fields, rung: int, extent: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """PSNR and SSIM of every network on a rung, the mean over a field's frames: (field, trained) each.

    SSIM is NaN where no window of it is whole.
    """
    windows = session.test_windows(rung)
    settings, grid = trained.settings, windows.out_grid
    at_once = trained.model.at_once(grid)
    peaks = torch.zeros(len(windows), settings)
    likeness = torch.full((len(windows), settings), torch.nan)
    for window in range(len(windows)):
        batch = windows.batch([window])
        field = window // trained.frames
        for first in range(0, settings, at_once):
            part = torch.arange(first, min(first + at_once, settings), device=trained.chosen.device)
            time = None if batch.time is None else batch.time.expand(len(part))
            u = trained.model.on(grid, pick=field * settings + part, time=time)
            peaks[window, part.cpu()] = psnr(u, batch, extent).float().cpu()
            truth = batch.targets.expand_as(u).double()
            valid = torch.ones_like(truth[:, :1])
            if batch.mask is not None:
                valid = valid * (batch.mask > 0)
            alike, whole = ssim(u.double(), truth, extent, valid)
            likeness[window, part.cpu()] = alike.mean(1).where(whole[:, 0] > 0, torch.nan).float().cpu()
    shape = (trained.fields, trained.frames, settings)
    return peaks.view(shape).mean(1).numpy(), likeness.view(shape).mean(1).numpy()


def _plain(u: Tensor) -> Any:
    return u.detach().cpu().numpy()
