"""`anchorbench doctor`: certify a metric, a resampler or a model before a curve drawn with it is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from anchorbench.cli.show import Json, Set, bars, print_json, stdout

if TYPE_CHECKING:
    from anchorbench.diagnose.findings import Finding

KINDS = ("metric", "resampler", "model")
COLOURS = {"defect": "red", "note": "yellow", "sound": "green"}


def doctor(
    kind: Annotated[str, typer.Argument(help="metric, resampler or model.")],
    target: Annotated[
        str,
        typer.Argument(help="path/to/file.py:NAME; a metric or resampler also package.module:NAME; a model's name."),
    ],
    layout: Annotated[str, typer.Option(help="Of a metric: the axes that it takes, of b t c y x.")] = "b c y x",
    arrays: Annotated[str, typer.Option(help="Of a metric: torch or numpy.")] = "torch",
    frames_in: Annotated[
        int | None, typer.Option(min=1, help="Of a metric over time: frames of input, which must not count.")
    ] = None,
    rung: Annotated[int, typer.Option(min=16, help="Of a model: points per axis that it is trained at.")] = 32,
    ndim: Annotated[int, typer.Option(min=1, max=3, help="Of a model: dimensions.")] = 2,
    in_channels: Annotated[int, typer.Option(min=1, help="Of a model.")] = 1,
    out_channels: Annotated[int, typer.Option(min=1, help="Of a model.")] = 1,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Find what makes a metric, a resampler or a model answer the grid instead of the function.

    metric(prediction, truth) gives a number or several; resampler(u, shape) takes u (batch, channel, *grid); a model is
    what `train --model` takes.  Exit code 1 where a defect is found.
    """
    from anchorbench.errors import ConfigError, unknown

    if kind not in KINDS:
        raise ConfigError(unknown("kind", kind, KINDS), do="anchorbench doctor metric my.py:error")
    with bars():  # what a person's own file prints goes beside the result
        found = _certified(
            kind, target, layout=layout, arrays=arrays, frames_in=frames_in, rung=rung, ndim=ndim,
            in_channels=in_channels, out_channels=out_channels, settings=settings or [],
        )  # fmt: skip
    defects = sum(one.level == "defect" for one in found)
    if as_json:
        print_json(
            {"schema": 1, "kind": kind, "target": target, "defects": defects, "findings": [f.to_dict() for f in found]}
        )
    else:
        _show(found, target, defects)
    if defects:
        raise typer.Exit(1)


def _certified(
    kind: str,
    target: str,
    *,
    layout: str,
    arrays: str,
    frames_in: int | None,
    rung: int,
    ndim: int,
    in_channels: int,
    out_channels: int,
    settings: list[str],
) -> list[Finding]:
    from anchorbench.config import parse_settings
    from anchorbench.errors import ConfigError

    if kind == "metric":
        from anchorbench.diagnose.certify_metric import certify_metric
        from anchorbench.diagnose.findings import named

        return certify_metric(named(target, kind=kind), layout=layout, arrays=arrays, frames_in=frames_in)
    if kind == "resampler":
        from anchorbench.diagnose.certify_resampler import certify_resampler
        from anchorbench.diagnose.findings import named

        return certify_resampler(named(target, kind=kind))
    from anchorbench.diagnose.certify_model import certify_model

    options = parse_settings(settings).get("model", {})
    if not isinstance(options, dict):
        raise ConfigError(f"--set model={options}: 'model' is a group of options", do="--set model.width=16")
    return certify_model(
        target, rung=rung, ndim=ndim, in_channels=in_channels, out_channels=out_channels, options=options
    )


def _show(found: list[Finding], target: str, defects: int) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in ("check", "", "what was found, and what to do"):
        table.add_column(header, overflow="fold")
    for one in found:
        text = Text(one.what)
        if one.do:
            text.append(f"\n-> {one.do}", style="dim")
        table.add_row(one.check, Text(one.level, style=COLOURS[one.level]), text)
    stdout().print(table)
    notes = sum(one.level == "note" for one in found)
    verdict = "sound" if not defects else f"{defects} defect{'s' if defects > 1 else ''}"
    stdout().print(Text(f"{target}: {verdict}, {notes} note{'' if notes == 1 else 's'}"))
