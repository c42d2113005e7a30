"""`anchorbench evaluate`: score finished runs again, from their weights."""

from __future__ import annotations

from typing import Annotated

import typer

from anchorbench.cli.show import RESULTS, Cache, Json, Results, bars, cache_folder, print_json, say


def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Runs, as `anchorbench list runs` shows them, or paths of their folders."
        ),
    ],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of torch [default: the cores that are free].")
    ] = None,
    results: Results = RESULTS,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Evaluate trained runs again on every rung, and write their curves anew."""
    from anchorbench.runs import evaluate_again

    with bars() as tell:
        done = evaluate_again(
            runs, results=results, cache=cache_folder(cache), device=device, threads=threads, tell=tell
        )
    say(f"evaluated {', '.join(done)}")
    if as_json:
        print_json({"schema": 1, "results": str(results), "runs": done})
