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

__all__ = [
    "Centring",
    "CrossSpectrum",
    "Grid",
    "Kind",
    "Restriction",
    "Spectrum",
    "band_energies",
    "cross_spectrum",
    "inner",
    "mean_square",
    "project",
    "prolong",
    "radial_spectrum",
    "radial_spectrum_plain",
    "restrict",
    "restrict_weights",
    "rung_name",
    "weighted_sums",
]
