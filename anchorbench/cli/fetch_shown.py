"""What `anchorbench fetch` shows: bars with bytes and rate, the plan of a dry run, a ladder in JSON."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchorbench.cli.show import Tell, print_json, stdout

if TYPE_CHECKING:
    from anchorbench.data.fetch import Request
    from anchorbench.data.ladder import Ladder

#: Seconds over which the rate of a download is taken.
WINDOW = 5.0


class Traffic:
    """A bar a dataset and stage; the one of its downloads with bytes and rate."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._lock = tell, threading.Lock()
        self._files: dict[str, dict[str, tuple[int, int | None]]] = {}
        self._came: dict[str, deque[tuple[float, int]]] = {}
        self._stated: dict[str, float] = {}

    def share(self, name: str, stage: str, share: float) -> None:
        with self._lock:
            if stage == "downloading" and name in self._files:
                self._stated[name] = share  # the reader knows what is still to come
                self._show(name)
            else:
                self._tell(f"{name}: {stage}", "", share)

    def bytes(self, name: str, what: str, done: int, total: int | None) -> None:
        with self._lock:
            files = self._files.setdefault(name, {})
            before = files.get(what, (done, total))[0]  # what was there already did not come now
            files[what] = (done, total)
            came = self._came.setdefault(name, deque())
            came.append((time.monotonic(), max(0, done - before)))
            while came[0][0] < came[-1][0] - WINDOW:
                came.popleft()
            self._show(name)

    def _show(self, name: str) -> None:
        files, came = self._files[name].values(), self._came[name]
        done = sum(have for have, _ in files)
        known = [total for _, total in files if total is not None]
        whole = sum(known) if len(known) == len(files) else None
        lasted = came[-1][0] - came[0][0]
        rate = f", {sum(n for _, n in came) / lasted / 1e6:.1f} MB/s" if lasted > 0 else ""
        of = "" if whole is None else f" of {whole / 1e6:.1f}"
        share = self._stated.get(name, done / whole if whole else 0.0)
        self._tell(f"{name}: downloading", f"{done / 1e6:.1f}{of} MB{rate}", share)


def show_plan(
    wanted: list[Request], folder: Path, *, force: bool, device: str, threads: int | None, as_json: bool
) -> None:
    """What a fetch of these would do, as a table or as JSON."""
    from rich.table import Table

    from anchorbench.data.cache import plan
    from anchorbench.runs.session import choose_device, set_threads

    where = str(choose_device(device))
    set_threads(threads)
    plans = [(one, plan(one, folder, force=force, device=where)) for one in wanted]
    if as_json:
        rows = [about_ladder(one, None) | {"by_catalogue": one.by_catalogue, **vars(p)} for one, p in plans]
        print_json({"schema": 1, "plan": rows})
        return

    def mb(n: float | None) -> str:
        return "unknown" if n is None else "-" if n == 0 else f"{n / 1e6:.1f} MB"

    table = Table(title="what a fetch would do; nothing is touched", title_justify="left")
    shown: dict[str, Callable[[Any, Any], str]] = {
        "dataset": lambda one, p: f"{one.entry.name} {one.spec.size}" + (" (is there)" if p.there else ""),
        "source": lambda one, p: f"{one.source}{' (auto)' if one.by_catalogue else ''}: {one.display_name}",
        "download": lambda one, p: mb(p.download),
        "in cache": lambda one, p: mb(p.cached),
        "disk": lambda one, p: mb(p.disk),
        "solving": lambda one, p: "-" if p.seconds is None else f"{p.seconds:.0f} s",
        "licence, terms": lambda one, p: one.described.terms,
    }
    for column in shown:
        table.add_column(column, overflow="fold")
    for one, p in plans:
        table.add_row(*[cell(one, p) for cell in shown.values()])
    stdout().print(table)


def about_ladder(one: Request, ladder: Ladder | None) -> dict[str, Any]:
    """A ladder in JSON; None: one that is only planned."""
    about = {
        "dataset": one.entry.name,
        "display_name": one.display_name,
        "source": one.source,
        "size": one.spec.size,
        "rungs": list(one.spec.rungs),
        "restriction": one.spec.restriction,
        "digest": one.spec.digest,
        "terms": one.described.terms if ladder is None else ladder.about["attrs"]["terms"],
    }
    return about if ladder is None else about | {"folder": str(ladder.folder)}
