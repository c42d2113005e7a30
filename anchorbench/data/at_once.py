"""Several downloads at once: one that fails does not lose the others, and Ctrl-C stops all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from typing import TypeVar

from anchorbench.data.download import watched
from anchorbench.errors import AnchorbenchError

T = TypeVar("T")

#: Downloads at once, where nobody says otherwise: few, for hosts throttle those who ask for many.
JOBS = 4
#: Seconds that we wait for the others to notice Ctrl-C; who hangs in a connection is left behind.
PATIENCE = 2.0
_jobs: ContextVar[int] = ContextVar("jobs", default=JOBS)


@contextmanager
def jobs_at_once(jobs: int) -> Iterator[None]:
    """How many downloads `at_once` makes inside, where its caller does not say."""
    token = _jobs.set(jobs)
    try:
        yield
    finally:
        _jobs.reset(token)


class _Stopped(BaseException):
    """Somebody stopped all; raised where the next bytes are told."""


def at_once(actions: Sequence[Callable[[], T]], *, jobs: int | None = None) -> list[T | AnchorbenchError]:
    """Carry out all actions, `jobs` at a time, and return what each returned, in their order.

    Where one raises an AnchorbenchError that stands in its place and the others go on.  Anything else, Ctrl-C above
    all, stops the others at their next bytes and is raised; what they have so far stays.
    """
    jobs = min(jobs or _jobs.get(), len(actions))
    if jobs <= 1:
        return [_outcome(action) for action in actions]
    outcomes: dict[int, T | AnchorbenchError] = {}
    finished: SimpleQueue[tuple[int, T | BaseException]] = SimpleQueue()
    stop, turn, waiting = threading.Event(), threading.Lock(), iter(range(len(actions)))

    def heed(what: str, done: int, total: int | None) -> None:
        if stop.is_set():
            raise _Stopped

    def work() -> None:
        with watched(heed):
            while not stop.is_set():
                with turn:
                    i = next(waiting, None)
                if i is None:
                    return
                try:
                    finished.put((i, _outcome(actions[i])))
                except _Stopped:
                    return
                except BaseException as bug:
                    finished.put((i, bug))
                    return

    # Daemons: a thread that hangs in a connection must not keep the process.
    threads = [threading.Thread(target=copy_context().run, args=(work,), daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        for _ in actions:
            i, outcome = finished.get()
            if isinstance(outcome, BaseException) and not isinstance(outcome, AnchorbenchError):
                raise outcome
            outcomes[i] = outcome
    finally:
        stop.set()
        until = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
    return [outcomes[i] for i in range(len(actions))]


def _outcome(action: Callable[[], T]) -> T | AnchorbenchError:
    try:
        return action()
    except AnchorbenchError as error:
        return error
