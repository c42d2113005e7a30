"""The noise of a diffusion: schedules, what a denoiser predicts, and two ways back from noise to a sample.

    forward     x_n = √ᾱ_n x₀ + √(1−ᾱ_n) ε,   ε ~ N(0, 1),   ᾱ_n = Π_{i≤n} (1−β_i),   ᾱ₀ = 1
    v           v = √ᾱ_n ε − √(1−ᾱ_n) x₀,  so  x₀ = √ᾱ_n x_n − √(1−ᾱ_n) v  and  ε = √ᾱ_n v + √(1−ᾱ_n) x_n

Pure functions.  A schedule is the tensor of ᾱ, from ᾱ₀ = 1 to ᾱ_N, float64 on the CPU; a level is a number n into it.
The denoiser is whatever takes (x_n, n) and returns its guess.  (Ho et al., NeurIPS 2020;
v: Salimans and Ho, ICLR 2022.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from anchorbench.errors import MethodError

Shape = Literal["linear", "quadratic", "cosine"]
Prediction = Literal["v", "eps"]
#: (x_n, level n) -> the guess of v or ε, of x's shape.
Denoiser = Callable[[Tensor, int], Tensor]
#: Of the cosine schedule (Nichol and Dhariwal, ICML 2021, eq. 17).
COSINE_OFFSET, LARGEST_BETA = 0.008, 0.999


def schedule(shape: Shape, *, steps: int, beta_min: float = 1e-4, beta_max: float = 0.02) -> Tensor:
    """ᾱ₀ ... ᾱ_N, (steps + 1,), float64, falling from 1.

    linear     β_n even between beta_min and beta_max; what N = 1000 and 0.02 were to Ho et al.
    quadratic  √β_n even
    cosine     ᾱ_n = cos²(π/2 (n/N + s)/(1 + s)), β_n ≤ 0.999; the betas' ends have no part in it

    β_n is of N steps: with fewer, the same beta_max leaves more of the signal.
    Raises MethodError unless 0 < beta_min <= beta_max < 1.
    """
    if not 0 < beta_min <= beta_max < 1:
        raise MethodError(f"a noise schedule needs 0 < beta_min <= beta_max < 1, not {beta_min} and {beta_max}")
    if shape == "cosine":
        phase = (torch.arange(steps + 1, dtype=torch.float64) / steps + COSINE_OFFSET) / (1 + COSINE_OFFSET)
        level = torch.cos(phase * math.pi / 2).square()
        betas = (1 - level[1:] / level[:-1]).clamp(max=LARGEST_BETA)
    elif shape == "linear":
        betas = torch.linspace(beta_min, beta_max, steps, dtype=torch.float64)
    else:
        betas = torch.linspace(math.sqrt(beta_min), math.sqrt(beta_max), steps, dtype=torch.float64).square()
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)])


def half_log_snr(kept: Tensor) -> Tensor:
    """λ = ½ log ᾱ/(1−ᾱ): the logarithm of signal over noise; +∞ at ᾱ = 1."""
    return 0.5 * (torch.log(kept) - torch.log1p(-kept))


def noised(clean: Tensor, noise: Tensor, kept: Tensor | float) -> Tensor:
    """√ᾱ x₀ + √(1−ᾱ) ε; kept: ᾱ, a number or broadcast against the fields."""
    signal, spread = _shares(kept, clean)
    return signal * clean + spread * noise


def asked(clean: Tensor, noise: Tensor, kept: Tensor | float, *, predict: Prediction) -> Tensor:
    """What the denoiser should say: v = √ᾱ ε − √(1−ᾱ) x₀, or ε itself."""
    if predict == "eps":
        return noise
    signal, spread = _shares(kept, clean)
    return signal * noise - spread * clean


def parted(x: Tensor, said: Tensor, kept: Tensor | float, *, predict: Prediction) -> tuple[Tensor, Tensor]:
    """(x₀, ε) from x_n and what the denoiser said: the inverse of `noised` and `asked`."""
    signal, spread = _shares(kept, x)
    if predict == "v":
        return signal * x - spread * said, signal * said + spread * x
    return (x - spread * said) / signal, said


def ancestral_step(x: Tensor, eps: Tensor, kept: float, kept_next: float, noise: Tensor | None) -> Tensor:
    """x_s = (x_t − β/√(1−ᾱ_t) ε) / √(1−β) + √β z,  β = 1 − ᾱ_t/ᾱ_s;  for s = t − 1 it is DDPM's own (σ² = β).

    kept, kept_next: ᾱ_t < ᾱ_s.  noise: z, or None for the last step, which adds none.
    """
    beta = 1 - kept / kept_next
    mean = (x - beta / math.sqrt(1 - kept) * eps) / math.sqrt(1 - beta)
    return mean if noise is None else mean + math.sqrt(beta) * noise


def ancestral_sample(
    denoise: Denoiser,
    start: Tensor,
    kept: Tensor,
    draw: Callable[[], Tensor],
    *,
    steps: int | None = None,
    predict: Prediction = "v",
) -> Tensor:
    """From noise to a sample by DDPM's steps, a fresh draw in each but the last (Ho et al. 2020, algorithm 2).

    start: x_N.  draw: () -> noise of start's shape.  steps: of the schedule's N, evenly chosen; None: every one.
    """
    levels = even_levels(len(kept) - 1, steps or len(kept) - 1)
    x = start
    for level, after in zip(levels, [*levels[1:], 0], strict=True):
        at, towards = float(kept[level]), float(kept[after])
        _, eps = parted(x, denoise(x, level), at, predict=predict)
        x = ancestral_step(x, eps, at, towards, draw() if after else None)
    return x


def fast_sample(
    denoise: Denoiser, start: Tensor, kept: Tensor, *, steps: int = 20, predict: Prediction = "v"
) -> Tensor:
    """From noise to a sample along the probability-flow ODE: DPM-Solver++(2M) (Lu et al. 2022, algorithm 2).

        x_t = σ_t/σ_s x_s − √ᾱ_t (e^{−h} − 1) D,   h = λ_t − λ_s,   D = x̂₀ + (h/2h′)(x̂₀ − x̂₀′)

    ′ marks the step before; the first and the last step are of first order, which is DDIM's.  No draw but the start.
    Levels are even in λ: even in n, 20 steps give a narrow residual half its spread (docs/protocol.md).
    """
    levels = levels_even_in_snr(kept, steps)
    x, before, last_step = start, None, 0.0
    for level, after in zip(levels, [*levels[1:], 0], strict=True):
        at, towards = float(kept[level]), float(kept[after])
        clean, _ = parted(x, denoise(x, level), at, predict=predict)
        if after == 0:
            return clean
        step = _half_log_snr(towards) - _half_log_snr(at)
        ahead = clean if before is None else clean + step / (2 * last_step) * (clean - before)
        x = math.sqrt((1 - towards) / (1 - at)) * x - math.sqrt(towards) * math.expm1(-step) * ahead
        before, last_step = clean, step
    raise AssertionError("levels end above 0, so the loop returns")


def even_levels(n: int, steps: int) -> list[int]:
    """`steps` levels from n down to above 0, even in n: all of them where steps >= n."""
    steps = min(steps, n)
    return [round(n * (steps - i) / steps) for i in range(steps)]


def levels_even_in_snr(kept: Tensor, steps: int) -> list[int]:
    """Levels from N down to 1, nearest to even steps in λ; fewer than `steps` where several fall on one."""
    ratios = half_log_snr(kept[1:])
    wanted = torch.linspace(float(ratios[-1]), float(ratios[0]), max(steps, 1), dtype=torch.float64)
    nearest = (ratios - wanted[:, None]).abs().argmin(1) + 1
    levels: Sequence[int] = torch.unique_consecutive(nearest).tolist()
    return list(levels)


def _half_log_snr(kept: float) -> float:
    return 0.5 * (math.log(kept) - math.log1p(-kept))


def _shares(kept: Tensor | float, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """√ᾱ and √(1−ᾱ), worked out in float64: near ᾱ = 1 the difference has no digits in float32."""
    if isinstance(kept, float):
        return math.sqrt(kept), math.sqrt(1 - kept)
    return kept.sqrt().to(like), (1 - kept).sqrt().to(like)
