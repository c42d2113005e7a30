"""Rain refined in space and time: a group's ensembles as a document, and the table over all pairs of factors.

A document of a group holds, by label: the scores on the train rung, ratios of CRPS over two others with their
intervals, rank histogram, reliability, spectra of a member and of the mean, the event that its figures show, and what
the tests `factors` and `samplers` left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import xarray as xr

from anchorbench.analysis.ensemble import fss, rank_histogram, reliability
from anchorbench.analysis.factors import Estimate, crps_by_cluster, ratio, squared_by_cluster
from anchorbench.analysis.members import FSS_SHARES, FSS_THRESHOLDS, PREFIX, summary
from anchorbench.analysis.score import Sums
from anchorbench.config import LadderSpec, RunSpec, digest_of, of_rain
from anchorbench.fields import Grid
from anchorbench.report.document import Document
from anchorbench.report.scored import Family, labels

Pair = tuple[float, float]
MEAN_ONLY = "mean only"
#: Whose CRPS a run's is divided by, where they are there.
AGAINST = (MEAN_ONLY, "bicubic", "climatology")


def is_refined_rain(spec: RunSpec, ladder: LadderSpec) -> bool:
    return spec.task == "super_resolve" and of_rain(ladder.variables)


def precipitation(methods: Sequence[Family], references: Sequence[Family], ladder: LadderSpec) -> dict[str, Any] | None:
    """The document of one group; None where it is of something else, or its runs kept no scores of members."""
    known = [f for f in (*methods, *references) if is_refined_rain(f.spec, ladder)]
    references = [f for f in references if f.spec.method != "oracle_lowpass"]  # it has seen the truth
    named = dict(zip([*labels(methods), *(f.spec.method for f in references)], (*methods, *references), strict=True))
    sums = {label: found for label, family in named.items() if (found := _sums(family)) is not None}
    if not known or not sums:
        return None
    spec, grid = known[0].spec, Grid.from_dict(ladder.grid).with_rung(known[0].spec.band_rung)
    plain = {_role(named[label], label): label for label in sums}
    crps = {label: crps_by_cluster(found) for label, found in sums.items()}
    against = {name: crps[plain[name]] for name in AGAINST if name in plain}
    nearest = sums.get("nearest")
    events = [ladder.dataset, ladder.source, ladder.size, ladder.origin, ladder.grid, spec.band_rung]
    event = _event({label: named[label] for label in sums})
    return {
        "truth": event["truth"] is not None,
        "events": digest_of(events)[:12],
        "pair": [spec.band_rung / (spec.input_rung or spec.band_rung), spec.time_factor],
        "hour": ladder.time_step,
        "rows": [
            {
                "label": label,
                "role": _role(named[label], label),
                "trained": named[label].spec.train is not None,
                **(summary([found]) or {}),
                "skill": _skill(found, nearest),
                "fss": _fss(found, grid),
                "worst_mass": _worst_mass(found),
                "over": {
                    name: with_interval(ratio(crps[label], other))
                    for name, other in against.items()
                    if plain[name] != label
                },
                "squared": squared_by_cluster(found).tolist(),
            }
            for label, found in sums.items()
        ],
        "ranks": {label: rank_histogram(_bare(s))[:, 0].tolist() for label, s in sums.items() if _several(s)},
        "reliability": {label: _reliability(s) for label, s in sums.items() if _several(s)},
        "spectra": _spectra({label: named[label] for label in sums}, spec.band_rung),
        "fields": event,
        "extent": list(grid.extent),
        "factors": {label: asked for label, f in named.items() if (asked := _factors(f)) is not None},
        "samplers": {label: drawn for label, f in named.items() if (drawn := _samplers(f)) is not None},
    }


def _role(family: Family, label: str) -> str:
    """What a row is, whatever it is called: `mean only` of a diffusion without its denoiser."""
    if family.spec.method_options.get("denoiser") == "none":
        return MEAN_ONLY
    return family.spec.method if family.spec.train is None else label


def _sums(family: Family) -> Sums | None:
    """Of all seeds together, on the train rung; None where the run kept none."""
    rung, found = family.spec.band_rung, []
    for run in family.runs:
        names = [str(name) for name in run.data.data_vars if str(name).startswith(PREFIX)]
        names = [name for name in names if not name.startswith(f"{PREFIX}spread_")]
        if not names or rung not in run.data["rung"].values:
            return None
        found.append(Sums({name: run.data[name].sel(rung=rung).values for name in names}))
    return reduce(add, found)


def _bare(sums: Sums) -> Sums:
    return Sums({name.removeprefix(PREFIX): values for name, values in sums.arrays.items()})


def _several(sums: Sums) -> bool:
    return f"{PREFIX}variance" in set(sums)


def with_interval(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "interval": None if found.interval is None else list(found.interval)}


def _skill(sums: Sums, nearest: Sums | None) -> float | None:
    """1 − MSE / MSE of the coarse frame as it is: how much of what the input cannot hold was found."""
    if nearest is None:
        return None
    return 1 - float(squared_by_cluster(sums).sum() / squared_by_cluster(nearest).sum())


def _fss(sums: Sums, grid: Grid) -> float:
    scale = FSS_SHARES[-1] * min(grid.extent)
    return float(fss(_bare(sums), scale=scale, threshold=FSS_THRESHOLDS[-1])[0])


def _worst_mass(sums: Sums) -> float | None:
    """The largest error of an event's mass, as a share of it; of events with less than a hundredth of the mean none."""
    made, truth = (sums[f"{PREFIX}{name}"][:, 0] for name in ("members_mass", "truth_mass"))
    wet = truth > 0.01 * truth.mean()
    return float(np.abs(made[wet] / truth[wet] - 1).max()) if wet.any() else None


