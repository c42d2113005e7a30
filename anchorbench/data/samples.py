"""Samples of a ladder as batches of tensors.

    forecast         frames t−n+1..t in, frame t+lead out, on one rung
    operator         the same with lead 0: variables of role `input` in, those of role `target` out
    super_resolve    the frame on a coarse rung in, the same frame on a finer one out
    represent        places in, the values of a few chosen fields out (field_windows.py)

Values leave here normalised by the mean and deviation of the train rung's training split, missing points 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anchorbench.config import inputs_of, targets_of
from anchorbench.data.degradations import Degradation, degraded, input_noise
from anchorbench.data.ladder import Ladder, Split, TrainingView
from anchorbench.errors import LadderError
from anchorbench.fields import Grid
from anchorbench.fields.carry import on_grid


@dataclass(frozen=True)
class Normaliser:
    """(value − mean) / std per variable, from the train rung's training split."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, view: TrainingView, rung: int) -> Normaliser:
        """Weighted by the observed area.  Opens the training split of `rung`, which the view must allow."""
        ladder = view.open("train", rung)
        weights, grid = ladder.valid_area("train", rung), ladder.grid(rung)
        mean, std = [], []
        for variable in ladder.spec.variables:
            values = np.asarray(ladder.array("train", rung, variable.name), dtype=np.float64)
            w = None if weights is None else np.asarray(weights, dtype=np.float64)
            if not grid.is_uniform:
                w = (np.ones_like(values) if w is None else w) * grid.area_weights().numpy()
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

    def only(self, variables: Sequence[int]) -> Normaliser:
        """Of some of the variables, by number."""
        return Normaliser(tuple(self.mean[i] for i in variables), tuple(self.std[i] for i in variables))


@dataclass(frozen=True)
class Batch:
    """What a method sees of a few samples on one rung.

    inputs (B, C, *grid), targets (B, C', *out_grid), normalised; channels are (variable, frame), frames oldest first.
    mask (B, 1, *out_grid): valid-area weights of the target, None where nothing is missing; input_mask (B, 1, *grid):
    share of the area observed in all input frames.  static (B, S, *grid): fields that do not change.
    clusters (B,): which independent unit each sample belongs to.
    newest: the channel that holds the newest frame of each target; None where targets are all of the input's
    variables, empty where the inputs lack one.  in_units, out_units: what normalised them, one entry a variable; None
    in a batch that no ladder made.
    frames_out: of each target variable; above 1 they lie within the newest input frame, which is their mean, and
    out_units has an entry for each.
    Of `represent` alone: number (B,), which field each item is a frame of, None where item i is field i; time (B,) in
    [−1, 1], None where fields have one frame.
    """

    inputs: Tensor
    targets: Tensor
    grid: Grid
    out_grid: Grid
    clusters: Tensor
    mask: Tensor | None = None
    input_mask: Tensor | None = None
    static: Tensor | None = None
    newest: tuple[int, ...] | None = None
    in_units: Normaliser | None = None
    out_units: Normaliser | None = None
    number: Tensor | None = None
    time: Tensor | None = None
    frames_out: int = 1

    def __len__(self) -> int:
        return len(self.inputs)

    def with_inputs(self, inputs: Tensor, input_mask: Tensor | None = None) -> Batch:
        return replace(self, inputs=inputs, input_mask=input_mask)

    def last_frame(self) -> Tensor | None:
        """The newest input frame of every target, once for each of its frames: (B, C', *grid); None: there is none."""
        if self.newest is None:
            frames = self.inputs.shape[1] * self.frames_out // self.targets.shape[1]
            last = self.inputs[:, frames - 1 :: frames]
        elif self.newest:
            last = self.inputs[:, self.newest]
        else:
            return None
        return last if self.frames_out == 1 else last.repeat_interleave(self.frames_out, dim=1)

    def start(self) -> Tensor | None:
        """What an increment is added to: the newest frame on the targets' grid, (B, C', *out_grid), or None."""
        last = self.last_frame()
        return None if last is None else on_grid(last, self.grid, self.out_grid)


