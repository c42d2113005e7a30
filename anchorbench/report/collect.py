"""From the runs in a results folder to a report document.

Runs of one ladder, task, lead and scored band make a group; runs that differ only in their seed make a curve.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anchorbench
from anchorbench.errors import RunError
from anchorbench.report.group import Group
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
        "missing": [
            {"what": f"{run.path.name} is not finished", "command": "run the `anchorbench train` that began it again"}
            for run in runs
            if not run.finished
        ],
    }
    for key, members in sorted(by_group.items(), key=lambda item: (item[1][0].spec.dataset, item[0])):
        group = Group(key, members, delta=delta)
        document["groups"].append(group.describe())
        document["curves"] += group.curves()
        document["missing"] += missing(group)
    return document


def missing(group: Group) -> list[dict[str, str]]:
    """What a reader would want beside these curves, and the command that makes it."""
    spec = group.spec
    command = f"anchorbench train --dataset {spec.dataset} --size {spec.size} --train-rung {spec.band_rung}"
    out = []
    name = group.provenance["display_name"]
    models = {f.spec.model for f in group.methods}
    for model in sorted(models):
        has_baseline = any(f.spec.method == "baseline" and f.spec.model == model for f in group.methods)
        has_native = any(f.spec.model == model for f in group.native_families)
        if not (has_baseline and has_native):
            lacking = " and ".join(n for n, there in (("baseline", has_baseline), ("native", has_native)) if not there)
            out.append(
                {
                    "what": f"{name}: no {lacking} for {model}, so headroom is not shown",
                    "command": f"{command} --model {model} --method baseline --with-references",
                }
            )
    for family in group.methods:
        if len(family.seeds) < 3:
            out.append(
                {
                    "what": f"{name}: {family.spec.method} has {len(family.seeds)} of the 3 seeds that an interval "
                    "over seeds needs",
                    "command": f"{command} --model {family.spec.model} --method {family.spec.method} --seeds 3",
                }
            )
    return out
