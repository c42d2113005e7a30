"""Is a metric one of the error, or of the grid?  The same error function must score the same on every grid.

T = waves |k| <= 6, E = waves 13 <= |k| <= 20 of RMS 0.1, both sampled exactly on N = 64, 128, 256: a sound metric gives
one number three times.  (Measured so on public packages: a sum over pixels grows 16x, a root of a band's mean over its
entries falls 5.8x, band edges in grid units move the error to another band.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anchorbench.diagnose.findings import Finding, first_line, function_on, graded, wave
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid

RUNGS = (64, 128, 256)
#: Relative changes: above the first it is a defect, above the second worth a note.
WRONG, ODD = 0.1, 0.01
#: A share of the largest entry below which an entry is rounding.
SMALL = 1e-3

Metric = Callable[[Any, Any], Any]
Entries = dict[str, float]


class Measured:
    """The metric as a function of an error and a truth (B, 1, y, x), its result as named numbers.

    layout: the axes that it takes, of b, t, c, y, x (c of one point, t of `frames` alike).  arrays: torch or numpy.
    """

    def __init__(self, metric: Metric, *, layout: str = "b c y x", arrays: str = "torch", frames: int = 1) -> None:
        self.metric, self.arrays, self.frames = metric, arrays, frames
        self.axes = layout.split()
        if sorted(set(self.axes) - {"t", "c"}) != ["b", "x", "y"] or len(set(self.axes)) != len(self.axes):
            raise ConfigError(f"--layout '{layout}': the axes b, y and x, and where it has them t and c, once each")
        if arrays not in ("torch", "numpy"):
            raise ConfigError(f"--arrays is torch or numpy, not '{arrays}'")

    def given(self, u: Tensor) -> Any:
        """(B, y, x) or, with frames, (B, t, y, x), laid out."""
        if u.ndim == 3 and "t" in self.axes:
            u = u[:, None].expand(-1, self.frames, -1, -1)
        have = ["b", "y", "x"] if u.ndim == 3 else ["b", "t", "y", "x"]
        for axis in self.axes:
            if axis not in have:
                u, have = u.unsqueeze(0), [axis, *have]
        out = u.permute(*(have.index(axis) for axis in self.axes)).contiguous().float()
        return out.numpy() if self.arrays == "numpy" else out

    def __call__(self, error: Tensor, truth: Tensor) -> Entries:
        """Raises ConfigError where the metric fails, or gives no numbers."""
        try:
            found = self.metric(self.given(truth + error), self.given(truth))
        except Exception as problem:  # whatever the user's own function raises
            raise ConfigError(
                f"the metric does not take (prediction, truth) of shape {tuple(self.given(truth).shape)}: "
                f"{first_line(problem)}",
                do="--layout 'b y x c' or another order of its axes, --arrays numpy",
            ) from problem
        out = flat(found)
        if not out:
            raise ConfigError(f"the metric gives a {type(found).__name__}, and no number in it")
        return out


def flat(found: Any, name: str = "") -> Entries:
    """Numbers by name: of a scalar, a list, an array, a mapping of these."""
    if isinstance(found, Mapping):
        return {k: v for key, inner in found.items() for k, v in flat(inner, f"{name}{key} ").items()}
    if isinstance(found, torch.Tensor):
        found = found.detach().cpu().numpy()
    if isinstance(found, np.ndarray | np.generic | float | int):
        values = np.asarray(found, dtype=np.float64).ravel()
        if values.size == 1:
            return {name.strip(): float(values[0])}
        return {f"{name}[{i}]": float(v) for i, v in enumerate(values)}
    if isinstance(found, Sequence) and not isinstance(found, str):
        return {k: v for i, inner in enumerate(found) for k, v in flat(inner, f"{name}#{i} ").items()}
    return {}


def certify_metric(
    metric: Metric, *, layout: str = "b c y x", arrays: str = "torch", frames_in: int | None = None
) -> list[Finding]:
    """Same error function on every grid, all quadrants, odd sizes, constants, Parseval, batches, input frames.

    metric(prediction, truth): a number, or several (bands, a spectrum), each looked at.  frames_in: of a metric that is
    given frames of input first; they must not count.
    """
    measured = Measured(metric, layout=layout, arrays=arrays, frames=1 + (frames_in or 0))
    scored = {n: measured(*_pair(n)) for n in RUNGS}
    out = [_same_everywhere(scored), _quadrants(measured), _odd(measured, scored[64]), _constants(measured)]
    out += [found for found in (_parseval(measured), _batches(measured)) if found is not None]
    if frames_in is not None:
        out.append(_input_frames(measured, frames_in))
    return out


def _pair(n: int, *, seed: int = 7) -> tuple[Tensor, Tensor]:
    grid = Grid((n, n))
    return 0.1 * function_on(grid, 13, 20, seed=seed)[None], function_on(grid, 1, 6, seed=3)[None]


def _spread(values: Sequence[float], floor: float) -> float:
    """Largest over smallest, less 1; infinite where one is gone and another is not."""
    sizes = [abs(v) for v in values]
    if max(sizes) <= floor:
        return 0.0
    return max(sizes) / min(sizes) - 1 if min(sizes) > floor else math.inf


def _worst(several: Sequence[Entries]) -> tuple[str, float, list[float]]:
    """The entry that changes most over several results; entries that not all have are let be."""
    shared = [name for name in several[0] if all(name in other for other in several)]
    largest = max((abs(v) for one in several for v in one.values()), default=0.0)
    ranked = [(_spread([one[name] for one in several], SMALL * largest), name) for name in shared]
    if not ranked:
        return "", math.inf, []
    spread, name = max(ranked)
    return name, spread, [one[name] for one in several]


def _told(name: str, values: Sequence[float]) -> str:
    return (f"{name}: " if name else "") + ", ".join(f"{v:.3g}" for v in values)


def _same_everywhere(scored: Mapping[int, Entries]) -> Finding:
    name, spread, values = _worst(list(scored.values()))
    slope = 0.0
    if len(values) == len(RUNGS) and min(map(abs, values)) > 0:
        slope = math.log(abs(values[-1] / values[0])) / math.log(RUNGS[-1] / RUNGS[0])
    kind = "divergence" if slope > 0 else "convergence"
    fake = f": a {kind} of slope {slope:+.2f} out of nothing" if spread > WRONG and abs(slope) > 0.05 else ""
    return graded(
        "same error function",
        spread,
        f"on 64, 128, 256 points it scores {_told(name, values) or 'other entries each time'}{fake}",
        "take means over points, not sums, and bands with edges in physical wavenumbers; sum energies, root last",
        defect=WRONG,
        note=ODD,
    )


def _quadrants(measured: Measured) -> Finding:
    grid = Grid((64, 64))
    truth = function_on(grid, 1, 4, seed=3)[None]
    several = [measured(wave(grid, k)[None], truth) for k in ((5, 5), (5, -5))]
    name, spread, values = _worst(several)
    return graded(
        "all quadrants",
        spread,
        f"errors along (5, 5) and (5, −5), of one RMSE, score {_told(name, values)}",
        "sum over all signs of the wavenumbers, not the quadrant kx, ky >= 0",
        defect=WRONG,
        note=ODD,
    )


def _odd(measured: Measured, even: Entries) -> Finding:
    try:
        several = [even, *(measured(*_pair(n)) for n in (63, 65))]
    except ConfigError as error:
        return Finding(
            "odd sizes", "note", None, f"it does not run on 63 points: {error.what}", "pad nothing: count all"
        )
    name, spread, values = _worst(several)
    return graded(
        "odd sizes",
        spread,
        f"on 64, 63, 65 points it scores {_told(name, values)}",
        "shift spectra back by ifftshift, and let no bin's edge hang on N",
        defect=WRONG,
        note=ODD,
    )


def _constants(measured: Measured) -> Finding:
    def on(n: int, c: float) -> Entries:
        truth = function_on(Grid((n, n)), 1, 6, seed=3)[None]
        return measured(torch.full_like(truth, c), truth)

    nothing = max(map(abs, on(64, 0.0).values()))
    name, spread, values = _worst([on(n, 0.1) for n in (64, 128)])
    if nothing > SMALL * max((abs(v) for v in values), default=1.0):
        return Finding(
            "constants", "defect", nothing, f"the truth itself scores {nothing:.3g}", "an error of 0 scores 0"
        )
    return graded(
        "constants",
        spread,
        f"an offset of 0.1 scores {_told(name, values)} on 64 and 128 points; the truth scores {nothing:.1g}",
        "take a mean over points",
        defect=WRONG,
        note=ODD,
    )


def _parseval(measured: Measured) -> Finding | None:
    """Of several bands: waves of one RMS have one total energy, wherever they lie."""
    grid = Grid((64, 64))
    truth = function_on(grid, 1, 6, seed=3)[None]
    several = [measured(wave(grid, k)[None], truth) for k in ((2, 0), (9, -4), (5, 20))]
    if len(several[0]) < 2:
        return None
    twice = measured(2 * wave(grid, (9, -4))[None], truth)
    grown = max(map(abs, twice.values())) / max(max(map(abs, several[1].values())), 1e-30)
    power = 2 if grown < 3 else 1  # roots are squared before they are added
    totals = [sum(abs(v) ** power for v in one.values()) for one in several]
    spread = _spread(totals, 1e-12)
    return graded(
        "Parseval",
        spread,
        f"waves of one RMS hold, over all bands, {', '.join(f'{t:.3g}' for t in totals)}",
        "give every wave to one band, with both its signs: the sum is the mean square",
        defect=WRONG,
        note=ODD,
    )


def _batches(measured: Measured) -> Finding | None:
    """Whether a mean over batches is the score of all: not so where the root is taken in each."""
    error, truth = _pair(64)
    factors = torch.tensor([1.0, 3.0], dtype=error.dtype)[:, None, None]
    both = measured(error * factors, truth.expand(2, -1, -1))
    apart = [measured(error * f, truth) for f in (1.0, 3.0)]
    name = next(iter(both))
    if name not in apart[0] or not both[name]:
        return None
    mean = (apart[0][name] + apart[1][name]) / 2
    gap = abs(mean / both[name] - 1)
    return graded(
        "batches",
        gap,
        f"the mean over two batches is {mean:.3g}, the score of both {both[name]:.3g}",
        "the size of a batch leaks into such a mean: add up the energies of all batches, and take the root last",
        defect=math.inf,
        note=ODD,
    )


def _input_frames(measured: Measured, frames_in: int) -> Finding:
    if "t" not in measured.axes:
        raise ConfigError("--frames-in is of a metric whose --layout has an axis t", do="--layout 'b t y x c'")
    error, truth = (u[:, None].expand(-1, 2 * frames_in, -1, -1).clone() for u in _pair(64))
    error[:, :frames_in] = 0.0
    wrong = error.clone()
    wrong[:, :frames_in] = 10 * error[:, -1:]
    first, second = measured(error, truth), measured(wrong, truth)
    name, spread, values = _worst([first, second])
    return graded(
        "input frames",
        spread,
        f"an error in the {frames_in} frames of input changes the score: {_told(name, values)}",
        "score what was predicted alone: frames of input are right by themselves and make any model look better",
        defect=ODD,
    )
