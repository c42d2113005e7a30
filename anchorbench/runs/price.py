"""What the ladder's own solver spends on making data, on each rung: seconds measured here, and FLOPs counted.

    a transform of N points in all   5 N log₂ N complex, half of that real
    matrix products, convolutions    as torch counts them

What is neither (products at points, sums) is not counted.  The seconds are of this machine and a busy one's are more;
the FLOPs are the same everywhere.  Measured where the reference `solver` is evaluated, on real states.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from anchorbench.methods.references import Predictor
from anchorbench.runs.session import Session

#: States of one timed call: what a call costs beside its work is shared by them.
STATES = 4


@dataclass(frozen=True)
class SolverPrice:
    """Of one solve over the lead from one state, by rung, and how many such solves the training split is.

    flops: None where the solver's work is not torch's, so that nothing of it could be counted.
    """

    seconds: dict[int, float]
    flops: dict[int, float | None]
    solves: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "seconds": {str(rung): s for rung, s in self.seconds.items()},
            "flops": {str(rung): n for rung, n in self.flops.items()},
            "solves": self.solves,
        }


def solver_price(session: Session, predict: Predictor, rungs: Iterable[int]) -> SolverPrice:
    """Time and count the solver on each rung.

    A trajectory of F frames is (F − 1) / lead solves, and fields without time one each; a spin-up before the first
    frame is not in it.
    """
    seconds: dict[int, float] = {}
    flops: dict[int, float | None] = {}
    for rung in rungs:
        windows = session.test_windows(rung)
        batch = windows.batch(range(min(STATES, len(windows))))
        # Counting slows a call down: what is timed is another one, after it, with tables and plans made.
        with FlopCounterMode(display=False, custom_mapping=TRANSFORMS) as counter:
            predict(batch)
        flops[rung] = counter.get_total_flops() / len(batch) or None
        began = time.perf_counter()
        predict(batch)
        if session.device.type == "cuda":
            torch.cuda.synchronize()
        seconds[rung] = (time.perf_counter() - began) / len(batch)
    train = session.ladder.about["splits"]["train"]
    lead = session.spec.lead
    per_sample = (train["frames"] - 1) / lead if lead else train["frames"]
    return SolverPrice(seconds, flops, math.ceil(train["samples"] * per_sample))


def _transform(work: float) -> Callable[..., int]:
    """FLOPs of a transform by the shapes of what goes in and what comes out; work: of a complex one."""

    def flops(given: Sequence[int], dims: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
        # Of a real transform the real side has all its points, the other about half of them.
        whole = max(given, out_shape, key=math.prod)
        points = math.prod(whole[dim] for dim in dims)
        return round(work * 5 * math.prod(whole) * math.log2(max(points, 2)))

    return flops


#: For torch's counter, which knows products and convolutions.
TRANSFORMS = {
    torch.ops.aten._fft_c2c: _transform(1.0),
    torch.ops.aten._fft_r2c: _transform(0.5),
    torch.ops.aten._fft_c2r: _transform(0.5),
}
