"""Every command and every block of code that the README shows, run in a temporary folder.

Commands without a size mean `small`, which takes minutes: here they run at `tiny`, with small models, one seed and one
worker, the studies too, and a report draws PNG alone.  The radar file is not downloaded: its reader is handed a few
invented sequences (the download has tests of its own).
"""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from anchorbench.cli import main
from anchorbench.config import merged
from anchorbench.data import fetch_many
from anchorbench.data.sources import Loaded, SplitFields, radolan

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(), re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ")
    for language, block in BLOCKS
    if language == "console"
    for line in block.splitlines()
    if line.startswith("$ anchorbench")
]


#: Of a ladder that is not there: its plan times no training.
SMALL_STUDY = {"size": "tiny", "settings": {"data": {"limit": 2}, "train": {"batch": 2}, "model": {"width": 4}}}


def invented_rain(ask):
    rng = np.random.default_rng(0)
    out = {}
    for split, n in (("train", 3), ("validation", 2), ("test", 2)):
        rain = np.maximum(rng.normal(size=(n, 7, ask.size.crop, ask.size.crop)), 0).astype(np.float32)
        valid = np.ones(rain.shape, bool)
        valid[:, :, :2, :2] = False
        out[split] = SplitFields({"rainfall_amount": rain * valid}, valid, None, np.arange(n))
    return Loaded(out)


def at_tiny(command):
    """The same command at `tiny`, as the arguments of a process."""
    words = shlex.split(command)
    if words[1] in ("fetch", "train") and "--size" not in words:
        words += ["--size", "tiny"]
    if words[1] == "train":
        words += ["--workers", "1"]
        settings = ("train.steps=4", "train.batch=2", "train.validate_every=2", "model.width=4")
        words += [word for setting in settings for word in ("--set", setting)]
        words += ["--seeds", "1"] if "--seeds" not in words else []
    if words[1] == "report":
        words += ["--format", "png"]
    return words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def test_the_readme_shows_commands():
    assert {shlex.split(c)[1] for c in COMMANDS} == {
        "fetch",
        "train",
        "report",
        "list",
        "sweep",
        "tutorial",
        "diagnose",
        "doctor",
        "choose",
    }


def test_no_placeholder_stands_in_the_documents():
    for path in (README, *README.parent.glob("docs/*.md")):
        found = re.findall(r"^[A-Z]+_[A-Z_]+$", path.read_text(), re.MULTILINE)
        assert not found, f"{path.name}: {found}"


def test_every_command_of_the_readme_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setattr(radolan, "load", invented_rain)
    monkeypatch.setattr(fetch_many, "sample_members", lambda *_, **__: None)
    (folder / "studies").mkdir()
    for study in README.parent.glob("studies/*.yaml"):
        tree = merged(yaml.safe_load(study.read_text()), SMALL_STUDY)
        (folder / "studies" / study.name).write_text(yaml.safe_dump(tree))
    for block in (block for language, block in BLOCKS if language == "python"):
        name = re.match(r"# (\S+\.py)", block).group(1)
        Path(name).write_text(block)
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", at_tiny(command))
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, f"{command}: exit {end.value.code}\n{capsys.readouterr().err}"
    assert (folder / "results" / "report" / "index.html").exists()


def test_the_makefile_runs_what_the_quick_start_shows():
    makefile = (README.parent / "Makefile").read_text()
    quick_start = next(block for language, block in BLOCKS if language == "console")
    for line in quick_start.splitlines():
        if line.startswith("$ anchorbench"):
            words = line.removeprefix("$ ").partition(" --plot")[0]
            assert words.removeprefix("anchorbench ") in makefile, f"make demo does not run: {words}"
