"""Codes of position and grid that FRL adds to a model's input: one function per reading of the printed formula.

The paper prints PE = sin(2π k x / k_Nyq(ρ)) and claims one code per physical frequency on every grid.  Both cannot
hold, so each reading is an arm (docs/protocol.md), with k_m = m for m = 1..M, x in [0, 1) along an axis, n the point's
index, N the points of the axis, k_Nyq = N/2 in waves per box, and ξ = k / k_Nyq:

    A             sin, cos 2π k_m x / k_Nyq        the formula as printed: what it fixes is ξ, not the wave
    B             sin, cos 2π k_m x, 0 beyond k_Nyq  the claim: one code per wave, cut at each grid's Nyquist
    C             no channel: a gain g(ξ) on the spectral filters (`frl.SpectralGain`)
    D             sin, cos π ξ_m n, ξ_m = m/M      one code per share of Nyquist
    raw-physical  sin, cos 2π k_m x                control: B without the cut
    raw-index     sin, cos 2π k_m n / N₀           control: fixed phase a cell, the fault that the paper names
    scalar        log₂(N/N₀)                       control: the resolution alone
    none          no channel                       the coarse levels and the loss alone
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from anchorbench.fields import Grid

Arm = Literal["A", "B", "C", "D", "raw-physical", "raw-index", "scalar", "none"]


def encoding_channels(arm: Arm, *, ndim: int, waves: int) -> int:
    """How many channels `encode` returns."""
    if arm in ("C", "none"):
        return 0
    return 1 if arm == "scalar" else 2 * ndim * waves


def encode(arm: Arm, grid: Grid, *, train_grid: Grid, waves: int) -> Tensor | None:
    """The code of every point of `grid`: (E, *grid.shape) float32, per axis all sines then all cosines, or None."""
    if encoding_channels(arm, ndim=grid.ndim, waves=waves) == 0:
        return None
    if arm == "scalar":
        return torch.full((1, *grid.shape), math.log2(grid.rung / train_grid.rung))
    channels = []
    for axis, (n, n_train) in enumerate(zip(grid.shape, train_grid.shape, strict=True)):
        phase, keep = axis_phase(arm, n, n_train=n_train, waves=waves, cell=grid.centring == "cell")
        code = torch.cat([phase.sin() * keep, phase.cos() * keep])
        view = [len(code)] + [1] * grid.ndim
        view[1 + axis] = n
        channels.append(code.view(view).expand(-1, *grid.shape))
    return torch.cat(channels).to(torch.float32)


def axis_phase(arm: Arm, n: int, *, n_train: int, waves: int, cell: bool = False) -> tuple[Tensor, Tensor]:
    """Phase (M, n) float64 of each wave at each point of an axis, and which waves the axis carries, (M, 1).

    cell: x is the middle of the cell, (n + ½)/N, so that one place has one x on every grid.
    """
    k = torch.arange(1, waves + 1, dtype=torch.float64)[:, None]
    index = torch.arange(n, dtype=torch.float64)[None]
    x = (index + 0.5 * cell) / n
    nyquist = n / 2
    keep = torch.ones_like(k)
    if arm == "A":
        phase = 2 * math.pi * k * x / nyquist
    elif arm == "D":
        phase = math.pi * (k / waves) * index
    elif arm == "raw-index":
        phase = 2 * math.pi * k * index / n_train
    else:
        phase = 2 * math.pi * k * x
        if arm == "B":
            keep = (k <= nyquist).to(torch.float64)
    return phase, keep
