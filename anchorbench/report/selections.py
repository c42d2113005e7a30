"""What choosing frequencies was worth, over all runs of `represent` in a folder: one table a question.

    worth      PSNR of the chosen networks on the rung that was fitted and on the finest, and its gain over the default
    foretold   rank correlation of the distance before training with PSNR and SSIM after it, and what the choice loses
    agreement  do two networks call the same fields fast?  Kendall's τ of the settings that were chosen
    rungs      the same PSNR on the finest rung, fitted on one rung after another

A field is what repeats: its numbers are means over seeds, and intervals are Student's over fields (95 %).  Gains are
taken field by field, so that fields that are hard for every network do not widen them.

A search trains every setting as it would train alone (tested), so where `fresh` or the default was not run by itself,
its row is that of the search's network with its setting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from anchorbench.analysis.foretelling import Mean, agreement, rank_correlations
from anchorbench.config import RunSpec
from anchorbench.data.ladder import find_ladder
from anchorbench.errors import RunError
from anchorbench.models.coordinate_options import knob_of
from anchorbench.models.registry import BUILT_IN
from anchorbench.report.studies import Studies
from anchorbench.runs.selection import foretold, price, read_selection
from anchorbench.runs.sensitivity import sensitivity
from anchorbench.runs.session import Session
from anchorbench.runs.store import find_runs

#: What tells families apart, in the tables' order.
Key = tuple[str, int, str, str, str]
KEYS = ("dataset", "rung", "model", "label", "method")


@dataclass
class Fits:
    """The runs of one row, one a seed."""

    key: Key
    #: What the network's own options have for the number that is chosen; None: it hangs on the grid.
    usual: float | None = None
    seeds: list[int] = field(default_factory=list)
    found: list[xr.Dataset] = field(default_factory=list)

    def score(self, name: str, rung: int) -> np.ndarray:
        """Of the chosen networks, the mean over seeds: (field,)."""
        return np.asarray(np.mean([chosen(data, name, rung) for data in self.found], axis=0))

    @property
    def rungs(self) -> list[int]:
        return [int(rung) for rung in self.found[0]["rung"].values]

    def settings(self) -> np.ndarray:
        """The number of the setting of least distance, of the first seed's noise and points: (field,)."""
        return np.asarray(self.found[0]["distance"].values.argmin(1))


def chosen(data: xr.Dataset, name: str, rung: int) -> np.ndarray:
    """A score of the network that speaks for each field: (field,)."""
    scores, which = data[name].sel(rung=rung).values, data["chosen"].values
    return np.asarray(scores[np.arange(len(which)), which], dtype=float)


def gather(results: Path) -> dict[Key, Fits]:
    """The finished runs of `represent`, by dataset, fitted rung, network, label and method.

    Raises RunError where there is none.
    """
    studies = Studies.read(results)
    found: dict[Key, Fits] = {}
    for run in find_runs(results):
        if run.spec.task != "represent" or run.spec.kind != "method" or not run.finished:
            continue
        data = read_selection(run.path)
        if data is None:
            continue
        spec, label = run.spec, studies.words(run.path.name).label or ""
        key = (spec.dataset, spec.train_rung, spec.model, label, spec.method)
        fits = found.setdefault(key, Fits(key, usual_setting(spec)))
        fits.seeds.append(spec.seed)
        fits.found.append(data)
    if not found:
        raise RunError(
            f"there is no finished run of represent in {results}",
            do="anchorbench train --task represent --method fresh",
        )
    return with_parts_of_searches(found)


def usual_setting(spec: RunSpec) -> float | None:
    """The number that sets the frequencies, as the model's options have it; None where they leave it open."""
    options = BUILT_IN[spec.model].options(**spec.model_options)
    value = getattr(options, knob_of(options)[0])
    return None if value is None else float(value)


def with_parts_of_searches(found: Mapping[Key, Fits]) -> dict[Key, Fits]:
    """The same, and for each search the rows of `fresh` and of the default that no run of their own tells."""
    out = dict(found)
    for key, search in found.items():
        if key[4] != "grid_search":
            continue
        parts = {"fresh": [data.assign(chosen=data["distance"].argmin("setting")) for data in search.found]}
        settings = search.found[0]["setting"].values
        if search.usual is not None and (same := np.flatnonzero(np.isclose(settings, search.usual))).size:
            parts["baseline"] = [data.assign(chosen=0 * data["chosen"] + int(same[0])) for data in search.found]
        for method, data in parts.items():
            own = (*key[:4], method)
            if own not in found or len(found[own].seeds) < len(search.seeds):
                out[own] = Fits(own, search.usual, list(search.seeds), data)
    return out