class Windows:
    """All windows of one split: frames t−n+1..t of `in_rung` in, frame t+lead of `rung` out.

    in_rung: where the inputs are; None: on `rung` too.  degradation: how they are made from `source_rung`; None: the
    ladder's own are taken.  noise: its deviation on the inputs, in deviations of the field.
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
        in_rung: int | None = None,
        degradation: Degradation | None = None,
        source_rung: int | None = None,
        noise: float = 0.0,
        static: Tensor | None = None,
        device: torch.device | str = "cpu",
        resident_bytes: int = 8 << 30,
    ) -> None:
        self.out_grid = ladder.grid(rung)
        self.grid = self.out_grid if in_rung is None else ladder.grid(in_rung)
        self.frames_in, self.lead, self.normaliser = frames_in, lead, normaliser
        self.frames_out = 1
        self.device = torch.device(device)
        variables = ladder.spec.variables
        inputs, targets = inputs_of(variables), targets_of(variables)
        self._in_units, self._out_units = normaliser.only(inputs), normaliser.only(targets)
        self._split, self._degradation, self._noise = split, degradation, noise
        at_home = (in_rung is None or in_rung == rung) and degradation is None
        # One array serves as input and target where both are on one rung: its windows are copied out once.
        self._joint = at_home and inputs == targets
        source = rung if in_rung is None else in_rung
        if degradation is not None:
            if source_rung is None or in_rung is None or source_rung < in_rung:
                raise LadderError("a degradation goes from a finer rung, its source, to the inputs' own")
            source = source_rung
        self._inputs = [ladder.array(split, source, variables[i].name) for i in inputs]
        self._targets = [] if self._joint else [ladder.array(split, rung, variables[i].name) for i in targets]
        weights = [ladder.valid_area(split, source)] + ([] if at_home else [ladder.valid_area(split, rung)])
        self._weights = [w for w in weights if w is not None]
        shared = [i for i in targets if i in inputs]
        self._newest = None if inputs == targets else tuple((inputs.index(i) + 1) * frames_in - 1 for i in shared)
        if len(shared) < len(targets):
            self._newest = ()
        self._clusters = ladder.clusters(split)
        samples, frames = self._inputs[0].shape[:2]
        self.per_sample = frames - frames_in - lead + 1
        if self.per_sample < 1:
            raise LadderError(
                f"{split} of {ladder.spec.name} has {frames} frames a sample: too few for {frames_in} in, lead {lead}"
            )
        self._n = int(samples * self.per_sample)
        self.static = None if static is None else static.to(self.device, torch.float32)
        held = [*self._inputs, *self._targets, *self._weights]
        fits = sum(v.nbytes for v in held) <= resident_bytes
        self._resident = (
            {id(v): torch.from_numpy(np.array(v)).to(self.device) for v in held}
            if self.device.type != "cpu" and fits
            else {}
        )

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
        seen, asked = frames[:, :-1], frames[:, -1:]
        if self._joint:
            values = self._gathered(self._inputs, sample, frames)
            weights = self._gathered(self._weights, sample, frames)
            mask_in, mask_out = weights[:, 0, :-1], weights[:, 0, -1:]
            inputs, targets = values[:, :, :-1], values[:, :, -1]
        else:
            inputs = self._gathered(self._inputs, sample, seen)
            targets = self._gathered(self._targets, sample, asked)[:, :, 0]
            mask_in = self._gathered(self._weights[:1], sample, seen)[:, 0]
            if self._degradation is not None:
                inputs, mask_in = self._degraded(inputs, mask_in)
            mask_out = self._gathered(self._weights[-1:], sample, asked)[:, 0]
        masked = bool(self._weights)
        given = normal(inputs, self._in_units, mask_in[:, None] if masked else None)
        if self._noise:
            drawn = input_noise(tuple(given.shape[1:]), windows, self._split).to(given)
            given = given + self._noise * (torch.where(mask_in[:, None] > 0, drawn, 0.0) if masked else drawn)
        static = None if self.static is None else self.static.expand(len(windows), *self.static.shape)
        return Batch(
            inputs=given.flatten(1, 2),
            targets=normal(targets, self._out_units, mask_out if masked else None),
            grid=self.grid,
            out_grid=self.out_grid,
            clusters=torch.from_numpy(self._clusters[sample]).to(self.device),
            mask=mask_out if masked else None,
            input_mask=mask_in.amin(1, keepdim=True) if masked else None,
            static=static,
            newest=self._newest,
            in_units=self._in_units,
            out_units=self._out_units,
        )

    def _degraded(self, inputs: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (B, variable, frame, *source) and their valid share (B, frame, *source) on the inputs' own grid."""
        assert self._degradation is not None
        if not self._weights:
            return degraded(inputs, self.grid, self._degradation)[0], weights
        coarse, share = degraded(inputs, self.grid, self._degradation, weights=weights[:, None])
        assert share is not None  # weights in, weights out
        return coarse, share[:, 0]

    def _gathered(self, arrays: Sequence[np.ndarray], sample: np.ndarray, frames: np.ndarray) -> Tensor:
        """(B, array, frame, *grid)."""
        if not arrays:
            return torch.empty(len(sample), 1, frames.shape[1], device=self.device)
        return torch.stack([self._gather(v, sample, frames) for v in arrays], dim=1)

    def _gather(self, values: np.ndarray, sample: np.ndarray, frames: np.ndarray) -> Tensor:
        if (resident := self._resident.get(id(values))) is not None:
            s, f = (torch.from_numpy(i).to(self.device) for i in (sample, frames))
            return resident[s[:, None], f]
        return torch.from_numpy(gather(values, sample, frames)).to(self.device)


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


def normal(u: Tensor, units: Normaliser, weights: Tensor | None) -> Tensor:
    """Normalised; 0 where nothing is valid."""
    u = units.apply(u)
    return u if weights is None else torch.where(weights > 0, u, u.new_zeros(()))


def _column(values: tuple[float, ...], u: Tensor) -> Tensor:
    return torch.tensor(values, dtype=u.dtype, device=u.device).view(1, -1, *[1] * (u.ndim - 2))
