"""Our Navier-Stokes solver against the bare FFTs that it replaces, and against public codes.

    pip install -r benchmarks/requirements.txt
    python benchmarks/bench_solver.py [--repeats 7] [--quick]

One process, one thread; the competitors agree first and are then called in turn, each warmed; CPU time of this process,
median with the minimum in brackets.  Forcing at k = 4, drag 0.1, two-thirds rule, float32.  What is not installed is
said to be so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
import torch
from torch import Tensor

from anchorbench.errors import AnchorbenchError
from anchorbench.solvers import Flow, box, integrate, random_vorticity
from anchorbench.solvers.navier_stokes import band
from anchorbench.solvers.stepper import Stepper

FLOW = Flow(viscosity=1e-3, drag=0.1, forcing_wavenumber=4, forcing_amplitude=1.0)
DT = 1 / 400
STEPS = 8  # a call, so that no side pays for entering and leaving its loop
SHAPES = ((64, 8), (128, 8), (256, 8), (128, 1))
PEERS = {"exponax ETDRK4": 4, "jax-cfd CN-RK4": 5, "torch-cfd CN-RK4": 5, "CN + Euler, c2c": 1}  # RHS a step
GOALS = {"exponax ETDRK4": 1.4, "jax-cfd CN-RK4": 2.0, "torch-cfd CN-RK4": 2.0}

Run = Callable[[], object]


class Ours:
    rhs_per_step = 4

    def __init__(self, start: Tensor) -> None:
        self.stepper = Stepper(start, FLOW, k_max=band(start.shape[-1], "two_thirds")[1])

    def __call__(self, steps: int = STEPS, dt: float = DT) -> None:
        self.stepper.advance(steps * dt, courant=1.0, step=dt)

    def fields(self) -> Tensor:
        return self.stepper.fields()


class BareTransforms:
    """The four rfft2/irfft2 of each right-hand side, and nothing else."""

    rhs_per_step = 4

    def __init__(self, start: Tensor) -> None:
        self.fields, self.n = start, start.shape[-1]
        self.modes = torch.fft.rfft2(start)

    def __call__(self) -> None:
        for _ in range(STEPS * 4 * 2):
            torch.fft.rfft2(self.fields)
            torch.fft.irfft2(self.modes, s=(self.n, self.n))


class CrankNicolsonEuler:
    """Viscosity by Crank-Nicolson, the rest by Euler, full complex transforms: the scheme of the first FNO's data."""

    rhs_per_step = 1

    def __init__(self, start: Tensor) -> None:
        n = start.shape[-1]
        k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
        ky, kx = k[:, None], k[None, :]
        k2, k_max = ky**2 + kx**2, band(n, "two_thirds")[1]
        kept = (ky.abs() <= k_max) & (kx.abs() <= k_max)
        real, kind = start.dtype, (start[0, 0, 0] * 1j).dtype
        self.inverse = (kept / k2.clamp_min(1.0)).to(real)
        self.decay = (FLOW.viscosity * k2 + FLOW.drag).to(real)
        self.along_y, self.along_x, self.kept = (1j * ky).to(kind), (1j * kx).to(kind), kept
        self.force = torch.fft.fft2(FLOW.forcing(box(n), dtype=real))
        self.state = torch.fft.fft2(start) * kept

    def __call__(self, steps: int = STEPS, dt: float = DT) -> None:
        w = self.state
        for _ in range(steps):
            psi = w * self.inverse
            u, v = torch.fft.ifft2(self.along_y * psi).real, -torch.fft.ifft2(self.along_x * psi).real
            w_x, w_y = torch.fft.ifft2(self.along_x * w).real, torch.fft.ifft2(self.along_y * w).real
            transport = self.kept * torch.fft.fft2(u * w_x + v * w_y)
            half = 0.5 * dt * self.decay
            w = (w * (1 - half) + dt * (self.force - transport)) / (1 + half)
        self.state = w

    def fields(self) -> Tensor:
        return torch.fft.ifft2(self.state).real


