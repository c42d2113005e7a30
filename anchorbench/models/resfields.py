"""`resfields`: a SIREN whose hidden maps change with time (Mihajlovic et al., ICLR 2024).

    W_i(t) = W_i + Σ_r v_r(t) M_{i,r}

v has one row a frame and is linear between frames; M has `rank` matrices of each hidden map, the first and the last map
left out.  Both are drawn from N(0, 0.01²): ours.  With `time_input` false, time is no coordinate and reaches the
network through v alone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from anchorbench.models.coordinate import Draw, picked
from anchorbench.models.coordinate_options import ResFieldsOptions
from anchorbench.models.siren import Siren

SMALL = 0.01


class ResFields(Siren):
    """For fields with time; of one frame it is a SIREN with one more, constant, part of its weights."""

    Options = ResFieldsOptions

    def draw_more(self, draw: Draw, sizes: list[int]) -> None:
        rank = int(self.options.rank)
        inner = list(pairwise(sizes[1:-1]))
        self.mixtures = nn.ParameterList(nn.Parameter(SMALL * draw.normal(self.frames, rank)) for _ in inner)
        self.matrices = nn.ParameterList(nn.Parameter(SMALL * draw.normal(rank, *size)) for size in inner)

    def weight(self, i: int, pick: Tensor | None, time: Tensor | None) -> Tensor:
        w = super().weight(i, pick, time)
        if not 1 <= i <= len(self.mixtures):
            return w
        v = at_time(picked(self.mixtures[i - 1], pick), time)
        return w + torch.einsum("br,brio->bio", v, picked(self.matrices[i - 1], pick))

    @property
    def embedding_words(self) -> str:
        return "sines of a learnt map of them; hidden maps change with time"


def at_time(rows: Tensor, time: Tensor | None) -> Tensor:
    """Linear between rows, evenly spaced over [−1, 1]: rows (B, T, r), time (B,) -> (B, r); None: the first row."""
    last = rows.shape[1] - 1
    if time is None or last == 0:
        return rows[:, 0]
    at = ((time.to(rows) + 1) / 2 * last).clamp(0, last)
    low = at.long().clamp(max=last - 1)
    items = torch.arange(len(rows), device=rows.device)
    return torch.lerp(rows[items, low], rows[items, low + 1], (at - low)[:, None])
