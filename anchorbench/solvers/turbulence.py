"""The truth of the turbulence ladder: trajectories of one flow, solved finer than any rung, and how true they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from anchorbench.errors import AnchorbenchError, ConfigError
from anchorbench.fields.resample import prolong, restrict
from anchorbench.solvers.flow import Flow, box
from anchorbench.solvers.navier_stokes import band, integrate, random_vorticity, trajectory, velocity


@dataclass(frozen=True)
class TurbulenceSpec:
    """What defines the truth, all but the seed and the number of trajectories.

    truth_rung: points a side of the truth.  spin_up_rung: of the grid on which a random start grows into turbulence
    for `spin_up_time`; `settle_time` more on the truth's grid fills the scales that the coarser one lacked.
    flow: its constants.  interval: time between stored frames.  frames: how many.
    start_rms, start_wavenumber: √⟨ω²⟩ and peak of the random start.
    top_speed, courant: every step is courant/(k_max top_speed).  It is fixed, so that a trajectory is the same whatever
    is solved beside it; `solve_truth` refuses a flow that gets twice as fast.
    dtype: float32 differs from float64 by about 3e-5 a unit of time, growing with the chaos.
    chunk: trajectories solved at once; changes nothing but memory and speed.

    Raises ConfigError where these make no run.
    """

    truth_rung: int = 128
    spin_up_rung: int = 64
    spin_up_time: float = 10.0
    settle_time: float = 1.0
    flow: Flow = field(default_factory=lambda: Flow(viscosity=1e-3))
    interval: float = 0.25
    frames: int = 16
    start_rms: float = 4.0
    start_wavenumber: float = 4.0
    top_speed: float = 5.0
    courant: float = 0.75
    dtype: torch.dtype = torch.float32
    chunk: int = 8

    def __post_init__(self) -> None:
        if not 4 <= self.spin_up_rung <= self.truth_rung:
            raise ConfigError(
                f"spin_up_rung {self.spin_up_rung} is not between 4 and truth_rung {self.truth_rung}",
                do="spin up on a grid no finer than the truth's",
            )
        if self.spin_up_time < 0 or self.settle_time < 0 or not self.interval > 0:
            raise ConfigError(
                f"times are spin_up {self.spin_up_time}, settle {self.settle_time}, interval {self.interval}",
                do="give an interval above 0, the others 0 or more",
            )
        for name in ("frames", "chunk", "start_rms", "start_wavenumber", "top_speed", "courant"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", do=f"give a {name} above 0")

    def time_step(self, rung: int) -> float:
        """The longest step on a rung: courant/(k_max top_speed)."""
        return self.courant / (band(rung, "two_thirds")[1] * self.top_speed)


def solve_truth(
    spec: TurbulenceSpec,
    *,
    n_trajectories: int,
    seed: int,
    first: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Vorticity of the trajectories first, ..., first + n − 1, from the end of spin-up on, each `interval`.

    Trajectory i is drawn from (seed, i) alone, and 2j is always packed with 2j + 1: it is the same to the last bit
    whatever n, `first` and `chunk` (on one machine, with one number of threads; turbulence lets any rounding grow).

    progress: called with the share done, rising to 1.
    Returns (n_trajectories, frames, truth_rung, truth_rung), spec.dtype, on the CPU, whatever `device` solved it.
    Raises AnchorbenchError where the flow blows up or outruns spec.top_speed.
    """
    if n_trajectories < 1 or first < 0:
        raise AnchorbenchError(
            f"trajectories {first} to {first + n_trajectories - 1} were asked for", do="ask for one or more, from 0 on"
        )
    report = progress or (lambda share: None)
    start, stop = first - first % 2, first + n_trajectories + (first + n_trajectories) % 2
    chunk = spec.chunk + spec.chunk % 2
    out = torch.empty((stop - start, spec.frames, spec.truth_rung, spec.truth_rung), dtype=spec.dtype)
    for low in range(start, stop, chunk):
        high = min(low + chunk, stop)
        part = out[low - start : high - start]

        def on_frame(i: int, frame: Tensor, part: Tensor = part, low: int = low) -> None:
            part[:, i] = frame.cpu()
            report((low - start + part.shape[0] * (i + 1) / spec.frames) / (stop - start))

        w = torch.stack([_start(spec, seed, i) for i in range(low, high)]).to(device)
        _solve(w, spec, on_frame)
    return out[first - start :][:n_trajectories]


