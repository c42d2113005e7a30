"""From the runs in a results folder to a report document.

Runs of one ladder, task, lead and scored band make a group; runs that differ only in their seed make a curve.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anchorbench
from anchorbench.config import LadderSpec
from anchorbench.errors import RunError
from anchorbench.report.group import Group
from anchorbench.report.merge import merged
from anchorbench.report.missing import commands, missing, unfinished
from anchorbench.report.scored import Scored
from anchorbench.report.studies import Studies, label_of_row
from anchorbench.runs.plan import group_key


def collect(results: Path | Sequence[Path], *, delta: float = 0.1, dataset: str | None = None) -> dict[str, Any]:
    """The report document of all finished runs of a folder, or of several as one (`merge.py`).

    Raises RunError where there is none.
    """
    folders = [results] if isinstance(results, Path) else list(results)
    runs, words = merged(folders, dataset=dataset)
    studies = Studies.read(*folders)
    finished = [Scored(run, studies.words(run.path.name)) for run in runs if run.finished]
    if not finished:
        raise RunError(
            f"there is no finished run in {', '.join(map(str, folders))}"
            + (f" ({len(runs)} unfinished)" if runs else ""),
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
        "not_run": [],
        "missing": [],
        "folders": [folder.resolve().name for folder in folders],
        "words": words,
    }
    ladders: dict[str, LadderSpec] = {}
    group_of_run: dict[str, str] = {}
    groups = [
        Group(key, members, delta=delta)
        for key, members in sorted(by_group.items(), key=lambda item: (item[1][0].spec.dataset, item[0]))
    ]
    for group, apart in zip(groups, told_apart(groups), strict=True):
        document["groups"].append(group.describe() | {"apart": apart, "commands": commands(group)})
        document["curves"] += group.curves()
        document["missing"] += missing(group)
        ladders[group.ladder.digest] = group.ladder
        group_of_run |= {member.run.path.name: group.key for member in group.members}

    def group_of(cell: Mapping[str, Any], neighbours: Sequence[str]) -> str | None:
        there = [group_of_run[folder] for folder in neighbours if folder in group_of_run]
        if (digest := cell.get("ladder")) is not None:
            on_ladder = [group.key for group in groups if group.ladder.digest == digest]
            there = [key for key in there if key in on_ladder] or on_ladder
        return next(iter(there), None)

    rows = studies.not_run(
        finished={run.path.name for run in runs if run.finished},
        begun={run.path.name for run in runs},
        dataset=dataset,
        group_of=group_of,
    )
    models = {group.key: {family.spec.model for family in group.methods} for group in groups}
    document["not_run"] = [row | {"label": label_of_row(row, models.get(row["group"], set()))} for row in rows]
    document["missing"][:0] = [unfinished(run, runs, ladders) for run in runs if not run.finished]
    return document


def told_apart(groups: Sequence[Group]) -> list[str]:
    """What tells groups of one heading apart, in words: `viscosity 0.002`; empty where the heading is one's own."""
    facts = [_facts(group) for group in groups]
    out = []
    for i, group in enumerate(groups):
        twins = [facts[j] for j, other in enumerate(groups) if j != i and _heading(other) == _heading(group)]
        telling = [name for name, value in facts[i].items() if any(twin.get(name) != value for twin in twins)]
        out.append(", ".join(f"{name.replace('_', ' ')} {facts[i][name]}" for name in telling))
    return out


def _heading(group: Group) -> tuple[Any, ...]:
    return group.provenance["display_name"], group.variable.name, group.spec.lead * group.ladder.time_step


def _facts(group: Group) -> dict[str, Any]:
    """What two groups of one heading may differ in, plain words first."""
    spec, ladder = group.spec, group.ladder
    facts = {"task": spec.task, "size": spec.size, "train rung": spec.band_rung, "input rung": spec.input_rung}
    facts |= {"restriction": ladder.restriction, "rungs": ", ".join(map(str, ladder.rungs))}
    return facts | {str(k): v for k, v in ladder.origin.items() if not isinstance(v, Mapping | list)}
