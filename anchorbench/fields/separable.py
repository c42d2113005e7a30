"""Linear maps that act axis by axis: v = (W₁ ⊗ ... ⊗ W_d) u, and the constants they need.

On grids of up to some hundred points an axis a small real matrix is faster than a pair of FFTs, needs no complex
numbers, and differentiates as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from anchorbench.errors import GridError
from anchorbench.fields.grid import Grid


@lru_cache(maxsize=256)
def constant(build: Callable[..., Tensor], *args: object, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`build(*args)`, worked out once in float64 on the CPU, cast and moved once for each dtype and device."""
    # Outside inference mode: a constant first met there could never again take part in training.
    with torch.inference_mode(False), torch.device("cpu"):
        return build(*args).to(dtype=dtype, device=device)


def working_dtype(u: Tensor) -> torch.dtype:
    """float64, or float32 where a product in float32 really has 24 bits.

    Raises GridError for a field that is not of floating point.
    """
    if not u.is_floating_point():
        raise GridError(f"a field has a floating-point dtype, not {u.dtype}", do="convert it first: u.float()")
    # `set_float32_matmul_precision("high")` multiplies with 11 bits: no resampled truth may hang on a speed flag.
    exact = torch.get_float32_matmul_precision() == "highest"
    return torch.float32 if exact and u.dtype != torch.float64 else torch.float64


def along_axes(u: Tensor, matrices: Sequence[Tensor | None]) -> Tensor:
    """v = (W₁ ⊗ ... ⊗ W_d) u on the last d axes of u, for d matrices; None leaves its axis as it is.

    u: (..., n₁, ..., n_d), of the matrices' dtype; Wᵢ: (mᵢ, nᵢ).  Returns (..., m₁, ..., m_d).
    """
    # Autocast would turn these products into bfloat16.
    with torch.autocast(u.device.type, enabled=False):
        for axis, matrix in enumerate(reversed(matrices), start=1):
            if matrix is None:
                continue
            if axis == 1:
                u = u @ matrix.mT
                continue
            shape = (*u.shape[:-axis], matrix.shape[0], *u.shape[1 - axis :])
            u = (matrix @ u.flatten(1 - axis)).reshape(shape)
    return u


def own_grid(u: Tensor, box: Grid) -> Grid:
    """The grid that u is on: its own points in the box of another.  Raises GridError if u has too few axes."""
    if u.ndim < box.ndim:
        raise GridError(f"a field of shape {tuple(u.shape)} has not the {box.ndim} axes of a grid {box.shape}")
    return box.with_shape(tuple(u.shape[u.ndim - box.ndim :]))
