"""Does a model answer the function, or the grid?  Tried with functions whose samples on every grid are exact.

    gap(N) = ‖R M_N(u) − R M_fine(u)‖ / ‖R M_fine(u)‖        R: the waves that the coarsest grid holds

A gap that closes as 1/N is a model's own curve, drawn by the grid.  (Measured so on public packages: a coordinate
channel alone leaves 1.9e-3 at 32 points, padding and kernels counted in points far more; operator aliasing in the sense
of Bartolucci et al., arXiv 2305.19913.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from anchorbench.diagnose.certify_modes import batched, deterministic, modes
from anchorbench.diagnose.findings import Finding, first_line, graded
from anchorbench.diagnose.tried import LOW, ROUNDING, Tried
from anchorbench.errors import AnchorbenchError, ModelError
from anchorbench.fields import Grid, restrict
from anchorbench.models.card import card
from anchorbench.models.registry import build

#: Gaps of low waves: a defect, a note.  Of waves up to Nyquist, where products alias: a defect, a note.
WRONG, ODD = 1e-2, 1e-3
ALIASED, SOME_ALIASED = 0.2, 0.01


def certify_model(
    name: str,
    *,
    rung: int = 32,
    ndim: int = 2,
    in_channels: int = 1,
    out_channels: int = 1,
    options: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """The model as `train --model` builds it, on 1, 2 and 4 times `rung` points of a periodic box.

    Raises ModelError where it cannot be built or does not run on its own grid.
    """
    home = Grid((rung,) * ndim)
    given = options or {}

    def built() -> nn.Module:
        torch.manual_seed(0)
        return build(name, in_channels=in_channels, out_channels=out_channels, grid=home, options=given)

    tried = Tried(built(), home=home, in_channels=in_channels)
    try:
        tried(tried.field(rung, 1, LOW))
    except AnchorbenchError:
        raise
    except Exception as problem:  # whatever the user's own module raises
        raise ModelError(f"the model does not run on its own {rung} points: {first_line(problem)}") from problem
    out = [_runs(tried), *modes(built(), tried), deterministic(built, tried), batched(tried)]
    if out[0].level == "defect":
        return out
    position = _position(tried)
    out += [position, *_padding(tried, position), _embedding(tried, position), _kernel(tried)]
    return [*out, _same_function(tried), _aliasing(tried), _odd(tried), _nyquist(tried), _inner_grid(tried, name)]


def gap(tried: Tried, low: float, high: float, *, coarse: int, fine: int, onto: int) -> float:
    """‖R M_coarse(u) − R M_fine(u)‖ / ‖R M_fine(u)‖ of one function, R onto the waves of `onto` points."""
    seen = [restrict(tried(tried.field(n, low, high)), tried.grid(onto)) for n in (coarse, fine)]
    return float((seen[0] - seen[1]).norm() / seen[1].norm().clamp_min(1e-30))


def _runs(tried: Tried) -> Finding:
    n = tried.home.rung
    for finer in (2 * n, 4 * n):
        try:
            tried(tried.field(finer, 1, LOW))
        except Exception as problem:  # whatever the user's own module raises
            said = problem.what if isinstance(problem, AnchorbenchError) else first_line(problem)
            return Finding("finer grids", "defect", float(finer), f"it does not run on {finer} points: {said}",
                           "build layers whose size does not hang on the number of points")  # fmt: skip
    return Finding("finer grids", "sound", 4.0, f"it runs on {2 * n} and {4 * n} points")


def _same_function(tried: Tried) -> Finding:
    n = tried.home.rung
    gaps = [gap(tried, 1, LOW, coarse=m, fine=4 * n, onto=n) for m in (n, 2 * n)]
    slope = math.log(max(gaps[1], 1e-12) / max(gaps[0], 1e-12)) / math.log(2)
    curve = f": a curve of slope {slope:+.1f} that the grid draws" if max(gaps) > ODD else ""
    return graded(
        "same function",
        max(gaps),
        f"the answer to one smooth function on {n} and {2 * n} points is {gaps[0]:.2g} and {gaps[1]:.2g} from that on "
        f"{4 * n}{curve}",
        "see embedding, padding and kernel: all of them belong in physical units",
        defect=WRONG,
        note=ODD,
    )


def _position(tried: Tried) -> Finding:
    """M(shifted u) against shifted M(u), by whole points of a periodic box."""
    u, n = tried.field(tried.home.rung, 1, LOW), tried.home.rung
    axes = tuple(range(-tried.home.ndim, 0))
    shifts = (n // 4,) * tried.home.ndim
    moved, goal = tried(u.roll(shifts, axes)), tried(u).roll(shifts, axes)
    number = float((moved - goal).norm() / goal.norm().clamp_min(1e-30))
    return graded(
        "position",
        number,
        f"moved by a quarter of the box, it answers {number:.2g} differently",
        "right only where the physics has a position: else leave the coordinates out, or embed them periodically",
        defect=math.inf,
        note=ROUNDING,
    )


def _deviation(tried: Tried, n: int) -> Tensor:
    """|M(constant) − its median|, over channels: (n, ...).  A model without positions answers a constant everywhere."""
    out = tried(torch.full((1, tried.in_channels, *(n,) * tried.home.ndim), 0.5))
    middle = out.flatten(2).median(-1).values.reshape(*out.shape[:2], *[1] * tried.home.ndim)
    return (out - middle).square().sum(1).sqrt()[0]


def _edge_width(tried: Tried, n: int) -> tuple[float, float]:
    """The share of the box from its edge in where the deviation exceeds a tenth of its largest, and the interior's."""
    found = _deviation(tried, n)
    line = found
    while line.ndim > 1:
        line = line[line.shape[0] // 2]
    largest = float(line.max())
    if largest <= 0:
        return 0.0, 0.0
    inside = float(line[n // 4 : 3 * n // 4].max()) / largest
    left = int((line[: n // 2] > 0.1 * largest).nonzero().max()) + 1 if (line[: n // 2] > 0.1 * largest).any() else 0
    return left / n, inside


def _padding(tried: Tried, position: Finding) -> list[Finding]:
    """Only where the edges differ from the interior: a padding."""
    if position.level == "sound":
        return [Finding("padding", "sound", position.number, "a constant has no edges: the padding is periodic")]
    n = tried.home.rung
    (here, inside), (there, _) = _edge_width(tried, n), _edge_width(tried, 2 * n)
    if here == 0.0 or inside > 0.05:
        return []
    shrinks = here / there if there else math.inf
    return [
        graded(
            "padding",
            shrinks,
            f"a constant feels the edge over {here:.3f} of the box on {n} points, {there:.3f} on {2 * n}",
            "pad by a share of the box, not by points; periodic where the box is",
            defect=1.5,
        )
    ]


def _embedding(tried: Tried, position: Finding) -> Finding:
    """The answer to a constant in the interior, at the points that two grids share."""
    if position.level == "sound":
        return Finding("embedding", "sound", position.number, "it knows no position")
    n = tried.home.rung
    constant = [tried(torch.full((1, tried.in_channels, *(m,) * tried.home.ndim), 0.5)) for m in (n, 2 * n, 4 * n)]
    shared = _slices(tried, slice(None, None, 2))
    gaps = []
    for m, (a, b) in zip((n, 2 * n), pairwise(constant), strict=True):
        inner = _slices(tried, slice(m // 4, 3 * m // 4))
        gaps.append(float((a[inner] - b[shared][inner]).norm() / b[shared][inner].norm().clamp_min(1e-30)))
    return graded(
        "embedding",
        max(gaps),
        f"what it answers to a constant at one place of the interior changes with the grid: {gaps[0]:.2g} from {n} "
        f"to {2 * n} points, {gaps[1]:.2g} to {4 * n}",
        "coordinates of the points themselves, n/N, periodic on a periodic box (sine and cosine), not n/(N − 1); where "
        "it pads before a global kernel, pad by a share of the box",
        defect=ODD,
        note=ROUNDING,
    )


def _slices(tried: Tried, each: slice) -> tuple[slice, ...]:
    """The same of every axis of space, of all samples and channels."""
    return (slice(None), slice(None), *[each] * tried.home.ndim)


def _kernel(tried: Tried) -> Finding:
    """The response to a small low wave in the interior, on twice the points."""
    n, step = tried.home.rung, 0.01
    answers = []
    for m in (n, 2 * n):
        base = torch.full((1, tried.in_channels, *(m,) * tried.home.ndim), 0.5, dtype=torch.float64)
        answers.append(tried(base + tried.field(m, 2, LOW, size=step)) - tried(base))
    fine = answers[1][_slices(tried, slice(None, None, 2))]
    inner = _slices(tried, slice(n // 4, 3 * n // 4))
    number = float((answers[0][inner] - fine[inner]).norm() / fine[inner].norm().clamp_min(1e-30))
    return graded(
        "kernel",
        number,
        f"to a small smooth wave in the interior it answers {number:.2g} differently on {2 * n} points than on {n}",
        "kernels in physical units (sampled from a function of distance), or in waves: 3x3 points shrink with the grid",
        defect=3 * WRONG,
        note=ODD,
    )


def _aliasing(tried: Tried) -> Finding:
    """The same with waves up to Nyquist, whose products the coarse grid cannot hold."""
    n = tried.home.rung
    low = gap(tried, 1, LOW, coarse=n, fine=4 * n, onto=n)
    number = max(0.0, gap(tried, 0.6 * n / 2, n / 2 - 1, coarse=n, fine=4 * n, onto=n) - low)
    return graded(
        "aliasing",
        number,
        f"with waves up to Nyquist its answer on {n} points is {number:.2g} further from that on {4 * n} than with low "
        "ones: products that the grid cannot hold",
        "apply nonlinearities on a finer grid and low-pass (activations of `cno`), or keep the upper third empty",
        defect=ALIASED,
        note=SOME_ALIASED,
    )


def _odd(tried: Tried) -> Finding:
    n = tried.home.rung
    expected = gap(tried, 1, LOW, coarse=n, fine=2 * n, onto=n - 8)
    gaps = {}
    for m in (n - 1, n + 1):
        try:
            gaps[m] = gap(tried, 1, LOW, coarse=m, fine=2 * n, onto=n - 8)
        except Exception as problem:  # whatever the user's own module raises
            return Finding("odd grids", "note", float(m), f"it does not run on {m} points: {first_line(problem)}",
                           "odd grids are grids: pad in waves, or pool by shares of the box")  # fmt: skip
    number = max(gaps.values())
    return graded(
        "odd grids",
        number,
        f"on {n - 1} and {n + 1} points it is {gaps[n - 1]:.2g} and {gaps[n + 1]:.2g} from {2 * n}; on {n}, "
        f"{expected:.2g}",
        "undo fftshift by ifftshift; weights belong to wavenumbers, not to rows; real waves at 0 and Nyquist",
        defect=max(WRONG, 3 * expected),
        note=max(ODD, 3 * expected),
    )


def _nyquist(tried: Tried) -> Finding:
    """Energy at the Nyquist waves over that of the waves next to them, of an answer to low waves."""
    n = tried.home.rung
    out = tried(tried.field(n, 1, LOW))[0, 0]
    power = torch.fft.fftn(out, norm="forward").abs() ** 2
    k = torch.fft.fftfreq(n, 1 / n).abs()
    largest = k
    for _ in range(tried.home.ndim - 1):
        largest = torch.maximum(largest[..., None], k)
    at, beside = (float(power[largest == m].mean()) for m in (n // 2, n // 2 - 1))
    share = at / float(power.max().clamp_min(1e-30))
    number = at / max(beside, 1e-30) if share > 1e-8 else 0.0
    return graded(
        "Nyquist",
        number,
        f"the waves at Nyquist hold {number:.2g} times what those next to them do",
        "spectra of real fields are Hermitian: make the imaginary parts at 0 and Nyquist zero before irfft",
        defect=30.0,
    )


def _inner_grid(tried: Tried, name: str) -> Finding:
    n = tried.home.rung
    rule = card(tried.model, name, grid=tried.home, in_channels=tried.in_channels, rungs=[2 * n]).grid_rule
    if rule == "fixed inner grid":
        return Finding("inner grid", "note", None, f"nothing finer than {n} points reaches its answer",
                       "it is anchored by its bandwidth, however it is trained")  # fmt: skip
    return Finding("inner grid", "sound", None, f"grid rule: {rule}")
