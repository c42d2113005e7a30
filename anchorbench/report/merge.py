"""Results folders of several machines as one: every run once, and a word where two folders do not agree on one.

A run's folder is named by the hash of what defines it, so folders merge by copying; here they are read where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anchorbench.errors import RunError
from anchorbench.runs.run_card import errors_by_rung, read_curve, sums_digest
from anchorbench.runs.store import RunFolder, find_runs


def merged(folders: Sequence[Path], *, dataset: str | None = None) -> tuple[list[RunFolder], list[str]]:
    """The runs of all folders by name, a finished one before an unfinished, else the first folder's; and the words.

    Raises RunError for a folder of several that is not there; one alone holds no run.
    """
    kept: dict[str, RunFolder] = {}
    words: list[str] = []
    for folder in folders:
        if not folder.is_dir() and len(folders) > 1:
            raise RunError(f"{folder} is no results folder", do="anchorbench report A B ... takes folders of runs")
        for run in find_runs(folder):
            if dataset not in (None, run.spec.dataset):
                continue
            before = kept.get(run.spec.digest)
            if before is None or (run.finished and not before.finished):
                kept[run.spec.digest] = run
            elif run.finished and before.path.resolve() != run.path.resolve():
                word = disagreement(before, run)
                if word is not None:
                    words.append(word)
    return sorted(kept.values(), key=lambda run: run.path.name), words


def disagreement(first: RunFolder, second: RunFolder) -> str | None:
    """By how much two evaluations of one run differ; None where their sums are the same bit for bit."""
    a, b = read_curve(first), read_curve(second)
    if sums_digest(a) == sums_digest(b):
        return None
    here, there = errors_by_rung(a), errors_by_rung(b)
    both = sorted(set(here) & set(there))
    apart = [abs(there[rung][name] - error) / max(error, 1e-6) for rung in both for name, error in here[rung].items()]
    share = f"by up to {max(apart):.1e}" if apart else "in their rungs"
    return (
        f"{first.path.name}: the curves in {first.path.parent} and {second.path.parent} differ {share}; "
        "the first is shown"
    )
