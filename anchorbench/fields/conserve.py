"""Give a refined field the mass of the coarse field that it refines.

A cell of the coarse field x holds a *mean* over time × space; n_p fine values ŷ lie in cell p.

    of the whole      y = f(ŷ) Σ_p n_p x_p / Σ f(ŷ)                     one factor a sample: keeps its total, no cell's
    additive          y = ŷ + x_p − m_p,    m_p the mean of ŷ in p      may go below 0
    multiplicative    y = ŷ x_p / m_p                                   each cell is kept, and 0 stays 0
    softmax           y = eᶻ x_p / mean_p eᶻ,  z = ŷ                    each cell is kept; no 0 inside a wet cell

The first is Defez et al.'s (2026, their code): over all T frames together, not frame by frame, which would give each
frame equal mass.  The others are Harder et al.'s (JMLR 2023).  `taper` is f: it decides where the mass goes.

Where there is mass to give and nothing to scale, it is spread evenly over the sample, or the cell; where x is 0, so is
y.  (The published code leaves ŷ as it is there, and so conserves nothing.)  Sums are in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from anchorbench.errors import GridError, unknown

Taper = Literal["identity", "thresholded", "sqrt", "log"]
PerCell = Literal["additive", "multiplicative", "softmax"]
TAPERS: tuple[Taper, ...] = ("identity", "thresholded", "sqrt", "log")
PER_CELL: tuple[PerCell, ...] = ("additive", "multiplicative", "softmax")
#: Below it a sum has nothing to scale; and the floor under f's root, as published.
LEAST = 1e-10


def taper(kind: Taper, *, threshold: float = 0.0) -> Callable[[Tensor], Tensor]:
    """f, elementwise, never below 0, and f(0) = 0: what is dry stays dry.

    identity       max(z, 0)
    thresholded    max(z − τ, 0)                        takes drizzle away before the rest is scaled
    sqrt           max(√max(z, 1e-10) − τ, 0)           flattens peaks; published τ = 0.01, in units of the largest
                                                        coarse value.  With τ < 1e-5 a dry point gets √1e-10 − τ: so
                                                        f is 0 wherever z is
    log            max(τ log(1 + z/τ), 0)               identity for z ≪ τ, flat beyond; ours

    Raises GridError for another name, for τ < 0, and for log without τ > 0.
    """
    if kind not in TAPERS:
        raise GridError(unknown("taper", kind, TAPERS))
    if threshold < 0 or (kind == "log" and threshold == 0):
        raise GridError(f"the taper '{kind}' takes a threshold above 0, not {threshold}")
    if kind == "identity":
        return lambda z: z.clamp_min(0)
    if kind == "thresholded":
        return lambda z: (z - threshold).clamp_min(0)
    if kind == "log":
        return lambda z: threshold * torch.log1p(z.clamp_min(0) / threshold)
    return lambda z: (z.clamp_min(LEAST).sqrt() - threshold).clamp_min(0) * (z > 0)


def conserve_whole(
    fine: Tensor,
    coarse: Tensor,
    *,
    f: Callable[[Tensor], Tensor],
    weights: Tensor | None = None,
) -> Tensor:
    """y = f(ŷ) Σ x̄ w / Σ f(ŷ) w over all frames and points of a sample; x̄ is x laid out on the fine cells.

    fine: (B, T, *grid).  coarse: (B, *coarse grid), the mean over the T frames and each cell's points, never below 0.
    weights: (B, T, *grid) or what broadcasts to it, valid-area shares; None is 1.  Returns fine's shape and dtype.
    Raises GridError where the coarse grid does not divide the fine one.
    """
    shares = _shares(fine, weights)
    laid = _laid_out(coarse, fine)
    made = f(fine).double()
    points = tuple(range(1, fine.ndim))
    wanted, held = ((u * shares).sum(points, keepdim=True) for u in (laid, made))
    even = wanted / shares.sum(points, keepdim=True).clamp_min(LEAST)
    return _scaled(made, wanted, held, even).to(fine.dtype)


def conserve_cells(fine: Tensor, coarse: Tensor, *, how: PerCell, weights: Tensor | None = None) -> Tensor:
    """Each coarse cell's mean over T frames and its points becomes x_p; see the module for the three ways.

    Shapes, weights and errors as `conserve_whole`.  `additive` takes fields of any sign, the others none below 0.
    """
    if how not in PER_CELL:
        raise GridError(unknown("way of conserving", how, PER_CELL))
    shares = _shares(fine, weights)
    laid = _laid_out(coarse, fine)
    held_shares = _cell_sums(shares, coarse).clamp_min(LEAST)

    def cell_mean(u: Tensor) -> Tensor:
        return _laid_out(_cell_sums(u * shares, coarse) / held_shares, fine)

    if how == "additive":
        made = fine.double()
        return (made + laid - cell_mean(made)).to(fine.dtype)
    if how == "multiplicative":
        made = fine.double().clamp_min(0)
    else:
        # Less the largest of the cell: it cancels, and e^z never overflows.
        top = _blocks(fine.double(), coarse).amax(_inner_axes(coarse))
        made = torch.exp(fine.double() - _laid_out(top, fine))
    return _scaled(made, laid, cell_mean(made), laid).to(fine.dtype)


def _scaled(made: Tensor, wanted: Tensor, held: Tensor, even: Tensor) -> Tensor:
    """made · wanted / held; `even` where nothing is held.  0 where 0 is wanted."""
    out = made * (wanted / held.clamp_min(LEAST))
    return torch.where(held > LEAST, out, even.expand_as(out))


def _shares(fine: Tensor, weights: Tensor | None) -> Tensor:
    ones = torch.ones_like(fine, dtype=torch.float64)
    return ones if weights is None else ones * weights


def _factors(fine: Tensor, coarse: Tensor) -> list[int]:
    """Fine points a cell, along each axis of space."""
    pairs = list(zip(fine.shape[2:], coarse.shape[1:], strict=False))
    if fine.ndim != coarse.ndim + 1 or fine.shape[0] != coarse.shape[0] or any(n % m for n, m in pairs):
        raise GridError(
            f"a coarse field {tuple(coarse.shape)} does not lie on a fine one {tuple(fine.shape)}",
            do="coarse (B, *cells), fine (B, T, *points), the cells dividing the points",
        )
    return [n // m for n, m in pairs]


def _laid_out(coarse: Tensor, fine: Tensor) -> Tensor:
    """Each cell's value at all of its T × space points: (B, T, *grid), float64."""
    out = coarse.double()
    for axis, factor in enumerate(_factors(fine, coarse)):
        out = out.repeat_interleave(factor, dim=axis + 1)
    return out[:, None].expand(fine.shape)


def _blocks(u: Tensor, coarse: Tensor) -> Tensor:
    """(B, T, n₁, ..., n_d) seen as (B, T, m₁, s₁, ..., m_d, s_d)."""
    shape = [u.shape[0], u.shape[1]]
    for cells, factor in zip(coarse.shape[1:], _factors(u, coarse), strict=True):
        shape += [cells, factor]
    return u.reshape(shape)


def _inner_axes(coarse: Tensor) -> tuple[int, ...]:
    """Of `_blocks`: time, and the points within a cell."""
    return (1, *(3 + 2 * axis for axis in range(coarse.ndim - 1)))


def _cell_sums(u: Tensor, coarse: Tensor) -> Tensor:
    """Sums over T and the points of each cell: coarse's shape."""
    return _blocks(u, coarse).sum(_inner_axes(coarse))
