"""Samples of super-resolution in space and time: coarse frames, each a mean over several hours, and the fine hours.

    x_l = mean of the frames lT ... lT + T − 1 of the input rung,  l = 0 ... L − 1        what is given
    y_t = frame (L − 1) T + t of the finer rung,                   t = 0 ... T − 1        what is asked for

Only the newest coarse frame is refined; those before it are context, and nothing after it is seen.  All L T frames are
consecutive frames of one sample of the ladder, so no window bridges a gap in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anchorbench.data.ladder import Ladder, Split
from anchorbench.data.samples import Batch, Normaliser, Windows, normal


class SpaceTimeWindows(Windows):
    """frames_in: L.  time_factor: T.  A window begins at every frame that leaves L T of them; of the test
    split at every T-th, so that no hour is scored twice.

    A point counts where all T of its frames were observed: one mask for the targets, as everywhere.
    Raises LadderError where a sample has fewer than L T frames.
    """

    def __init__(
        self, ladder: Ladder, split: Split, rung: int, *, frames_in: int, time_factor: int, **words: Any
    ) -> None:
        super().__init__(ladder, split, rung, frames_in=frames_in * time_factor, lead=0, **words)
        self.frames_in, self.frames_out, self.stride = frames_in, time_factor, 1
        if split == "test":  # each hour is asked for once
            self.stride = time_factor
            self.per_sample = (self.per_sample - 1) // time_factor + 1
            self._n = len(self._clusters) * self.per_sample
        if self._newest:
            spread = frames_in * time_factor
            self._newest = tuple((at + 1) // spread * frames_in - 1 for at in self._newest)

    def batch(self, windows: Sequence[int] | np.ndarray) -> Batch:
        windows = np.asarray(windows, dtype=np.int64)
        sample, start = windows // self.per_sample, windows % self.per_sample * self.stride
        frames = start[:, None] + np.arange(self.frames_in * self.frames_out)
        asked = frames[:, -self.frames_out :]
        weights, masked = self._gathered(self._weights[:1], sample, frames)[:, 0], bool(self._weights)
        inputs, seen = self._means(self._gathered(self._inputs, sample, frames), weights if masked else None)
        targets = self._gathered(self._targets or self._inputs, sample, asked)
        mask = self._gathered(self._weights[-1:], sample, asked)[:, 0].amin(1, keepdim=True) if masked else None
        static = None if self.static is None else self.static.expand(len(windows), *self.static.shape)
        units = self._out_units
        return Batch(
            inputs=normal(inputs, self._in_units, None if seen is None else seen[:, None]).flatten(1, 2),
            targets=normal(targets, units, None if mask is None else mask[:, None]).flatten(1, 2),
            grid=self.grid,
            out_grid=self.out_grid,
            clusters=torch.from_numpy(self._clusters[sample]).to(self.device),
            mask=mask,
            input_mask=None if seen is None else seen.amin(1, keepdim=True),
            static=static,
            newest=self._newest,
            in_units=self._in_units,
            out_units=each_frame(units, self.frames_out),
            frames_out=self.frames_out,
        )

    def _means(self, u: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, variable, L T, *grid) -> (B, variable, L, *grid), and of valid shares (B, L T, *grid) the same."""
        parts = (self.frames_in, self.frames_out)
        u = u.unflatten(2, parts)
        if weights is None:
            return u.mean(3), None
        w = weights.unflatten(1, parts)
        return (u * w[:, None]).sum(3) / w.sum(2)[:, None].clamp_min(1e-12), w.mean(2)


def each_frame(units: Normaliser, frames: int) -> Normaliser:
    """One entry a channel (variable, frame)."""
    return units.only([i for i in range(len(units.mean)) for _ in range(frames)])
