"""The truth of the shallow-water ladder: trajectories solved finer than any rung, and how true they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from anchorbench.errors import AnchorbenchError, ConfigError
from anchorbench.fields.grid import Grid
from anchorbench.fields.sphere import cell_means, from_cell_means
from anchorbench.solvers.shallow_water import Layer, State, integrate
from anchorbench.solvers.sphere_balance import top_speed, with_balanced_divergence
from anchorbench.solvers.sphere_flows import cells, jet, mountain, random_flow, random_orography
from anchorbench.solvers.stepping import require_above_0
from anchorbench.solvers.truth import generator_of, require_coarser_spin_up

HOUR = 3600.0
#: Trajectories that are always solved together, so that each has the same bits whatever is asked for beside it.
GROUP = 4
#: The stream of a seed from which the orography is drawn; trajectories have those from 0 up.
OROGRAPHY_STREAM = 2**31 - 1


@dataclass(frozen=True)
class SphereSpec:
    """What defines the truth, all but the number of trajectories.

    truth_rung: rows of the truth; it carries the degrees l < truth_rung, as the solver on any rung does its own.
    spin_up_rung, spin_up_hours: rows on which a start grows into a flow with fine scales, and for how long; there the
    damping acts on those rows' own last degree.
    settle_hours: more on the truth's rows, which fills the scales that the coarser ones lacked.
    interval: hours between two stored frames.  frames: how many.
    start: `random` balanced flow, or Galewsky's `jet` with hemisphere, latitude, strength and bump drawn.
    speed, peak_degree: √⟨|v|²⟩ in m/s, and the degree l₀ of the most energy, of a random start.
    mean_depth: H in m.
    orography, orography_height: `none`; `random`, smooth mountains, their standard deviation in m; or `mountain`, the
    cone of Williamson's test 5, its height in m.  One for all trajectories.
    damping_hours, damping_power: ν_l = [l(l + 1)/(l_d (l_d + 1))]^p/τ, l_d = truth_rung − 1, on every rung the same.
    fastest, courant: a step is courant · a/(rows · fastest), or 1/4Ω where that is shorter.  It is fixed, so that a
    trajectory is the same whatever is solved beside it; `solve_sphere` refuses a flow a quarter faster than `fastest`.

    Raises ConfigError where these make no run.
    """

    truth_rung: int = 128
    spin_up_rung: int = 64
    spin_up_hours: float = 72.0
    settle_hours: float = 12.0
    interval: float = 12.0
    frames: int = 3
    start: Literal["random", "jet"] = "random"
    speed: float = 25.0
    peak_degree: float = 5.0
    mean_depth: float = 5000.0
    orography: Literal["none", "random", "mountain"] = "none"
    orography_height: float = 500.0
    damping_hours: float = 3.0
    damping_power: int = 4
    fastest: float = 80.0
    courant: float = 2.4
    seed: int = 0

    def __post_init__(self) -> None:
        require_coarser_spin_up(self.spin_up_rung, self.truth_rung)
        for name in ("spin_up_hours", "settle_hours", "orography_height"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", do=f"give a {name} of 0 or more")
        above_0 = ("interval", "frames", "speed", "peak_degree", "mean_depth", "damping_hours", "damping_power")
        require_above_0(self, *above_0, "fastest", "courant")

    def layer(self, *, damped_at: int | None = None) -> Layer:
        """The fluid; damped_at: rows whose last degree the damping acts on, by default the truth's."""
        return Layer(
            self.mean_depth,
            damping_time=self.damping_hours * HOUR,
            damping_degree=(damped_at or self.truth_rung) - 1,
            damping_power=self.damping_power,
            orography=terrain(self.orography, self.orography_height, self.truth_rung, self.seed),
        )

    def time_step(self, rung: int) -> float:
        """The longest step on a rung, in seconds: courant · a/(rows · fastest), and 1/4Ω at most."""
        layer = Layer(self.mean_depth)
        return min(self.courant * layer.radius / (rung * self.fastest), 0.25 / layer.rotation)

    def solved(self, state: State, *, hours: float, damped_at: int | None = None) -> State:
        """The state some hours later, on its own degrees."""
        dt = self.time_step(state.degrees)
        return integrate(state, self.layer(damped_at=damped_at), duration=hours * HOUR, dt=dt)


