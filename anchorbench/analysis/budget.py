"""Where the error in ρ₀'s band comes from: the model, the grid, or the information.

a = M₀(Pu) − Py              the model itself, at home
b = P M_ρ(Pu) − M₀(Pu)       the grid, with the information held
c = P M_ρ(u) − P M_ρ(Pu)     the information, with the grid held
a + b + c = P e,  so  ⟨a, Pe⟩ + ⟨b, Pe⟩ + ⟨c, Pe⟩ = ‖Pe‖² = σ² E_res²  exactly, signs and all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from anchorbench.analysis.score import Sums, by_cluster, checked, counted_points, point_weights
from anchorbench.errors import GridError
from anchorbench.fields import Grid, Restriction, project, prolong

PARTS = ("model", "grid", "information")
BUDGET_NAMES = ("budget_weight", *(f"budget_{kind}{p}" for kind in ("", "size_") for p in PARTS))


@dataclass(frozen=True, slots=True)
class Budget:
    """E_res² = model + grid + information (signed shares), and each part's own size ‖·‖²/σ², all pooled."""

    resolved: float
    model: float
    grid: float
    information: float
    model_size: float
    grid_size: float
    information_size: float

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def budget(
    pred_on_rung: Tensor,
    pred_on_rung_from_coarse_input: Tensor,
    pred_on_train_rung: Tensor,
    truth_on_rung: Tensor,
    *,
    grid: Grid,
    band: Grid,
    how: Restriction,
    weights: Tensor | None = None,
    clusters: Tensor,
    n_clusters: int,
    channel_scale: Tensor | None = None,
) -> Sums:
    """Σ w⟨a, Pe⟩, Σ w⟨b, Pe⟩, Σ w⟨c, Pe⟩ and Σ w|a|², Σ w|b|², Σ w|c|² by cluster and channel.

    They are summed on the rung's own points and weights, where M₀(Pu) is prolonged first, so the three shares are the
    very E_res² of `score`, masks included.

    pred_on_rung: M_ρ(u); pred_on_rung_from_coarse_input: M_ρ(Pu); truth_on_rung: y; (B, C, *grid) each.
    pred_on_train_rung: M₀(Pu), (B, C, *band).  The rest as in `score`, errors too; a rung coarser than `band` has no
    budget and raises GridError.
    """
    if any(n < m for n, m in zip(grid.shape, band.shape, strict=True)):
        raise GridError(f"rung {grid.name} is coarser than the train rung {band.name}: it has no budget")
    if tuple(pred_on_train_rung.shape[2:]) != band.shape:
        raise GridError(f"the prediction on the train rung is {tuple(pred_on_train_rung.shape)}, the grid {band.shape}")
    at_home = prolong(pred_on_train_rung.double(), grid, how=how)
    seen, mask = [], None
    for field in (pred_on_rung, pred_on_rung_from_coarse_input, at_home):
        prediction, truth, mask = checked(
            field, truth_on_rung, grid=grid, weights=weights, clusters=clusters, n=n_clusters
        )
        seen.append(project(prediction, band, how=how, weights=mask))
    full, held, home = seen
    goal = project(truth, band, how=how, weights=mask)
    parts = {"model": home - goal, "grid": held - home, "information": full - held}
    if channel_scale is not None:
        scale = channel_scale.to(goal).reshape(-1, *(1,) * grid.ndim)
        parts = {name: field / scale for name, field in parts.items()}
    whole = parts["model"] + parts["grid"] + parts["information"]
    energies = {"budget_weight": counted_points(whole, band, how=how).expand_as(whole)}
    energies |= {f"budget_{name}": field * whole for name, field in parts.items()}
    energies |= {f"budget_size_{name}": field**2 for name, field in parts.items()}
    return by_cluster(energies, point_weights(grid, mask, how=how, like=goal), clusters=clusters, n_clusters=n_clusters)


def shares(sums: Sums, *, sigma: float, channel: int = 0) -> Budget | None:
    """The pooled budget in units of σ²; None where nothing was summed.  Its three signed shares add up to E_res²."""
    weight = float(sums["budget_weight"][:, channel].sum())
    if not weight > 0:
        return None
    pooled = {n: float(np.sum(sums[n][:, channel])) / weight / sigma**2 for n in BUDGET_NAMES[1:]}
    signed = {p: pooled[f"budget_{p}"] for p in PARTS}
    sizes = {f"{p}_size": pooled[f"budget_size_{p}"] for p in PARTS}
    return Budget(resolved=sum(signed.values()), **signed, **sizes)
