"""The truth of the 3-D turbulence ladder: trajectories solved finer than any rung, and how true they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from anchorbench.errors import ConfigError, unknown
from anchorbench.fields.grid import Grid
from anchorbench.fields.resample import prolong, restrict
from anchorbench.solvers.navier_stokes_3d import cube, integrate, random_velocity, trajectory
from anchorbench.solvers.stepper_3d import Flow3d
from anchorbench.solvers.stepping import Dealias, band, require_above_0
from anchorbench.solvers.truth import (
    generator_of,
    require_coarser_spin_up,
    require_speed,
    require_trajectories,
    windows,
)

Start = Literal["random", "taylor_green"]

# On a CPU as many trajectories of a rung are followed together as have so many points: each of four at 96³ takes 1.9
# times as long as one alone.
POINTS_IN_CACHE = 2**17


@dataclass(frozen=True)
class TurbulenceSpec3d:
    """What defines the truth, all but the seed and the number of trajectories.

    truth_rung: points a side of the truth.  spin_up_rung: of the grid on which the start grows into turbulence for
    `spin_up_time`; `settle_time` more on the truth's grid fills the scales that the coarser one lacked.
    flow: its constants.  interval: time between stored frames.  frames: how many.
    start: `random`, Gaussian velocities of `start_rms` a component, largest at `start_wavenumber`; or `taylor_green`,
    that vortex moved by a random vector and disturbed by Gaussian velocities of `start_rms` a component.
    top_speed, courant: every step is courant/(k_max top_speed).  It is fixed, so that a trajectory does not depend on
    those solved beside it; a flow that gets twice as fast is refused.
    chunk: trajectories solved at once, on a CPU fewer where they are large; changes nothing but memory and speed.

    Raises ConfigError where these make no run.
    """

    truth_rung: int = 96
    spin_up_rung: int = 48
    spin_up_time: float = 4.0
    settle_time: float = 0.5
    flow: Flow3d = field(default_factory=lambda: Flow3d(viscosity=1e-2, injection=0.5))
    interval: float = 0.25
    frames: int = 2
    start: Start = "random"
    start_rms: float = 1.0
    start_wavenumber: float = 2.0
    top_speed: float = 4.0
    courant: float = 1.0
    chunk: int = 4

    def __post_init__(self) -> None:
        require_coarser_spin_up(self.spin_up_rung, self.truth_rung)
        if self.start not in get_args(Start):
            raise ConfigError(unknown("start", self.start, get_args(Start)))
        if min(self.spin_up_time, self.settle_time, self.start_rms) < 0 or not self.interval > 0:
            raise ConfigError(
                f"spin_up_time is {self.spin_up_time}, settle_time {self.settle_time}, interval {self.interval}, "
                f"start_rms {self.start_rms}",
                do="give an interval above 0, the others 0 or more",
            )
        require_above_0(self, "frames", "chunk", "start_wavenumber", "top_speed", "courant")

    def time_step(self, rung: int, dealias: Dealias = "two_thirds") -> float:
        """The longest step on a rung: courant/(k_max top_speed)."""
        return self.courant / (max(1, band(rung, dealias)[1]) * self.top_speed)


def solve_truth_3d(
    spec: TurbulenceSpec3d,
    *,
    n_trajectories: int,
    seed: int,
    first: int = 0,
    onto: Grid | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Velocity of the trajectories first, ..., first + n − 1, from the end of spin-up on, each `interval`.

    Trajectory i is drawn from (seed, i) alone, and steps are fixed: it does not depend on n, `first` or `chunk`, but
    for rounding.

    onto: a grid that the frames are restricted to as they are made [the truth's own].  progress: called with the share
    done, rising to 1.  Returns (n_trajectories, frames, 3, *grid) float32, on the CPU, whatever `device` solved it.
    Raises AnchorbenchError where the flow blows up or outruns spec.top_speed.
    """
    rung = spec.truth_rung
    (out,) = _solve(spec, {rung: "two_thirds"}, n_trajectories, seed, first, onto or cube(rung), device, progress)
    return out


