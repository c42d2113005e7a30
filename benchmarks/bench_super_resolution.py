"""Time, memory and FLOPs of the models for super-resolution against the number of output points, one fitted power each.

    python benchmarks/bench_super_resolution.py [--given 8] [--outputs 16 32 64 128] [--repeats 3] [--csv FILE]

At the widths of the preset `small`, one sample, float32, no gradient, one thread on a CPU, queries not tiled.  Seconds
are of the processor, the least of the repeats; MiB the most that the call held at once beside weights and inputs, by
torch's allocator; FLOPs those of matrix products and convolutions.  Exponents are slopes of the logarithm on log points
over the upper half of the points.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch
from bench_attention import exponent
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from anchorbench.config import load_preset
from anchorbench.fields import Grid
from anchorbench.models.registry import build, validate_options

MODELS = ("hinote", "srno", "lte", "liif", "edsr")
TOLD = ("seconds", "mebibytes", "gigaflops")


def measured(model: nn.Module, u: Tensor, given: Grid, asked: Grid, repeats: int) -> tuple[float, float, float]:
    """Least seconds, MiB held at once, and GFLOPs of one call."""
    with FlopCounterMode(display=False) as counted:
        model(u, given, asked)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        model(u, given, asked)
    held = most = 0
    for event in sorted(seen.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    best = math.inf
    for _ in range(repeats):
        began = time.process_time()
        model(u, given, asked)
        best = min(best, time.process_time() - began)
    return best, most / 2**20, counted.get_total_flops() / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--given", type=int, default=8, help="points an axis of the input")
    parser.add_argument("--outputs", type=int, nargs="+", default=[16, 32, 64, 128], help="points an axis")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    if len(sides := sorted(set(asked.outputs))) < 4:
        parser.error("a slope over the upper half of the points takes at least 4 of them")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    box = Grid((sides[-1], sides[-1]), centring="cell", periodic=(True, True))
    given, preset = box.with_rung(asked.given), load_preset("small", "mri", task="super_resolve")
    rows, points = [], [n * n for n in sides]
    with torch.no_grad():
        for name in MODELS:
            options = validate_options(name, preset.models.get(name, {}) | {"query_points": None})
            model = build(name, in_channels=1, out_channels=1, grid=box.with_rung(sides[0]), options=options).eval()
            u = torch.randn(1, 1, *given.shape)
            found = [measured(model, u, given, box.with_rung(n), asked.repeats) for n in sides]
            for told, values in zip(TOLD, zip(*found, strict=True), strict=True):
                row = {"model": name, "measured": told, **dict(zip(points, values, strict=True))}
                rows.append(row | {"exponent": exponent(points, values)})
    print("model".ljust(10) + "".ljust(12) + "".join(f"{n:>10}" for n in points) + "  exponent")
    for row in rows:
        values = "".join(f"{row[n]:>10.4g}" for n in points)
        print(row["model"].ljust(10) + row["measured"].ljust(12) + values + f"{row['exponent']:>10.2f}")
    if asked.csv is not None:
        with asked.csv.open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(rows[0]))
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
