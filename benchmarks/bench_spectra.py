"""Our radial spectrum against the bare rfft2 below it, and against xrft's `isotropic_power_spectrum`.

    pip install xrft==1.0.1 numpy_groupies
    python benchmarks/bench_spectra.py [--repeats 9]

64 fields of 256², float32.  One process, one thread, the competitors called in turn, CPU time of this process; the
results agree before a clock starts.  Without xrft its row says that it is not installed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch
from torch import Tensor

from anchorbench.fields import Grid, band_energies, radial_spectrum, radial_spectrum_plain
from anchorbench.fields.spectra import band_index, wavenumbers

try:
    import xarray
    import xrft
except ImportError:
    xrft = None

GRID, FIELDS = Grid((256, 256)), 64
BARE_GOAL, XRFT_GOAL = 3.0, 15.0


def isotropic(u: Tensor, *, truncate: bool = True) -> xarray.DataArray:
    """xrft's ring means: k times the mean density of a ring, N/4 rings."""
    x = GRID.coordinates(1).numpy()
    array = xarray.DataArray(u.numpy(), dims=("sample", "y", "x"), coords={"y": x, "x": x})
    return xrft.isotropic_power_spectrum(array, dim=["y", "x"], truncate=truncate)


def agree(u: Tensor) -> None:
    """Leaves where the sparse product, the plain sum and xrft differ on the same rings."""
    fast, plain = radial_spectrum(u, GRID), radial_spectrum_plain(u.double(), GRID)
    error = ((fast.energy - plain.energy).abs() / plain.energy.mean()).max().item()
    print(f"largest difference to the plain sum in float64: {error:.1e} of the mean ring")
    if error > 1e-5:
        sys.exit("the two do not agree: nothing is timed")
    if xrft is None:
        return
    density = isotropic(u[:2], truncate=False)
    density = torch.as_tensor((density / density.freq_r).values)
    # Its rings split [0, longest wave] evenly, each with its upper edge; on this box a density is an energy a wave.
    rings, longest = density.shape[-1], wavenumbers(GRID, half=False).max().item()
    edges = (0.0, *(longest * i / rings * (1 + 1e-6) for i in range(1, rings + 1)))
    waves = torch.bincount(band_index(GRID, edges, half=False).flatten())
    error = ((band_energies(u[:2].double(), GRID, edges) / waves - density).abs() / density.mean()).max().item()
    print(f"largest difference to xrft on its own rings: {error:.1e} of the mean density")
    if error > 1e-5:
        sys.exit("ours and xrft's do not agree: nothing is timed")


def interleaved(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of CPU time of each, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 2):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if repeat >= 2:  # the first two warm it up
                times[name].append(1e3 * (time.process_time() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    u = torch.randn(FIELDS, *GRID.shape)
    agree(u)

    runs: dict[str, Callable[[], object]] = {
        "rfft2": lambda: torch.fft.rfft2(u),
        "ours": lambda: radial_spectrum(u, GRID),
        "plain": lambda: radial_spectrum_plain(u, GRID),
    }
    if xrft is not None:
        runs["xrft"] = lambda: isotropic(u)
    times = interleaved(runs, options.repeats)

    print(f"torch {torch.__version__}, 1 thread, {FIELDS} fields of {GRID.shape[0]}², float32; CPU time")
    for name, measured in times.items():
        print(f"  {name:<6} {statistics.median(measured):8.1f} ms  [{min(measured):.1f}]")
    ratio = ratio_of(times["ours"], times["rfft2"])
    print(f"ours / bare rfft2   {ratio:6.2f}x   goal <= {BARE_GOAL:.0f}   {'met' if ratio <= BARE_GOAL else 'MISSED'}")
    if xrft is None:
        print("xrft / ours         xrft is not installed: pip install xrft numpy_groupies")
        return
    ratio = ratio_of(times["xrft"], times["ours"])
    print(f"xrft / ours         {ratio:6.2f}x   goal >= {XRFT_GOAL:.0f}  {'met' if ratio >= XRFT_GOAL else 'MISSED'}")


def ratio_of(above: list[float], below: list[float]) -> float:
    """The median of the ratios call by call: both met the same load."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


if __name__ == "__main__":
    main()