def solve_rungs_3d(
    spec: TurbulenceSpec3d,
    rungs: Sequence[int],
    *,
    n_trajectories: int,
    seed: int,
    first: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> dict[int, Tensor]:
    """The same starts, each settled and followed on every rung by itself, all its modes advanced (3/2 padding).

    This is what a cheap coarse simulation gives: trajectory i of a rung begins as the truth's does and goes its own
    way.  Returns {rung: (n_trajectories, frames, 3, rung, rung, rung)}; other arguments and errors as `solve_truth_3d`.
    """
    ways: dict[int, Dealias] = dict.fromkeys(rungs, "padded")
    solved = _solve(spec, ways, n_trajectories, seed, first, None, device, progress)
    return dict(zip(rungs, solved, strict=True))


def _solve(
    spec: TurbulenceSpec3d,
    ways: dict[int, Dealias],
    n: int,
    seed: int,
    first: int,
    onto: Grid | None,
    device: torch.device | str,
    progress: Callable[[float], None] | None,
) -> list[Tensor]:
    """Spin up once, then follow on each rung of `ways`; one tensor a rung."""
    require_trajectories(first, n)
    report = progress or (lambda share: None)
    grids = [onto or cube(rung) for rung in ways]
    outs = [torch.empty((n, spec.frames, 3, *grid.shape)) for grid in grids]
    # A frame of a rung costs about its points times its steps.
    costs = [rung**4 for rung in ways]
    done, total = 0.0, float(sum(costs) * spec.frames * n)
    for low in range(0, n, spec.chunk):
        high = min(low + spec.chunk, n)
        start = torch.stack([_start(spec, seed, first + i) for i in range(low, high)]).to(device)
        coarse = spec.spin_up_rung
        u = integrate(start, spec.flow, duration=spec.spin_up_time, dt=spec.time_step(coarse))
        for (rung, dealias), cost, grid, out in zip(ways.items(), costs, grids, outs, strict=True):
            step = spec.time_step(rung, dealias)
            together = spec.chunk if u.device.type != "cpu" else max(1, POINTS_IN_CACHE // rung**3)
            for some, part in zip(torch.split(u, together), torch.split(out[low:high], together), strict=True):
                moved = (prolong if rung >= coarse else restrict)(some, cube(rung))
                settled = integrate(moved, spec.flow, duration=spec.settle_time, dt=step, dealias=dealias)

                def on_frame(i: int, frame: Tensor, part: Tensor = part, grid: Grid = grid, cost: int = cost) -> None:
                    nonlocal done
                    require_speed(float(frame.abs().max()), spec.top_speed)
                    part[:, i] = (frame if tuple(frame.shape[-3:]) == grid.shape else restrict(frame, grid)).cpu()
                    done += cost * len(frame)
                    report(min(1.0, done / total))

                trajectory(
                    settled,
                    spec.flow,
                    interval=spec.interval,
                    frames=spec.frames,
                    dt=step,
                    dealias=dealias,
                    on_frame=on_frame,
                )
    return outs


def _start(spec: TurbulenceSpec3d, seed: int, i: int) -> Tensor:
    """The i-th start on the spin-up grid: (3, n, n, n) float32."""
    generator, n = generator_of(seed, i), spec.spin_up_rung
    disturbance = random_velocity(
        1, n, generator=generator, peak_wavenumber=spec.start_wavenumber, rms=spec.start_rms, dtype=torch.float64
    )[0]
    if spec.start == "random":
        return disturbance.float()
    moved_by = 2 * math.pi * torch.rand(3, generator=generator, dtype=torch.float64)
    return (moved_taylor_green(n, moved_by) + disturbance).float()


def moved_taylor_green(n: int, by: Tensor) -> Tensor:
    """(sin x' cos y' cos z', −cos x' sin y' cos z', 0) with x' = x − by: (3, n, n, n) float64; by: along x, y, z."""
    z, y, x = (axis - shift for axis, shift in zip(cube(n).mesh(), by.flip(0), strict=True))
    return torch.stack((x.sin() * y.cos() * z.cos(), -x.cos() * y.sin() * z.cos(), torch.zeros_like(x)))


def truth_floor_3d(
    frames: Tensor,
    spec: TurbulenceSpec3d,
    *,
    interval: float,
    onto: Sequence[int],
    n_windows: int = 2,
    component: int = 0,
    device: torch.device | str = "cpu",
) -> dict[int, float]:
    """How true the truth is: √⟨|R(u_fine(t + interval) − u(t + interval))|²⟩ for each rung's band |k_i| < N/2.

    u_fine starts from a stored frame and is solved on twice the truth's rung with half its step, in float32 as the
    truth is: rounding, about 1e-6 of the flow, is no part of the floor.  The windows are spread over trajectories and
    frames.

    frames: (n, frames, 3, N, N, N) from `solve_truth_3d` on the truth's grid.  interval: one lead, a multiple of
    spec.interval.  onto: rungs.  component: of the velocity.  Returns {rung: RMS difference}, in its unit.
    Raises AnchorbenchError where no window is that long.
    """
    n, n_frames, points = frames.shape[0], frames.shape[1], frames.shape[-1]
    chosen, lead = windows((n, n_frames), interval, interval=spec.interval, n_windows=n_windows)
    fine, squares = 2 * points, dict.fromkeys(onto, 0.0)
    for i, t in chosen:
        start = prolong(frames[i, t].to(device), cube(fine))
        solved = integrate(start, spec.flow, duration=interval, dt=spec.time_step(fine))
        error = restrict(solved[component], cube(points)) - frames[i, t + lead, component].to(device)
        for rung in onto:
            squares[rung] += float(restrict(error, cube(rung)).square().mean())
    return {rung: (total / n_windows) ** 0.5 for rung, total in squares.items()}
