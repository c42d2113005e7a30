"""Where the runs of a sweep stand: waiting, running, done or failed, by row, and how long what is left will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

from anchorbench.runs.train import Progress

State = Literal["waiting", "running", "done", "failed"]
STATES: tuple[State, ...] = ("waiting", "running", "done", "failed")


@dataclass(frozen=True)
class Row:
    """Runs that a table shows together, by their folders' names."""

    dataset: str
    model: str
    method: str
    label: str
    runs: tuple[str, ...]


@dataclass
class Board:
    """seconds: of training that each run to do takes in all.  places: how many go on at once."""

    rows: Sequence[Row]
    states: dict[str, State]
    seconds: Mapping[str, float] = field(default_factory=dict)
    places: int = 1
    shares: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        *,
        finished: AbstractSet[str],
        failed: AbstractSet[str],
        seconds: Mapping[str, float],
        places: int,
    ) -> Board:
        names = [name for row in rows for name in row.runs]
        states: dict[str, State] = dict.fromkeys(names, "waiting")
        states |= {name: "done" for name in names if name in finished}
        states |= {name: "failed" for name in names if name in failed}
        return cls(rows, states, seconds, places)

    def tell(self, name: str, what: str, share: float, progress: Progress | None = None) -> None:
        """Take one piece of news.  Of a run that has ended, what comes late is not heard."""
        if self.states[name] in ("done", "failed"):
            return
        if what == "done":
            self.states[name] = "done"
        elif what == "failed":
            self.states[name] = "failed"
        else:
            self.states[name] = "running"
            self.shares[name] = share if what == "training" else 1.0

    def count(self, row: Row) -> dict[State, int]:
        states = [self.states[name] for name in row.runs]
        return {state: states.count(state) for state in STATES}

    def seconds_left(self, row: Row | None = None) -> float:
        """Of training, at so many at once; of one row as if it had all places."""
        names = self.states if row is None else row.runs
        going = [name for name in names if self.states[name] in ("waiting", "running")]
        return sum(self.seconds.get(n, 0.0) * (1 - self.shares.get(n, 0.0)) for n in going) / self.places
