"""Asking for help costs no more than a moment: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "xarray", "matplotlib", "scipy", "pandas", "netCDF4")
#: Seconds of CPU; measured 0.1 to 0.2 on one core of 2025, with torch it would be 2.
MOST_SECONDS = 1.0

SCRIPT = """
import json, sys
sys.argv = ["anchorbench", *{words!r}]
from anchorbench.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["fetch", "--help"], ["train", "--help"], ["evaluate", "--help"], ["report", "--help"],
     ["list", "--help"], ["sweep", "--help"], ["diagnose", "--help"], ["doctor", "--help"], ["tutorial", "--help"]],
    ids=" ".join,
)  # fmt: skip
def test_help_imports_nothing_heavy_and_takes_a_moment(words, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = SCRIPT.format(words=words, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, heavy = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert heavy == []
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MOST_SECONDS


def test_the_package_itself_imports_nothing_heavy():
    script = f"import sys, anchorbench, anchorbench.cli; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_mistake_in_the_words_is_found_without_torch(tmp_path):
    """Lists of names and refusals of a parser are as quick as help."""
    for words in (["list", "plots"], ["list", "methods"], ["list", "models"], ["trian"]):
        script = SCRIPT.format(words=words, heavy=("torch", "matplotlib", "xarray"))
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout.splitlines()[-1])[1] == [], words
