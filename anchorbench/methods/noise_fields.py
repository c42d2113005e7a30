"""Noise as fields on a rung: where it is drawn, how it goes to other grids, and from whose randomness.

White noise of variance 1 a point is another process on every grid: a wave k of it has variance 1/N^d, so that on twice
the points each wave that both grids carry has 2^−d of what it had.  `band` is one process on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from anchorbench.data.samples import Batch
from anchorbench.fields import Grid, Restriction, prolong, restrict

NoiseKind = Literal["white", "band"]


@dataclass(frozen=True)
class NoiseFields:
    """Draws of N(0, 1) a point, one after another, (B, C', *out_grid) each.

    white    variance 1 at each point of the grid that is asked for
    band     drawn on `home`, the train rung's grid, and carried by the ladder's restriction: on waves (or cells) that
             two rungs share, the same draw is the same field; a finer rung gets no noise of its own

    generators: one, which draws the whole batch; or one for each of several groups, and `group` (B,) says whose draw a
    sample gets.
    """

    batch: Batch
    home: Grid
    how: Restriction
    kind: NoiseKind
    generators: Sequence[torch.Generator]
    group: Tensor | None = None

    @classmethod
    def free(cls, batch: Batch, rng: torch.Generator, *, home: Grid, how: Restriction, kind: NoiseKind) -> NoiseFields:
        """Independent for each sample, all from one generator."""
        return cls(batch, home, how, kind, (rng,))

    @classmethod
    def fixed(
        cls, batch: Batch, *, seed: int, member: int, home: Grid, how: Restriction, kind: NoiseKind
    ) -> NoiseFields:
        """A function of (seed, member, cluster): the same whatever the batch, whatever else is in it, on every rung.

        Samples of one cluster share their draws, and clusters are independent, as the intervals of the scores suppose.
        """
        clusters, group = torch.unique(batch.clusters.cpu(), return_inverse=True)
        seeds = (((seed * 1_000_003 + member) * 1_000_003 + c) * 2_654_435_761 % 2**63 for c in clusters.tolist())
        return cls(batch, home, how, kind, [torch.Generator().manual_seed(s) for s in seeds], group)

    def __call__(self) -> Tensor:
        grid = self.batch.out_grid if self.kind == "white" else self.home
        channels = self.batch.targets.shape[1]
        rows = len(self.batch) if self.group is None else 1
        drawn = [torch.randn(rows, channels, *grid.shape, generator=g, device=g.device) for g in self.generators]
        noise = drawn[0] if self.group is None else torch.cat(drawn)
        if self.kind == "band":
            noise = carried(noise, grid, self.batch.out_grid, how=self.how)
        if self.group is not None:
            noise = noise[self.group]
        return noise.to(self.batch.targets)


def carried(noise: Tensor, home: Grid, to: Grid, *, how: Restriction) -> Tensor:
    """Noise from the grid `home` to another, the same field on what both can hold; a wave's variance stays its own.

    Waves under `spectral` (the Nyquist waves of `home` are dropped, on `home` too), the shared points under `stride`,
    else the cells that overlap.
    """
    by: Restriction = how if how in ("spectral", "stride") else "conservative"
    if by != "spectral" and home.shape == to.shape:
        return noise
    return restrict(noise, to, how=by) if to.n_points <= home.n_points else prolong(noise, to, how=by)
