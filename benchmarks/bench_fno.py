"""Our FNO against neuraloperator 2.0.0's with the same weights: time of a training step and of inference, and memory.

    pip install neuraloperator==2.0.0
    python benchmarks/bench_fno.py [--repeats 7] [--malloc raised|default]

One process, one thread, the two called in turn, CPU time of this process; the outputs agree before a clock starts.
1 -> 1 channel, width 32, 4 layers, 16 x 16 modes, grid embedding, float32.  Each optimiser step is Adam's: fused for
ours, not for neuraloperator's, whose complex weights the fused one refuses.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import neuralop.models
import torch
from torch import Tensor, nn

from anchorbench.fields.grid import Grid
from anchorbench.models.fno import FNO, load_neuralop_weights
from anchorbench.models.malloc import raise_malloc_thresholds
from anchorbench.models.options import FnoOptions

WIDTH, MODES, TRAIN_RUNG, BATCH = 32, 16, 64, 16
INFERENCE = {64: 16, 128: 8, 256: 4}  # rung: batch
TRAIN_GOAL, INFERENCE_GOAL, MEMORY_GOAL = 1.7, 1.3, 1.0


class OnGrid(nn.Module):
    """A forward(x) on one grid a shape, so that both sides are called alike."""

    def __init__(self, model: FNO) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        grid = Grid(tuple(x.shape[2:]))
        out: Tensor = self.model(x, grid, grid)
        return out


def both() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    theirs = neuralop.models.FNO(n_modes=(MODES, MODES), in_channels=1, out_channels=1, hidden_channels=WIDTH)
    options = FnoOptions(width=WIDTH, modes=MODES, embedding="grid")
    ours = FNO(1, 1, Grid((TRAIN_RUNG, TRAIN_RUNG)), options)
    load_neuralop_weights(ours, theirs.state_dict())
    return {"ours": OnGrid(ours), "neuralop": theirs}


def train_step(name: str, model: nn.Module) -> Callable[[], None]:
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True if name == "ours" else None)
    x, y = torch.randn(2, BATCH, 1, TRAIN_RUNG, TRAIN_RUNG)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        (model(x) - y).square().mean().backward()
        optimiser.step()

    return step


def inference(model: nn.Module, rung: int, batch: int) -> Callable[[], None]:
    x = torch.randn(batch, 1, rung, rung)

    @torch.no_grad()
    def run() -> None:
        model(x)

    return run


def interleaved(runs: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of CPU time of each, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 2):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if repeat >= 2:  # the first two warm it up
                times[name].append(1e3 * (time.process_time() - start))
    return times


def report(what: str, times: dict[str, list[float]], goal: float) -> bool:
    ours, theirs = times["ours"], times["neuralop"]
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    met = ratio >= goal
    shown = ", ".join(f"{n} {statistics.median(t):.1f} [{min(t):.1f}] ms" for n, t in times.items())
    print(f"{what:<28} {ratio:5.2f}x  goal >= {goal}  {'met' if met else 'MISSED'}   ({shown})", flush=True)
    return met


def agree(models: dict[str, nn.Module]) -> None:
    for rung in (32, 64, 96):
        x = torch.randn(2, 1, rung, rung)
        with torch.no_grad():
            ours, theirs = models["ours"](x), models["neuralop"](x)
        error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        print(f"largest difference on r{rung:03d}: {error:.1e} of the largest value")
        if error > 1e-5:
            sys.exit("the two do not agree: nothing is timed")


def peak_memory(name: str, malloc: str) -> float:
    """MiB that three training steps add to a process of their own."""
    command = [sys.executable, __file__, "--malloc", malloc, "--memory-of", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def memory_of(name: str) -> None:
    step = train_step(name, both()[name])
    before = peak_kib()
    for _ in range(3):
        step()
    print((peak_kib() - before) / 1024)


def peak_kib() -> int:
    """Peak resident memory of this process; getrusage's would hold the parent's too.  Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--malloc", choices=("raised", "default"), default="raised")
    parser.add_argument("--memory-of", choices=("ours", "neuralop"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    malloc = raise_malloc_thresholds().why if options.malloc == "raised" else "untouched"
    if options.memory_of:
        return memory_of(options.memory_of)
    print(f"torch {torch.__version__}, 1 thread, malloc: {malloc}; median of {options.repeats} [least], CPU time")
    models = both()
    agree(models)
    steps = {name: train_step(name, model) for name, model in models.items()}
    report(f"train step, {TRAIN_RUNG}², batch {BATCH}", interleaved(steps, options.repeats), TRAIN_GOAL)
    for rung, batch in INFERENCE.items():
        runs = {name: inference(model, rung, batch) for name, model in models.items()}
        report(f"inference, {rung}², batch {batch}", interleaved(runs, options.repeats), INFERENCE_GOAL)
    memory = {name: peak_memory(name, options.malloc) for name in models}
    share = memory["ours"] / memory["neuralop"]
    met = "met" if share <= MEMORY_GOAL else "MISSED"
    shown = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in memory.items())
    print(f"{'training peak memory':<28} {share:5.2f}   goal <= {MEMORY_GOAL}  {met}   ({shown})")
    return None


if __name__ == "__main__":
    main()
