"""How far apart two spectra are: FreSh's bins, and the Wasserstein distance between what they hold.

    S[b] = Σ_{k₁ + ... + k_d = b} A(k),   A(k) = Σ_c |û_c(k)|,   b = 1 ... n ≤ N/2,   then S / Σ S
    W(S, S') = Σ_b |CDF_S(b) − CDF_S'(b)|

k are raw indices of the transform, 0 ... N − 1, so that of all directions only those with every k_i ≥ 0 count, and a
wave (m, −m) is in no bin below N.  Bins are sums: bin b of a plane holds b + 1 waves and white noise is a ramp.  All as
published (Kania et al., ICLR 2025; docs/protocol.md).  `radial` is ours: sums over rings b − ½ ≤ |k| < b + ½, every
direction alike.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from anchorbench.errors import AnchorbenchError, unknown

Form = Literal["antidiagonal", "radial"]
FORMS: tuple[Form, ...] = ("antidiagonal", "radial")
#: Points a side beyond which a plane is made smaller first, as published.
LARGEST = 1024


def binned_spectrum(u: Tensor, *, ndim: int, bins: int, form: Form = "antidiagonal") -> Tensor:
    """S / Σ S of fields, the mean wave left out: u (..., C, *grid) with ndim axes of the grid -> (..., bins).

    A plane that is not square, or larger than 1024 points a side, is first made a square by antialiased bilinear
    interpolation; other grids stay as they are.  No window, and no trend is removed.

    A field without any wave in the bins has the spectrum 0.
    Raises AnchorbenchError where there are more bins than N/2, or no such form.
    """
    if form not in FORMS:
        raise AnchorbenchError(unknown("form of spectrum", form, FORMS))
    u = _square(u) if ndim == 2 else u
    shape = tuple(u.shape[u.ndim - ndim :])
    if not 1 <= bins <= min(shape) // 2:
        raise AnchorbenchError(f"{bins} bins of a spectrum on {min(shape)} points: from 1 to {min(shape) // 2}")
    amplitude = torch.fft.fftn(u, dim=tuple(range(-ndim, 0))).abs().sum(-ndim - 1)
    index = _bin_of_each_wave(shape, bins, form).to(u.device)
    totals = amplitude.new_zeros(*amplitude.shape[:-ndim], bins + 2)
    totals = totals.index_add(-1, index, amplitude.flatten(-ndim))[..., 1:-1]
    whole = totals.sum(-1, keepdim=True)
    # Rounding leaves 1e-7 of the mean wave in each: no spectrum.
    silent = whole <= 1e-6 * amplitude.flatten(-ndim).sum(-1, keepdim=True)
    return torch.where(silent, torch.zeros_like(totals), totals / torch.where(silent, 1.0, whole))


def wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Σ_b |CDF_a(b) − CDF_b(b)|, in bins: a, b (..., n) of sum 1, broadcast -> (...)."""
    return (a.cumsum(-1) - b.cumsum(-1))[..., :-1].abs().sum(-1)


@lru_cache(maxsize=32)
def _bin_of_each_wave(shape: tuple[int, ...], bins: int, form: Form) -> Tensor:
    """0 for the mean, bins + 1 for what is in no bin: (points,), int64."""
    ranges = [torch.arange(n) for n in shape]
    if form == "antidiagonal":
        index = sum(torch.meshgrid(*ranges, indexing="ij"))
    else:
        waves = torch.meshgrid(*(torch.minimum(r, n - r) for r, n in zip(ranges, shape, strict=True)), indexing="ij")
        index = (torch.stack(waves).double().square().sum(0).sqrt() + 0.5).floor().long()
    assert isinstance(index, Tensor)
    return index.clamp(max=bins + 1).flatten()


def _square(u: Tensor) -> Tensor:
    height, width = u.shape[-2:]
    if height == width <= LARGEST:
        return u
    side = min(height, width, LARGEST)
    flat = u.reshape(-1, 1, height, width)
    small = F.interpolate(flat, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return small.reshape(*u.shape[:-2], side, side)