def _reliability(sums: Sums) -> dict[str, Any]:
    bare = _bare(sums)
    members = sum(name.startswith("rank_") for name in bare) - 1
    out: dict[str, Any] = {"members": members}
    for threshold in FSS_THRESHOLDS:
        often, share = reliability(bare, threshold=threshold, members=members)
        out[f"{threshold:g}"] = {"seen": often[:, 0].tolist(), "share": share[:, 0].tolist()}
    return out


def _spectra(named: Mapping[str, Family], rung: int) -> dict[str, Any]:
    out: dict[str, Any] = {"k": None, "truth": None, "mean": {}, "member": {}}
    for label, family in named.items():
        data = family.runs[0].data.sel(rung=rung)
        kept = np.isfinite(data["spectrum_truth"].values)
        out["k"], out["truth"] = data["k"].values[kept].tolist(), data["spectrum_truth"].values[kept].tolist()
        out["mean"][label] = data["spectrum_prediction"].values[kept].tolist()
        if "spectrum_member" in data:
            out["member"][label] = data["spectrum_member"].values[kept].tolist()
    return out


def _event(named: Mapping[str, Family]) -> dict[str, Any]:
    """truth (hour, y, x); of each label `input`, `mean` and `member`."""
    out: dict[str, Any] = {"truth": None, "predictions": {}}
    for label, family in named.items():
        path = family.runs[0].run.path / "curve.nc"
        try:
            with xr.open_dataset(path, engine="netcdf4", group="event") as data:
                held = {str(name): data[name].values for name in data.variables}
        except OSError:
            continue
        out["truth"] = held.pop("truth")
        out["predictions"][label] = held
    return out


def _factors(family: Family) -> list[dict[str, Any]] | None:
    """Scores of one model at other pairs of factors, and its squared errors by event."""
    found = [run.probes["factors"] for run in family.runs if "factors" in run.probes]
    if not found:
        return None
    rows = []
    for i in range(found[0].sizes["pair"]):
        sums, given = [], []
        for data in found:
            arrays = {str(name): data[name].values[i] for name in data.data_vars}
            sums.append(Sums({name: a for name, a in arrays.items() if name.startswith(PREFIX)}))
            given.append(Sums({n.removeprefix("nearest_"): a for n, a in arrays.items() if n.startswith("nearest_")}))
        whole, as_it_is = reduce(add, sums), reduce(add, given)
        rows.append(
            {
                "pair": [int(found[0]["space"].values[i]), int(found[0]["time"].values[i])],
                **(summary([whole]) or {}),
                "skill": _skill(whole, as_it_is),
                "squared": squared_by_cluster(whole).tolist(),
                "nearest": squared_by_cluster(as_it_is).tolist(),
            }
        )
    return rows


def _samplers(family: Family) -> list[dict[str, Any]] | None:
    found = next((run.probes["samplers"] for run in family.runs if "samplers" in run.probes), None)
    if found is None:
        return None
    rows = []
    for i, name in enumerate(found["sampler"].values.tolist()):
        sums = Sums({str(n): found[n].values[i] for n in found.data_vars if str(n).startswith(PREFIX)})
        rows.append({"sampler": name, "seconds": float(found["seconds"].values[i]), **(summary([sums]) or {})})
    return rows


# -- over all groups ---------------------------------------------------------------------------------------------------


def refined(document: Document) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each group of refined rain, and what it holds of it; by the pair of factors."""
    held = [(group, group["precipitation"]) for group in document.get("groups") or () if group.get("precipitation")]
    return iter(sorted(held, key=lambda both: (both[1]["pair"][1], both[1]["pair"][0])))
