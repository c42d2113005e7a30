"""Selective state space scans along the axes of a grid (Gu and Dao, COLM 2024, algorithm 2; four ways as in VMamba).

    dh/dt = A h + B(x) x,   y = C(x) h + D x,   A < 0 diagonal
    hᵢ = exp(Δᵢ A) hᵢ₋₁ + A⁻¹ (exp(Δᵢ A) − 1) Bᵢ xᵢ,   Δᵢ = softplus(δ(xᵢ)) · s

Inputs are held over a step Δ and the step is exact (ZOH): a constant has one answer, −C B/A x + D x, on every grid.
`physical`: s is the spacing over the train rung's, so that a memory reaches as far on every rung, and the scan
converges at order 1 to the differential equation along the axis.  `grid`: s = 1.  Each axis is gone through both ways,
each way with its own A, B, C, D and δ; their mean is the block's.

Along lines of a periodic axis the scan goes around the box for ever: h₀ = hₙ, solved for in closed form.  There is then
no first point, and a shifted input gives the shifted output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anchorbench.fields.carry import on_grid
from anchorbench.fields.grid import Grid
from anchorbench.models.options import MambaOptions

#: Steps that are taken one after the other; a sequence of n needs about 8 log₈ n of them.
CHUNK = 8


class Recurrence(torch.autograd.Function):
    """`recur`, whose backward pass is the same recurrence from the other end: nothing between is kept."""

    @staticmethod
    def forward(ctx: Any, less: Tensor, b: Tensor, gone: Tensor | None, back: bool) -> Tensor:
        h = _recur(less + 1, b, gone, back)
        ctx.save_for_backward(less, h, gone)
        ctx.back = back
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        less, h, gone = ctx.saved_tensors
        ahead, before = (1, -1) if ctx.back else (-1, 1)
        g = recur(less.roll(ahead, 0), grads[0], gone, back=not ctx.back)
        if gone is not None:
            return g * h.roll(before, 0), g, None, None
        nothing = torch.zeros_like(h[:1])
        last = torch.cat((h[1:], nothing)) if ctx.back else torch.cat((nothing, h[:-1]))
        return g * last, g, None, None


def recur(less: Tensor, b: Tensor, gone: Tensor | None = None, *, back: bool = False) -> Tensor:
    """hᵢ = aᵢ hᵢ₋₁ + bᵢ along axis 0, a = 1 + `less`: (n, M), (n, M) -> (n, M).

    h₀ = 0; or, where `gone` = 1 − Πᵢ aᵢ is given, (M,), h₀ = hₙ.  back: from the last to the first, hᵢ₊₁ for hᵢ₋₁.
    """
    apply: Callable[[Tensor, Tensor, Tensor | None, bool], Tensor] = Recurrence.apply
    return apply(less, b, gone, back)


def _recur(a: Tensor, b: Tensor, gone: Tensor | None, back: bool) -> Tensor:
    """In chunks: all chunks at once from 0, then what each hands on, by the same means, times its decay since."""
    n, rest = a.shape[0], -a.shape[0] % CHUNK
    if n <= CHUNK:
        a, h = (a if gone is None else a.clone()), b.clone()
        _steps(a, h, back, axis=0, decays=gone is not None)
        return h if gone is None else h.addcmul_(a, h[0 if back else -1] / gone)
    if rest:  # steps at the far end that change nothing
        ends = (rest, 0) if back else (0, rest)
        a, b = F.pad(a, (0, 0, *ends), value=1.0), F.pad(b, (0, 0, *ends))
    a, h = (t.reshape(-1, CHUNK, t.shape[1]).clone() for t in (a, b))
    _steps(a, h, back, axis=1, decays=True)
    end = 0 if back else -1
    handed = _recur(a[:, end], h[:, end], gone, back).roll(-1 if back else 1, 0)
    if gone is None:
        handed[-1 if back else 0] = 0.0
    h = h.addcmul_(a, handed[:, None]).flatten(0, 1)
    return h.narrow(0, rest if back else 0, n)


def _steps(a: Tensor, h: Tensor, back: bool, *, axis: int, decays: bool) -> None:
    """From 0, in place: h becomes the state and, where `decays`, a the decay since the beginning."""
    order = range(h.shape[axis])[:: -1 if back else 1]
    for before, i in pairwise(order):
        h.select(axis, i).addcmul_(a.select(axis, i), h.select(axis, before))
        if decays:
            a.select(axis, i).mul_(a.select(axis, before))


class Scan(nn.Module):
    """One way along one axis: (n, lines, E) -> (n, lines, E), in steps `stride` long.

    back: from the last point to the first.  periodic: around for ever.
    """

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        self.states, self.rank = states, max(1, channels // 16)
        self.select = nn.Linear(channels, self.rank + 2 * states, bias=False)
        self.step = nn.Linear(self.rank, channels)
        # Memories of 1 to 30 points of the train rung: its axes are short; Mamba's own, for text, are 10 to 1000.
        steps = torch.empty(channels).uniform_(math.log(1 / 30), 0.0).exp()
        self.step.bias.data = steps.expm1().log()  # softplus of it is the step
        self.log_rate = nn.Parameter(torch.arange(1.0, states + 1).log()[:, None].repeat(1, channels))
        self.skip = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, *, stride: float, periodic: bool, back: bool) -> Tensor:
        step, b, c = self.select(x).split((self.rank, self.states, self.states), -1)
        delta = F.softplus(self.step(step)) * stride
        rate = -self.log_rate.exp()
        less = torch.expm1(delta[..., None, :] * rate)  # (n, lines, N, E)
        drive = less * (x[..., None, :] * rate.reciprocal() * b[..., None])
        gone = -torch.expm1(delta.sum(0)[..., None, :] * rate).flatten() if periodic else None
        h = recur(less.flatten(1), drive.flatten(1), gone, back=back).view_as(drive)
        y: Tensor = (h * c[..., None]).sum(-2)
        return y + self.skip * x


class Block(nn.Module):
    """v ← v + W (mean of the scans(σ(X v)) ⊙ σ(Z v)), v normalised first: (B, *grid, C) -> the same."""

    def __init__(self, options: MambaOptions, spacing: tuple[float, ...]) -> None:
        super().__init__()
        self.options, self.spacing = options, spacing
        channels = max(1, round(options.expand * options.width))
        self.norm = nn.LayerNorm(options.width)
        self.enter, self.gate = nn.Linear(options.width, channels), nn.Linear(options.width, channels)
        self.scans = nn.ModuleList(Scan(channels, options.state) for _ in range(2 * len(spacing)))
        self.leave = nn.Linear(channels, options.width)

    def forward(self, v: Tensor, grid: Grid) -> Tensor:
        u = self.norm(v)
        out: Tensor = v + self.leave(self.mix(F.silu(self.enter(u)), grid) * F.silu(self.gate(u)))
        return out

    def mix(self, x: Tensor, grid: Grid) -> Tensor:
        """The mean of all ways: (B, *grid, E) -> the same."""
        # A recurrence over hundreds of points keeps float32 even where the rest of the network runs in bf16.
        with torch.autocast(x.device.type, enabled=False):
            u = x if x.dtype == torch.float64 else x.float()
            total = torch.zeros_like(u)
            for i, scan in enumerate(self.scans):
                axis, back = i // 2 + 1, bool(i % 2)
                total = total + self._along(scan, u, grid, axis, back=back)
            return (total / len(self.scans)).to(x.dtype)

    def _along(self, scan: nn.Module, x: Tensor, grid: Grid, axis: int, *, back: bool) -> Tensor:
        flat = self.options.scan == "flat"
        stride = grid.spacing[axis - 1] / self.spacing[axis - 1] if self.options.units == "physical" else 1.0
        # The scanned axis first; or, flat, all axes in one, this one the fastest.
        lines = x.movedim(axis, -2).movedim(0, -2) if flat else x.movedim(axis, 0)
        sequences = lines.flatten(0, -3) if flat else lines.flatten(1, -2)
        y: Tensor = scan(sequences, stride=stride, periodic=grid.periodic[axis - 1] and not flat, back=back)
        y = y.reshape(lines.shape)
        return y.movedim(-2, 0).movedim(-2, axis) if flat else y.movedim(0, axis)


class Mamba(nn.Module):
    """Fields to fields on any grid of the box, 1 to 3 dimensions.

    grid: of the train rung, whose spacing measures the steps.
    inputs: (B, C_in, *grid.shape) -> (B, C_out, *out_grid.shape).  Where `out_grid` is another, the inputs are carried
    to it first.  There is no short convolution before the scan, as it would bring a kernel of its own.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: Grid, options: MambaOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or MambaOptions()
        self.lift, self.project = nn.Linear(in_channels, options.width), nn.Linear(options.width, out_channels)
        self.blocks = nn.ModuleList(Block(options, grid.spacing) for _ in range(options.layers))
        self.norm = nn.LayerNorm(options.width)

    def forward(self, inputs: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        v = self.lift(on_grid(inputs, grid, out_grid).movedim(1, -1))
        for block in self.blocks:
            v = block(v, out_grid)
        out: Tensor = self.project(self.norm(v))
        return out.movedim(-1, 1)

    @property
    def facts(self) -> dict[str, str]:
        """What the card says beyond what it measures."""
        o = self.options
        how = "line by line" if o.scan == "axes" else "all points in one sequence"
        unit = "physical units" if o.units == "physical" else "grid points: it shrinks on a finer grid"
        ends = "none: periodic axes are scanned around the box, others from 0 at both ends"
        return {
            "embedding": "none",
            "padding": ends if o.scan == "axes" else "none: the sequence begins with 0 at both ends",
            "kernel": f"scans both ways along each axis, {how}; memory in {unit}",
        }
