"""The frequency response: what a model makes of one wave, around real states, on each rung.

    R_k = [M(u + ε cos k·x) − M(u − ε cos k·x)] / 2ε + i [the same of sin k·x]      the response to exp(i k·x)
    H(k) = ⟨R_k exp(−i k·x)⟩          gain |H|, phase arg H: a shift by d points has arg H = −k·d
    leakage = 1 − |H|² / ⟨|R_k|²⟩     the share of the response's energy that is in other waves

⟨·⟩ is the mean over the points of the rung.  k is physical, the same waves on every rung; a wave is asked of a rung
where |kᵢ| < Nᵢ/2 on every axis.  ε is in deviations of the variable (the train rung's): small, for a linear response,
and large enough for float32.  An operator that does not move with x (an advecting flow) gives up energy to other waves,
so gain and leakage belong together, and the solver's own response stands beside the model's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from anchorbench.config import inputs_of, targets_of
from anchorbench.data.samples import Batch
from anchorbench.errors import GridError, RunError
from anchorbench.fields import Grid
from anchorbench.fields.resample_fourier import band
from anchorbench.methods.references import Predictor
from anchorbench.runs.evaluate import POINTS_PER_BATCH
from anchorbench.runs.probes import Subject, Tell, taken
from anchorbench.runs.session import Session

AMPLITUDE = 1e-2
#: Radii and states by dimension: a wave costs four predictions, in each direction and state.
RADII = {1: 24, 2: 12, 3: 7}
STATES = {1: 8, 2: 4, 3: 2}


@dataclass(frozen=True)
class Transfer:
    """H of each wave, complex, and ⟨|R|²⟩: (waves,) each."""

    h: Tensor
    energy: Tensor


def response(subject: Subject, *, tell: Tell = lambda share: None) -> xr.Dataset:
    """H and ⟨|R|²⟩ by (rung, wave, state), and the solver's where the equation is known; NaN beyond a rung's Nyquist.

    Coordinates: `waves` (wave, axis), whole waves of the box, `ring`, the radius that a wave stands for, in `dk`,
    k (wave), its |k|, `cluster` (state).  The headline target's newest input frame is perturbed, or the first input
    where the target is none of them, and H is of the headline target, both normalised.

    Raises RunError where the box has no waves: an axis that is not periodic, the sphere, or holes.
    """
    session = subject.session
    finest = session.ladder.finest
    if finest.kind != "planar" or not all(finest.periodic) or session.ladder.masked:
        raise RunError(
            f"the test `response` asks for one wave after another, and {session.ladder.spec.name} has none of its own: "
            "its box is not periodic on every axis, or has holes",
            do="--test resolution and --test information take any ladder",
        )
    modes = chosen_waves(finest, RADII[finest.ndim])
    waves = torch.tensor([m for _, m in modes])
    states, clusters = _states(session)
    solver_key, equation = ("response", *subject.same_truth), subject.solver
    shared = subject.known.setdefault(solver_key, {}) if equation is not None else {}
    arrays: dict[str, list[np.ndarray]] = {}
    for done, rung in enumerate(subject.rungs):
        windows = session.test_windows(rung)
        state = windows.batch(states)
        rows = {"": _on_rung(subject.predict, state, waves, session)}
        if equation is not None:
            if rung not in shared:
                shared[rung] = _on_rung(equation, state, waves, session)
            rows["solver_"] = shared[rung]
        for prefix, row in rows.items():
            for name, values in row.items():
                arrays.setdefault(prefix + name, []).append(values)
        tell((done + 1) / len(subject.rungs))
    variables = session.ladder.spec.variables
    perturbed, headline = channels(session)
    k = wavenumbers(finest, waves).norm(dim=1)
    return xr.Dataset(
        {name: (("rung", "wave", "state"), np.stack(rows)) for name, rows in arrays.items()},
        coords={
            "rung": list(subject.rungs),
            "waves": (("wave", "axis"), waves.numpy()),
            "ring": ("wave", [ring for ring, _ in modes]),
            "k": ("wave", k.numpy()),
            "cluster": ("state", clusters),
        },
        attrs={
            "amplitude": AMPLITUDE,
            "perturbed": variables[perturbed].name,
            "response_of": variables[headline].name,
            "train_rung": session.spec.train_rung,
            "k_train_nyquist": session.ladder.grid(session.spec.train_rung).k_nyquist,
            "dk": 2 * math.pi / max(finest.extent),
            "unit": "rad" if finest.unit == "1" else f"rad/{finest.unit}",
        },
    )


def transfer(
    predict: Predictor, state: Batch, waves: Tensor, *, channel: int, target: int = 0, amplitude: float = AMPLITUDE
) -> Transfer:
    """H(k) and ⟨|R_k|²⟩ of each wave around one state; see the module's equations.

    state: a batch of one sample.  waves: (waves, axes), whole waves of the box, |mᵢ| < Nᵢ/2 on the grids of inputs and
    outputs.  channel: of the inputs, which is perturbed; target: of the outputs.  Raises GridError for a wave that a
    grid does not carry.
    """
    for grid in (state.grid, state.out_grid):
        if not bool(fits(grid, waves).all()):
            raise GridError(f"rung {grid.name} carries whole waves below Nyquist only, not all of {waves.tolist()}")
    h, energy = [], []
    size = max(1, POINTS_PER_BATCH // (4 * state.out_grid.n_points))
    for first in range(0, len(waves), size):
        part = waves[first : first + size]
        angle = phases(state.grid, part).to(state.inputs.device)
        wave = torch.cat([angle.cos(), -angle.cos(), angle.sin(), -angle.sin()]) * amplitude
        batch = taken(state, torch.zeros(len(wave), dtype=torch.long, device=state.inputs.device))
        inputs = batch.inputs.clone()
        inputs[:, channel] += wave.to(inputs)
        out = predict(batch.with_inputs(inputs, batch.input_mask))[:, target].double()
        if not bool(torch.isfinite(out).all()):
            raise RunError(f"the prediction on rung {state.out_grid.name} is not finite where one wave is added")
        up, down, up_sin, down_sin = out.reshape(4, len(part), *out.shape[1:])
        r = torch.complex(up - down, up_sin - down_sin) / (2 * amplitude)
        there = phases(state.out_grid, part).to(r.device)
        h.append((r * torch.polar(torch.ones_like(there), -there)).flatten(1).mean(1))
        energy.append(r.abs().square().flatten(1).mean(1))
    return Transfer(torch.cat(h), torch.cat(energy))


def phases(grid: Grid, waves: Tensor) -> Tensor:
    """2π Σ mᵢ xᵢ/Lᵢ at each point, x from the box's origin: (waves, *grid), float64."""
    shares = torch.stack([(x - grid.origin[axis]) / grid.extent[axis] for axis, x in enumerate(grid.mesh())])
    return torch.einsum("wa,a...->w...", waves.double(), 2 * math.pi * shares)