class Exponax:
    """Its stream function is Δ⁻¹ω, so its vorticity is minus ours, and its forcing ours half a wave further."""

    rhs_per_step = 4

    def __init__(self, start: Tensor) -> None:
        import exponax
        import jax

        stepper = exponax.stepper.KolmogorovFlowVorticity(
            2, 2 * math.pi, start.shape[-1], DT, diffusivity=FLOW.viscosity, drag=-FLOW.drag, injection_mode=4, order=4
        )
        one = jax.vmap(stepper.step_fourier)
        self.run = jax.jit(lambda w: jax.lax.fori_loop(0, STEPS, lambda i, w: one(w), w))
        self.state = jax.numpy.fft.rfft2(_turned(-start.roll(-(start.shape[-1] // 8), -2))[:, None])

    def __call__(self) -> None:
        self.state = self.run(self.state).block_until_ready()

    def fields(self) -> Tensor:
        fields = _turned(torch.from_numpy(np.fft.irfft2(np.asarray(self.state)[:, 0])), to_jax=False)
        return -fields.roll(fields.shape[-1] // 8, -2)


class JaxCfd:
    rhs_per_step = 5

    def __init__(self, start: Tensor) -> None:
        import jax
        from jax_cfd.base.grids import Grid
        from jax_cfd.spectral import equations, time_stepping

        n = start.shape[-1]
        grid = Grid((n, n), domain=((0, 2 * math.pi), (0, 2 * math.pi)))
        one = jax.vmap(
            time_stepping.crank_nicolson_rk4(equations.ForcedNavierStokes2D(FLOW.viscosity, grid, smooth=True), DT)
        )
        self.run = jax.jit(lambda w: jax.lax.fori_loop(0, STEPS, lambda i, w: one(w), w))
        self.state = jax.numpy.fft.rfft2(_turned(start))

    def __call__(self) -> None:
        self.state = self.run(self.state).block_until_ready()

    def fields(self) -> Tensor:
        return _turned(torch.from_numpy(np.fft.irfft2(np.asarray(self.state))), to_jax=False)


class TorchCfd:
    rhs_per_step = 5

    def __init__(self, start: Tensor) -> None:
        from torch_cfd.forcings import KolmogorovForcing
        from torch_cfd.grids import Grid
        from torch_cfd.spectral import NavierStokes2DSpectral, RK4CrankNicolsonStepper

        n = start.shape[-1]
        grid = Grid((n, n), domain=((0, 2 * math.pi), (0, 2 * math.pi)))
        self.model = NavierStokes2DSpectral(
            FLOW.viscosity,
            grid,
            drag=FLOW.drag,
            smooth=True,
            forcing_fn=KolmogorovForcing(grid=grid, scale=1.0, wave_number=4, swap_xy=False),
            step_fn=RK4CrankNicolsonStepper(),
        )
        self.state = torch.fft.rfft2(start.mT.contiguous())

    @torch.no_grad()
    def __call__(self) -> None:
        self.state, _ = self.model(self.state, DT, steps=STEPS)

    def fields(self) -> Tensor:
        return torch.fft.irfft2(self.state).mT


CLASSES = {
    "exponax ETDRK4": ("exponax", Exponax),
    "jax-cfd CN-RK4": ("jax-cfd", JaxCfd),
    "torch-cfd CN-RK4": ("torch-cfd", TorchCfd),
    "CN + Euler, c2c": ("torch", CrankNicolsonEuler),
}


def _turned(fields: Tensor, *, to_jax: bool = True):
    """The peers' first axis is x, ours is y."""
    turned = fields.mT.contiguous()
    if not to_jax:
        return turned
    import jax

    return jax.numpy.asarray(turned.numpy())


def installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def turbulence(n: int, batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Smooth states on their way into turbulence, within the two-thirds band."""
    generator = torch.Generator().manual_seed(n)
    start = random_vorticity(batch, n, generator=generator, dtype=dtype)
    return integrate(start, FLOW, duration=1.0)


def agree(names: list[str]) -> None:
    """Each peer within 1 % of ours after 40 steps (first-order Euler) or 0.01 % (the rest), or there is no timing.

    On a state well within the band: the codes differ on whether the wave at N/3 is kept.
    """
    start = random_vorticity(2, 128, generator=torch.Generator().manual_seed(0))
    ours = Ours(start)
    ours(40)
    for name in names:
        peer = CLASSES[name][1](start)
        for _ in range(40 // STEPS):
            peer()
        apart = float((peer.fields().to(torch.float32) - ours.fields()).norm() / ours.fields().norm())
        moved = float((ours.fields() - start).norm() / start.norm())
        limit = 1e-2 if "Euler" in name else 1e-4
        print(f"  {name:18s} differs by {apart:.1e} after a change of {moved:.2f}")
        if not apart < limit:
            raise SystemExit(f"{name} solves another equation: it differs by {apart:.2e}")


def interleaved(runs: dict[str, Run], repeats: int) -> dict[str, list[float]]:
    """Seconds a call, each run called in turn."""
    calls = {}
    for name, run in runs.items():
        run(), run()
        start = time.process_time()
        run()
        calls[name] = max(1, round(0.05 / max(time.process_time() - start, 1e-6)))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.process_time()
            for _ in range(calls[name]):
                run()
            seconds[name].append((time.process_time() - start) / calls[name])
    return seconds


def shown(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):5.2f} [{min(ratios):.2f}]"


def per_rhs(names: list[str], repeats: int) -> dict[str, float]:
    """Prints the table; returns each peer's median time a right-hand side over ours at 128, batch 8."""
    at_128 = {}
    for n, batch in SHAPES:
        start = turbulence(n, batch)
        sides = {"ours": Ours(start), "bare FFTs": BareTransforms(start)}
        sides.update({name: CLASSES[name][1](start) for name in names})
        seconds = interleaved(sides, repeats)
        per = {name: [t / (STEPS * sides[name].rhs_per_step) for t in times] for name, times in seconds.items()}
        ns = {name: statistics.median(times) / (n * n * batch) * 1e9 for name, times in per.items()}
        print(f"\n{n} x {n}, batch {batch}: ours {ns['ours']:.1f} ns a point and right-hand side")
        goal = 1.3 if batch > 1 else 2.0
        over = [a / b for a, b in zip(per["ours"], per["bare FFTs"], strict=True)]
        print(f"  ours / bare rfft2 + irfft2          {shown(over)}   goal ≤ {goal}")
        for name in names:
            slower = [a / b for a, b in zip(per[name], per["ours"], strict=True)]
            wanted = f"   goal ≥ {GOALS[name]}" if name in GOALS and batch > 1 else ""
            print(f"  {name:18s} / ours, a RHS    {shown(slower)}{wanted}")
            if (n, batch) == (128, 8):
                at_128[name] = statistics.median(slower)
    return at_128


def steps_to(error: float, solver: type, start: Tensor, reference: Tensor, first: int) -> float:
    """Steps for a relative error after T = 1: doubled until it is met, then read off between the last two."""
    before, steps = None, first
    while True:
        run = solver(start)
        try:
            run(steps, 1.0 / steps)
            reached = float((run.fields() - reference).norm() / reference.norm())
        except AnchorbenchError:  # blew up
            reached = math.inf
        if reached <= error:
            break
        before, steps = reached, steps * 2
    if before is None or not math.isfinite(before):
        return steps
    return steps / 2 * (before / error) ** (1 / math.log2(before / reached))


def time_to_error(cost: float) -> None:
    """`cost`: a right-hand side of CN + Euler in ours."""
    generator = torch.Generator().manual_seed(0)
    start = random_vorticity(1, 128, generator=generator, dtype=torch.float64)
    start = integrate(start, FLOW, duration=10.0)
    reference = integrate(start, FLOW, duration=1.0, dt=1 / 800)

    ours = 4 * steps_to(1e-2, Ours, start, reference, first=10)
    euler = steps_to(1e-2, CrankNicolsonEuler, start, reference, first=1600)
    print("\ntime to a relative error of 1e-2 after T = 1 (128 x 128, ν = 1e-3, float64, spun up to T = 10)")
    print(f"  right-hand sides: ours {ours:.0f}, CN + Euler {euler:.0f}: {euler / ours:.1f} x")
    print(f"  times {cost:.1f} a right-hand side (128, batch 8): {euler / ours * cost:.0f} x   goal ≥ 40")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="ours and the bare transforms only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    names = []
    for name, (distribution, _) in CLASSES.items():
        if options.quick:
            break
        if installed(distribution):
            names.append(name)
        else:
            print(f"{name}: not installed (pip install -r benchmarks/requirements.txt)")
    if names:
        print("agreement first:")
        agree(names)
    cost = per_rhs(names, options.repeats)
    if not options.quick:
        time_to_error(cost["CN + Euler, c2c"])


if __name__ == "__main__":
    main()
