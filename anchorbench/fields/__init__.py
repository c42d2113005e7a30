"""The mathematics of a field on a grid: where its points are, how it goes to other grids, its spectra and norms.

Pure functions on tensors `(..., *grid)`, with any leading axes; differentiable, on any device.
"""

from anchorbench.fields.grid import Centring, Grid, Kind, rung_name
from anchorbench.fields.norms import inner, mean_square, weighted_sums
from anchorbench.fields.resample import Restriction, project, prolong, restrict, restrict_weights
from anchorbench.fields.spectra import (
    CrossSpectrum,
    Spectrum,
    band_energies,
    cross_spectrum,
    radial_spectrum,
    radial_spectrum_plain,
)
from anchorbench.fields.sphere import (
    analyse,
    cell_means,
    covers_sphere,
    degree_energies,
    from_cell_means,
    n_degrees,
    quadrature_weights,
    synthesise,
    vorticity_divergence,
    wind,
)

__all__ = [
    "Centring",
    "CrossSpectrum",
    "Grid",
    "Kind",
    "Restriction",
    "Spectrum",
    "analyse",
    "band_energies",
    "cell_means",
    "covers_sphere",
    "cross_spectrum",
    "degree_energies",
    "from_cell_means",
    "inner",
    "mean_square",
    "n_degrees",
    "project",
    "prolong",
    "quadrature_weights",
    "radial_spectrum",
    "radial_spectrum_plain",
    "restrict",
    "restrict_weights",
    "rung_name",
    "synthesise",
    "vorticity_divergence",
    "weighted_sums",
    "wind",
]
