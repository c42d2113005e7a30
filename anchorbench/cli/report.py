"""`anchorbench report`: figures, tables and pages from the runs of a folder, or of several as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anchorbench.cli.show import RESULTS, Json, Results, print_json, say, stdout


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            help="Results of several machines, read as one folder [default: --results]; with --leaderboard also run "
            "cards (*.json) that were sent.",
        ),
    ] = None,
    plot: Annotated[list[str] | None, typer.Option(help="Plot; may be given several times [default: all].")] = None,
    form: Annotated[
        list[str] | None,
        typer.Option("--format", help="Of the figures: png, svg, pdf; PNG is always written [default: all]."),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(help="Of all curves: csv, netcdf, latex; Parquet and JSON are always written [default: all]."),
    ] = None,
    paper: Annotated[str, typer.Option(help="Width of the figures: single (3.5 in) or double (7.2 in).")] = "single",
    leaderboard: Annotated[
        bool, typer.Option("--leaderboard", help="Instead: a ranked table a benchmark, as HTML, Markdown and CSV.")
    ] = False,
    cards: Annotated[
        bool, typer.Option("--cards", help="Instead: a card of each run, for others to verify, in OUT/cards.")
    ] = False,
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    delta: Annotated[float, typer.Option(min=0.001, help="Slopes within ±delta are anchored.")] = 0.1,
    out: Annotated[Path | None, typer.Option(help="Folder of the report [default: RESULTS/report].")] = None,
    axis: Annotated[
        str | None,
        typer.Option(help="Of refined rain: space, time or both; error-vs-res is drawn over these factors."),
    ] = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Draw error against resolution, say the verdicts, and write one HTML page, one Markdown, tables and figures."""
    from anchorbench.errors import CatalogError, ConfigError, RunError, unknown
    from anchorbench.report import make_leaderboard, make_report, write_cards
    from anchorbench.runs.store import find_runs

    given = [path for path in folders or () if path.suffix != ".json"]
    sent = [path for path in folders or () if path.suffix == ".json"]
    if sent and not leaderboard:
        raise ConfigError(f"{sent[0]} is a card: it stands in a --leaderboard", do="give folders of runs")
    if leaderboard and cards:
        raise ConfigError("--leaderboard and --cards are two reports", do="ask for one of them")
    places = given or ([] if sent and not results.exists() else [results])
    place = out or places[0] / "report" if places else out or Path("report")
    if dataset is not None and not sent:
        known = {run.spec.dataset for folder in places for run in find_runs(folder)}
        if known and dataset not in known:
            raise CatalogError(f"{places[0]}: {unknown('dataset with runs', dataset, known)}")
    try:
        if cards:
            written = write_cards(places, out=place / "cards", dataset=dataset)
            if as_json:
                print_json({"schema": 1, "cards": [str(path) for path in written]})
        elif leaderboard:
            found, written = make_leaderboard(places, out=place, cards=sent, dataset=dataset, delta=delta)
            if as_json:
                print_json({"schema": 1, "boards": [vars(board) for board in found]})
            else:
                stdout().print((place / "leaderboard.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)
        else:
            made = make_report(
                places,
                out=place,
                plots=plot,
                formats=form,
                tables=table,
                paper=paper,
                dataset=dataset,
                delta=delta,
                axis=axis,
            )
            written = list(made.paths)
            if as_json:
                print_json(made.json)
            else:
                for renderable in made.terminal():
                    stdout().print(renderable)
                for word in made.document.get("words") or ():
                    say(word)
    except OSError as error:
        raise RunError(
            f"the report could not be written to {place}: {error.strerror or error}", do="choose another --out"
        ) from None
    for path in written:
        say(f"wrote {path}")
