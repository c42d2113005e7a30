"""The two halves of a spherical-harmonic transform between which FFTs stand: rows of latitude to degrees, and back.

`waves` are (M, rows, B): Fourier coefficients û_m(φ) = mean over λ of u e^{−imλ}, m = 0 ... M − 1, of B fields.
`modes` are (M, L, B): c_lm, [m, l], 0 where l < m.  Each order is one small real matrix; even and odd degrees see the
sum and the difference of the hemispheres, P̄_lm(−x) = (−1)^{l+m} P̄_lm(x), which halves work and memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.fields.legendre import Part, Rows, latitudes, legendre_part
from anchorbench.fields.separable import constant


@dataclass(frozen=True, slots=True)
class Mesh:
    """Rows of latitude by equal columns of longitude, from `first` (radians) on, over the whole sphere."""

    rows: Rows
    n_rows: int
    n_columns: int
    first: float = 0.0

    @property
    def n_degrees(self) -> int:
        """L: harmonics l < L are orthonormal under the quadrature.  ⌈n/2⌉ for n equally spaced rows, n for Gauss'.

        The product of two has degree 2L − 2 in sin φ, below n (Gauss: 2n), and order 2L − 2, below the columns.
        """
        by_rows = self.n_rows if self.rows == "gauss" else (self.n_rows + 1) // 2
        return min(by_rows, (self.n_columns + 1) // 2)

    @property
    def latitude(self) -> Tensor:
        """φ of the rows in radians, rising: (n_rows,), float64."""
        return latitudes(self.rows, self.n_rows)[0]


def row_weights(rows: Rows, n_rows: int) -> Tensor:
    """Quadrature weights of the rows, Σ w = 1: (n_rows,), float64."""
    return latitudes(rows, n_rows)[1]


def to_modes(waves: Tensor, mesh: Mesh, part: Part = "value") -> Tensor:
    """Σ_rows w F_lm û_m for l < M, F = P̄, dP̄/dφ or m P̄/cos φ: (M, rows, B) to (M, M, B)."""
    degrees, n = waves.shape[0], mesh.n_rows
    half, dtype = n - n // 2, waves.real.dtype
    weights = constant(row_weights, mesh.rows, n, dtype=dtype, device=waves.device)
    matrix = constant(hemisphere, mesh.rows, n, degrees, part, dtype=dtype, device=waves.device)
    weighted = _reals(waves) * weights[:, None]
    north, south = weighted[:, n // 2 :], weighted[:, :half].flip(1)
    if n % 2:  # an equator belongs to both
        scale = torch.ones(half, 1, dtype=dtype, device=waves.device)
        scale[0] = 0.5
        north, south = north * scale, south * scale
    south = south * _parity(degrees, part, weighted)
    both = [_bmm(matrix[0].mT, north + south), _bmm(matrix[1].mT, north - south)]
    return _complexes(torch.stack(both, dim=2).flatten(1, 2)[:, :degrees])


def to_waves(modes: Tensor, mesh: Mesh, part: Part = "value") -> Tensor:
    """Σ_l F_lm c_lm on the rows: (M, M, B) to (M, rows, B)."""
    degrees, n = modes.shape[0], mesh.n_rows
    matrix = constant(hemisphere, mesh.rows, n, degrees, part, dtype=modes.real.dtype, device=modes.device)
    reals = _reals(modes)
    if degrees % 2:
        reals = torch.nn.functional.pad(reals, (0, 0, 0, 1))
    even, odd = _bmm(matrix[0], reals[:, 0::2]), _bmm(matrix[1], reals[:, 1::2])
    south = (even - odd) * _parity(degrees, part, reals)
    return _complexes(torch.cat((south[:, n % 2 :].flip(1), even + odd), dim=1))


def wind_waves(psi: Tensor, chi: Tensor, mesh: Mesh) -> tuple[Tensor, Tensor]:
    """û = −∂ψ/∂φ + (1/cos φ) ∂χ/∂λ and v̂ = (1/cos φ) ∂ψ/∂λ + ∂χ/∂φ on a sphere of radius 1: modes to waves."""
    both = torch.cat((psi, chi), dim=2)
    slope_psi, slope_chi = to_waves(both, mesh, "slope").chunk(2, dim=2)
    turn_psi, turn_chi = to_waves(both, mesh, "turn").chunk(2, dim=2)
    return 1j * turn_chi - slope_psi, 1j * turn_psi + slope_chi


def curl_divergence(east: Tensor, north: Tensor, mesh: Mesh) -> tuple[Tensor, Tensor]:
    """k·∇×F and ∇·F of F = (east, north) on a sphere of radius 1, integrated by parts: waves to modes."""
    both = torch.cat((east, north), dim=2)
    slope_east, slope_north = to_modes(both, mesh, "slope").chunk(2, dim=2)
    turn_east, turn_north = to_modes(both, mesh, "turn").chunk(2, dim=2)
    return 1j * turn_north + slope_east, 1j * turn_east - slope_north


def hemisphere(rows: Rows, n_rows: int, degrees: int, part: Part) -> Tensor:
    """F_lm on the equator and the rows north of it: (2, m, rows, l), even degrees and odd, float64."""
    latitude = latitudes(rows, n_rows)[0][n_rows // 2 :]
    functions = legendre_part(latitude, degrees + degrees % 2, part)[:degrees]
    return torch.stack((functions[:, 0::2], functions[:, 1::2])).mT.contiguous()


def _parity(degrees: int, part: Part, like: Tensor) -> Tensor:
    """The sign of an even degree's F across the equator: (m, 1, 1)."""
    sign = torch.ones(degrees, 1, 1, dtype=like.dtype, device=like.device)
    sign[1::2] = -1
    return -sign if part == "slope" else sign


def _bmm(matrix: Tensor, x: Tensor) -> Tensor:
    # Autocast would turn these products into bfloat16.
    with torch.autocast(x.device.type, enabled=False):
        return torch.bmm(matrix, x)


def _reals(x: Tensor) -> Tensor:
    """(M, n, B) complex as (M, n, 2B) real."""
    return torch.view_as_real(x.contiguous()).flatten(2)


def _complexes(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.reshape(*x.shape[:2], -1, 2))
