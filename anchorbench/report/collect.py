"""From the runs in a results folder to a report document.

Runs of one ladder, task, lead and scored band make a group; runs that differ only in their seed make a curve.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anchorbench
from anchorbench.config import LadderSpec
from anchorbench.errors import RunError
from anchorbench.report.group import Group
from anchorbench.report.missing import missing, unfinished
from anchorbench.report.scored import Scored
from anchorbench.runs.plan import group_key
from anchorbench.runs.store import find_runs


def collect(results: Path, *, delta: float = 0.1, dataset: str | None = None) -> dict[str, Any]:
    """The report document of all finished runs of a folder.

    Raises RunError where there is none.
    """
    runs = [run for run in find_runs(results) if dataset in (None, run.spec.dataset)]
    finished = [Scored(run) for run in runs if run.finished]
    if not finished:
        raise RunError(
            f"there is no finished run in {results}" + (f" ({len(runs)} unfinished)" if runs else ""),
            do="anchorbench train --method baseline --with-references",
        )
    by_group: dict[str, list[Scored]] = defaultdict(list)
    for scored in finished:
        by_group[group_key(scored.spec)].append(scored)
    document: dict[str, Any] = {
        "schema": 1,
        "version": anchorbench.__version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "groups": [],
        "curves": [],
        "missing": [],
    }
    ladders: dict[str, LadderSpec] = {}
    for key, members in sorted(by_group.items(), key=lambda item: (item[1][0].spec.dataset, item[0])):
        group = Group(key, members, delta=delta)
        document["groups"].append(group.describe())
        document["curves"] += group.curves()
        document["missing"] += missing(group)
        ladders[group.ladder.digest] = group.ladder
    document["missing"][:0] = [unfinished(run, runs, ladders) for run in runs if not run.finished]
    return document
