"""mri, sample: T1-weighted heads in NIfTI files, cut into slices on a periodic box.  Also what all MRI readers share.

A scanner measures the Fourier modes of a periodic box and stops at some wave, so the box is periodic, its grid is
points, and `spectral` restriction is what a shorter acquisition would have given.  The traps of these files, each with
a test:

- axes: a file may store them in any order and direction; `as_closest_canonical` turns them to left-right,
  posterior-anterior, inferior-superior.  Rows of a slice run upward (inferior to superior, or posterior to anterior),
  columns to the front (sagittal) or to the subject's right (coronal, axial);
- integers with a scale factor: `dataobj` is read, scaled, never the raw codes;
- voxels that are not cubes, and boxes that are not the catalogue's: a slice is padded with air, or cut about its
  middle, to the whole number of voxels next to the box, so that lengths are off by at most half a voxel in the box
  (0.2 % of 256), and its waves are taken over to the finest rung;
- a fourth axis of length 1; voxels that are not finite, which are refused;
- the neck ends at the edge of the box, where the periodic image jumps, as it does in the scanner.

Intensities of MRI have no unit and differ between scanners: 1 is the 99th percentile of a subject's head, the head
being the voxels above a tenth of the 99.9th percentile of all.  Noise is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, model_validator

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by, require
from anchorbench.data.splits import SPLITS, Split
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid, restrict

Plane = Literal["sagittal", "coronal", "axial"]

#: The axis that is normal to a plane, among left-right, posterior-anterior, inferior-superior.
NORMAL: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
#: A subject's head: above this share of the 99.9th percentile.  Its own 99th percentile is 1.
HEAD, ALL_PERCENTILE, HEAD_PERCENTILE = 0.1, 99.9, 99.0


class Slicing(Frozen):
    """Which slices of a volume are taken."""

    plane: Plane = Field("sagittal", description="256 x 256 voxels in most raw T1-weighted scans")
    head_share: float = Field(
        0.1, ge=0, lt=1, description="least share of a slice that is head: empty ones are left out"
    )


class Subjects(Frozen):
    """How many subjects, and slices of each, a public set is asked for."""

    subjects: dict[Split, Annotated[int, Field(ge=1)]] = Field(
        default={"train": 40, "validation": 8, "test": 16}, description="heads of each split"
    )
    slices: int = Field(32, ge=1, description="most slices of a head, spread evenly")
    limit: int | None = Field(None, ge=1, description="most slices of a split: fewer of each head, then fewer heads")

    @model_validator(mode="after")
    def _names_every_split(self) -> Self:
        if lacking := set(SPLITS) - self.subjects.keys():
            raise ValueError(f"subjects lack the split {', '.join(sorted(lacking))}")
        return self

    @property
    def heads(self) -> dict[Split, int]:
        """Subjects of each split, no more than there may be slices."""
        return {split: min(n, self.limit or n) for split, n in self.subjects.items()}

    def slices_of(self, split: Split) -> int:
        """Most slices of one subject of a split."""
        return self.slices if self.limit is None else min(self.slices, max(1, self.limit // self.heads[split]))

    @property
    def most(self) -> dict[Split, int]:
        """Most samples of each split."""
        return {split: n * self.slices_of(split) for split, n in self.heads.items()}


class Options(Slicing):
    """Which slices of the sample's volumes are taken; all of it is in the ladder's digest."""

    most: dict[Split, Annotated[int, Field(ge=1)]] = Field(
        default={"train": 96, "validation": 32, "test": 48},
        description="slices of a split, spread evenly",
    )
    gap: float = Field(8.0, ge=0, description="mm left out between the splits, where one volume is shared by them")
    shares: dict[Split, Annotated[float, Field(gt=0)]] = Field(
        default={"train": 0.6, "validation": 0.15, "test": 0.25},
        description="of one volume's slices, where it is shared",
    )


@dataclass(frozen=True)
class Volume:
    """One head: values (right, anterior, superior) float32, head = 1 at its 99th percentile; voxel in mm."""

    name: str
    values: np.ndarray
    voxel: tuple[float, float, float]
    scale: float


def load(ask: Ask) -> Loaded:
    """One volume a split, in the order of the files; a single volume is shared by slabs with a gap between them.

    Raises DownloadError where a file cannot be had or read, ConfigError where a split is left without a slice.
    """
    options = cast(Options, ask.options)
    volumes = [nifti_volume(ask.sample(file)) for file in ask.source.files]
    if len(volumes) == 1:
        splits, about = (
            _slabs(volumes[0], options, ask.finest),
            "slabs of one head, with a gap; no independent subjects",
        )
    else:
        pairs = zip(SPLITS, volumes, strict=True)
        splits = {
            split: slice_fields([volume], options, ask.finest, most=options.most.get(split), split=split)
            for split, volume in pairs
        }
        about = "one subject a split"
    return Loaded(splits, attrs=carried_by(*ask.source.files) | {"splits": about} | intensity_note(options))


def intensity_note(options: Slicing) -> dict[str, str]:
    """What a ladder says about its slices and their unit."""
    return {
        "plane": options.plane,
        "intensity": f"1 is the {HEAD_PERCENTILE:g}th percentile of the subject's voxels above {HEAD:g} of its "
        f"{ALL_PERCENTILE:g}th percentile",
    }


def nifti_volume(path: Path, *, name: str | None = None) -> Volume:
    """Read a head from NIfTI, turned and scaled.  Raises DownloadError for what is no three-dimensional head."""
    nibabel = require("nibabel", extra="mri")
    what = name or path.name
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        values = np.asarray(image.dataobj, dtype=np.float32)
        voxel = tuple(float(size) for size in image.header.get_zooms()[:3])
    # nibabel raises its own errors, those of gzip and zlib, and others on damaged headers
    except Exception as error:
        raise DownloadError(f"{what} cannot be read as NIfTI: {str(error) or type(error).__name__}") from None
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or min(values.shape) < 2:
        raise DownloadError(f"{what} is no volume of three dimensions: {values.shape}")
    if not np.isfinite(values).all() or min(voxel) <= 0:
        raise DownloadError(f"{what} has voxels that are not finite, or of no size")
    return normalised(what, values, cast(tuple[float, float, float], voxel))


def normalised(name: str, values: np.ndarray, voxel: tuple[float, float, float]) -> Volume:
    """Intensities over the subject's own scale: see the module's text.  Raises DownloadError for an empty volume."""
    top = float(np.percentile(values, ALL_PERCENTILE))
    head = values[values > HEAD * top]
    scale = float(np.percentile(head, HEAD_PERCENTILE)) if top > 0 and head.size else 0.0
    if not scale > 0:
        raise DownloadError(f"{name} is empty: no voxel is brighter than 0")
    return Volume(name, values / np.float32(scale), voxel, scale)


def head_slices(volume: Volume, options: Slicing) -> np.ndarray:
    """Numbers of the slices that show enough head: (n,)."""
    across = np.moveaxis(volume.values, NORMAL[options.plane], 0)
    return np.flatnonzero((across > HEAD).mean(axis=(1, 2)) >= options.head_share)


def slices_on(volume: Volume, numbers: np.ndarray, options: Slicing, grid: Grid) -> np.ndarray:
    """Slices on a grid of the catalogue's box: (slice, *grid) float32, rows upward.

    The box is padded or cut to whole voxels about the slice's middle; then û'(k) = û(k), |kᵢ| < N/2.
    Raises ConfigError where the voxels are coarser than the grid.
    """
    axis = NORMAL[options.plane]
    taken = np.moveaxis(volume.values, axis, 0)[numbers].swapaxes(1, 2)
    columns, rows = (size for i, size in enumerate(volume.voxel) if i != axis)
    voxels = [round(length / size) for length, size in zip(grid.extent, (rows, columns), strict=True)]
    if any(n < points for n, points in zip(voxels, grid.shape, strict=True)):
        raise ConfigError(
            f"{volume.name} has {' x '.join(map(str, voxels))} voxels in the box, fewer than the finest rung "
            f"{' x '.join(map(str, grid.shape))}",
            do="choose coarser rungs with --set rungs=..., or another plane",
        )
    for i, n in enumerate(voxels, start=1):
        taken = fitted(taken, n, axis=i)
    return np.asarray(restrict(torch.from_numpy(np.ascontiguousarray(taken)), grid).numpy())


def fitted(values: np.ndarray, n: int, *, axis: int) -> np.ndarray:
    """`n` points about the middle of an axis: the outer ones cut, or zeros added."""
    have = values.shape[axis]
    if n <= have:
        start = (have - n) // 2
        return values.take(range(start, start + n), axis=axis)
    before = (n - have) // 2
    width = [(0, 0)] * values.ndim
    width[axis] = (before, n - have - before)
    return np.pad(values, width)


def evenly(numbers: np.ndarray, most: int | None) -> np.ndarray:
    """At most `most` of them, spread evenly from the first to the last."""
    if most is None or most >= len(numbers):
        return numbers
    return np.asarray(numbers[np.linspace(0, len(numbers) - 1, most).round().astype(int)])


def slice_fields(
    volumes: Iterable[Volume],
    options: Slicing,
    grid: Grid,
    *,
    most: int | None,
    split: str,
    owners: Sequence[int] | None = None,
) -> SplitFields:
    """The slices of some volumes, at most `most` of each, clustered by subject.

    owners: the subject that each volume is of; without it each is a subject of its own.
    Raises ConfigError where a volume has no slice with enough head.
    """
    parts: list[np.ndarray] = []
    clusters: list[int] = []
    attrs: dict[str, list[str]] = {"subjects": [], "scale": []}
    for number, volume in enumerate(volumes):
        numbers = evenly(head_slices(volume, options), most)
        if not len(numbers):
            raise ConfigError(
                f"{volume.name}: no {options.plane} slice is {options.head_share:.0%} head",
                do="lower head_share, or choose another plane",
            )
        parts.append(slices_on(volume, numbers, options, grid))
        clusters += [number if owners is None else owners[number]] * len(numbers)
        attrs["subjects"].append(volume.name)
        attrs["scale"].append(f"{volume.scale:.6g}")
    return fields_of(parts, clusters, {f"{name}_{split}": ", ".join(words) for name, words in attrs.items()})


def fields_of(parts: list[np.ndarray], clusters: list[int], attrs: Mapping[str, Any]) -> SplitFields:
    values = np.concatenate(parts)[:, None].astype(np.float32)
    return SplitFields(values={"intensity": values}, valid=None, times=None, clusters=np.asarray(clusters), attrs=attrs)


def subjects_of(names: list[str], counts: Mapping[Split, int], *, where: str) -> dict[Split, list[str]]:
    """The first subjects for test, then validation, then training: asking for more training leaves the others.

    Raises ConfigError where there are fewer subjects than are asked for.
    """
    if len(names) < sum(counts.values()):
        raise ConfigError(
            f"{where} has {len(names)} subjects, fewer than the {sum(counts.values())} that are asked for",
            do="ask for fewer: --set subjects.train=...",
        )
    left: Iterator[str] = iter(names)
    order: tuple[Split, ...] = ("test", "validation", "train")
    taken = {split: [next(left) for _ in range(counts[split])] for split in order}
    return {split: taken[split] for split in SPLITS}


def _slabs(volume: Volume, options: Options, grid: Grid) -> dict[str, SplitFields]:
    """One head's slices in three slabs, from the first slice up, `gap` mm left out between them."""
    numbers = head_slices(volume, options)
    if lacking := set(SPLITS) - options.shares.keys():
        raise ConfigError(f"shares lack the split {', '.join(sorted(lacking))}")
    ends = np.cumsum([0.0, *(options.shares[split] for split in SPLITS)])
    ends = (len(numbers) * ends / ends[-1]).round().astype(int)
    left_out = int(np.ceil(options.gap / volume.voxel[NORMAL[options.plane]]))
    splits: dict[str, SplitFields] = {}
    for i, split in enumerate(SPLITS):
        own = numbers[ends[i] : ends[i + 1] - (left_out if i < len(SPLITS) - 1 else 0)]
        own = evenly(own, options.most.get(split))
        if not len(own):
            raise ConfigError(f"{volume.name}: no slice is left for the {split} split", do="lower gap or head_share")
        attrs = {f"slices_{split}": f"{own[0]} to {own[-1]}"}
        splits[split] = fields_of([slices_on(volume, own, options, grid)], [i] * len(own), attrs)
    return splits
