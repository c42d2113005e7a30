"""What the readers that solve an equation share: a truth finer than every rung, and the time of a step."""

from __future__ import annotations

import time
from collections.abc import Callable

from anchorbench.errors import ConfigError
from anchorbench.fields import Grid


def require_finer_truth(truth_rung: int, finest: Grid) -> None:
    """Raises ConfigError where the truth is not twice finer than the finest rung."""
    if truth_rung < 2 * finest.rung:
        raise ConfigError(
            f"the truth's grid {truth_rung} is not twice finer than the finest rung {finest.rung}",
            do=f"--set generator.truth_rung={2 * finest.rung}",
        )


def seconds_of(call: Callable[[], object], *, rounds: int = 3) -> float:
    """The least that a call takes of some rounds: what else the machine does only adds to it."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)
