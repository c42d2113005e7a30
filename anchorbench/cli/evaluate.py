"""`anchorbench evaluate`: score finished runs again, from their weights, or put them to a test."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from anchorbench.cli.show import RESULTS, Cache, Json, Results, bars, cache_folder, print_json, say, stdout

#: test -> the plot that shows it
PLOT_OF = {
    "resolution": "controlled",
    "information": "controlled",
    "matrix": "matrix",
    "response": "response",
    "rollout": "lead-time",
    "training": "over-training",
    "factors": "error-vs-res --axis both",
    "samplers": "rain-frames",
}


def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs, as `anchorbench list runs` shows them, or paths of their folders; with --verify also cards "
            "(*.json) to hold them against.",
        ),
    ],
    test: Annotated[
        list[str] | None,
        typer.Option(
            help="Put finished runs to a test instead; may be given several times.  resolution: one band, the grid "
            "changes.  information: one grid, the low-pass changes.  matrix: every rung, for `--plot matrix`.  "
            "response: gain and phase of each wave.  rollout: forecasts fed back.  training: every kept checkpoint.  "
            "factors: of a refiner of rain, factors that it was not trained for.  samplers: fast and ancestral."
        ),
    ] = None,
    band: Annotated[
        int | None,
        typer.Option(help="Of --test resolution: the rung whose band is held [default: the coarsest, or ρ₀]."),
    ] = None,
    rung: Annotated[
        int | None, typer.Option(help="Of --test information: the rung whose grid is held [default: the finest].")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Instead: evaluate beside the run and say in one line whether its curve, or a card's, is reproduced; "
            "exit code 1 where one is not.",
        ),
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0.0, help="Of --verify: relative difference of every error [default: 0.001]."),
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
    """Evaluate trained runs again and write their curves anew, put them to a test (--test), or --verify them."""
    from anchorbench.errors import ConfigError
    from anchorbench.runs import evaluate_again

    if tolerance is not None and not verify:
        raise ConfigError("--tolerance belongs to --verify")
    if verify:
        if test or band is not None or rung is not None:
            raise ConfigError("--verify takes no --test, --band or --rung", do="ask for one after the other")
        _verify(
            runs,
            results=results,
            cache=cache_folder(cache),
            tolerance=tolerance,
            device=device,
            threads=threads,
            as_json=as_json,
        )
        return
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


def _verify(runs: list[str], *, as_json: bool, tolerance: float | None, **words: Any) -> None:
    """A line a run; exit code 1 where one is not reproduced."""
    from anchorbench.runs.verify import TOLERANCE, verify

    with bars() as tell:
        found = verify(runs, tolerance=TOLERANCE if tolerance is None else tolerance, tell=tell, **words)
    if as_json:
        print_json({"schema": 1, "verified": [one.to_dict() for one in found]})
    else:
        for one in found:
            stdout().print(one.line, markup=False, soft_wrap=True)
    if not all(one.reproduced for one in found):
        raise typer.Exit(1)
