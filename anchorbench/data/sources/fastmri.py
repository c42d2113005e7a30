"""mri, public: fastMRI volumes in a folder of yours; NYU hands them out after registration, so they cannot be fetched.

One HDF5 file a volume: `reconstruction_rss` (slices, 320, 320) where it is given, else `kspace` complex64 (slices,
coils, H, W), of which the root of the sum of squares over coils of the centred inverse transform is taken, as its
makers do, u = √Σ_c |F⁻¹ k_c|², cut to the middle.  The traps, each with a test:

- the readout is twice oversampled: H is not the image's height, and the picture is cut, not shrunk;
- test volumes lack `reconstruction_rss`, some volumes `attrs["max"]`, some headers a field of view;
- several volumes may be of one `patient_id`: they stay in one split and one cluster.

1 is the volume's `max`.  Voxels come from the header, `reconSpace`, field of view over matrix; rows and columns are as
stored.  Patients are sorted by the name of their first file; the first are test, then validation, then training.  The
ladder is named by the files' names and sizes, not by where they lie.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
from pydantic import Field, model_validator

from anchorbench.data.sources import Ask, Loaded, SplitFields, require
from anchorbench.data.sources.t1w import Slicing, Subjects, Volume, fitted, slice_fields, subjects_of
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid

REGISTER = "register at https://fastmri.med.nyu.edu/, unpack what you are sent, and give --set folder=/that/folder"


class Options(Subjects):
    """Which volumes are taken; all but the folder's place is in the ladder's digest."""

    slices: int = Field(12, ge=1, description="most slices of a volume, spread evenly")
    head_share: float = Field(0.1, ge=0, lt=1, description="least share of a slice above a tenth of the volume's max")
    acquisition: str = Field("", description="only volumes whose attribute says so: AXT1, AXT2, CORPD_FBK, ...")
    crop: int = Field(320, ge=8, description="points of an image whose header names no matrix")
    folder: str = Field("", exclude=True, description="where the .h5 files are")
    inventory: str = Field("", description="digest of the files' names and sizes; found, not given")

    @model_validator(mode="before")
    @classmethod
    def _takes_stock(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("folder"):
            return values
        stock = [[path.name, path.stat().st_size] for path in volumes_in(str(values["folder"]))]
        return {**values, "inventory": hashlib.sha256(repr(stock).encode()).hexdigest() if stock else ""}


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where no folder is given, or it holds no volume."""
    if not options.folder:
        raise ConfigError("fastMRI is given out after registration only, and read from a folder of yours", do=REGISTER)
    if not options.inventory:
        raise ConfigError(f"there is no .h5 file in {options.folder}", do=REGISTER)


def volumes_in(folder: str) -> list[Path]:
    """The volumes of a folder and those below it, by name."""
    return sorted(Path(folder).expanduser().rglob("*.h5"), key=lambda path: path.name)


def load(ask: Ask) -> Loaded:
    """The volumes of as many patients as are asked for, cut into slices; a patient is one cluster.

    Raises DownloadError for a file that is no fastMRI volume, ConfigError where there are too few patients.
    """
    options = cast(Options, ask.options)
    of_patient: dict[str, list[Path]] = {}
    for path in volumes_in(options.folder):
        patient, acquisition = _whose(path)
        if options.acquisition in ("", acquisition):
            of_patient.setdefault(patient, []).append(path)
    as_acquired = Slicing(plane="axial", head_share=options.head_share)
    splits: dict[str, SplitFields] = {}
    for split, patients in subjects_of(list(of_patient), options.heads, where="the folder").items():
        owned = [(i, path) for i, patient in enumerate(patients) for path in of_patient[patient]]
        splits[split] = slice_fields(
            (volume(path, crop=options.crop) for _, path in owned),
            as_acquired,
            ask.finest,
            most=options.slices_of(split),
            split=split,
            owners=[i for i, _ in owned],
        )
    return Loaded(splits, attrs={"intensity": "1 is the volume's largest value", "inventory": options.inventory})


def volume(path: Path, *, crop: int) -> Volume:
    """One file as (column, row, slice), 1 at its `max`.  Raises DownloadError for what is no fastMRI volume.

    crop: points of the image, where the header names no matrix.
    """
    h5py = require("h5py", extra="mri")
    try:
        with h5py.File(path) as file:
            matrix, spacing = _header(file, crop=crop)
            if "reconstruction_rss" in file:
                image = np.asarray(file["reconstruction_rss"], dtype=np.float32)
            else:
                image = np.stack([root_sum_of_squares(file["kspace"][i]) for i in range(len(file["kspace"]))])
            top = float(file.attrs.get("max", 0.0))
    except (OSError, RuntimeError, KeyError, ValueError, ElementTree.ParseError) as error:
        raise DownloadError(f"{path.name} cannot be read as a fastMRI volume: {error}") from None
    if image.ndim != 3:
        raise DownloadError(f"{path.name} is no stack of images: {image.shape}")
    image = fitted(fitted(image, matrix, axis=1), matrix, axis=2)
    top = top if top > 0 else float(image.max())
    if not (top > 0 and np.isfinite(image).all()):
        raise DownloadError(f"{path.name} is empty, or has values that are not finite")
    return Volume(path.name, (image / top).transpose(2, 1, 0), (spacing[1], spacing[0], 1.0), top)


def root_sum_of_squares(kspace: np.ndarray) -> np.ndarray:
    """√Σ_c |F⁻¹ k_c|², both sides centred, F unitary: (coils, H, W) -> (H, W), float32."""
    axes = (-2, -1)
    shifted = np.fft.ifftshift(kspace, axes=axes)
    coils = np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)
    return np.asarray(np.sqrt((np.abs(coils) ** 2).sum(axis=0)), dtype=np.float32)


def _header(file: Any, *, crop: int) -> tuple[int, tuple[float, float]]:
    """Points of the image, and mm from row to row and from column to column; 1 mm where the header says nothing."""
    if "ismrmrd_header" not in file:
        return crop, (1.0, 1.0)
    root = ElementTree.fromstring(bytes(file["ismrmrd_header"][()]))
    place = "{*}encoding/{*}reconSpace/"
    points = [int(root.findtext(f"{place}{{*}}matrixSize/{{*}}{axis}", "0")) for axis in "xy"]
    lengths = [float(root.findtext(f"{place}{{*}}fieldOfView_mm/{{*}}{axis}", "0")) for axis in "xy"]
    matrix = points[0] if points[0] > 0 else crop
    if min(lengths) <= 0:
        return matrix, (1.0, 1.0)
    return matrix, (lengths[0] / matrix, lengths[1] / (points[1] if points[1] > 0 else matrix))


def _whose(path: Path) -> tuple[str, str]:
    """Patient and acquisition; a volume that names no patient is a patient of its own.  Raises DownloadError."""
    h5py = require("h5py", extra="mri")
    try:
        with h5py.File(path) as file:
            return str(file.attrs.get("patient_id", path.stem)), str(file.attrs.get("acquisition", ""))
    except OSError as error:
        raise DownloadError(f"{path.name} cannot be read as a fastMRI volume: {error}") from None
