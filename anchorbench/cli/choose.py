"""`anchorbench choose`: an option by the spectrum of untrained networks."""

from __future__ import annotations

from typing import Annotated

import typer

from anchorbench.cli.show import Cache, Json, Set, bars, cache_folder, print_json, stdout


def choose(
    over: Annotated[
        str, typer.Argument(help="What is chosen, and among which: model.sigma=0.5,1,2,4 or method.waves=1,2,4.")
    ],
    dataset: Annotated[str, typer.Option(help="Dataset of the catalogue.")] = "turbulence2d",
    method: Annotated[str, typer.Option(help="Method.")] = "baseline",
    model: Annotated[str | None, typer.Option(help="Model [default: the preset's].")] = None,
    task: Annotated[str | None, typer.Option(help="Task [default: the dataset's first].")] = None,
    size: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    source: Annotated[str, typer.Option(help="auto, sample or generated.")] = "auto",
    train_rung: Annotated[
        int | None, typer.Option(help="The rung whose spectrum is compared [default: the catalogue's train rung].")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Untrained networks a setting.")] = 10,
    bins: Annotated[int, typer.Option(min=1, help="Of a spectrum, at most half the points of the rung.")] = 64,
    spectrum: Annotated[str, typer.Option(help="antidiagonal, as published, or radial.")] = "antidiagonal",
    settings: Set = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    offline: Annotated[bool, typer.Option(envvar="ANCHORBENCH_OFFLINE", help="Touch no network.")] = False,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Choose an option without training: whose untrained networks have the spectrum nearest to the data's."""
    from rich.table import Table

    from anchorbench.analysis.spectral_distance import FORMS
    from anchorbench.config import parse_settings
    from anchorbench.errors import ConfigError, unknown
    from anchorbench.runs import Asked
    from anchorbench.runs.choose import choose as among

    form = next((known for known in FORMS if known == spectrum), None)
    if form is None:
        raise ConfigError(f"--spectrum: {unknown('form of spectrum', spectrum, FORMS)}")
    option, values = one_list(over)
    tree = parse_settings(settings or [])
    data = tree.pop("data", {})
    asked = Asked(
        dataset=dataset,
        size=size,
        source=source,
        methods=(method,),
        model=model,
        task=task,
        train_rung=train_rung,
        data=data,
        settings=tree,
    )
    with bars() as tell:
        found = among(
            asked,
            option,
            values,
            cache=cache_folder(cache),
            draws=draws,
            bins=bins,
            form=form,
            device=device,
            offline=offline,
            tell=tell,
        )
    if as_json:
        print_json({"schema": 1, **found.to_dict()})
        return
    table = Table(title=f"distance of untrained spectra from the data's on rung {found.rung}", title_justify="left")
    for name in (option, "bins", "±", ""):
        table.add_column(name, justify="left" if not name else "right")
    for setting, distance, error in zip(found.settings, found.distance, found.error, strict=True):
        table.add_row(str(setting), f"{distance:.2f}", f"{error:.2f}", "chosen" if setting == found.chosen else "")
    stdout().print(table)
    stdout().print(f"took {found.seconds:.1f} s; train with it:  --set {option}={found.chosen}", markup=False)


def one_list(text: str) -> tuple[str, list[object]]:
    """model.sigma=1,2 is ("model.sigma", [1, 2]).  Raises ConfigError for anything but one option and its values."""
    from anchorbench.config import parse_settings
    from anchorbench.errors import ConfigError

    tree: object = parse_settings([text])
    names = []
    while isinstance(tree, dict) and len(tree) == 1:
        ((name, tree),) = tree.items()
        names.append(str(name))
    if not isinstance(tree, list):
        raise ConfigError(f"'{text}' is no option with several values", do="for example model.sigma=0.5,1,2,4")
    return ".".join(names), tree
