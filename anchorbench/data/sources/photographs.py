"""photographs, sample: pictures that scikit-image carries, as means over cells of their central square.

The central square has q · N pixels a side, N those of the finest rung and q the largest whole number that fits; every
cell of the finest rung is the mean of q² pixels, so that no picture is interpolated.  Values are what the file holds,
from 0 to 1, gamma and all.  Its traps, each with a test:

- grey pictures have one plane and are taken for three equal ones, as published (Kania et al., ICLR 2025);
- some have a fourth plane, of opacity, which is left out;
- PNG is read as numbers from 0 to 1, JPEG as bytes from 0 to 255;
- rows run from the top.  They stay: a picture has no north.

JPEG has removed fine waves already.  Thirteen pictures are no sample of anything: an interval over them is about
pictures like these.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from matplotlib.image import imread
from pydantic import Field, model_validator

from anchorbench.config import Frozen
from anchorbench.data.sources import Ask, Loaded, SplitFields, carried_by
from anchorbench.data.splits import SPLITS, Split
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid, restrict

COLOURS = ("red", "green", "blue")


class Options(Frozen):
    """Which picture is in which split, by file name without its ending."""

    pictures: dict[Split, tuple[str, ...]] = Field(description="of each split; a picture is in one at most")

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        names = [name for pictures in self.pictures.values() for name in pictures]
        if set(self.pictures) != set(SPLITS) or not all(self.pictures.values()):
            raise ValueError(f"pictures name {', '.join(SPLITS)}, each with one at least")
        if len(set(names)) < len(names):
            raise ValueError("pictures name a picture twice")
        return self

    @property
    def most(self) -> dict[Split, int]:
        """Samples by split, for the size on disk."""
        return {split: len(names) for split, names in self.pictures.items()}


def load(ask: Ask) -> Loaded:
    """Colours from 0 to 1, (picture, 1, y, x); each picture is a cluster.

    Raises DownloadError where a file cannot be had or read, ConfigError where the catalogue names no such picture.
    """
    files = {Path(file.member.path).stem: file for file in ask.source.files}
    if lacking := [name for names in ask.options.pictures.values() for name in names if name not in files]:
        raise ConfigError(
            f"{ask.source.display_name} has no picture {lacking[0]}; it has {', '.join(sorted(files))}",
            do="--set selection.pictures=...",
        )
    splits: dict[str, SplitFields] = {}
    for split, names in ask.options.pictures.items():
        planes = np.stack([picture(ask.sample(files[name]), ask.finest) for name in names])
        fields = SplitFields.independent({colour: planes[:, i : i + 1] for i, colour in enumerate(COLOURS)})
        splits[split] = replace(fields, attrs={f"pictures_{split}": ", ".join(names)})
    return Loaded(splits, attrs=carried_by(*ask.source.files))


def picture(path: Path, finest: Grid) -> np.ndarray:
    """Means over the cells of the central square: (3, *finest.shape) float32.

    Raises DownloadError for what is no picture, ConfigError where it has fewer pixels than the finest rung.
    """
    try:
        values = np.asarray(imread(path))
    # Pillow raises its own errors, and those of zlib and struct, on damaged files
    except Exception as error:
        raise DownloadError(f"{path.name} cannot be read as a picture: {str(error) or type(error).__name__}") from None
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise DownloadError(f"{path.name} is no picture of one plane, three or four: {values.shape}")
    planes = np.stack([values] * 3) if values.ndim == 2 else np.moveaxis(values[..., :3], -1, 0)
    if planes.dtype == np.uint8:
        planes = planes.astype(np.float32) / 255
    height, width = planes.shape[1:]
    times = min(height, width) // finest.rung
    if times < 1:
        raise ConfigError(
            f"{path.name} has {height} x {width} pixels, fewer than the finest rung r{finest.rung:03d}",
            do="choose coarser rungs with --set rungs=...",
        )
    side = times * finest.rung
    top, left = (height - side) // 2, (width - side) // 2
    square = torch.from_numpy(planes[:, top : top + side, left : left + side].astype(np.float32))
    return np.asarray(restrict(square, finest, how="block_mean").numpy())