def _start(spec: TurbulenceSpec, seed: int, i: int) -> Tensor:
    state = int(np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return random_vorticity(
        1,
        spec.spin_up_rung,
        generator=torch.Generator().manual_seed(state),
        peak_wavenumber=spec.start_wavenumber,
        rms=spec.start_rms,
        dtype=spec.dtype,
    )[0]


def _solve(vorticity: Tensor, spec: TurbulenceSpec, on_frame: Callable[[int, Tensor], None]) -> None:
    def checked(i: int, frame: Tensor) -> None:
        speed = float(velocity(frame).abs().max())
        if speed > 2 * spec.top_speed:
            raise AnchorbenchError(
                f"the flow reaches a speed of {speed:.3g}, and its time step is meant for {spec.top_speed:.3g}",
                do=f"set top_speed to {speed:.2g} or more",
            )
        on_frame(i, frame)

    coarse, fine = spec.spin_up_rung, spec.truth_rung
    w = integrate(vorticity, spec.flow, duration=spec.spin_up_time, dt=spec.time_step(coarse))
    w = prolong(w, box(fine))
    w = integrate(w, spec.flow, duration=spec.settle_time, dt=spec.time_step(fine))
    step = spec.time_step(fine)
    trajectory(w, spec.flow, interval=spec.interval, frames=spec.frames, dt=step, on_frame=checked)


def truth_floor(
    frames: Tensor,
    spec: TurbulenceSpec,
    *,
    interval: float,
    onto: Sequence[int],
    n_windows: int = 16,
    device: torch.device | str = "cpu",
) -> dict[int, float]:
    """How true the truth is: √⟨|R(ω_fine(t + interval) − ω(t + interval))|²⟩ for each rung's band |kᵢ| < N/2.

    ω_fine starts from a stored frame and is solved on twice the truth's rung, in float64, with half the step a unit of
    wavenumber (a quarter in all).  The windows are spread evenly over trajectories and frames.

    frames: (n, frames, N, N) from `solve_truth`.  interval: one lead, a multiple of spec.interval.  onto: rungs.
    Returns {rung: RMS difference}, in the unit of vorticity.
    Raises AnchorbenchError where no window is that long.
    """
    lead = round(interval / spec.interval)
    n, n_frames, points, _ = frames.shape
    if lead < 1 or abs(lead * spec.interval - interval) > 1e-9 * interval or lead >= n_frames:
        raise AnchorbenchError(
            f"a lead of {interval} is no whole number of intervals of {spec.interval} within {n_frames} frames",
            do="choose a lead that the stored frames hold",
        )
    # Even over trajectories; over frames by the golden ratio, so that the two never beat.
    chosen = [(j * n // n_windows, int(j * 0.6180339887 % 1.0 * (n_frames - lead))) for j in range(n_windows)]
    fine = 2 * points
    squares = dict.fromkeys(onto, 0.0)
    for low in range(0, len(chosen), 2):
        pair = chosen[low : low + 2]
        now, then = (
            torch.stack([frames[i, t + shift] for i, t in pair]).to(device, torch.float64) for shift in (0, lead)
        )
        solved = integrate(prolong(now, box(fine)), spec.flow, duration=interval, dt=spec.time_step(fine) / 2)
        error = restrict(solved, box(points)) - then
        for rung in onto:
            squares[rung] += float(restrict(error, box(rung)).square().mean((-2, -1)).sum())
    return {rung: (total / len(chosen)) ** 0.5 for rung, total in squares.items()}
