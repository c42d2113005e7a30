"""The commands that a report prints: what they make is what is missing."""

import shlex
from pathlib import Path

import pytest

from anchorbench.config import parse_settings
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import request
from anchorbench.report.missing import train_command, unfinished
from anchorbench.runs.plan import plan_runs
from anchorbench.runs.store import RunFolder

HARD = {
    "train": {"steps": 7, "learning_rate": 1e-05},
    "model": {"width": 12},
    "method": {"levels": 1, "waves": 3},
    "data": {"rungs": [8, 16, 32], "generator": {"viscosity": 0.02, "trajectories": {"train": 3}}},
}


def planned(*, dataset="turbulence2d", size="tiny", source="auto", settings=None, **words):
    tree = dict(settings or {})
    wanted = request(load_catalog(), dataset, size=size, source=source, settings=tree.pop("data", {}))
    return wanted.spec, plan_runs(wanted, settings=tree, **words)


def made_by(command):
    """The specs that a printed command plans, read as the command line reads it."""
    program, verb, *rest = shlex.split(command)
    assert (program, verb) == ("anchorbench", "train")
    words = {"methods": [], "settings": []}
    while rest:
        word = rest.pop(0).removeprefix("--").replace("-", "_")
        if word == "with_references":
            words[word] = True
        elif word in ("method", "set"):
            words["methods" if word == "method" else "settings"].append(rest.pop(0))
        else:
            words[word] = rest.pop(0)
    seeds = words.pop("seeds")
    listed = [int(part) for part in seeds.split(",") if part]
    words["seeds"] = listed if "," in seeds else range(int(seeds))
    words["train_rung"] = int(words["train_rung"])
    return planned(**words | {"settings": parse_settings(words["settings"])})[1]


@pytest.mark.parametrize(
    ("method", "settings", "more"),
    [
        ("frl", HARD, {}),
        ("frl", {}, {"model": "unet"}),
        ("multires", {"method": {"shares": {1: 0.5, 2: 0.5}}}, {"train_rung": 8}),
        ("baseline", {"train": {"schedule": "constant", "increment": False}}, {}),
        ("baseline", {}, {"dataset": "sevir"}),
    ],
)
def test_a_command_makes_the_very_runs_it_is_printed_for(method, settings, more):
    ladder, specs = planned(settings=settings, methods=[method], seeds=[0, 4], **more)
    wanted = [s for s in specs if s.kind == "method"]
    command = train_command(wanted[0], ladder, seeds=[0, 4])
    assert {s.digest for s in wanted} <= {s.digest for s in made_by(command)}


def test_a_command_for_the_preset_has_nothing_to_set():
    ladder, specs = planned(methods=["baseline"], seeds=[0])
    spec = next(s for s in specs if s.kind == "method")
    assert "--set" not in train_command(spec, ladder, seeds=[0])


def test_references_beside_a_method_are_of_its_model_and_training():
    settings = {"model": {"width": 12}, "train": {"steps": 7}, "method": {"levels": 1, "waves": 3}}
    ladder, specs = planned(settings=settings, methods=["frl"], seeds=[0])
    frl = next(s for s in specs if s.method == "frl")
    command = train_command(
        frl.model_copy(update={"method": "baseline"}), ladder, seeds=[0], own=False, references=True
    )
    made = made_by(command)
    assert {s.kind for s in made} == {"reference", "method", "native"}
    trained = [s for s in made if s.train is not None]
    assert all((s.model_options, s.train.steps) == (frl.model_options, 7) for s in trained)


@pytest.mark.parametrize("kind", ["method", "native", "reference"])
@pytest.mark.parametrize("known", [True, False])
def test_an_unfinished_run_of_a_plain_ladder_is_gone_on_with(tmp_path, kind, known):
    settings = {"native": {"rungs": [16, 32], "warm_start": True, "train": {"steps": 9}}, "train": {"steps": 7}}
    ladder, specs = planned(settings=settings, methods=["frl"], seeds=[0, 1], train_rung=8, with_references=True)
    runs = [RunFolder(tmp_path / s.folder, s) for s in specs]
    run = next(r for r in reversed(runs) if r.spec.kind == kind)
    found = unfinished(run, runs, {ladder.digest: ladder} if known else {})
    assert run.spec.digest in {s.digest for s in made_by(found["command"])}
    assert found["what"] == f"{run.path.name} is not finished"


def test_a_ladder_that_nobody_knows_any_more_is_said():
    ladder, specs = planned(settings=HARD, methods=["frl"], seeds=[0])
    spec = next(s for s in specs if s.kind == "method")
    run = RunFolder(Path(spec.folder), spec)
    assert "add the --set data" in unfinished(run, [run], {})["what"]
    assert "add the --set data" not in unfinished(run, [run], {ladder.digest: ladder})["what"]
