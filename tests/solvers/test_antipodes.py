"""Harmonics by pairs of antipodes are the plain sums over degrees and rows."""

from __future__ import annotations

import pytest
import torch

from anchorbench.fields.harmonics import Mesh
from anchorbench.fields.legendre import legendre_part
from anchorbench.solvers.antipodes import Antipodes


@pytest.mark.parametrize(("degrees", "rows"), [(5, 8), (6, 9), (33, 50), (67, 101)])
def test_both_ways_are_the_plain_sums_with_antipodes_half_a_circle_on(degrees, rows):
    mesh = Mesh("gauss", rows, 2 * rows)
    fast = Antipodes(mesh, degrees, dtype=torch.float64, device=torch.device("cpu"))
    # On longitudes turned by π an order m is multiplied by (−1)^m.
    order = torch.arange(degrees)[:, None, None]
    turned = torch.where((torch.arange(rows) >= fast.north)[None, :, None] & (order % 2 == 1), -1.0, 1.0)
    value, turn, slope = (
        legendre_part(mesh.latitude, degrees, part).mT[:, fast.rows] * turned for part in ("value", "turn", "slope")
    )
    draw = torch.Generator().manual_seed(degrees)
    there = torch.arange(degrees)[None, :, None] >= order
    a, b, c = (torch.randn(degrees, degrees, 4, generator=draw, dtype=torch.float64) * there for _ in range(3))
    expected = torch.cat((value @ a, turn @ b + slope @ c), dim=2)
    torch.testing.assert_close(fast.to_rows(a, b, c), expected, rtol=1e-12, atol=1e-11)
    f = torch.randn(degrees, rows, 6, generator=draw, dtype=torch.float64)
    back = fast.to_degrees(f, values=slice(4, 6), turns=slice(2, 4), slopes=slice(0, 3))
    for found, matrix, columns in zip(back, (value, turn, slope), (f[..., 4:], f[..., 2:4], f[..., :3]), strict=True):
        torch.testing.assert_close(found, (matrix.mT @ columns) * there, rtol=1e-12, atol=1e-11)
