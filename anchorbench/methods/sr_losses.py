"""What a super-resolution may be trained to make small, and HiNOTE's frequency-aware prior that weighs it.

    l1      mean |e|,   e = ŷ − y            mse     mean e²
    focal   mean_k ω |ê|²,  ω = |ê|^α / max_k |ê|^α, held fixed      (Jiang et al., ICCV 2021; α = 1)
    prior   mean w_s w_l |e|                                         (Luo et al., ICML 2024, with Gou et al., CVPR 2023)

            w(p; α, γ) = γ exp(α (p − min p)/(max p − min p)), held fixed, min and max over the batch
            static   p = |y − R u|, where spectral resizing R of the input fails        α = 1, γ = ½
            learned  p = |e|, where the network fails at present                        α = 1, γ = 1

Means are over the batch and its points, by cell area and valid share.  The paper's own α and γ are not known to us;
these are those of the prior that its code took over.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from anchorbench.data.samples import Batch
from anchorbench.fields import Grid
from anchorbench.fields.separable import constant
from anchorbench.models.spectral_resize import spectral_resize

Scramble = Literal["none", "points", "samples"]


def weighted_mean(values: Tensor, batch: Batch) -> Tensor:
    """Σ w v / Σ w over batch and points, w the cells' areas times the valid share: values (B, C, *out_grid)."""
    weights = point_weights(batch).expand_as(values)
    return (weights * values).sum() / weights.sum().clamp_min(1e-12)


def point_weights(batch: Batch) -> Tensor:
    """Areas times the valid share, broadcast against (B, C, *out_grid)."""
    like, grid = batch.targets, batch.out_grid
    areas = like.new_ones(()) if grid.is_uniform else constant(
        Grid.area_weights, grid, dtype=like.dtype, device=like.device
    )  # fmt: skip
    return areas.expand(1, 1, *grid.shape) if batch.mask is None else areas * batch.mask


def focal_frequency(e: Tensor, batch: Batch, *, alpha: float) -> Tensor:
    """The focal frequency loss of an error (B, C, *out_grid); missing points are no error."""
    if batch.mask is not None:
        e = e * (batch.mask > 0)
    points = tuple(range(2, e.ndim))
    power: Tensor = (
        torch.fft.fftn(e.float() if e.dtype != torch.float64 else e, dim=points, norm="ortho").abs().square()
    )
    focus = power.detach().pow(alpha / 2)
    focus = focus / focus.amax(points, keepdim=True).clamp_min(1e-30)
    loss: Tensor = (focus * power).mean()
    return loss


def static_prior(batch: Batch) -> Tensor | None:
    """|y − R u|, R the spectral resizing of the input: (B, C, *out_grid); None where the inputs lack the quantity."""
    u = batch.last_frame()
    return None if u is None else (batch.targets - spectral_resize(u, batch.grid, batch.out_grid)).abs()


def emphasis(p: Tensor, batch: Batch, *, alpha: float, gamma: float) -> Tensor:
    """w(p; α, γ), without gradient; min and max over what is valid.  A constant p is weighed γ everywhere."""
    p = p.detach()
    valid = torch.ones_like(p, dtype=torch.bool) if batch.mask is None else (batch.mask > 0).expand_as(p)
    low = p.masked_fill(~valid, torch.inf).amin()
    span = p.masked_fill(~valid, -torch.inf).amax() - low
    return gamma * torch.exp(alpha * ((p - low) / span.clamp_min(1e-12)).clamp(0, 1))


def scrambled(w: Tensor, how: Scramble, *, noise: float, rng: torch.Generator) -> Tensor:
    """The weights spoilt on purpose, to see what they are worth.

    points: each sample's are dealt out anew over its points, so that they say how many but not where.  samples: each
    sample gets another's.  noise: w exp(noise ε), ε ~ N(0, 1) at each point.
    """
    if how == "points":
        order = torch.randperm(w[0, 0].numel(), generator=rng).to(w.device)
        w = w.flatten(2)[..., order].reshape(w.shape)
    elif how == "samples":
        w = w.roll(1, 0)
    if noise:
        w = w * torch.exp(noise * torch.randn(w.shape, generator=rng).to(w))
    return w
