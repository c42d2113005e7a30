"""Samples of the task `forecast`: windows of a ladder as batches of tensors.

Values leave here normalised by the mean and deviation of the train rung's training split, missing points 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anchorbench.data.ladder import Ladder, Split, TrainingView
from anchorbench.errors import LadderError
from anchorbench.fields import Grid


@dataclass(frozen=True)
class Normaliser:
    """(value − mean) / std per variable, from the train rung's training split."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, view: TrainingView, rung: int) -> Normaliser:
        """Weighted by the observed area.  Opens the training split of `rung`, which the view must allow."""
        ladder = view.open("train", rung)
        weights = ladder.valid_area("train", rung)
        mean, std = [], []
        for variable in ladder.spec.variables:
            values = np.asarray(ladder.array("train", rung, variable.name), dtype=np.float64)
            w = None if weights is None else np.asarray(weights, dtype=np.float64)
            if w is not None and not w.any():
                raise LadderError(f"nothing was observed in the training split of {ladder.spec.name}")
            m = float(np.average(values, weights=w))
            s = math.sqrt(float(np.average((values - m) ** 2, weights=w)))
            if not s > 0:
                raise LadderError(f"'{variable.name}' does not vary in the training split of {ladder.spec.name}")
            mean.append(m)
            std.append(s)
        return cls(tuple(mean), tuple(std))

    def apply(self, u: Tensor) -> Tensor:
        """Physical to normalised: u (B, variable, ...)."""
        return (u - _column(self.mean, u)) / _column(self.std, u)

    def undo(self, u: Tensor) -> Tensor:
        """Normalised to physical: u (B, variable, ...)."""
        return u * _column(self.std, u) + _column(self.mean, u)


@dataclass(frozen=True)
class Batch:
    """What a method sees of a few samples on one rung.

    inputs (B, C, *grid), targets (B, C', *out_grid), normalised; channels are (variable, frame), frames oldest first.
    mask (B, 1, *out_grid): valid-area weights of the target, None where nothing is missing; input_mask (B, 1, *grid):
    share of the area observed in all input frames.  static (B, S, *grid): fields that do not change.
    clusters (B,): which independent unit each sample belongs to.
    """

    inputs: Tensor
    targets: Tensor
    grid: Grid
    out_grid: Grid
    clusters: Tensor
    mask: Tensor | None = None
    input_mask: Tensor | None = None
    static: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def with_inputs(self, inputs: Tensor, input_mask: Tensor | None = None) -> Batch:
        return replace(self, inputs=inputs, input_mask=input_mask)

    def last_frame(self) -> Tensor:
        """The newest input frame of every variable: (B, C', *grid)."""
        frames = self.inputs.shape[1] // self.targets.shape[1]
        return self.inputs[:, frames - 1 :: frames]


class Windows:
    """All windows of one split on one rung: frames t−n+1..t in, frame t+lead out.

    device: where batches appear.  Arrays that fit are moved there once, so that a step copies nothing.
    """

    def __init__(
        self,
        ladder: Ladder,
        split: Split,
        rung: int,
        *,
        frames_in: int,
        lead: int,
        normaliser: Normaliser,
        static: Tensor | None = None,
        device: torch.device | str = "cpu",
        resident_bytes: int = 8 << 30,
    ) -> None:
        self.grid = ladder.grid(rung)
        self.frames_in, self.lead, self.normaliser = frames_in, lead, normaliser
        self.device = torch.device(device)
        self._values = [ladder.array(split, rung, v.name) for v in ladder.spec.variables]
        self._weights = ladder.valid_area(split, rung)
        self._clusters = ladder.clusters(split)
        samples, frames = self._values[0].shape[:2]
        self.per_sample = frames - frames_in - lead + 1
        if self.per_sample < 1:
            raise LadderError(
                f"{split} of {ladder.spec.name} has {frames} frames a sample: too few for {frames_in} in, lead {lead}"
            )
        self._n = int(samples * self.per_sample)
        self.static = None if static is None else static.to(self.device, torch.float32)
        held = self._values if self._weights is None else [*self._values, self._weights]
        fits = sum(v.nbytes for v in held) <= resident_bytes
        # The variables in their order, and last the observed area.
        self._resident = [self._on_device(v) for v in held] if self.device.type != "cpu" and fits else None

    def __len__(self) -> int:
        return self._n

    @property
    def n_clusters(self) -> int:
        return int(self._clusters.max()) + 1

    def batch(self, windows: Sequence[int] | np.ndarray) -> Batch:
        """The named windows, numbered 0 .. len − 1, sample by sample."""
        windows = np.asarray(windows, dtype=np.int64)
        sample, start = windows // self.per_sample, windows % self.per_sample
        target = start + self.frames_in - 1 + self.lead
        frames = np.concatenate([start[:, None] + np.arange(self.frames_in), target[:, None]], axis=1)
        values = torch.stack([self._gather(i, v, sample, frames) for i, v in enumerate(self._values)], dim=1)
        weights = None
        if self._weights is not None:
            weights = self._gather(len(self._values), self._weights, sample, frames)
            values = torch.where(weights[:, None] > 0, self.normaliser.apply(values), values.new_zeros(()))
        else:
            values = self.normaliser.apply(values)
        static = None if self.static is None else self.static.expand(len(windows), *self.static.shape)
        return Batch(
            inputs=values[:, :, :-1].flatten(1, 2),
            targets=values[:, :, -1],
            grid=self.grid,
            out_grid=self.grid,
            clusters=torch.from_numpy(self._clusters[sample]).to(self.device),
            mask=None if weights is None else weights[:, -1:],
            input_mask=None if weights is None else weights[:, :-1].amin(1, keepdim=True),
            static=static,
        )

    def _gather(self, number: int, values: np.ndarray, sample: np.ndarray, frames: np.ndarray) -> Tensor:
        if self._resident is not None:
            s, f = (torch.from_numpy(i).to(self.device) for i in (sample, frames))
            return self._resident[number][s[:, None], f]
        return torch.from_numpy(gather(values, sample, frames)).to(self.device)

    def _on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(values)).to(self.device)


def gather(values: np.ndarray, sample: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Windows copied out of a memory map: values (sample, time, *grid), frames (B, F) -> (B, F, *grid).

    All but the last of a window's frames follow one another.
    """
    out = np.empty((*frames.shape, *values.shape[2:]), values.dtype)
    values = values.view(np.ndarray)  # a memmap's own indexing makes a memmap of each slice
    # Slices into one block: indexing by arrays costs half as much again on large frames.
    for row, s, first, last in zip(out, sample.tolist(), frames[:, 0].tolist(), frames[:, -1].tolist(), strict=True):
        row[:-1] = values[s, first : first + len(row) - 1]
        row[-1] = values[s, last]
    return out


def _column(values: tuple[float, ...], u: Tensor) -> Tensor:
    return torch.tensor(values, dtype=u.dtype, device=u.device).view(1, -1, *[1] * (u.ndim - 2))