@lru_cache(maxsize=8)
def terrain(kind: str, height: float, degrees: int, seed: int) -> Tensor | None:
    """The orography of a set, in m: (degrees, degrees), None where it is flat."""
    if kind == "none":
        return None
    if kind == "mountain":
        return mountain(degrees, height=height)
    return random_orography(degrees, height=height, generator=generator_of(seed, OROGRAPHY_STREAM))


def solve_sphere(
    spec: SphereSpec,
    *,
    stream: int,
    group: int,
    on_frame: Callable[[int, State], None],
    device: torch.device | str = "cpu",
) -> None:
    """Solve the trajectories GROUP · group ... GROUP · (group + 1) − 1 of a stream: on_frame(i, state at i intervals).

    Trajectory j is drawn from (spec.seed, stream, j) alone, and a group is always solved together: the same to the last
    bit on one machine with one number of threads.  States are complex64, l < truth_rung, on the device: in twelve hours
    rounding moves ζ by 3e-7 of itself, far below `truth_floor`.
    Raises AnchorbenchError where the flow blows up or is too fast for the steps.
    """
    starts = [_start(spec, generator_of(spec.seed, stream, GROUP * group + j)) for j in range(GROUP)]
    fields = zip(*(start.parts for start in starts), strict=True)
    state = State(*(torch.stack(each).to(device, torch.complex64) for each in fields))
    state = spec.solved(state, hours=spec.spin_up_hours, damped_at=spec.spin_up_rung)
    state = spec.solved(state.with_degrees(spec.truth_rung), hours=spec.settle_hours)
    for i in range(spec.frames):
        if i:
            state = spec.solved(state, hours=spec.interval)
        if (speed := top_speed(state, spec.layer())) > 1.25 * spec.fastest:
            raise AnchorbenchError(
                f"the flow reaches {speed:.3g} m/s, and its time step is meant for {spec.fastest:.3g}",
                do=f"set fastest to {speed:.2g} or more",
            )
        on_frame(i, state)


def _start(spec: SphereSpec, generator: torch.Generator) -> State:
    layer, degrees = spec.layer(), spec.spin_up_rung
    if spec.start == "random":
        return random_flow(layer, degrees, speed=spec.speed, peak_degree=spec.peak_degree, generator=generator)
    side, where, strength, bump, longitude = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    return jet(
        layer,
        degrees,
        speed=70 + 20 * strength,
        latitude=(1 if side < 0.5 else -1) * (40 + 10 * where),
        bump=60 + 120 * bump,
        longitude=360 * longitude,
    )


def solve_rung(spec: SphereSpec, start: State, *, rung: int) -> list[State]:
    """The frames from a truth's first one on, as the solver gives them on a rung: l < rung of it, and `solved` on."""
    states = [start.with_degrees(rung)]
    for _ in range(1, spec.frames):
        states.append(spec.solved(states[-1], hours=spec.interval))
    return states


def truth_floor(spec: SphereSpec, now: State, then: State, *, onto: Sequence[int]) -> dict[int, float]:
    """How true the truth is: √⟨|ζ' − ζ|²⟩ of means over the cells of each rung, ζ' solved from `now` on twice the rows.

    now, then: states (n, L, L) one interval apart.  Twice the rows take half the step, in double precision, so that the
    truth's rounding counts; the damping is the truth's.
    Returns {rung: RMS difference in 1/s}.
    """
    now, then = (State(*(part.to(torch.complex128) for part in state.parts)) for state in (now, then))
    finer = spec.solved(now.with_degrees(2 * spec.truth_rung), hours=spec.interval)
    error = finer.vorticity - then.with_degrees(2 * spec.truth_rung).vorticity
    floor = {}
    for rung in onto:
        grid = cells(rung)
        means = cell_means(error, grid)
        floor[rung] = float((grid.area_weights().to(means) * means.square()).mean().sqrt())
    return floor


def advance_cells(spec: SphereSpec, vorticity: Tensor, height: Tensor, *, grid: Grid, hours: float) -> State:
    """The state some hours after these means over cells, every degree of their rung l < N advanced.

    The harmonics are those whose means come nearest to the given ones; δ is what a slow flow has with them
    (`with_balanced_divergence`).  vorticity, height: (B, *grid.shape), 1/s and m.
    """
    rows = grid.shape[0]
    zeta, surface = (from_cell_means(x.double(), grid, degrees=rows) for x in (vorticity, height))
    zeta[..., 0, 0] = 0  # no flow has a mean vorticity
    state = with_balanced_divergence(State(zeta, torch.zeros_like(zeta), surface), spec.layer())
    return spec.solved(state, hours=hours)
