"""Latitudes with exact quadrature, and the associated Legendre functions on them.

Latitudes φ rise from south to north, x = sin φ.  The functions are normalised to a mean square of 1 over the sphere,
P̄_lm(x) = √(4π) Y_lm(θ = π/2 − φ, λ = 0), Condon-Shortley's sign included, so that mean(P̄_lm P̄_nm) = δ_ln.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

#: `cells`: centres of N equal intervals.  `poles`: N points, both poles among them.  `gauss`: zeros of P_N.
Rows = Literal["cells", "poles", "gauss"]
#: P̄, dP̄/dφ, m P̄/cos φ.
Part = Literal["value", "slope", "turn"]


def latitudes(rows: Rows, n: int) -> tuple[Tensor, Tensor]:
    """φ in radians and weights w with Σ w f(φ) = ½ ∫ f dx: both (n,), float64.

    Exact for polynomials in x of degree below n (Fejér's first rule on cells, Clenshaw-Curtis with poles; Waldvogel
    2006, eq. 2.4 and 2.5), and below 2n for Gauss.  All weights are positive.
    """
    if rows == "gauss":
        return _gauss(n)
    if rows == "cells":
        colatitude = (torch.arange(n, dtype=torch.float64) + 0.5) * (math.pi / n)
        weights, waves = torch.ones(n, dtype=torch.float64), range(1, n // 2 + 1)
    else:
        colatitude = torch.arange(n, dtype=torch.float64) * (math.pi / (n - 1))
        weights, waves = torch.ones(n, dtype=torch.float64), range(1, (n - 1) // 2 + 1)
    for j in waves:
        # ∫ cos 2jθ dx = 2/(1 − 4j²); the wave at the end points' own Nyquist counts once.
        once = rows == "poles" and 2 * j == n - 1
        weights -= (1 if once else 2) / (4 * j * j - 1) * torch.cos(2 * j * colatitude)
    if rows == "poles":
        weights[0], weights[-1] = weights[0] / 2, weights[-1] / 2
    # Symmetric by construction, to the last bit too: hemispheres are folded onto each other.
    latitude = (colatitude - colatitude.flip(0)) / 2
    weights = weights + weights.flip(0)
    return latitude, weights / weights.sum()


def _gauss(n: int) -> tuple[Tensor, Tensor]:
    """Newton's method on P_n from Tricomi's first guess; w ∝ 1/((1 − x²) P_n'²)."""
    k = torch.arange(n, 0, -1, dtype=torch.float64)
    x = torch.cos(math.pi * (k - 0.25) / (n + 0.5)) * (1 - (n - 1) / (8 * n**3))
    slope = torch.ones_like(x)
    for _ in range(6):
        before, here = torch.zeros_like(x), torch.ones_like(x)
        for degree in range(1, n + 1):
            before, here = here, ((2 * degree - 1) * x * here - (degree - 1) * before) / degree
        slope = n * (before - x * here) / (1 - x * x)
        x = x - here / slope
    x = (x - x.flip(0)) / 2
    weights = 1 / ((1 - x * x) * slope**2)
    weights = weights + weights.flip(0)
    return torch.asin(x), weights / weights.sum()


def legendre(latitude: Tensor, n_degrees: int, n_orders: int | None = None) -> Tensor:
    """P̄_lm(sin φ), l < n_degrees, m < n_orders: (n_orders, n_degrees, *latitude.shape), float64; 0 where l < m.

    Rising in degree from the sectoral functions, which is stable:

        P̄_mm = −√((2m + 1)/2m) cos φ P̄_{m−1,m−1}
        P̄_lm = a_lm (x P̄_{l−1,m} − P̄_{l−2,m}/a_{l−1,m}),   a_lm² = (4l² − 1)/(l² − m²)

    (Holmes & Featherstone 2002, eq. 11 and 13).  Up to a degree of about 1900, whence cos^m φ underflows near poles.
    """
    orders = n_degrees if n_orders is None else n_orders
    x, cosine = torch.sin(latitude.double()), torch.cos(latitude.double())
    out = torch.zeros(orders, n_degrees, *x.shape, dtype=torch.float64)
    sectoral = torch.ones_like(x)
    for m in range(min(orders, n_degrees)):
        if m:
            sectoral = -math.sqrt((2 * m + 1) / (2 * m)) * cosine * sectoral
        out[m, m] = sectoral
    for degree in range(1, n_degrees):
        below = min(degree, orders)  # orders 0 ... degree − 1
        m2 = torch.arange(below, dtype=torch.float64).square().reshape(-1, *(1,) * x.ndim)
        term = x * out[:below, degree - 1]
        if degree > 1:
            # 1/a_{l−1,m} vanishes at m = l − 1, where there is no P̄_{l−2,m}.
            last = (degree - 1) ** 2
            term = term - torch.sqrt((last - m2) / (4 * last - 1)) * out[:below, degree - 2]
        out[:below, degree] = torch.sqrt((4 * degree**2 - 1) / (degree**2 - m2)) * term
    return out


def legendre_part(latitude: Tensor, n_degrees: int, part: Part) -> Tensor:
    """P̄, dP̄/dφ or m P̄/cos φ on latitudes: (n_degrees, n_degrees, *latitude.shape), float64, [m, l].

    No division by cos φ: at the poles the last two take their limits along a meridian.  c± = √((l ∓ m)(l ± m + 1)):

        dP̄_lm/dφ    = ½ (c₋ P̄_{l,m−1} − c₊ P̄_{l,m+1})
        m P̄_lm/cos φ = −½ √((2l + 1)/(2l − 1)) (√((l − m)(l − m − 1)) P̄_{l−1,m+1} + √((l + m)(l + m − 1)) P̄_{l−1,m−1})

    (the ladder operators of angular momentum; Varshalovich et al. 1988, §5.8.2).  P̄_{l,−1} = −P̄_{l1}.
    """
    functions = legendre(latitude, n_degrees, n_degrees + 1)
    if part == "value":
        return functions[:-1]
    m = torch.arange(n_degrees, dtype=torch.float64).reshape(-1, 1, *(1,) * latitude.ndim)
    degree = torch.arange(n_degrees, dtype=torch.float64).reshape(1, -1, *(1,) * latitude.ndim)
    above, below = functions[1:], torch.cat((-functions[1:2], functions[:-2]))
    if part == "slope":
        rise = torch.sqrt(((degree - m) * (degree + m + 1)).clamp_min(0))
        fall = torch.sqrt(((degree + m) * (degree - m + 1)).clamp_min(0))
        return (fall * below - rise * above) / 2
    # One degree lower; what would be degree −1 is 0.
    above, below = (torch.cat((torch.zeros_like(f[:, :1]), f[:, :-1]), dim=1) for f in (above, below))
    rise = torch.sqrt(((degree - m) * (degree - m - 1)).clamp_min(0))
    fall = torch.sqrt(((degree + m) * (degree + m - 1)).clamp_min(0))
    scale = torch.sqrt((2 * degree + 1) / (2 * degree - 1).clamp_min(1))
    inside = (degree >= m) & (m > 0)
    return torch.where(inside, -scale * (rise * above + fall * below) / 2, 0.0)
