"""One family of errors that a person meets: what is wrong, what there is, what to do.

The CLI prints an `AnchorbenchError` as one short message and leaves with exit code 2.  Any other exception is a
bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AnchorbenchError(Exception):
    """A mistake that the user can mend.

    what: the fact, one sentence with the name and the place.
    do: what to do about it; printed on its own line.
    """

    def __init__(self, what: str, *, do: str | None = None) -> None:
        self.what = what
        self.do = do
        super().__init__(what if do is None else f"{what}\n       {do}")


class GridError(AnchorbenchError):
    """A grid that cannot be, or two grids that do not fit."""


class ConfigError(AnchorbenchError):
    """An option, a preset or a spec that does not validate."""


class CatalogError(AnchorbenchError):
    """datasets.yaml is broken, or has no such dataset."""


class DownloadError(AnchorbenchError):
    """A file could not be had, or is not the file that was promised."""


class LadderError(AnchorbenchError):
    """A ladder is missing, truncated, lacks a rung, or refuses one."""


class ModelError(AnchorbenchError):
    """A model that cannot be built, or whose output does not fit."""


class MethodError(AnchorbenchError):
    """A method that does not exist, or does not take this task or model."""


class TrainingError(AnchorbenchError):
    """Training went wrong: a loss that is not finite, no space left."""


class RunError(AnchorbenchError):
    """A run on disk that is missing, unfinished, or of another spec."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One sentence: there is no such `kind`, did you mean ..., there is ..."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" Did you mean '{close[0]}'?" if close else ""
    return f"there is no {kind} '{name}'.{guess} There is: {', '.join(names) or 'none'}."