def worth(found: Mapping[Key, Fits]) -> pd.DataFrame:
    """A row a dataset, rung, network, label and method; gains over the default of the same label, or without one."""
    rows = []
    for key, fits in sorted(found.items()):
        fitted, finest = key[1], max(fits.rungs)
        default = found.get((*key[:4], "baseline")) or found.get((*key[:3], "", "baseline"))
        row: dict[str, Any] = dict(zip(KEYS, key, strict=True)) | {"seeds": len(fits.seeds), "finest": finest}
        for where, rung in (("fitted", fitted), ("finest", finest)):
            own = fits.score("psnr", rung)
            row |= spread(f"psnr_{where}", own)
            row[f"ssim_{where}"] = float(np.nanmean(fits.score("ssim", rung)))
            if default is not None and default is not fits and default.score("psnr", rung).shape == own.shape:
                row |= spread(f"gain_{where}", own - default.score("psnr", rung))
        knobs = np.concatenate([_knobs(data) for data in fits.found])
        row["settings"] = ", ".join(f"{value:g}" for value in sorted(set(knobs.round(4).tolist())))
        row["moved"] = float(np.mean([_of_chosen(data, "moved").mean() for data in fits.found]))
        if "distance" in fits.found[0]:
            prices = [p for data in fits.found if (p := price(data)) is not None]
            row["price"] = float(np.mean(prices)) if prices and fits.found[0].sizes["trained"] == 1 else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def told(found: Mapping[Key, Fits]) -> pd.DataFrame:
    """Of the searches, which trained every setting: what the distance before training said of the scores after it."""
    rows = []
    for key, fits in sorted(found.items()):
        if key[4] != "grid_search" or any(data.sizes["trained"] < 2 for data in fits.found):
            continue
        for where, rung in (("fitted", key[1]), ("finest", max(fits.rungs))):
            row: dict[str, Any] = dict(zip(KEYS, key, strict=True)) | {"where": where, "scored": rung}
            by_score: dict[str, list[Any]] = defaultdict(list)
            for data in fits.found:
                for score in ("psnr", "ssim"):
                    if (known := foretold(data, score=score, rung=rung)) is not None:
                        by_score[score].append(known)
            if not by_score["psnr"]:
                continue
            for score, all_seeds in by_score.items():
                ranks = [
                    rank_correlations(data["distance"].values, data[score].sel(rung=rung).values) for data in fits.found
                ]
                row |= spread(f"rank_{score}", np.mean(ranks, axis=0))
                row[f"linear_{score}"] = float(np.mean([one.linear.mean for one in all_seeds]))
            row["lost"] = float(np.mean([one.lost.mean for one in by_score["psnr"]]))
            row["same"] = float(np.mean([one.same for one in by_score["psnr"]]))
            rows.append(row)
    return pd.DataFrame(rows)


def mismatch(found: Mapping[Key, Fits]) -> pd.DataFrame:
    """How near the spectra of a network come to the field's at all: the least distance over settings, and its range."""
    rows = []
    for key, fits in sorted(found.items()):
        if key[4] == "grid_search" and not key[3]:
            apart = np.mean([data["distance"].values for data in fits.found], axis=0)
            row: dict[str, Any] = dict(zip(KEYS, key, strict=True)) | {"bins": fits.found[0].sizes["bin"]}
            row |= {"least": apart.min(1).mean(), "spread": np.ptp(apart, axis=1).mean()}
            quality = fits.found[0]["psnr"].sel(rung=key[1]).values
            row["rank"] = float(np.nanmean(rank_correlations(fits.found[0]["distance"].values, quality)))
            rows.append(row)
    return pd.DataFrame(rows)


def sensitivities(results: Path, *, cache: Path) -> pd.DataFrame:
    """Mean over datasets, by network, of what else would have been chosen with fewer bins or draws, or another form."""
    rows: list[dict[str, Any]] = []
    for run in find_runs(results):
        spec = run.spec
        data = read_selection(run.path) if run.finished and spec.method == "grid_search" else None
        if data is None or spec.seed > 0 or spec.method_options.get("noise"):
            continue
        ladder = find_ladder(spec.dataset, spec.source, spec.size, spec.ladder, cache)
        rows += [{"model": spec.model, **row} for row in sensitivity(Session(spec, ladder, torch.device("cpu")), data)]
    table = pd.DataFrame(rows).groupby(["model", "varied", "to"], sort=False)
    return table[["same", "lost"]].mean().reset_index()


def agreements(found: Mapping[Key, Fits]) -> pd.DataFrame:
    """τ of the chosen settings of every two networks, over the fields of all datasets that both have; label-free runs.

    Settings are compared by their place on their grids: an ω has no unit in common with a σ.
    """
    by_model: dict[str, dict[tuple[str, int], np.ndarray]] = defaultdict(dict)
    for (dataset, rung, model, label, method), fits in found.items():
        if method == "fresh" and not label:
            by_model[model][dataset, rung] = fits.settings()
    rows = []
    for first, second in combinations(sorted(by_model), 2):
        shared = sorted(
            at for at in by_model[first].keys() & by_model[second].keys()
            if len(by_model[first][at]) == len(by_model[second][at])
        )  # fmt: skip
        if shared:
            a, b = (np.concatenate([by_model[model][at] for at in shared]) for model in (first, second))
            rows.append({"first": first, "second": second, "fields": len(a), "tau": agreement(a, b)})
    return pd.DataFrame(rows)


def rungs(found: Mapping[Key, Fits]) -> pd.DataFrame:
    """PSNR on the finest rung against the rung that was fitted, where a row has two rungs or more; label-free runs."""
    rows = []
    for (dataset, rung, model, label, method), fits in sorted(found.items()):
        if not label:
            finest = max(fits.rungs)
            knobs = float(np.median(np.concatenate([_knobs(data) for data in fits.found])))
            row: dict[str, Any] = {"dataset": dataset, "model": model, "method": method, "rung": rung, "finest": finest}
            rows.append(row | spread("psnr", fits.score("psnr", finest)) | {"setting": knobs})
    table = pd.DataFrame(rows)
    several = table.groupby(["dataset", "model", "method"])["rung"].transform("nunique") > 1
    return table[several].reset_index(drop=True)


def spread(name: str, values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """The mean over fields and its interval, NaN where there is none."""
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).any():
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    mean = Mean.of(values)
    low, high = (np.nan if end is None else end for end in (mean.low, mean.high))
    return {name: mean.mean, f"{name}_low": low, f"{name}_high": high}


def _knobs(data: xr.Dataset) -> np.ndarray:
    return _of_chosen(data, "knob")


def _of_chosen(data: xr.Dataset, name: str) -> np.ndarray:
    which = data["chosen"].values
    return np.asarray(data[name].values[np.arange(len(which)), which], dtype=float)
