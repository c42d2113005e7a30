"""`anchorbench diagnose`: curve, verdict and cause of predictions in files, or of a trained module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anchorbench.cli.show import Cache, Json, bars, cache_folder, print_json, say, stdout

if TYPE_CHECKING:
    from anchorbench.diagnose import Diagnosis

Paths = list[Path] | None


def diagnose(
    predictions: Annotated[
        Paths, typer.Argument(metavar="PREDICTIONS...", help="NetCDF or Zarr, one a rung, or one with a group a rung.")
    ] = None,
    truth: Annotated[Paths, typer.Option(help="The truth, once a rung, or one file with a group a rung.")] = None,
    train_rung: Annotated[
        int | None, typer.Option(help="Points per axis that the model was trained at [with --model: the catalogue's].")
    ] = None,
    native: Annotated[
        Paths, typer.Option(help="Predictions of the same model trained at a finer rung; once a rung.")
    ] = None,
    variable: Annotated[str | None, typer.Option(help="Which, where files have several.")] = None,
    level: Annotated[float | None, typer.Option(help="One level [default: all, pooled].")] = None,
    mask: Annotated[
        str | None, typer.Option(help="nan: what is missing in the truth is not scored; or a variable of the truth.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="A variable of the truth: weights beside the areas.")] = None,
    restriction: Annotated[
        str | None,
        typer.Option(help="spectral, conservative, block_mean or stride [default: by the coordinates]."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Coordinate that names what was drawn independently [default: each sample].")
    ] = None,
    seen: Annotated[list[int] | None, typer.Option(help="Finer rung that training saw; once each.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Instead of files: my.py:load, a trained module or a function giving one.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="With --model: the ladder to score it on.")] = "turbulence2d",
    size: Annotated[str, typer.Option(help="With --model: tiny, small or full.")] = "small",
    source: Annotated[str, typer.Option(help="With --model: auto, sample or generated.")] = "auto",
    task: Annotated[str | None, typer.Option(help="With --model [default: the dataset's first].")] = None,
    normalised: Annotated[
        bool, typer.Option("--normalised", help="With --model: it takes and gives fields in units of σ about the mean.")
    ] = False,
    device: Annotated[str, typer.Option(help="With --model: auto, cpu or cuda.")] = "auto",
    offline: Annotated[bool, typer.Option(envvar="ANCHORBENCH_OFFLINE", help="Touch no network.")] = False,
    delta: Annotated[float, typer.Option(min=0.001, help="Slopes within ±delta are anchored.")] = 0.1,
    out: Annotated[Path, typer.Option(help="Folder of curve, verdict, figures and page.")] = Path("diagnosis"),
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Say whether predictions get more accurate on finer grids, and why; of files, or of a trained module.

    No model, training or data set of anchorbench is involved: the files are enough.
    """
    from anchorbench.errors import ConfigError

    if model is not None and (predictions or truth or native):
        raise ConfigError("--model is scored on a --dataset: it takes no files", do="leave out the files, or --model")
    if model is not None:
        found = _of_model(
            model, dataset=dataset, size=size, source=source, task=task, train_rung=train_rung, device=device,
            normalised=normalised, offline=offline, delta=delta, cache=cache_folder(cache),
        )  # fmt: skip
    else:
        if not predictions or not truth:
            raise ConfigError(
                "there is nothing to diagnose: it takes predictions and their truth",
                do="anchorbench diagnose pred_032.nc pred_064.nc --truth truth_032.nc --truth truth_064.nc "
                "--train-rung 32",
            )
        if train_rung is None:
            raise ConfigError("which rung the model was trained at is not known", do="--train-rung 32")
        found = _of_files(
            predictions, truth, native or [], train_rung=train_rung, variable=variable, level=level, mask=mask,
            weights=weights, restriction=restriction, cluster=cluster, seen=seen or [], name=name or "model",
            delta=delta,
        )  # fmt: skip
    made = found.report(out)
    if as_json:
        print_json({**found.to_dict(), "files": [str(path) for path in made.paths]})
    else:
        for renderable in made.terminal():
            stdout().print(renderable)
    say(found.restriction)
    if found.native is None:
        say("headroom not shown: give --native, predictions of the same model trained at a finer rung")
    for path in made.paths:
        say(f"wrote {path}")


def _of_files(predictions: list[Path], truth: list[Path], native: list[Path], **words: Any) -> Diagnosis:
    from anchorbench.diagnose import diagnose
    from anchorbench.diagnose.files import read_rungs

    return diagnose(
        read_rungs(predictions, option="predictions"),
        read_rungs(truth, option="--truth"),
        native=read_rungs(native, option="--native"),
        **words,
    )


def _of_model(target: str, **words: Any) -> Diagnosis:
    from anchorbench.diagnose.loaded import diagnose_model

    with bars() as tell:
        return diagnose_model(target, tell=lambda what, share: tell(target, what, share), **words)
