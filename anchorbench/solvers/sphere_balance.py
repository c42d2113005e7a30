"""Balance of mass and wind in the layer on the sphere, and what its equations conserve."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.solvers.shallow_water import Layer, State, Stepper, solver_mesh

#: Rounds of `with_balanced_divergence`: what is left then is 1e-4 of δ.
ROUNDS = 30
#: Seconds over which it takes differences.
SPAN = 100.0


def balanced(vorticity: Tensor, layer: Layer) -> State:
    """The state of that vorticity with δ = 0 and ∂δ/∂t = 0 (nonlinear balance), its mean depth H.

        g h = ∇⁻² k·∇×((ζ + f) v) − |v|²/2

    vorticity: (..., L, L), 1/s.
    """
    zero = torch.zeros_like(vorticity)
    flat = State(vorticity, zero, zero)
    stepper = Stepper(layer, flat, step=None)
    x = stepper.pack(flat)
    x[:, :, 2] = 0
    # What is left of ∂δ/∂t without Φ is −∇² of the Φ that balances it.
    inverse = torch.where(stepper.laplacian < 0, 1 / stepper.laplacian, 0.0)
    x[:, :, 2] = inverse * stepper.nonlinear(x)[:, :, 1]
    return stepper.unpack(x, vorticity.shape)


def with_balanced_divergence(state: State, layer: Layer) -> State:
    """The same ζ and h with the δ that a slow flow has with them: ∂²δ/∂t² = 0 while δ itself hardly changes.

    Of a flow that is known by ζ and h alone, on which δ = 0 would start gravity waves.  With R the tendency of (ζ, h),
    d/dt(∂δ/∂t) along R is brought to 0 by rounds of δ += (gH κ² + 4Ω²)⁻¹ d/dt(∂δ/∂t), κ² = l(l + 1)/a².
    """
    still = State(state.vorticity, torch.zeros_like(state.divergence), state.height)
    stepper = Stepper(layer, still, step=None)
    x = stepper.pack(still)
    waves = -stepper.laplacian * stepper.mean + (2 * layer.rotation) ** 2
    gain = torch.where(stepper.laplacian < 0, 1 / waves, 0.0)
    for _ in range(ROUNDS):
        slow = stepper.tendency(x)
        slow[:, :, 1] = 0
        # Quadratic in the state, so that the central difference is exact for any SPAN.
        ahead, behind = (stepper.tendency(x + shift * slow)[:, :, 1] for shift in (SPAN, -SPAN))
        x[:, :, 1] += gain * (ahead - behind) / (2 * SPAN)
    return stepper.unpack(x, state.vorticity.shape)


@dataclass(frozen=True)
class Invariants:
    """Means over the sphere: D in m, energy ½ D |v|² + ½ g (h² − b²) in m³/s², potential enstrophy ½ (ζ + f)²/D."""

    depth: Tensor
    energy: Tensor
    potential_enstrophy: Tensor


def invariants(state: State, layer: Layer) -> Invariants:
    """What the undamped equations conserve, by quadrature on twice the rows that they are solved on: (...) each."""
    stepper = Stepper(layer, state, step=None, mesh=solver_mesh(2 * state.degrees))
    x = stepper.pack(state)
    vorticity, thickness, u, v = stepper.on_points(x)
    ground = stepper.on_points(stepper.terrain[:, :, None].expand_as(x))[1] / layer.gravity
    depth = thickness / layer.gravity + layer.mean_depth

    def mean(field: Tensor) -> Tensor:
        return (stepper.weights * field).sum(1).mean(0).reshape(state.vorticity.shape[:-2])

    return Invariants(
        depth=mean(depth),
        energy=mean(depth * (u**2 + v**2) / 2 + layer.gravity * ((depth + ground) ** 2 - ground**2) / 2),
        potential_enstrophy=mean((vorticity + stepper.coriolis) ** 2 / depth / 2),
    )


def top_speed(state: State, layer: Layer) -> float:
    """The largest |v| at the points on which the state is solved, m/s."""
    stepper = Stepper(layer, state, step=None)
    _, _, u, v = stepper.on_points(stepper.pack(state))
    return float(torch.hypot(u, v).max())
