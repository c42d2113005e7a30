"""`anchorbench evaluate`: score finished runs again, from their weights, or put them to a test."""

from __future__ import annotations

from typing import Annotated

import typer

from anchorbench.cli.show import RESULTS, Cache, Json, Results, bars, cache_folder, print_json, say

#: test -> the plot that shows it
PLOT_OF = {
    "resolution": "controlled",
    "information": "controlled",
    "matrix": "matrix",
    "response": "response",
    "rollout": "lead-time",
    "training": "over-training",
}


def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Runs, as `anchorbench list runs` shows them, or paths of their folders."
        ),
    ],
    test: Annotated[
        list[str] | None,
        typer.Option(
            help="Put finished runs to a test instead; may be given several times.  resolution: one band, the grid "
            "changes.  information: one grid, the low-pass changes.  matrix: every rung, for `--plot matrix`.  "
            "response: gain and phase of each wave.  rollout: forecasts fed back.  training: every kept checkpoint."
        ),
    ] = None,
    band: Annotated[
        int | None,
        typer.Option(help="Of --test resolution: the rung whose band is held [default: the coarsest, or ρ₀]."),
    ] = None,
    rung: Annotated[
        int | None, typer.Option(help="Of --test information: the rung whose grid is held [default: the finest].")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of torch [default: OMP_NUM_THREADS, else the cores that are free]."),
    ] = None,
    results: Results = RESULTS,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Evaluate trained runs again on every rung and write their curves anew, or put them to a test (--test)."""
    from anchorbench.runs import evaluate_again

    tests = list(dict.fromkeys(test or ()))
    with bars() as tell:
        done = evaluate_again(
            runs,
            results=results,
            cache=cache_folder(cache),
            tests=tests,
            band=band,
            rung=rung,
            device=device,
            threads=threads,
            tell=tell,
        )
    say(f"evaluated {', '.join(done)}" + (f": {', '.join(tests)}" if tests else ""))
    if tests:
        plots = " ".join(f"--plot {name}" for name in dict.fromkeys(PLOT_OF[name] for name in tests))
        say(f"shown by  anchorbench report {plots}")
    if as_json:
        document = {"schema": 1, "results": str(results), "runs": done}
        print_json(document | ({"tests": tests} if tests else {}))
