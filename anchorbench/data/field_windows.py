"""Samples of the task `represent`: a few fields of the test split, each the target of a network of its own.

A network knows nothing but the field that it was fitted to, so what is fitted is the field that is scored: its points
on the train rung are given, what is finer is asked for.  Training reads no other split than `test` and no finer rung.

    part       which points have weight
    all        every observed one: what is scored
    fitted     all but a random share of them
    held_out   that share; it chooses the checkpoint and, for a search, the setting
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from anchorbench.data.ladder import Ladder
from anchorbench.data.samples import Batch, Windows
from anchorbench.errors import LadderError

Part = Literal["all", "fitted", "held_out"]


class FieldWindows(Windows):
    """`fields` fields of `frames` frames each, spread over the test split's clusters; window f·frames + t.

    share: of the points, held out.  noise: deviation of white noise added to the values, in units of the normaliser;
    it is what is fitted that is noisy, so `all` has none.  seed: of the points and the noise.

    Raises LadderError where the split holds fewer fields, or they have fewer frames.
    """

    def __init__(
        self,
        ladder: Ladder,
        rung: int,
        *,
        fields: int,
        frames: int = 1,
        part: Part = "all",
        share: float = 0.0,
        noise: float = 0.0,
        seed: int = 0,
        **words: Any,
    ) -> None:
        super().__init__(ladder, "test", rung, frames_in=1, lead=0, **words)
        self.fields, self.frames = fields, frames
        starts = self._starts(ladder)
        self._picked = (starts[:, None] + np.arange(frames)).reshape(-1)
        owner = self._clusters[self._picked // self.per_sample]
        self._cluster_of = torch.from_numpy(np.unique(owner, return_inverse=True)[1]).to(self.device)
        rng = torch.Generator().manual_seed(seed)
        self._keep = None if part == "all" else self._kept(part, share, rng).to(self.device)
        self._added: Tensor | None = None
        if noise > 0 and part != "all":
            shape = (len(self), len(self._out_units.std), *self.out_grid.shape)
            self._added = (noise * torch.randn(shape, generator=rng)).to(self.device)
        self._whole: Batch | None = None

    def __len__(self) -> int:
        return self.fields * self.frames

    @property
    def n_clusters(self) -> int:
        return int(self._cluster_of.max()) + 1

    def batch(self, windows: Sequence[int] | np.ndarray) -> Batch:
        numbers = np.asarray(windows, dtype=np.int64)
        at = torch.from_numpy(numbers).to(self.device)
        batch = super().batch(self._picked[numbers])
        mask, targets = batch.mask, batch.targets
        if self._keep is not None:
            mask = self._keep[at] if mask is None else mask * self._keep[at]
        if self._added is not None:
            targets = targets + self._added[at]
        return replace(
            batch,
            targets=targets,
            mask=mask,
            clusters=self._cluster_of[at],
            number=at // self.frames,
            time=None if self.frames == 1 else 2 * (at % self.frames) / (self.frames - 1) - 1.0,
        )

    def whole(self) -> Batch:
        """All frames of all fields, gathered once: every step of a fit sees them all."""
        if self._whole is None:
            batch = self.batch(range(len(self)))
            self._whole = replace(batch, number=None) if self.frames == 1 else batch
        return self._whole

    def _starts(self, ladder: Ladder) -> np.ndarray:
        """The first window of each field: one of each cluster before a second of any, from the middle outwards."""
        samples = len(self._clusters)
        if self.frames > self.per_sample:
            raise LadderError(
                f"{ladder.spec.name} has {self.per_sample} frames a sample, not {self.frames}",
                do=f"--set task.frames={self.per_sample}",
            )
        n = super().__len__() if self.frames == 1 else samples
        if self.fields > n:
            raise LadderError(
                f"the test split of {ladder.spec.name} holds {n} fields, not {self.fields}",
                do=f"--set task.fields={n}",
            )
        step = 1 if self.frames == 1 else self.per_sample
        windows = np.arange(n) * step
        owner = self._clusters[windows // self.per_sample]
        order = []
        for cluster in np.unique(owner):
            own = windows[owner == cluster]
            rank = np.argsort(np.abs(np.arange(len(own)) - (len(own) - 1) / 2), kind="stable")
            order += [(turn, int(cluster), int(own[place])) for turn, place in enumerate(rank)]
        return np.array(sorted(window for _, _, window in sorted(order)[: self.fields]))

    def _kept(self, part: Part, share: float, rng: torch.Generator) -> Tensor:
        """1 where a point of a frame has weight: (windows, 1, *grid)."""
        points = self.out_grid.n_points
        held = min(points - 1, max(1, round(share * points))) if share > 0 else 0
        order = torch.rand(len(self), points, generator=rng).argsort(1).argsort(1)
        out = (order < held).float() if held else torch.zeros(len(self), points)
        if part == "fitted":
            out = 1 - out
        elif not held:  # nothing is held out: the fit itself is looked at
            out = torch.ones_like(out)
        return out.view(-1, 1, *self.out_grid.shape)
