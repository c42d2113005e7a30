"""What every command shares: where output goes, progress, common options."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; everything else goes to stderr.")]
Results = Annotated[
    Path, typer.Option("--results", envvar="ANCHORBENCH_RESULTS", help="Folder of the runs.", show_default=True)
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", envvar="ANCHORBENCH_CACHE", help="Folder of the ladders [default: the user's cache]."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override one option: train.steps=500, model.width=16, method.waves=8, data.rungs=8,16."
    ),
]

RESULTS = Path("results")
#: name, what it does now, share done
Tell = Callable[[str, str, float], None]


def cache_folder(given: Path | None) -> Path:
    """--cache, ANCHORBENCH_CACHE, or the user's cache folder."""
    if given is not None:
        return given.expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "anchorbench"


def stderr() -> Console:
    return Console(stderr=True, highlight=False)


def stdout() -> Console:
    # A pipe or a file gets whole table rows instead of 80 columns.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def print_error(text: str, *, label: str = "error") -> None:
    stderr().print(f"{label}: {text}", markup=False, style="red" if label == "error" else "yellow", soft_wrap=True)


def print_json(document: Any) -> None:
    """One document on stdout."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False, default=str) + "\n")


def say(text: str) -> None:
    """A line for a person, beside the result."""
    stderr().print(text, markup=False, soft_wrap=True)


@contextmanager
def bars() -> Iterator[Tell]:
    """Progress bars on stderr, where everything that is printed meanwhile goes too (a user's model may print).

    Yields tell(name, what, share): one bar a name, with time left.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[what]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = stderr()
    tasks: dict[str, Any] = {}
    progress = Progress(*columns, console=console, transient=False)

    def tell(name: str, what: str, share: float) -> None:
        if not tasks:
            progress.start()  # not before: a mistake in the words is one message and no empty bars
        if name not in tasks:
            tasks[name] = progress.add_task(name, total=1.0, what="")
        progress.update(tasks[name], completed=share, what=what)

    with redirect_stdout(sys.stderr):
        try:
            yield tell
        finally:
            if tasks:
                progress.stop()
