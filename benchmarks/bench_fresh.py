"""Many coordinate networks at once against one by one: a selection, and training steps of a grid search.

    python benchmarks/bench_fresh.py [--rung 32] [--width 64] [--fields 4] [--repeats 5] [--device cpu]

selection   spectra of 20 settings x 10 draws of untrained SIRENs
search      one Adam step of 20 settings x the fields, as `grid_search` trains them

The same networks from the same numbers on both sides; the outputs agree before a clock starts.  The two are called in
turn and the medians compared: of CPU time on a CPU, which others may share, of wall time on a GPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch
from torch import Tensor

from anchorbench.analysis.spectral_distance import binned_spectrum
from anchorbench.data.samples import Batch
from anchorbench.fields.grid import Grid
from anchorbench.methods.base import Plan
from anchorbench.methods.fresh import untrained_spectra
from anchorbench.methods.represent import Fields, Fit
from anchorbench.models.coordinate import Coordinate
from anchorbench.models.coordinate_options import SirenOptions, knob_of
from anchorbench.models.siren import Siren

DRAWS = 10


def apart(many: Coordinate, grid: Grid) -> list[Siren]:
    """Each network of many as a module of its own."""
    alone = []
    for i in range(many.networks):
        one = Siren(1, 1, grid, many.options).to(many.knob.device)
        one.load_state_dict({name: u[i : i + 1].clone() for name, u in many.state_dict().items()})
        alone.append(one)
    return alone


def selection(
    grid: Grid, options: SirenOptions, settings: Tensor, device: torch.device
) -> tuple[Callable[[], Tensor], ...]:
    model, bins = Siren(1, 1, grid, options).to(device), min(64, grid.rung // 2)
    rng = torch.Generator().manual_seed(0)
    many = Siren(1, 1, grid, options).to(device).initialise(DRAWS, knobs=settings.expand(DRAWS, -1), generator=rng)
    alone = apart(many, grid)

    def at_once() -> Tensor:
        return untrained_spectra(model, grid, settings, draws=DRAWS, bins=bins)

    @torch.no_grad()
    def one_by_one() -> Tensor:
        spectra = torch.cat([binned_spectrum(one.on(grid), ndim=grid.ndim, bins=bins) for one in alone])
        return spectra.view(DRAWS, len(settings), bins).transpose(0, 1)

    return at_once, one_by_one


def search(
    grid: Grid, options: SirenOptions, settings: Tensor, fields: int, device: torch.device
) -> tuple[Callable[[], Tensor], ...]:
    knobs = settings.expand(fields, -1)
    module = Fields(Siren(1, 1, grid, options), fields=fields, frames=1, knobs=knobs, found=(0, 0)).to(device)
    many, alone = module.model, apart(module.model, grid)
    y = torch.randn(fields, 1, *grid.shape, device=device)
    batch, targets = Batch(y, y, grid, grid, torch.zeros(fields)), y.repeat_interleave(len(settings), 0)
    method = Fit(Plan((grid.rung,), grid, "spectral", fields=fields), {})
    together = torch.optim.Adam(many.parameters(), lr=1e-4, fused=True)
    each = [torch.optim.Adam(one.parameters(), lr=1e-4, fused=True) for one in alone]

    def at_once() -> Tensor:
        loss = method.loss(module, batch, step=0, rng=torch.Generator())
        together.zero_grad()
        loss.backward()
        together.step()
        return loss.detach()

    def one_by_one() -> Tensor:
        losses = []
        for i, (one, optimiser) in enumerate(zip(alone, each, strict=True)):
            loss = (one.on(grid) - targets[i : i + 1]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    return at_once, one_by_one


def seconds(calls: tuple[Callable[[], Tensor], ...], repeats: int, device: torch.device) -> list[float]:
    """Medians, the calls in turn."""
    took: list[list[float]] = [[] for _ in calls]
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for _ in range(repeats):
        for kept, call in zip(took, calls, strict=True):
            began = clock()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            kept.append(clock() - began)
    return [statistics.median(kept) for kept in took]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rung", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    device, grid = torch.device(asked.device), Grid((asked.rung,) * 2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options = SirenOptions(width=asked.width)
    settings = torch.tensor(knob_of(options)[1])
    for name, calls in (
        ("selection", selection(grid, options, settings, device)),
        ("search", search(grid, options, settings, asked.fields, device)),
    ):
        first, second = (call() for call in calls)
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)
        together, alone = seconds(calls, asked.repeats, device)
        print(
            f"{name:10} rung {asked.rung}, width {asked.width}: at once {together:.4f} s, one by one {alone:.4f} s, "
            f"ratio {alone / together:.2f}"
        )


if __name__ == "__main__":
    main()
