"""The tutorial: operators whose verdict is known, as files made with numpy and xarray alone, and what is said of each.

`make_cases.py`, written into the folder, is the file `cases.py` beside this one: what a reader runs is what is tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.diagnose import cases
from anchorbench.diagnose.files import read_rungs
from anchorbench.diagnose.judged import Diagnosis, diagnose
from anchorbench.errors import ConfigError, RunError, unknown

SCRIPT = "make_cases.py"


@dataclass(frozen=True)
class Right:
    """What must be said of a case, and what one learns from it."""

    word: str
    second: str
    cause: str
    lesson: str


RIGHT = {
    "converging": Right("converging", "adds", "information", "every rung's waves are used, products do not alias"),
    "bandwidth": Right("anchored", "empty", "bandwidth", "no wave above the train rung's goes in or comes out"),
    "aliasing": Right("diverging", "empty", "aliasing", "finer waves fold into the band that the model knows"),
    "embedding": Right("anchored", "adds", "embedding", "positions are read where the train rung had them"),
    "noise": Right("no_headroom", "adds", "noise", "what nobody can know does not shrink with the grid"),
    "hallucinating": Right("converging", "harms", "information", "right below, invented above: two words are needed"),
}


@dataclass(frozen=True)
class Shown:
    """A case, what is right, and what was found."""

    name: str
    right: Right
    found: Diagnosis

    @property
    def said(self) -> tuple[str | None, str | None, str]:
        return self.found.verdict.word, self.found.verdict.second_word, self.found.cause.word

    @property
    def agrees(self) -> bool:
        return self.said == (self.right.word, self.right.second, self.right.cause)

    def to_dict(self) -> dict[str, Any]:
        word, second, cause = self.said
        right = {"verdict": self.right.word, "second_word": self.right.second, "cause": self.right.cause}
        found = {"verdict": word, "second_word": second, "cause": cause, "words": self.found.words}
        return {"case": self.name, "right": right, "found": found, "agrees": self.agrees, "lesson": self.right.lesson}


def write_cases(folder: Path, rungs: tuple[int, ...] = cases.RUNGS) -> Path:
    """make_cases.py and the files that it makes.  Returns the script.  Raises RunError where it cannot be written."""
    script = folder / SCRIPT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        script.write_text(Path(cases.__file__).read_text(encoding="utf-8"), encoding="utf-8")
        cases.write(folder, rungs)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror or error}", do="choose another --out") from None
    return script


def show_case(folder: Path, name: str, *, report: bool = True) -> Shown:
    """Diagnose one case from its files, with a page in its folder.  Raises ConfigError for a case that there is not."""
    if name not in RIGHT:
        raise ConfigError(unknown("case", name, RIGHT))
    truth = read_rungs(sorted(folder.glob("truth_*.nc")), option="--truth")
    own = folder / name
    predictions = read_rungs(sorted(own.glob("pred_*.nc")), option="predictions")
    native = read_rungs(sorted(own.glob("native_*.nc")), option="--native")
    found = diagnose(predictions, truth, native=native, train_rung=min(predictions, default=0), name=name)
    if report:
        found.report(own / "diagnosis")
    return Shown(name, RIGHT[name], found)
