"""The application: its commands and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from anchorbench.cli.choose import choose
from anchorbench.cli.diagnose import diagnose
from anchorbench.cli.doctor import doctor
from anchorbench.cli.evaluate import evaluate
from anchorbench.cli.fetch import fetch
from anchorbench.cli.listing import listing
from anchorbench.cli.report import report
from anchorbench.cli.sweep import sweep
from anchorbench.cli.train import train
from anchorbench.cli.tutorial import tutorial

app = typer.Typer(
    name="anchorbench",
    help="Does a learned model get more accurate on a finer grid than it was trained on, "
    "or does its error stay anchored at the training resolution?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from anchorbench import __version__

        typer.echo(f"anchorbench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Error against resolution, with a slope, an interval, a verdict and the cause."""


app.command()(fetch)
app.command()(train)
app.command()(choose)
app.command()(sweep)
app.command()(evaluate)
app.command()(report)
app.command()(diagnose)
app.command()(doctor)
app.command()(tutorial)
app.add_typer(listing, name="list")
