"""What the sweeps of a results folder tell of its runs: label and footing of each, and the rows that were not run.

`anchorbench sweep` leaves `sweep-<study>.json`: its cells with the folders of their runs, the cells that were refused,
and the runs that failed.  A run that is finished now is no longer a failed one, whoever finished it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.errors import RunError

SCHEMA = 1
#: `footing` of a study or a spec, as a table says it.
FOOTINGS = {"cost": "equal cost", "parameters": "equal parameters"}
AS_SET = "as set"
#: Of two records of one row the worse is shown.
STATES = ("failed", "refused", "not finished", "not begun")
#: What follows the dataset in a run's folder; a native run's method bears its rung.
_FOLDER = re.compile(r"-(?P<method>[a-z_]+?)\d*-(?P<model>.+)-s(?P<seed>\d+)-[0-9a-f]{8}")


@dataclass(frozen=True)
class Words:
    """What studies call a run's row, and the footing that it stands on; None: nothing was said."""

    label: str | None = None
    footing: str | None = None


@dataclass(frozen=True)
class Studies:
    """The sweeps of a folder, by their records."""

    records: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, *results: Path) -> Studies:
        """Of one folder, or of several.  Raises RunError for a record that does not read, or of another version."""
        return cls(tuple(_read(path) for folder in results for path in sorted(folder.glob("sweep-*.json"))))

    def words(self, folder: str) -> Words:
        """A run that some cell has without a label has none; labels of several studies stand side by side."""
        cells = [c for record in self.records for c in record["cells"] if folder in own_runs(c)]
        found = dict.fromkeys(cell.get("label") for cell in cells)
        footings = {cell.get("footing") for cell in cells}
        return Words(
            label=None if None in found or not found else ", ".join(str(label) for label in found),
            footing=next((word for word in FOOTINGS if word in footings), None),
        )

    def not_run(
        self,
        *,
        finished: AbstractSet[str],
        begun: AbstractSet[str],
        dataset: str | None,
        group_of: Callable[[Mapping[str, Any], Sequence[str]], str | None],
    ) -> list[dict[str, Any]]:
        """A row for each cell that was refused, and for each whose runs are not all there, with the reason.

        finished, begun: folders.  group_of: the group in which a cell's row belongs, from its words and from the runs
        of the cells that share its ladder; None where no run of it is finished.
        """
        rows = []
        for record in self.records:
            failed = {one["run"]: one["why"] for one in record["failed"]}
            told: set[str] = set()
            for cell in (*record["cells"], *record["not_run"]):
                if dataset not in (None, cell["dataset"]):
                    continue
                where = group_of(cell, _neighbours(cell, record))
                common = {"study": record["name"], "group": where, "dataset": cell["dataset"]}
                if "why" in cell:
                    rows.append(
                        common | _row(cell, "refused", cell["why"], lacking=cell["seeds"], planned=cell["seeds"])
                    )
                    continue
                own = own_runs(cell)
                for method, folders in _by_method(cell).items():
                    mine = [f for f in folders if f in own]
                    # A reference that several cells want is told of once.
                    lacking = [f for f in folders if f not in finished and f not in told]
                    told.update(lacking)
                    if not lacking:
                        continue
                    state, why = _why(lacking, failed, begun)
                    beside = {
                        "method": method,
                        "label": None,
                        "footing": None,
                        "model": _told(cell, folders[0])["model"],
                    }
                    lacks, planned = (
                        sorted({int(_told(cell, f)["seed"]) for f in some}) for some in (lacking, folders)
                    )
                    rows.append(common | _row(cell if mine else beside, state, why, lacking=lacks, planned=planned))
        return _once(rows)


def own_runs(cell: Mapping[str, Any]) -> list[str]:
    """The folders of a cell's own method, without the references, natives and baselines that stand beside it."""
    model = str(cell["model"])
    stem = Path(model.rpartition(":")[0]).stem if ":" in model else model
    return [folder for folder in cell["runs"] if folder.startswith(f"{cell['dataset']}-{cell['method']}-{stem}-s")]


def label_of_row(row: Mapping[str, Any], models: AbstractSet[str]) -> str:
    """The name of a row that was not run, as its curve would have: with its model where the group has others."""
    model = row["model"]
    name = row["method"] if model is None or models == {model} else f"{row['method']} · {Path(model).name}"
    return f"{name} ({row['study_label']})" if row["study_label"] else str(name)


def footing_of(words: Words, spec_footing: str | None) -> str:
    """`equal cost`, `equal parameters` or `as set`: a study's word, else the spec's own.

    The yardstick itself is changed by nothing and its spec says nothing; its study does.
    """
    return FOOTINGS.get(words.footing or spec_footing or "", AS_SET)


def _read(path: Path) -> Mapping[str, Any]:
    again = "carry out the sweep again: finished runs are not repeated; or move the file away"
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        if record["schema"] != SCHEMA:
            raise RunError(f"{path} has schema {record['schema']}; this version reads {SCHEMA}", do=again)
        for part in ("cells", "not_run"):
            for cell in record[part]:
                _ = cell["dataset"], cell["model"], cell["method"], cell["runs" if part == "cells" else "seeds"]
        _ = record["name"], [(one["run"], one["why"]) for one in record["failed"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{path} is no record of a sweep", do=again) from None
    return record


def _neighbours(cell: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """Runs on the cell's ladder, the likeliest first: its own, those of its label, those of its words."""

    def place(one: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(one.get(word) for word in ("dataset", "source", "task", "train_rung"))

    alike = [one for one in record["cells"] if place(one) == place(cell)]
    alike.sort(key=lambda one: one.get("label") != cell.get("label"))
    return [*cell.get("runs", ()), *(folder for one in alike for folder in one["runs"])]


def _by_method(cell: Mapping[str, Any]) -> dict[str, list[str]]:
    """A cell's runs; `native` is one row, whatever its rungs."""
    out: dict[str, list[str]] = {}
    for folder in cell["runs"]:
        if told := _told(cell, folder):
            out.setdefault(told["method"], []).append(folder)
    return out


def _told(cell: Mapping[str, Any], folder: str) -> dict[str, str]:
    """Method, model and seed by a folder's name; empty where it is no run's."""
    found = _FOLDER.fullmatch(folder.removeprefix(str(cell["dataset"])))
    return {} if found is None else found.groupdict()


def _why(lacking: Sequence[str], failed: Mapping[str, str], begun: AbstractSet[str]) -> tuple[str, str]:
    """The worst of the states, and its reason."""
    reasons = list(dict.fromkeys(str(failed[f]) for f in lacking if f in failed))
    if reasons:
        return "failed", "; ".join(reasons)
    if any(f in begun for f in lacking):
        return "not finished", "the same sweep goes on with it"
    return "not begun", "the same sweep runs it"


def _row(
    cell: Mapping[str, Any], state: str, why: str, *, lacking: Sequence[int], planned: Sequence[int]
) -> dict[str, Any]:
    return {
        "method": cell["method"],
        "model": None if cell["model"] == "none" else cell["model"],
        "study_label": cell.get("label"),
        "footing": FOOTINGS.get(str(cell.get("footing")), AS_SET),
        "state": state,
        "why": why,
        "seeds": list(lacking),
        "planned": len(planned),
        "whole": len(lacking) == len(planned),
    }


def _once(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two studies may want one row: it is shown once, with the worse reason."""
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("group", "dataset", "method", "model", "study_label", "footing"))
        if key not in kept or STATES.index(row["state"]) < STATES.index(kept[key]["state"]):
            kept[key] = row
    return list(kept.values())