def fits(grid: Grid, waves: Tensor) -> Tensor:
    """Which waves the grid carries, phase and all: |mᵢ| < Nᵢ/2: (waves,)."""
    return (waves.abs() <= torch.tensor([band(n) for n in grid.shape])).all(dim=1)


def wavenumbers(grid: Grid, waves: Tensor) -> Tensor:
    """k = 2π m / L, radians per unit: (waves, axes), float64."""
    return waves.double() * (2 * math.pi / torch.tensor(grid.extent, dtype=torch.float64))


def chosen_waves(grid: Grid, radii: int) -> list[tuple[int, tuple[int, ...]]]:
    """(ring, whole waves per axis): radii evenly on a log scale up to Nyquist, along the axes and two diagonals.

    Radii are in waves of the longest side of the box; a wave is the whole one nearest to its radius and direction.
    """
    longest = max(grid.extent)
    top = min(math.floor(band(n) * longest / length + 1e-9) for n, length in zip(grid.shape, grid.extent, strict=True))
    rings = sorted({round(r) for r in np.geomspace(1, top, radii).tolist()})
    axes = [tuple(float(i == axis) for i in range(grid.ndim)) for axis in range(grid.ndim)]
    diagonal = (1 / math.sqrt(grid.ndim),) * grid.ndim
    directions = [*axes, diagonal, (-diagonal[0], *diagonal[1:])] if grid.ndim > 1 else axes
    found: dict[tuple[int, ...], int] = {}
    for ring in rings:
        for direction in directions:
            wave = tuple(round(ring * d * length / longest) for d, length in zip(direction, grid.extent, strict=True))
            if any(wave):
                found.setdefault(wave, ring)
    return [(ring, wave) for wave, ring in found.items()]


def channels(session: Session) -> tuple[int, int]:
    """Numbers of the variable that is perturbed and of the one whose response is told."""
    variables = session.ladder.spec.variables
    given, headline = inputs_of(variables), targets_of(variables)[0]
    return (headline if headline in given else given[0]), headline


def _on_rung(predict: Predictor, states: Batch, waves: Tensor, session: Session) -> dict[str, np.ndarray]:
    """re, im and energy, (wave, state) each, NaN for the waves that the rung does not carry."""
    asked = fits(states.grid, waves) & fits(states.out_grid, waves)
    place = inputs_of(session.ladder.spec.variables).index(channels(session)[0])
    newest = (place + 1) * session.spec.frames_in - 1
    out = {name: np.full((len(waves), len(states)), np.nan) for name in ("re", "im", "energy")}
    for number in range(len(states)):
        state = taken(states, torch.tensor([number], device=states.inputs.device))
        found = transfer(predict, state, waves[asked], channel=newest)
        for name, values in (("re", found.h.real), ("im", found.h.imag), ("energy", found.energy)):
            out[name][asked.numpy(), number] = values.cpu().numpy()
    return out


def _states(session: Session) -> tuple[list[int], list[int]]:
    """The first window of a sample of several clusters, spread evenly, and those clusters; no score is looked at."""
    clusters = session.ladder.clusters("test")
    names = np.unique(clusters)
    picked = names[np.unique(np.linspace(0, len(names) - 1, STATES[session.ladder.finest.ndim]).round().astype(int))]
    samples = [int(np.flatnonzero(clusters == name)[0]) for name in picked]
    per_sample = session.test_windows(session.spec.train_rung).per_sample
    return [sample * per_sample for sample in samples], picked.tolist()
