"""The truth of the turbulence ladder: trajectories of one flow, solved finer than any rung, and how true they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from anchorbench.errors import ConfigError
from anchorbench.fields.resample import prolong, restrict
from anchorbench.solvers.flow import Flow, box
from anchorbench.solvers.navier_stokes import integrate, random_vorticity, trajectory, velocity
from anchorbench.solvers.stepper import wavenumbers
from anchorbench.solvers.stepping import Dealias, band, require_above_0
from anchorbench.solvers.truth import (
    generator_of,
    require_coarser_spin_up,
    require_speed,
    require_trajectories,
    windows,
)


@dataclass(frozen=True)
class TurbulenceSpec:
    """What defines the truth, all but the seed and the number of trajectories.

    truth_rung: points a side of the truth.  spin_up_rung: of the grid on which a random start grows into turbulence
    for `spin_up_time`; `settle_time` more on the truth's grid fills the scales that the coarser one lacked.
    flow: its constants.  interval: time between stored frames.  frames: how many.
    start_rms, start_wavenumber: √⟨ω²⟩ and peak of the random start.
    start_spectrum: instead of those two, its energy E_k in the rings |k| = 0, 1, 2, ..., at random phases.
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
    start_spectrum: tuple[float, ...] | None = None
    top_speed: float = 5.0
    courant: float = 0.75
    dtype: torch.dtype = torch.float32
    chunk: int = 8

    def __post_init__(self) -> None:
        require_coarser_spin_up(self.spin_up_rung, self.truth_rung)
        if self.spin_up_time < 0 or self.settle_time < 0 or not self.interval > 0:
            raise ConfigError(
                f"times are spin_up {self.spin_up_time}, settle {self.settle_time}, interval {self.interval}",
                do="give an interval above 0, the others 0 or more",
            )
        require_above_0(self, "frames", "chunk", "start_rms", "start_wavenumber", "top_speed", "courant")

    def time_step(self, rung: int, dealias: Dealias = "two_thirds") -> float:
        """The longest step on a rung: courant/(k_max top_speed)."""
        return self.courant / (band(rung, dealias)[1] * self.top_speed)


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
    return _solve(spec, {spec.truth_rung: "two_thirds"}, n_trajectories, seed, first, device, progress)[spec.truth_rung]


def solve_rungs(
    spec: TurbulenceSpec,
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
    way.  Returns {rung: (n_trajectories, frames, rung, rung)}; other arguments and errors as in `solve_truth`.
    """
    return _solve(spec, dict.fromkeys(rungs, "padded"), n_trajectories, seed, first, device, progress)


def _solve(
    spec: TurbulenceSpec,
    ways: Mapping[int, Dealias],
    n: int,
    seed: int,
    first: int,
    device: torch.device | str,
    progress: Callable[[float], None] | None,
) -> dict[int, Tensor]:
    """Spin up once, then follow on each rung of `ways`."""
    require_trajectories(first, n)
    report = progress or (lambda share: None)
    start, stop = first - first % 2, first + n + (first + n) % 2
    chunk = spec.chunk + spec.chunk % 2
    outs = {rung: torch.empty((stop - start, spec.frames, rung, rung), dtype=spec.dtype) for rung in ways}
    costs = {rung: rung**3 for rung in ways}  # points times steps
    done, total = 0, sum(costs.values()) * spec.frames * (stop - start)
    for low in range(start, stop, chunk):
        high = min(low + chunk, stop)
        w = torch.stack([_start(spec, seed, i) for i in range(low, high)]).to(device)
        coarse = spec.spin_up_rung
        w = integrate(w, spec.flow, duration=spec.spin_up_time, dt=spec.time_step(coarse))
        for rung, dealias in ways.items():
            part, cost, step = outs[rung][low - start : high - start], costs[rung], spec.time_step(rung, dealias)

            def on_frame(i: int, frame: Tensor, part: Tensor = part, cost: int = cost) -> None:
                nonlocal done
                require_speed(float(velocity(frame).abs().max()), spec.top_speed)
                part[:, i] = frame.cpu()
                done += cost * len(frame)
                report(done / total)

            moved = (prolong if rung >= coarse else restrict)(w, box(rung))
            settled = integrate(moved, spec.flow, duration=spec.settle_time, dt=step, dealias=dealias)
            every, n_frames = spec.interval, spec.frames
            trajectory(settled, spec.flow, interval=every, frames=n_frames, dt=step, dealias=dealias, on_frame=on_frame)
    return {rung: out[first - start :][:n] for rung, out in outs.items()}


def _start(spec: TurbulenceSpec, seed: int, i: int) -> Tensor:
    generator = generator_of(seed, i)
    if spec.start_spectrum is not None:
        return vorticity_of_spectrum(spec.start_spectrum, spec.spin_up_rung, generator=generator, dtype=spec.dtype)
    return random_vorticity(
        1,
        spec.spin_up_rung,
        generator=generator,
        peak_wavenumber=spec.start_wavenumber,
        rms=spec.start_rms,
        dtype=spec.dtype,
    )[0]


def vorticity_of_spectrum(
    energy: Sequence[float], points: int, *, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Vorticity at random phases whose velocity has the energy ½ Σ |û|² = E_k in each ring k − ½ ≤ |k| < k + ½.

    Gaussian modes, each ring scaled to its energy: every draw has the spectrum, only phases and shares within a ring
    differ.  Rings that the grid does not hold whole are left out, as is the mean.

    energy: E_0, E_1, ...  Returns (points, points).
    """
    ky, kx = wavenumbers(points, half=True, device=generator.device)
    k2 = ky**2 + kx**2
    ring = (k2.sqrt() + 0.5).floor().long()
    whole = min(len(energy), (points - 1) // 2 + 1)
    inside = (ring > 0) & (ring < whole)
    noise = torch.fft.rfft2(torch.randn((points, points), generator=generator, dtype=torch.float64)) * inside
    wanted = torch.tensor(list(energy[:whole]), dtype=torch.float64)
    mirrored = torch.where(kx > 0, 2.0, 1.0)  # the rings end below the Nyquist column
    power = noise.abs().square() * mirrored / points**4
    have = torch.zeros(whole, dtype=torch.float64).index_add(0, ring[inside], power[inside])
    gain = (2 * wanted / have.clamp_min(torch.finfo(torch.float64).tiny)).sqrt()
    scaled = noise * torch.where(inside, gain[ring.clamp_max(whole - 1)], 0.0) * k2.sqrt()  # |ω̂| = |k| |û|
    out: Tensor = torch.fft.irfft2(scaled, s=(points, points))
    return out.to(dtype)


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
    n, n_frames, points, _ = frames.shape
    chosen, lead = windows((n, n_frames), interval, interval=spec.interval, n_windows=n_windows)
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
