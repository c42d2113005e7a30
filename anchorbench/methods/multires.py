"""`multires`: train on a mix of rungs, mostly coarse (Sakarvadia et al., ICLR 2026).  Track: assisted.

The authors' remedy for what zero-shot models fail at: a few samples of the finer grids.  With the finest rungs held
out of the mix, the same method also says whether the remedy reaches beyond what it was shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field

from anchorbench.config import Frozen
from anchorbench.errors import MethodError
from anchorbench.methods.base import Method, Plan, Track


class MultiResOptions(Frozen):
    shares: dict[int, float] | None = Field(
        default=None, description="share of the samples by multiple of the train rung, as {1: 0.8, 2: 0.1, 4: 0.1}"
    )
    hold_out: bool = Field(
        default=False, description="keep the finest rung of the mix out, its share goes to the next: {1: 0.8, 2: 0.2}"
    )


class MultiRes(Method):
    """Each step draws its rung from the mix; all steps have the same number of samples.

    Raises MethodError where a share is negative, the shares do not add up to 1, or the ladder lacks a rung of the mix.
    """

    name = "multires"
    track = Track.ASSISTED
    Options = MultiResOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        mix = self.mix()
        if not mix or min(mix.values()) < 0 or abs(sum(mix.values()) - 1) > 1e-6:
            raise MethodError(f"the shares of multires are 0 or more and add up to 1, not {mix}")
        if self.options.hold_out and self.options.shares is not None and len(self.options.shares) < 2:
            raise MethodError("multires has one rung in its mix: holding it out leaves none", do="drop hold_out")
        lacking = [rung for rung in mix if rung not in plan.rungs]
        if lacking:
            raise MethodError(
                f"multires mixes rungs {sorted(mix)}, but the ladder has {list(plan.rungs)}",
                do="choose the mix by multiples of the train rung:  --set method.shares='{1: 0.8, 2: 0.2}'",
            )

    def mix(self) -> dict[int, float]:
        shares = dict({1: 0.8, 2: 0.1, 4: 0.1} if self.options.shares is None else self.options.shares)
        if self.options.hold_out and len(shares) > 1:
            held = shares.pop(max(shares))
            shares[max(shares)] += held
        return {multiple * self.plan.train_rung: share for multiple, share in shares.items()}

    def rungs(self) -> tuple[int, ...]:
        return tuple(sorted(rung for rung, share in self.mix().items() if share > 0))

    def draw_rung(self, step: int, rng: torch.Generator) -> int:
        if len(rungs := self.rungs()) == 1:
            return rungs[0]  # nothing is drawn: the samples are those of the baseline of this seed
        mix = self.mix()
        picked = torch.multinomial(torch.tensor(list(mix.values())), 1, generator=rng)
        return list(mix)[int(picked)]
