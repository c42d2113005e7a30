"""The curves of a report in the forms that others read, beside Parquet and JSON: CSV, NetCDF and LaTeX.

Each holds the same numbers as the page; what is not scored is empty, NaN or a dash, by the form's own custom.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anchorbench.errors import ConfigError, unknown
from anchorbench.report.document import (
    Curve,
    Document,
    Group,
    finite,
    group_rungs,
    heading,
    label_of,
    pair,
    value_at,
)

#: Form: the files that it writes.
TABLES = {
    "csv": ("curves.csv", "summary.csv"),
    "netcdf": ("curves.nc",),
    "latex": ("tables.tex",),
}
#: By rung, with an interval: name in a document, name and what it is in a NetCDF file.
SCORED = {
    "error": ("resolved_error", "resolved error E_res, in units of sigma"),
    "unseen": ("unseen_error", "unseen error E_uns, in units of sigma"),
    "total": ("total_error", "total error, in units of sigma"),
    "skill": ("unseen_skill", "skill in the unseen band S"),
}
WORDS = ("kind", "method", "model", "track", "verdict", "second_word", "interval_kind", "words")


def known_forms(names: Sequence[str] | None) -> tuple[str, ...]:
    """The forms asked for; all without names.  Raises ConfigError, with the nearest name."""
    for name in names or ():
        if name not in TABLES:
            raise ConfigError(unknown("table", name, TABLES))
    return tuple(dict.fromkeys(names)) if names else tuple(TABLES)


def write_forms(document: Document, folder: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Write the forms' files into the folder, each whole or not at all; returns their paths.

    A file of a form that was not asked for is removed: it would be another report's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted, written = known_forms(names), []
    for name, files in TABLES.items():
        for file in files:
            path = folder / file
            if name not in wanted:
                path.unlink(missing_ok=True)
                continue
            beside = path.with_name(f".{file}.{os.getpid()}")
            try:
                WRITERS[file](document, beside)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
            written.append(path)
    return written


def _curves_csv(document: Document, path: Path) -> None:
    from anchorbench.report.tables import curves_frame

    curves_frame(document).to_csv(path, index=False)


def _summary_csv(document: Document, path: Path) -> None:
    from anchorbench.report.tables import summary_frame

    summary_frame(document).to_csv(path, index=False)


def _latex(document: Document, path: Path) -> None:
    from anchorbench.report.latex import latex

    path.write_text(latex(document), encoding="utf-8")


def netcdf(document: Document, path: Path) -> None:
    """CF-1.11: a group of the file a group of the report, dimensions (curve, rung); every curve, none left out.

    resolved_error, unseen_error, total_error, unseen_skill with _low and _high; ratio, anchoring_index, seen; of each
    curve its slope and words.  NaN is not scored.
    """
    import xarray as xr

    root = xr.Dataset(attrs={
        "Conventions": "CF-1.11",
        "title": "error against resolution",
        "source": f"anchorbench {document.get('version')}",
        "history": f"{document.get('made')} report",
    })  # fmt: skip
    root.to_netcdf(path, engine="netcdf4")
    for n, group in enumerate(document.get("groups") or ()):
        curves = [c for c in document.get("curves") or () if c.get("group") == group.get("id")]
        if curves:
            _dataset(group, curves).to_netcdf(path, engine="netcdf4", mode="a", group=f"group{n:02d}")


def _dataset(group: Group, curves: Sequence[Curve]) -> Any:
    import numpy as np
    import xarray as xr

    rungs = group_rungs(group, curves)
    both = ("curve", "rung")

    def table(of: Callable[[Curve, float], float | None]) -> Any:
        return np.array([[_nan(of(curve, rung)) for rung in rungs] for curve in curves], dtype=float)

    data = xr.Dataset(
        coords={
            "curve": ("curve", [label_of(c) for c in curves], {"long_name": "model or reference"}),
            "rung": ("rung", np.array(rungs, dtype=float), {"long_name": "points per axis", "units": "1"}),
        },
        attrs={
            name: value
            for name, value in (
                ("title", heading(group)),
                *((key, group.get(key)) for key in ("dataset", "source", "size", "task", "variable", "restriction")),
                *((key, finite(group.get(key))) for key in ("train_rung", "sigma", "lead")),
                *((key, group.get(key)) for key in ("unit", "lead_unit", "terms")),
            )
            if value is not None
        },
    )
    for key, (name, said) in SCORED.items():
        attrs = {"long_name": said, "units": "1"}
        data[name] = (both, table(partial(_score, key)), attrs)
        for which in ("low", "high"):
            ends = table(partial(_end, key, which))
            data[f"{name}_{which}"] = (both, ends, {**attrs, "long_name": f"{said}, {which} end of its interval"})
    data["ratio"] = (
        both,
        table(lambda c, r: finite(value_at(c, r, "ratio", "own"))),
        {"long_name": "the papers' ratio RMSE(rung)/RMSE(train rung), total error; no verdict", "units": "1"},
    )
    data["anchoring_index"] = (
        both,
        table(lambda c, r: finite(value_at(c, r, "anchoring_index"))),
        {"long_name": "anchoring index A", "units": "1"},
    )
    seen = [[rung in {finite(r) for r in c.get("seen_rungs") or ()} for rung in rungs] for c in curves]
    data["seen"] = (both, np.array(seen, dtype="i1"), {"long_name": "training saw this rung"})
    numbers: Mapping[str, Sequence[float | None]] = {
        "slope": [finite(c.get("slope")) for c in curves],
        "slope_low": [(pair(c.get("interval")) or (None, None))[0] for c in curves],
        "slope_high": [(pair(c.get("interval")) or (None, None))[1] for c in curves],
    }
    for name, values in numbers.items():
        attrs = {"long_name": "slope of log E_res on log N", "units": "1"}
        data[name] = ("curve", np.array([_nan(v) for v in values]), attrs)
    for word in WORDS:
        data[word] = ("curve", [str(c.get(word) or "") for c in curves])
    return data


def _score(key: str, curve: Curve, rung: float) -> float | None:
    return finite(value_at(curve, rung, key))


def _end(key: str, which: str, curve: Curve, rung: float) -> float | None:
    return (pair(value_at(curve, rung, f"{key}_interval")) or (None, None))[which == "high"]


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


WRITERS: Mapping[str, Callable[[Document, Path], None]] = {
    "curves.csv": _curves_csv,
    "summary.csv": _summary_csv,
    "curves.nc": netcdf,
    "tables.tex": _latex,
}
