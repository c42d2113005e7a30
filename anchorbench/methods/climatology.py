"""`climatology`: an ensemble that knows the training set and not the input: what any other must do better than.

    member m of a window:   the frames t ... t + T − 1 of a training event, event and t drawn at random

Draws depend on the member and the cluster alone, so they are the same on every rung, in any batch, and independent from
cluster to cluster.  It reads the training split on the rung that is scored, as the score's statistics do; nothing is
trained on it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anchorbench.config import targets_of
from anchorbench.data.ladder import Ladder
from anchorbench.data.samples import Batch, Normaliser

MEMBERS = 8


class Climatology:
    """A predictor with members: (M, B, C', *out_grid), normalised."""

    def __init__(self, ladder: Ladder, normaliser: Normaliser, *, members: int = MEMBERS) -> None:
        targets = targets_of(ladder.spec.variables)
        self._ladder, self._members = ladder, members
        self._names = [ladder.spec.variables[i].name for i in targets]
        self._units = normaliser.only(targets)

    def __call__(self, batch: Batch) -> Tensor:
        return self.members(batch).mean(0)

    def members(self, batch: Batch) -> Tensor:
        clusters, group = torch.unique(batch.clusters.cpu(), return_inverse=True)
        drawn = np.stack([self._drawn(int(c), batch.out_grid.rung, batch.frames_out) for c in clusters], axis=1)
        fields = torch.from_numpy(drawn).to(batch.targets)  # (M, cluster, variable, frame, *grid)
        normal = self._units.apply(fields.flatten(0, 1)).unflatten(0, drawn.shape[:2]).flatten(2, 3)
        made: Tensor = normal[:, group.to(normal.device)]
        return made

    def _drawn(self, cluster: int, rung: int, frames: int) -> np.ndarray:
        """(M, variable, frame, *grid) of the training split."""
        rng = np.random.default_rng([cluster, 20])
        held = [self._ladder.array("train", rung, name) for name in self._names]
        events, length = held[0].shape[:2]
        picks = [(rng.integers(events), rng.integers(length - frames + 1)) for _ in range(self._members)]
        return np.stack([[np.asarray(values[e, t : t + frames]) for values in held] for e, t in picks])
