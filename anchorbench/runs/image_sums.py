"""What is scored of a super-resolution beside its error: images, and whether the output still says what was given.

    consistency   ‖R M(u) − u‖ / σ,   R the degradation that made u from the truth: 0 for the truth, and for whatever
                  is finer than the input alone

as sums that merge: Σ w |R M(u) − u|² and Σ w on the input's grid.  Scores of images are `analysis.image_scores`; the
range of PSNR and SSIM is that of the train rung's training split, one number for all rungs, samples and runs of a band.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from anchorbench.analysis import Sums
from anchorbench.analysis.image_scores import image_scores
from anchorbench.analysis.score import point_weights
from anchorbench.config import targets_of
from anchorbench.data.degradations import Degradation, degraded
from anchorbench.data.samples import Batch
from anchorbench.runs.session import Session

CONSISTENCY = ("given_weight", "given_misfit")


def image_range(session: Session) -> Tensor:
    """max − min of each target variable over the band rung's training split, in σ: (C',), float64.

    Where nothing was observed there is no value.
    """
    ladder, rung = session.ladder, session.spec.band_rung
    valid = ladder.valid_area("train", rung)
    extent = []
    for i in targets_of(ladder.spec.variables):
        values = np.asarray(ladder.array("train", rung, ladder.spec.variables[i].name))
        seen = values if valid is None else values[np.asarray(valid) > 0]
        extent.append((float(seen.max()) - float(seen.min())) / session.band_normaliser.std[i])
    return torch.tensor(extent, dtype=torch.float64)


def image_sums(session: Session, out: Tensor, batch: Batch, given: Batch, *, extent: Tensor, n_clusters: int) -> Sums:
    """The scores of images, and, where time is not refined, those of consistency.

    out: (B, C', *out_grid), one frame an item, as `batch`; given: the batch as the model saw it; extent: `image_range`.
    """
    sums = image_scores(
        out,
        batch.targets,
        grid=batch.out_grid,
        data_range=extent,
        weights=batch.mask,
        clusters=batch.clusters,
        n_clusters=n_clusters,
        channel_scale=session.channel_scale,
    )
    last = given.last_frame()
    if given.frames_out > 1 or last is None or last.shape[1] != out.shape[1]:
        return sums
    return sums.joined(_consistency(session, out, last, batch, n_clusters=n_clusters))


def _consistency(session: Session, out: Tensor, last: Tensor, batch: Batch, *, n_clusters: int) -> Sums:
    how = cast("Degradation", session.spec.degradation or session.ladder.restriction)
    if how == "block_mean":
        how = "conservative"  # of whole cells the same, and of rungs that do not nest too
    scale = session.channel_scale.to(out.device).view(-1, *(1,) * batch.grid.ndim)
    back, observed = degraded(out.double() / scale, batch.grid, how, weights=batch.mask)
    weights = batch.input_mask if observed is None or batch.input_mask is None else observed * batch.input_mask
    w = point_weights(batch.grid, weights, how="conservative", like=back).expand(len(back), 1, *batch.grid.shape)
    misfit = (w * (back - last.double() / scale).square()).flatten(2).sum(-1)
    total = w.flatten(2).sum(-1).expand_as(misfit)
    arrays = {}
    for name, values in zip(CONSISTENCY, (total, misfit), strict=True):
        by_cluster = values.new_zeros(n_clusters, values.shape[1])
        arrays[name] = by_cluster.index_add_(0, batch.clusters.to(values.device, torch.long), values).cpu().numpy()
    return Sums(arrays)
