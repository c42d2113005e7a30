"""Clusters that follow one another in one record: their interval is made of blocks in time.

Blocks of radar or reanalysis share a weather system with their neighbours, so their influences z_·c are no independent
draws, and the interval over C of them is too narrow: with a correlation of 0.5 between neighbours it covers 88 %, with
0.7 81 %.  Sums over q stretches of neighbours are nearly independent, whatever the correlation inside a stretch, and
Student's t with q − 1 degrees of freedom does the rest:

    x_s,q = Σ_{c in stretch q} x_sc,   q = 1 ... Q

Source: Ibragimov and Müller, Journal of Business & Economic Statistics 28 (2010), for few groups and t; the number six
is ours, measured in tests/analysis (93 % and 90 % in the two cases above, of 24 clusters).
"""

from __future__ import annotations

import numpy as np

from anchorbench.analysis.cells import ENERGIES, Cells
from anchorbench.analysis.intervals import Array, Part
from anchorbench.errors import AnchorbenchError

STRETCHES = 6
"""Stretches of one record.  Fewer leave less between neighbours and widen t: at four, t is 3.2, at six 2.6."""

FEWEST = 4
"""Below so many clusters a correlation between neighbours says nothing."""


def in_blocks(cells: Cells, stretches: int = STRETCHES) -> Cells:
    """The same sums, neighbouring clusters added up to at most `stretches`, as equal in number as can be.

    The clusters of `cells` are in the order of time.  Pooled scores stay as they are, to the last bits; intervals do
    not.  Two runs that were paired stay paired: what is merged depends on the number of clusters alone.  With no more
    clusters than stretches nothing is merged.  Raises AnchorbenchError for fewer than two stretches.
    """
    if stretches < 2:
        raise AnchorbenchError(f"an interval takes two stretches of a record or more, not {stretches}")
    n = len(cells.clusters)
    if n <= stretches:
        return cells
    starts = np.array([part[0] for part in np.array_split(np.arange(n), stretches)])
    ends = [*starts[1:].tolist(), n]
    arrays = {name: np.add.reduceat(getattr(cells, name), starts, axis=1) for name in (*ENERGIES, "weight")}
    names = tuple(tuple(cells.clusters[i:j]) for i, j in zip(starts.tolist(), ends, strict=True))
    return Cells(rungs=cells.rungs, sigma=cells.sigma, clusters=names, **arrays)


def neighbour_correlation(found: Part) -> float | None:
    """r = Σ z_c z_{c+1} / Σ z_c² + 1/C, z_c = Σ_s z_sc: of the influences of clusters that follow one another in time.

    1/C is what r lacks in the mean where the z_c sum to zero and are independent; its standard error there is 1/√C.
    None where there are fewer than four clusters, or none differs.  One statistic of one run, no replicates.
    """
    z: Array = found.influence.sum(-2)
    square = float((z**2).sum())
    if len(z) < FEWEST or square == 0:
        return None
    return float((z[:-1] * z[1:]).sum()) / square + 1 / len(z)
