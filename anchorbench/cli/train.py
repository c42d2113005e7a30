"""`anchorbench train`: train models, and draw their error on every rung."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from anchorbench.cli.show import RESULTS, Cache, Json, Results, Set, bars, cache_folder, print_json, say

if TYPE_CHECKING:
    from anchorbench.runs.footing import Footing

MOST_SEEDS = 1000


def train(
    method: Annotated[list[str] | None, typer.Option(help="Method; may be given several times.")] = None,
    dataset: Annotated[str, typer.Option(help="Dataset of the catalogue.")] = "turbulence2d",
    model: Annotated[str | None, typer.Option(help="fno, unet, an installed model, or path/to/file.py:Name.")] = None,
    task: Annotated[str | None, typer.Option(help="Task [default: the dataset's first].")] = None,
    size: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    source: Annotated[str, typer.Option(help="auto, sample or generated.")] = "auto",
    train_rung: Annotated[
        int | None, typer.Option(help="Finest rung of zero-shot training [default: the catalogue's].")
    ] = None,
    seeds: Annotated[str, typer.Option(help="How many (3 is 0, 1 and 2), or which (0,4,7; one alone as 4,).")] = "3",
    with_references: Annotated[
        bool, typer.Option(help="Add baseline, and native: the baseline trained at finer rungs.")
    ] = False,
    footing: Annotated[
        str,
        typer.Option(
            help="steps, or cost: the steps by which each method's training costs what the baseline's does, or "
            "parameters: the width by which the model has as many as the preset's."
        ),
    ] = "steps",
    double_width: Annotated[
        bool, typer.Option("--double-width", help="The model at twice its width: is the error a matter of capacity?")
    ] = False,
    factor: Annotated[
        int | None,
        typer.Option(min=1, help="Of super_resolve: points of the output to one of the input, an axis."),
    ] = None,
    time_factor: Annotated[
        int | None,
        typer.Option("--time-factor", min=1, help="Of super_resolve: frames of the output to one of the input."),
    ] = None,
    settings: Set = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at once [default: one a core, no more than are left; 1 on a GPU].")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads a run [default: OMP_NUM_THREADS, else cores / workers; one that goes on keeps those it "
            "began with].",
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Run again what is finished.")] = False,
    offline: Annotated[bool, typer.Option(envvar="ANCHORBENCH_OFFLINE", help="Touch no network.")] = False,
    results: Results = RESULTS,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Train and evaluate one run a seed, with the references that need no training.

    Missing data is fetched, a finished run is not run again, and a stopped one goes on where it was.
    """
    from anchorbench.config import merged, parse_settings
    from anchorbench.errors import ConfigError
    from anchorbench.runs import Asked, train_all

    tree = parse_settings(settings or [])
    factors = {"factor": factor, "time_factor": time_factor}
    if chosen := {name: value for name, value in factors.items() if value is not None}:
        tree = merged(tree, {"task": chosen})
    data = tree.pop("data", {})
    if not isinstance(data, dict):
        raise ConfigError(f"--set data={data}: 'data' is a group of options", do="for example --set data.rungs=8,16,32")
    asked = Asked(
        dataset=dataset,
        size=size,
        source=source,
        methods=tuple(method or ["baseline"]),
        model=model,
        task=task,
        train_rung=train_rung,
        seeds=parse_seeds(seeds),
        with_references=with_references,
        data=data,
        settings=tree,
        footing=parse_footing(footing),
        double_width=double_width,
    )
    with bars() as tell:
        done = train_all(
            asked,
            results=results,
            cache=cache_folder(cache),
            device=device,
            workers=workers,
            threads=threads,
            force=force,
            offline=offline,
            say=say,
            tell=tell,
        )
    say(f"{len(done)} runs in {results}; see them:  anchorbench report --results {results}")
    if as_json:
        print_json({"schema": 1, "results": str(results), "runs": done})


def parse_footing(text: str) -> Footing:
    """Raises ConfigError for a footing that there is not."""
    from anchorbench.errors import ConfigError, unknown
    from anchorbench.runs.footing import FOOTINGS

    for footing in FOOTINGS:
        if text == footing:
            return footing
    raise ConfigError(f"--footing: {unknown('footing', text, FOOTINGS)}")


def parse_seeds(text: str) -> tuple[int, ...]:
    """`3` is 0, 1, 2; `0,4,7` are those; `4,` is 4 alone.  Raises ConfigError for anything else."""
    from anchorbench.errors import ConfigError

    try:
        numbers = [int(part) for part in text.removesuffix(",").split(",")]
    except ValueError:
        numbers = []
    listed = "," in text
    if not numbers or min(numbers) < 0 or max(numbers) >= 2**31 or (not listed and not 1 <= numbers[0] <= MOST_SEEDS):
        raise ConfigError(f"--seeds is a count such as 3 (at most {MOST_SEEDS}), or a list such as 0,4,7; not '{text}'")
    return tuple(dict.fromkeys(numbers)) if listed else tuple(range(numbers[0]))
