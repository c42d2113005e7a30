"""docs/adding.md, run as it stands: its model, its method, its file and its dataset, each trained for some steps."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import yaml

import anchorbench.data.sources
import anchorbench.methods
from anchorbench.cli import main
from anchorbench.config import merged
from anchorbench.methods import registry

PAGE = (Path(__file__).parents[1] / "docs" / "adding.md").read_text()
#: (heading, its blocks: language and text)
SECTIONS = {
    part.splitlines()[0]: re.findall(r"```(\w+)\n(.*?)```", part, re.DOTALL) for part in PAGE.split("\n## ")[1:]
}
QUICK = ("train.steps=4", "train.batch=4", "train.validate_every=2")


@pytest.fixture
def page(bench, tmp_path, monkeypatch):
    """An empty folder, the tests' catalogue and cache, and a package that files of the page can be added to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANCHORBENCH_DATASETS", str(bench.catalog))
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(tmp_path / "cache"))
    for package in (anchorbench.methods, anchorbench.data.sources):
        own = tmp_path / package.__name__.replace(".", "/")
        own.mkdir(parents=True)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(own)])
    return monkeypatch


def follow(blocks: list[tuple[str, str]], patch: pytest.MonkeyPatch, bench) -> list[str]:
    """Write the files, run the commands; returns the commands."""
    ran = []
    for language, text in blocks:
        place = text.splitlines()[0].removeprefix("# ")
        if language == "yaml":
            added = {"datasets": yaml.safe_load(text)}
            Path("datasets.yaml").write_text(yaml.safe_dump(merged(yaml.safe_load(bench.catalog.read_text()), added)))
            patch.setenv("ANCHORBENCH_DATASETS", str(Path("datasets.yaml").resolve()))
        elif language == "python" and "registry" not in place:
            Path(place).write_text(text)
        elif language == "python":
            patch.setitem(registry.METHODS, "sobolev", None)  # taken out again after the test
            exec(text, vars(registry))
        for command in re.findall(r"^\$ (.*)$", text, re.MULTILINE) if language == "console" else ():
            run(shlex.split(command), patch)
            ran.append(command)
    return ran


def run(words: list[str], patch: pytest.MonkeyPatch) -> None:
    if words[0] == "python":
        runpy.run_path(words[1])
        return
    if words[1] == "train":
        own = [] if "--model" in words else ["--model", "fno", "--set", "model.width=4", "--set", "model.modes=4"]
        sets = [word for option in QUICK for word in ("--set", option)]
        words = [*words, *own, *sets, "--seeds", "1", "--workers", "1", "--threads", "1"]
    patch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code, words


def test_the_page_has_a_model_a_method_and_a_dataset():
    assert list(SECTIONS) == ["A model", "A method", "A dataset"]


@pytest.mark.parametrize("heading", SECTIONS)
def test_what_the_page_adds_is_trained_and_scored(heading, page, bench):
    ran = follow(SECTIONS[heading], page, bench)
    trainings = sum(command.startswith("anchorbench train") for command in ran)
    assert trainings == {"A model": 1, "A method": 1, "A dataset": 2}[heading]
    curves = [path.parent for path in Path("results").rglob("curve.nc")]
    trained = [folder for folder in curves if (folder / "model.safetensors").exists() and (folder / "DONE").exists()]
    assert len(trained) == trainings
