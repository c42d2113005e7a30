"""`anchorbench report`: figures, tables and pages from the runs of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anchorbench.cli.show import RESULTS, Json, Results, print_json, say, stdout


def report(
    plot: Annotated[list[str] | None, typer.Option(help="Plot; may be given several times [default: all].")] = None,
    form: Annotated[
        list[str] | None,
        typer.Option("--format", help="Of the figures: png, svg, pdf; PNG is always written [default: all]."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    delta: Annotated[float, typer.Option(min=0.001, help="Slopes within ±delta are anchored.")] = 0.1,
    out: Annotated[Path | None, typer.Option(help="Folder of the report [default: RESULTS/report].")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Draw error against resolution, say the verdicts, and write one HTML page and one Markdown."""
    from anchorbench.errors import CatalogError, RunError, unknown
    from anchorbench.report import make_report
    from anchorbench.runs.store import find_runs

    folder = out or results / "report"
    if dataset is not None:
        known = {run.spec.dataset for run in find_runs(results)}
        if known and dataset not in known:
            raise CatalogError(f"{results}: {unknown('dataset with runs', dataset, known)}")
    try:
        made = make_report(results, out=folder, plots=plot, formats=form, dataset=dataset, delta=delta)
    except OSError as error:
        raise RunError(
            f"the report could not be written to {folder}: {error.strerror or error}", do="choose another --out"
        ) from None
    if as_json:
        print_json(made.json)
    else:
        for renderable in made.terminal():
            stdout().print(renderable)
    for path in made.paths:
        say(f"wrote {path}")
