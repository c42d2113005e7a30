"""Reading a training batch: windows out of our `.npy` map against a memcpy of the same windows (warm page cache).

python benchmarks/bench_samples.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from anchorbench.data.arrays import cached_array
from anchorbench.data.samples import gather
from anchorbench.models.malloc import raise_malloc_thresholds

GOAL = 1.2
BATCHES = 40
BATCH = 16
FRAMES = 4


def one_size(folder: Path, points: int) -> tuple[float, float]:
    """Median and minimum of ours / memcpy over repeats, window by window, interleaved."""
    import netCDF4

    samples, frames = 16, 16
    rng = np.random.default_rng(0)
    values = rng.normal(size=(samples, frames, points, points)).astype(np.float32)
    with netCDF4.Dataset(folder / f"{points}.nc", "w") as nc:
        group = nc.createGroup(f"r{points:03d}")
        for name, n in (("sample", samples), ("time", frames), ("y", points), ("x", points)):
            group.createDimension(name, n)
        group.createVariable("u", "f4", ("sample", "time", "y", "x"))[:] = values
    mapped = cached_array(folder, f"{points}.nc", f"r{points:03d}", "u", digest=f"{points:064d}")
    out = np.empty((BATCH, FRAMES, points, points), np.float32)
    ratios = []
    for _ in range(9):
        took = {"ours": 0.0, "memcpy": 0.0}
        for _ in range(BATCHES):
            sample = rng.integers(samples, size=BATCH)
            times = rng.integers(frames - FRAMES, size=BATCH)[:, None] + np.arange(FRAMES)
            began = time.perf_counter()
            window = gather(mapped, sample, times)
            took["ours"] += time.perf_counter() - began
            began = time.perf_counter()
            for row, s, t in zip(out, sample, times[:, 0], strict=True):
                np.copyto(row, values[s, t : t + FRAMES])
            took["memcpy"] += time.perf_counter() - began
        assert np.array_equal(window[0], values[sample[0], times[0]])
        ratios.append(took["ours"] / took["memcpy"])
    assert np.array_equal(mapped[0], values[0])
    return statistics.median(ratios[1:]), min(ratios[1:])


def main() -> None:
    raise_malloc_thresholds()  # as every command that runs a model does
    print("16 windows of 4 frames, float32: our array cache / memcpy of the same windows")
    with tempfile.TemporaryDirectory() as folder:
        for points in (64, 256):
            median, least = one_size(Path(folder), points)
            print(f"  {points:3d}²   {median:.2f} [{least:.2f}]   goal <= {GOAL}")


if __name__ == "__main__":
    main()
