"""A stop that waits for the end of the step: Ctrl-C or SIGTERM sets a flag, the loop saves its state and leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """`with StopRequest() as stop: ... if stop.asked: ...`; a second signal acts at once, as it would have before."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        # Only the main thread may set handlers; a loop in another is stopped by whoever started it.
        if threading.current_thread() is threading.main_thread():
            # What is ignored stays so: of several processes, the parent alone listens to Ctrl-C and passes it on.
            asked = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._ask) for number in asked}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(number, signal.default_int_handler)


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM becomes KeyboardInterrupt, so that whoever is told to end can end its children first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
