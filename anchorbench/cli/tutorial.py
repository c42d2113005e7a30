"""`anchorbench tutorial`: six models whose verdict is known, as files, and what diagnose says of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anchorbench.cli.show import Json, print_json, say, stdout


def tutorial(
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given several times.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the files, the script that makes them, and a page each.")] = Path(
        "tutorial"
    ),
    pages: Annotated[bool, typer.Option(help="Draw figures and a page for each case.")] = True,
    as_json: Json = False,
) -> None:
    """Make predictions of models whose verdict is known, diagnose each, and show what is right beside what was found.

    docs/tutorial.md walks through it.  Exit code 1 where a verdict is not the right one.
    """
    from rich import box
    from rich.table import Table

    from anchorbench.diagnose.tutorial import RIGHT, show_case, write_cases
    from anchorbench.errors import ConfigError, unknown

    names = case or list(RIGHT)
    for name in names:
        if name not in RIGHT:
            raise ConfigError(unknown("case", name, RIGHT))
    script = write_cases(out)
    say(f"{script} made the files, with numpy and xarray alone")
    shown = [show_case(out, name, report=pages) for name in names]
    if as_json:
        print_json({"schema": 1, "folder": str(out), "cases": [one.to_dict() for one in shown]})
    else:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for header in ("case", "right", "found", "right cause", "found", "slope"):
            table.add_column(header, overflow="fold")
        for one in shown:
            word, second, cause = one.said
            bounds = one.found.interval
            slope = "" if bounds is None else f"{bounds.estimate:+.2f} [{bounds.low:.2f}, {bounds.high:.2f}]"
            right = f"{one.right.word}, {one.right.second}"
            table.add_row(one.name, right, f"{word}, {second}", one.right.cause, cause, slope)
        stdout().print(table)
        for one in shown:
            stdout().print(f"{one.name}: {one.right.lesson}\n   {one.found.words}\n", markup=False)
    if pages:
        say(f"a page each:  {out}/CASE/diagnosis/index.html")
    if not all(one.agrees for one in shown):
        raise typer.Exit(1)
