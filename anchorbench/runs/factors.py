"""A ladder for a pair of factors, where nobody asked for rungs: `train --factor 10 --time-factor 3`.

    tile     N₀ points a side of the source's own cells: the multiple of the factor nearest to TILE, no less than two
             cells of the input wide; it is the train rung and the finest
    rungs    N₀/s and N₀
    frames   enough for L coarse frames of T of every published pair, and of this one

Published (Defez et al. 2026): tiles of 100 cells of 1 km, which is `small` and `full` here.  Their rule for rungs is
none, as each pair has its own data; that of frames is ours, so that pairs are scored on the same events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from anchorbench.config import load_preset, merged, validated
from anchorbench.data.catalog import Catalog, DatasetEntry
from anchorbench.data.fetch import Request, request
from anchorbench.methods.scale import PUBLISHED, setting
from anchorbench.runs.task import TaskOptions

SUPER_RESOLVE = "super_resolve"
TILE = {"tiny": 20, "small": 100, "full": 100}
FEWEST_CELLS = 2
#: A torus is this much wider than the box that is cut from it.
MARGIN = 1.5


def implied_task(entry: DatasetEntry, task: str | None, settings: Mapping[str, Any]) -> str:
    """The task that was asked for; without one super_resolve where a factor is given and the dataset has it."""
    given = settings.get("task", {})
    refined = isinstance(given, Mapping) and (given.get("factor") is not None or given.get("time_factor", 1) != 1)
    if task is None and refined and SUPER_RESOLVE in entry.tasks:
        return SUPER_RESOLVE
    return task or entry.default_task


def request_for_factors(
    catalog: Catalog,
    dataset: str,
    *,
    size: str,
    source: str,
    data: Mapping[str, Any],
    task: str | None,
    settings: Mapping[str, Any],
    train_rung: int | None,
) -> tuple[Request, int | None]:
    """The ladder that the words mean, and its train rung where the factors chose it.

    The factors choose where one is given, no rung is, and the dataset's own ladder lacks it: in space a rung so much
    coarser than its train rung, in time frames enough for the published context.
    """

    def asked(changes: Mapping[str, Any]) -> Request:
        return request(catalog, dataset, size=size, source=source, settings=changes)

    wanted = asked(data)
    if implied_task(wanted.entry, task, settings) != SUPER_RESOLVE or "rungs" in data or train_rung is not None:
        return wanted, None
    preset = load_preset(wanted.spec.size, dataset, task=SUPER_RESOLVE)
    options = validated(TaskOptions, merged(preset.task, settings.get("task", {})), where="task")
    if (options.factor is None and options.time_factor == 1) or holds(wanted, options):
        return wanted, None
    made = ladder_settings(wanted, options)
    if made is None:
        return wanted, None
    refined = asked(merged(made, data))
    return replace(refined, by_catalogue=wanted.by_catalogue), max(refined.spec.rungs)


def holds(wanted: Request, options: TaskOptions) -> bool:
    """Whether the ladder has the rungs and frames for the factors."""
    rung, factor = wanted.size.train_rung, options.factor or 1
    frames = getattr(wanted.options, "frames", None)
    needed = coarse_frames_of(options) * options.time_factor
    return rung % factor == 0 and rung // factor in wanted.spec.rungs and (frames is None or frames >= needed)


def ladder_settings(wanted: Request, options: TaskOptions) -> dict[str, Any] | None:
    """What `data` must say for these factors; None where the source's cells are no box that can be cut smaller."""
    if wanted.size.crop is None or wanted.spec.restriction != "block_mean":
        return None
    factor = options.factor or 1
    tile = factor * max(FEWEST_CELLS, round(TILE[wanted.spec.size] / factor))
    frames = max(
        coarse_frames_of(options) * options.time_factor, *(one.frames * time for (_, time), one in PUBLISHED.items())
    )
    rungs = [tile // factor, tile] if factor > 1 else [tile]
    known = type(wanted.options).model_fields
    reader: dict[str, Any] = {"frames": frames} if "frames" in known else {}
    if "torus" in known:
        reader |= {"spacing": 1.0, "torus": round(MARGIN * tile)}
    return {"rungs": rungs, "crop": tile, **reader}


def coarse_frames_of(options: TaskOptions) -> int:
    """L as asked for, else as published for the factors; without a factor in time the frames are the dataset's."""
    return options.frames or setting(options.factor or 1, options.time_factor).frames
