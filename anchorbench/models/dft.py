"""The discrete Fourier transform of the modes that are kept, as products with real matrices.

    û(k) = 1/N Σₙ u(n) exp(-2πi k n/N),   u(n) = Σ_k û(k) exp(2πi k n/N)

`norm="forward"`: coefficients do not depend on the grid, so one weight acts on one wave of the box on every rung.  For
the few modes that an operator keeps, the product is several times faster than a whole FFT (on a CPU 3 to 4 times).

Fields are channels-last, (B, n₁, ..., n_d, C); spectra are real, (B, 2, m₁ ··· m_d, C), axis 1 the real and the
imaginary part.  The last axis holds only k ≥ 0: the fields are real.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def kept(modes: int, n: int, *, half: bool) -> range:
    """The wavenumbers that `modes` keeps and an axis of n points can tell apart.

    All of -(m//2) ≤ k ≤ (m-1)//2, or 0 ≤ k ≤ m//2 where `half`, with -n/2 ≤ k < n/2 (n even: the Nyquist wave once,
    as k = -n/2, or as k = n/2 where `half`).  A coarser grid drops modes; it never aliases one onto another.
    """
    if half:
        return range(min(modes // 2, n // 2) + 1)
    return range(max(-(modes // 2), -(n // 2)), min((modes - 1) // 2, (n - 1) // 2) + 1)


def _cos_sin(k: range, n: int) -> tuple[Tensor, Tensor]:
    # Integers first: k n mod N is exact, so a wave's phase has no rounding that grows with N.
    turns = torch.outer(torch.arange(k.start, k.stop), torch.arange(n)).remainder(n)
    angle = turns.to(torch.float64) * (2 * math.pi / n)
    return angle.cos(), angle.sin()


@lru_cache(maxsize=512)
@torch.inference_mode(False)  # a matrix first needed while evaluating also serves in training
@torch.no_grad()
def _analysis(n: int, modes: int, half: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2m, n) for the last axis, whose input is real; (2m, 2n) for the others."""
    c, s = _cos_sin(kept(modes, n, half=half), n)
    matrix = torch.cat((c, -s)) if half else torch.cat((torch.cat((c, s), 1), torch.cat((-s, c), 1)))
    return (matrix / n).to(device, dtype)


@lru_cache(maxsize=512)
@torch.inference_mode(False)
@torch.no_grad()
def _synthesis(n: int, modes: int, half: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, 2m) for the last axis, whose output is real; (2n, 2m) for the others."""
    k = kept(modes, n, half=half)
    c, s = (part.T for part in _cos_sin(k, n))
    if not half:
        return torch.cat((torch.cat((c, -s), 1), torch.cat((s, c), 1))).to(device, dtype)
    # k stands for -k too, but for the mean and the Nyquist wave, which are their own partners.
    twice = torch.tensor([1.0 if j == 0 or 2 * j == n else 2.0 for j in k], dtype=torch.float64)
    return torch.cat((c * twice, -s * twice), 1).to(device, dtype)


def analyse(x: Tensor, modes: tuple[int, ...]) -> Tensor:
    """Kept coefficients of real fields: (B, n₁, ..., n_d, C) -> (B, 2, m₁ ··· m_d, C)."""
    *shape, channels = x.shape[1:]
    lead = x.shape[0] * math.prod(shape[:-1])
    last = _analysis(shape[-1], modes[-1], True, x.dtype, x.device)
    y = torch.matmul(last, x.reshape(lead, shape[-1], channels))  # (lead, 2m, C)
    rest = y.shape[1] // 2 * channels
    for n, m in zip(reversed(shape[:-1]), reversed(modes[:-1]), strict=True):
        lead //= n
        y = y.reshape(lead, n, 2, rest).transpose(1, 2).reshape(lead, 2 * n, rest)
        y = torch.matmul(_analysis(n, m, False, x.dtype, x.device), y)
        rest *= y.shape[1] // 2
    return y.reshape(x.shape[0], 2, rest // channels, channels)


def synthesise(y: Tensor, shape: tuple[int, ...], modes: tuple[int, ...], *, onto: Tensor | None = None) -> Tensor:
    """Real fields of kept coefficients: (B, 2, m₁ ··· m_d, C) -> (B, n₁, ..., n_d, C).

    onto: (B n₁ ··· n_{d-1}, n_d, C) that the fields are added to in place.
    """
    batch, _, waves, channels = y.shape
    lead, rest = batch, waves * channels
    for n, m in zip(shape[:-1], modes[:-1], strict=True):
        matrix = _synthesis(n, m, False, y.dtype, y.device)
        rest //= matrix.shape[1] // 2
        y = torch.matmul(matrix, y.reshape(lead, matrix.shape[1], rest))
        y = y.reshape(lead, 2, n, rest).transpose(1, 2)
        lead *= n
    last = _synthesis(shape[-1], modes[-1], True, y.dtype, y.device)
    y = y.reshape(lead, last.shape[1], channels)
    out = torch.matmul(last, y) if onto is None else onto.baddbmm_(last.expand(lead, *last.shape), y)
    return out.view(batch, *shape, channels)
