"""Effective resolution of each curve on each rung, from the spectra that a group keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from anchorbench.analysis import coherence, effective_wavenumber
from anchorbench.report.document import Group, at, finite, fixed, group_rungs
from anchorbench.report.style import array

#: The columns of the table, in order: the key of a row, and its heading.
COLUMNS = {
    "label": "Curve",
    "rung": "Rung",
    "k": "Effective wavenumber",
    "wavelength": "Wavelength",
    "of_train": "Of ρ₀'s Nyquist",
    "of_rung": "Of the rung's last wave",
}
CAPTION = (
    "Effective resolution: the wavenumber where the squared coherence with the truth falls below one half. A model "
    "that gains by a finer grid knows finer waves there; the same wavenumber on every rung is an anchor."
)


def effective(group: Group) -> list[dict[str, Any]]:
    """label, rung, k (null: below the first wave), at_least, of_train = k / k_Nyquist(ρ₀), of_rung = k / the last ring.

    Empty where the group keeps no spectra of errors.
    """
    spectra: Mapping[str, Any] = group.get("spectra") or {}
    cut = finite(spectra.get("k_train_nyquist"))
    out = []
    for label, predictions in (spectra.get("predictions") or {}).items():
        errors = at(spectra.get("error"), label)
        for rung in group_rungs(group, ()):
            rows = [array(at(of, rung)) for of in (predictions, spectra.get("truth"), errors, spectra.get("k"))]
            if not rows[0].size or len({row.size for row in rows}) > 1:
                continue
            found = effective_wavenumber(rows[3], coherence(*rows[:3]))
            if found is None:
                continue
            out.append({
                "label": label,
                "rung": rung,
                **found.to_dict(),
                "of_train": None if found.k is None or not cut else found.k / cut,
                "of_rung": None if found.k is None else found.k / float(rows[3][-1]),
            })  # fmt: skip
    return out


def effective_table(group: Group) -> list[dict[str, str]]:
    """A row a curve and rung, as it is shown: `COLUMNS` -> text.  wavelength = 2π / k, in the unit of the grid."""
    sphere = "l" in str((group.get("spectra") or {}).get("axis") or "").split()
    return [
        {
            "label": str(row["label"]),
            "rung": f"{row['rung']:g}",
            "k": row["text"],
            # Of a degree l on the sphere a length takes its radius, which no spectrum knows.
            "wavelength": "" if row["k"] is None or sphere else _length(row["k"], at_least=row["at_least"]),
            "of_train": "" if row["of_train"] is None else fixed(row["of_train"]),
            "of_rung": "" if row["of_rung"] is None else fixed(row["of_rung"]),
        }
        for row in effective(group)
    ]


def _length(k: float, *, at_least: bool) -> str:
    return f"{'at most ' if at_least else ''}{2 * math.pi / k:.3g}"
