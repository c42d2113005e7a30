"""Methods against each other: the comparisons of a group as documents, and the rows of their table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anchorbench.analysis import Cells, compare
from anchorbench.config import RunSpec
from anchorbench.fields.grid import rung_name
from anchorbench.report.scored import Family, labels

#: The columns of the table, in order: the key of a row, and its heading.
COLUMNS = {
    "first": "Method",
    "second": "against",
    "what": "Quantity",
    "difference": "Difference",
    "interval": "95 % interval",
    "p": "p",
    "p_holm": "p, Holm",
    "word": "The first is",
}
MOST_METHODS = 12
"""66 pairs: with more, Holm's adjustment leaves nothing to be seen."""


def comparisons(
    methods: Sequence[Family],
    *,
    seen: Callable[[RunSpec], Sequence[int]],
    floor: Mapping[int, float],
) -> list[dict[str, Any]]:
    """Every pair of a group's methods (`analysis.compare`), of those scored on the first one's trajectories and band.

    Empty where there are fewer than two methods, or more than `MOST_METHODS`.
    """
    if not 1 < len(methods) <= MOST_METHODS:
        return []
    named: dict[str, tuple[Family, Cells]] = {}
    for label, family in zip(labels(methods), methods, strict=True):
        cells = family.cells()
        kept = next(iter(named.values()), (family, cells))
        if cells.clusters == kept[1].clusters and family.spec.band_rung == kept[0].spec.band_rung:
            named[label] = (family, cells)
    first = methods[0].spec
    found = compare(
        {label: cells for label, (_, cells) in named.items()},
        train_rung=first.band_rung,
        seen={label: seen(family.spec) for label, (family, _) in named.items()},
        floor=floor,
        fixed_input=first.input_rung is not None,
    )
    return [difference.to_dict() for difference in found]


def paired_table(told: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """A row a comparison, as it is shown: `COLUMNS` -> text; an error's difference in percent of the second's."""
    return [_row(one) for one in told]


def paired_caption(told: Sequence[Mapping[str, Any]]) -> str:
    """What stands over the table."""
    few = any(one["difference"]["given_seeds"] for one in told)
    return (
        f"Differences on the same trajectories, {len(told)} comparisons; p adjusted by Holm over all of them, so that "
        f"any false difference among them has a chance of 5 % at most. Intervals are each one's own."
        + (" Below three seeds a difference is of these weights, not of the methods." if few else "")
    )


def _row(one: Mapping[str, Any]) -> dict[str, str]:
    found = one["difference"]
    slope = one["what"] == "slope"
    rungs = [int(r) for r in one["rungs"]]
    values = [found["estimate"], found["low"], found["high"]]
    shown = [f"{v:+.2f}" if slope else _percent(v) for v in values]
    value, low, high = (text.replace("-", "−") for text in shown)
    return {
        "first": str(one["first"]),
        "second": str(one["second"]),
        "what": f"slope, {rung_name(rungs[0])} to {rung_name(rungs[-1])}"
        if slope
        else f"E_res on {rung_name(rungs[0])}",
        "difference": value,
        "interval": f"[{low}, {high}]",
        "p": _p(one["p"]),
        "p_holm": _p(one["p_holm"]),
        "word": str(one["word"]),
    }


def _percent(log_ratio: float) -> str:
    """100 (E_first / E_second − 1) %; beyond a factor 10 that factor."""
    ratio = math.exp(min(log_ratio, 300.0))
    return f"{ratio:.3g}x" if ratio > 10 else f"{100 * (ratio - 1):+.1f} %"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
