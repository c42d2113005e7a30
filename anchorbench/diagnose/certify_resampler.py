"""Does a resampler keep the function?  What it changes, it changes on every rung of a curve drawn with it.

A wave below both grids' Nyquist has exact values on either; so a resampler's own error is known without a reference.
(Measured so: bicubic with aligned corners, 2-D, k = 3: 0.49, 0.25, 0.12, 0.06 for 16 to 32 ... 128 to 256: it draws a
convergence curve of its own.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from anchorbench.diagnose.findings import Finding, first_line, graded, wave
from anchorbench.errors import ConfigError
from anchorbench.fields import Centring, Grid

#: Relative errors of float32: above the first a defect.
WRONG = 1e-3
PHASE = 0.4
#: The highest waves that 15 and 16 points hold, along each axis, among them: there odd sizes are miscounted.
VOLUME_WAVES = ((3, -2, 1), (7, -2, 1), (-2, 7, 1), (1, 2, 7))

Resampler = Callable[[Tensor, tuple[int, ...]], Any]


class Resampled:
    """The resampler on one convention of where points are; a wave in, its relative error out."""

    def __init__(self, resampler: Resampler, centring: Centring) -> None:
        self.resampler, self.centring = resampler, centring

    def grid(self, *shape: int) -> Grid:
        return Grid(shape, centring=self.centring)

    def __call__(self, u: Tensor, shape: tuple[int, ...]) -> Tensor:
        """u (B, C, *grid) on `shape`, float64.  Raises ConfigError where it fails or has another shape."""
        try:
            out = self.resampler(u.float(), shape)
        except Exception as problem:  # whatever the user's own function raises
            raise ConfigError(
                f"the resampler does not take {tuple(u.shape)} to {shape}: {first_line(problem)}",
                do="it is called as resampler(u, shape), u (batch, channel, *grid)",
            ) from problem
        if not isinstance(out, Tensor) or tuple(out.shape) != (*u.shape[:2], *shape):
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ConfigError(f"the resampler gives {got} where {(*u.shape[:2], *shape)} was asked for")
        return out.detach().double()

    def error(self, k: tuple[int, ...], source: Sequence[int], to: Sequence[int]) -> float:
        """‖R u − u‖ / ‖u‖ of the wave k."""
        u = wave(self.grid(*source), k, PHASE)[None, None]
        goal = wave(self.grid(*to), k, PHASE)
        return float((self(u, tuple(to))[0, 0] - goal).norm() / goal.norm())


def certify_resampler(resampler: Resampler) -> list[Finding]:
    """Its own curve, same size, constants, waves in all quadrants, odd sizes, three dimensions, what it folds.

    resampler(u, shape): u (batch, channel, *grid) on a periodic box.  Points or centres of cells: whichever it keeps
    better is taken as what it means.
    """
    found = {centring: Resampled(resampler, centring) for centring in ("point", "cell")}
    errors = {name: one.error((1, 1), (32, 32), (64, 64)) for name, one in found.items()}
    used = found["cell" if errors["cell"] < errors["point"] else "point"]
    return [
        _own_curve(used),
        _same_size(used),
        _constants(used),
        _quadrants(used),
        _down(used),
        _odd(used),
        _three(found.values()),
        _padding(used),
        _folded(used),
    ]


def _own_curve(used: Resampled) -> Finding:
    rungs = (16, 32, 64, 128)
    errors = [used.error((3, 3), (n, n), (2 * n, 2 * n)) for n in rungs]
    told = ", ".join(f"{e:.2g}" for e in errors)
    slope = math.log(max(errors[-1], 1e-12) / max(errors[0], 1e-12)) / math.log(rungs[-1] / rungs[0])
    fake = f": it draws a curve of slope {slope:+.1f} of its own" if max(errors) > WRONG else ""
    return graded(
        "its own curve",
        max(errors),
        f"the wave k = 3 to twice the points, from 16, 32, 64, 128 ({used.centring}s): errors {told}{fake}",
        "pad the spectrum with zeros on a periodic box (anchorbench.fields.prolong); align points, not corners",
        defect=WRONG,
    )


def _same_size(used: Resampled) -> Finding:
    worst = 0.0
    for channels in (1, 10):
        for n in (16, 17, 64):
            grid = used.grid(n, n)
            u = torch.stack([wave(grid, (1 + c % 4, 2), PHASE * c) for c in range(channels)])[None]
            worst = max(worst, float((used(u, (n, n)) - u).norm() / u.norm()))
    return graded(
        "same size",
        worst,
        f"1 and 10 channels to their own size on 16, 17, 64: changed by {worst:.2g}",
        "the identity; scale by points of space, never by channels",
        defect=WRONG,
    )


def _constants(used: Resampled) -> Finding:
    worst = 0.0
    for n, m in ((16, 32), (32, 16), (15, 20)):
        u = torch.full((1, 3, n, n), 2.0)
        worst = max(worst, float((used(u, (m, m)) - 2.0).abs().max()) / 2)
    return graded(
        "constants",
        worst,
        f"a constant changes by {worst:.2g}",
        "weights that add up to 1; keep the mean",
        defect=WRONG,
    )


def _quadrants(used: Resampled) -> Finding:
    errors = [used.error(k, (32, 32), (64, 64)) for k in ((7, 7), (7, -7), (0, 7), (-7, 0))]
    gap = max(errors) - min(errors)
    return graded(
        "all quadrants",
        gap,
        f"waves along (7, 7), (7, −7), (0, 7), (−7, 0): errors {', '.join(f'{e:.2g}' for e in errors)}",
        "treat both signs of a wavenumber alike: each wave with its mirror",
        defect=10 * WRONG,
    )


def _down(used: Resampled) -> Finding:
    errors = {k: used.error((k, -k), (128, 128), (16, 16)) for k in range(1, 8)}
    k = max(errors, key=lambda k: errors[k])
    return graded(
        "amplitude and phase",
        errors[k],
        f"128 to 16: the waves k = 1 to 7 keep amplitude and place to {errors[k]:.2g} (worst: k = {k})",
        "keep every wave below the coarse Nyquist whole, then drop the others",
        defect=WRONG,
    )


def _odd(used: Resampled) -> Finding:
    pairs = ((15, 32), (32, 15), (31, 32), (17, 51))
    try:
        errors = {
            (n, m): max(used.error(k, (n, n), (m, m)) for k in ((3, -2), ((min(n, m) - 1) // 2, 1))) for n, m in pairs
        }
    except ConfigError as error:
        return Finding("odd sizes", "defect", None, error.what, "odd grids are grids")
    worst = max(errors, key=lambda pair: errors[pair])
    return graded(
        "odd sizes",
        errors[worst],
        f"odd and even sizes, waves up to the highest: errors up to {errors[worst]:.2g} ({worst[0]} to {worst[1]})",
        "shift spectra back by ifftshift; an odd grid has no Nyquist wave",
        defect=WRONG,
    )


def _three(found: Iterable[Resampled]) -> Finding:
    """In three dimensions it may be another function, and mean another place by its points."""
    try:
        tried = [
            {n: max(used.error(k, (n,) * 3, (2 * n,) * 3) for k in VOLUME_WAVES) for n in (15, 16)} for used in found
        ]
        errors = min(tried, key=lambda errors: errors[16])
    except ConfigError as error:
        return Finding("three dimensions", "note", None, f"not in three dimensions: {error.what}", "")
    return graded(
        "three dimensions",
        max(errors.values()),
        f"15³ and 16³ to twice, waves up to the highest: errors {errors[15]:.2g} and {errors[16]:.2g}",
        "index positive and negative wavenumbers of every axis",
        defect=WRONG,
    )


def _padding(used: Resampled) -> Finding:
    """Energy at and beyond the coarse Nyquist after refining fields that hold all waves below it."""
    n, m = 16, 32
    grid = used.grid(n, n)
    u = sum((wave(grid, (k, 0), PHASE * k) + wave(grid, (0, k), k) for k in range(1, n // 2)), torch.zeros(n, n))
    power = torch.fft.fft2(used(u[None, None], (m, m))[0, 0], norm="forward").abs() ** 2
    k = torch.fft.fftfreq(m, 1 / m).abs()
    beyond = (k[:, None] >= n / 2) | (k >= n / 2)
    kept = float(power.sum() / u.square().mean())
    share = float(power[beyond].sum() / power.sum())
    number = max(share, abs(kept - 1))
    return graded(
        "Parseval",
        number,
        f"16 to 32 keeps {100 * kept:.1f} % of the mean square, with {100 * share:.2g} % at or beyond the old Nyquist",
        "write no wave that the coarse field does not hold, and lose none",
        defect=WRONG,
    )


def _folded(used: Resampled) -> Finding:
    """What is above the coarse Nyquist must go: k = 13 on 16 points looks like −3."""
    u = wave(used.grid(64, 64), (13, 13), PHASE)[None, None]
    left = float(used(u, (16, 16)).square().mean() / u.square().mean())
    return graded(
        "aliasing",
        left,
        f"64 to 16: a wave above the coarse Nyquist leaves {100 * left:.2g} % of its energy, folded into the band",
        "low-pass before the points are taken",
        defect=WRONG,
    )
