"""How the coarse input of a super-resolution is made from the train rung's field, where the ladder's own is not wanted.

    block_mean, conservative, spectral, stride, bicubic    `fields.restrict`; bicubic has no low-pass and aliases
    bicubic_antialiased    the same kernel stretched by the factor s: Σ_j u_j k((x_j − x)/s) / Σ_j k((x_j − x)/s)

and noise of a share of the field's deviation, drawn once for each sample, so that all rungs and runs see one input.
The source is the train rung in training and in testing: no input holds what is finer.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from anchorbench.errors import LadderError
from anchorbench.fields import Grid, restrict, restrict_weights
from anchorbench.fields.separable import along_axes, constant, working_dtype

Degradation = Literal["block_mean", "conservative", "spectral", "stride", "bicubic", "bicubic_antialiased"]
DEGRADATIONS: tuple[str, ...] = get_args(Degradation)


def degraded(u: Tensor, to: Grid, how: Degradation, *, weights: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The field on a coarser grid, and its valid share there.

    u, weights: (..., *grid).  Raises LadderError where points are missing and the degradation has no cells, GridError
    as `restrict`.
    """
    if weights is not None:
        if how == "spectral" or how == "bicubic" or how == "bicubic_antialiased":
            raise LadderError(f"'{how}' reads across missing points", do="take block_mean, conservative or stride")
        return restrict(u, to, how=how, weights=weights), restrict_weights(weights, to, how=how)
    if how != "bicubic_antialiased":
        return restrict(u, to, how=how), None
    source, dtype = to.with_shape(tuple(u.shape[-to.ndim :])), working_dtype(u)
    matrices = [
        constant(antialiased_bicubic, to, source, axis, dtype=dtype, device=u.device) for axis in range(to.ndim)
    ]
    return along_axes(u.to(dtype), matrices).to(u.dtype), None


def antialiased_bicubic(to: Grid, source: Grid, axis: int) -> Tensor:
    """The stretched kernel along one axis: (to.shape[axis], source.shape[axis]), float64, rows with sum 1.

    Beyond an end the rest of the kernel is weighed up, as image libraries do; a periodic axis goes on.
    """
    n, periodic = source.shape[axis], source.periodic[axis]
    stretch = max(1.0, to.spacing[axis] / source.spacing[axis])
    at = (to.coordinates(axis) - source.coordinates(axis)[0]) / source.spacing[axis]
    reach = int(2 * stretch) + 2 if periodic else 0
    index = torch.arange(-reach, n + reach)
    t = ((at[:, None] - index) / stretch).abs()
    near, far = 1 - 2.5 * t**2 + 1.5 * t**3, 2 - 4 * t + 2.5 * t**2 - 0.5 * t**3
    kernel = torch.where(t < 1, near, torch.where(t < 2, far, 0.0))
    folded = torch.zeros(len(at), n, dtype=torch.float64).index_add(1, index % n, kernel)
    return folded / folded.sum(1, keepdim=True)


def input_noise(shape: tuple[int, ...], names: np.ndarray, split: str) -> Tensor:
    """Standard normal noise (len(names), *shape), each row a function of its number and the split alone."""
    rows = []
    for name in names.tolist():
        seed = np.random.SeedSequence([*split.encode(), int(name)])
        rows.append(np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32))
    return torch.from_numpy(np.stack(rows))
