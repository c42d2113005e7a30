"""What is done to a prediction of something that is never negative, and whose coarse amounts are known.

    ŷ ← max(ŷ, 0),   then the mass of the newest coarse frame (`fields.conserve`), in physical units

Not in training, unless `mean_finished`: the networks learn what the data are, and their output is put right when
somebody asks for it.  z, the argument of f, is in units of the largest coarse value that training saw, as published.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields.conserve import Taper, conserve_cells, conserve_whole, taper

Conserve = Literal["none", "tile", "additive", "multiplicative", "softmax"]
#: Of float32, in deviations of the field: what normalising and its inverse leave of a 0.
ROUNDING = 1e-6


class Finish(nn.Module):
    """forward(out, batch): (B, variable · frame, *out_grid), normalised, to the same."""

    largest: Tensor

    def __init__(self, *, relu: bool, conserve: Conserve, f: Taper, threshold: float) -> None:
        super().__init__()
        self._relu, self._conserve, self._f = relu, conserve, taper(f, threshold=threshold)
        # Saved with the weights; of all variables together, 0 before training.
        self.register_buffer("largest", torch.zeros(()))

    @torch.no_grad()
    def see(self, batch: Batch) -> None:
        """Take note of a training batch."""
        self.largest.copy_(torch.maximum(self.largest, _coarse(batch).amax()))

    def forward(self, out: Tensor, batch: Batch) -> Tensor:
        if batch.out_units is None:
            raise MethodError("mass is kept in physical units, and this batch has none")
        physical = batch.out_units.undo(out)
        if self._relu:
            physical = physical.clamp_min(0)
        if self._conserve != "none":
            unit = torch.where(self.largest > 0, self.largest, 1.0)
            physical = self._conserved(physical / unit, _coarse(batch) / unit, batch) * unit
        return batch.out_units.apply(physical)

    def _conserved(self, fine: Tensor, coarse: Tensor, batch: Batch) -> Tensor:
        """fine (B, variable · frame, *out_grid) and coarse (B, variable, *grid), one variable after another."""
        made = []
        for i, one in enumerate(fine.split(batch.frames_out, dim=1)):
            if self._conserve == "tile":
                made.append(conserve_whole(one, coarse[:, i], f=self._f, weights=batch.mask))
            elif self._conserve != "none":
                made.append(conserve_cells(one, coarse[:, i], how=self._conserve, weights=batch.mask))
        return torch.cat(made, 1)


def _coarse(batch: Batch) -> Tensor:
    """The newest coarse frame in physical units, 0 where nothing was observed: (B, variable, *grid)."""
    last = batch.last_frame()
    if last is None or batch.out_units is None:
        raise MethodError("there is no coarse frame of the target whose mass could be kept")
    physical = batch.out_units.undo(last)[:, :: batch.frames_out]
    # What was 0 is 0 again: a dry sample must stay dry, to the last digit.
    deviation = physical.new_tensor(batch.out_units.std[:: batch.frames_out]).view(-1, *[1] * (physical.ndim - 2))
    physical = physical.where(physical.abs() > ROUNDING * deviation, 0.0)
    return physical if batch.input_mask is None else physical.where(batch.input_mask > 0, 0.0)
