"""How much a choice of frequencies hangs on the bins, the number of draws and the form of the spectrum.

What is chosen from many draws, the published form and all bins is compared with what less of one of them chooses.
Nothing is trained: the dB that another choice would have cost are those of a search that was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from anchorbench.analysis.spectral_distance import wasserstein
from anchorbench.data.field_windows import FieldWindows
from anchorbench.methods.fresh import Selecting, target_spectra, untrained_spectra
from anchorbench.methods.represent import Fields
from anchorbench.runs.session import Session

#: Draws of the choice that others are compared with.
DRAWS = 40


@torch.no_grad()
def sensitivity(session: Session, data: xr.Dataset, *, draws: int = DRAWS) -> list[dict[str, Any]]:
    """A row a variant: what is varied, to what; `same`, the share of fields (and of groups of draws) that choose alike;
    `lost`, the mean dB of PSNR on the fitted rung that its choice has less, negative where it has more.

    data: selection.nc of the session's run, a `grid_search`.
    """
    module, method = session.build_model(), session.method
    assert isinstance(module, Fields)
    assert isinstance(method, Selecting)
    rung = session.spec.train_rung
    windows = session.training_windows("train", rung)
    assert isinstance(windows, FieldWindows)
    batch = windows.whole()
    settings = torch.tensor(method.settings(module.model))

    def spectra(form: Any) -> tuple[Tensor, Tensor]:
        words = {"bins": method.bins, "form": form}
        many = untrained_spectra(module.model, batch.out_grid, settings, draws=draws, **words)
        return many, target_spectra(batch, frames=session.plan.frames, **words)

    many, target = spectra("antidiagonal")
    usual = choice(many, target)
    psnr = data["psnr"].sel(rung=rung).values

    def row(what: str, to: Any, choices: list[np.ndarray]) -> dict[str, Any]:
        fields = np.arange(len(usual))
        lost = [psnr[fields, usual] - psnr[fields, one] for one in choices]
        same = [one == usual for one in choices]
        return {"varied": what, "to": str(to), "same": float(np.mean(same)), "lost": float(np.mean(lost))}

    rows = []
    for words, n in (("a quarter", method.bins // 4), ("half", method.bins // 2)):
        rows.append(row("bins", words, [choice(cropped(many, n), cropped(target, n))]))
    for n in (1, 3, 10):
        groups = [many[:, first : first + n] for first in range(0, max(draws - n, 0) + 1, n)]
        rows.append(row("draws", n, [choice(group, target) for group in groups]))
    rows.append(row("form", "radial", [choice(*spectra("radial"))]))
    return rows


def choice(untrained: Tensor, target: Tensor) -> np.ndarray:
    """The setting of least mean distance: untrained (setting, draw, bin), target (field, frame, bin) -> (field,)."""
    frame = torch.arange(untrained.shape[1]) % target.shape[1]
    apart = wasserstein(untrained[None], target[:, frame][:, None]).mean(-1)
    return np.asarray(apart.argmin(1).cpu().numpy())


def cropped(spectra: Tensor, bins: int) -> Tensor:
    """The first bins alone, of sum 1 again."""
    first = spectra[..., :bins]
    return first / first.sum(-1, keepdim=True).clamp_min(1e-12)
