"""mri, generated: sagittal sections of random heads made of ellipsoids, exact on every rung (`solvers.phantom`).

A subject is one head; its sections are not independent of each other and are one cluster.  No subject is in two splits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from anchorbench.config import digest_of
from anchorbench.data.slices import Slices, Tell, joined, slice_by_slice
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.sources.t1w import Subjects
from anchorbench.data.splits import NUMBER_OF_SPLIT, SPLITS, Split
from anchorbench.fields import Grid
from anchorbench.solvers import random_head

#: Sections lie within this share of the head's half width from its middle: beyond it there is little but scalp.
REACH = 0.7
HALF_WIDTH = 75.0


class Options(Subjects):
    """Parameters of the heads; all are in the ladder's digest."""

    folds: int = Field(default=500, ge=0, description="flat dark ellipsoids on the brain's surface")
    details: int = Field(default=60, ge=0, description="small ellipsoids inside the brain")
    texture: float = Field(default=0.1, ge=0, le=1, description="largest share of the brightness that ripples")
    blur: float = Field(default=0.0, ge=0, description="mm, standard deviation of a Gaussian in the plane")
    seed: int = Field(default=0, ge=0)


def load(ask: Ask) -> Loaded:
    """The sections of all subjects on the finest rung; from there down `restrict` gives what each rung would."""
    splits = generate(ask.options, ask.finest, tell=ask.tell("drawing"), scratch=ask.scratch)
    return Loaded(splits, attrs={"generator": ask.options.model_dump_json()})


def generate(
    options: Options, finest: Grid, *, tell: Tell = lambda share: None, scratch: Path | None = None
) -> dict[str, SplitFields]:
    """`intensity` (sample, 1, *finest.shape) of every split, subject by subject.

    scratch: a folder that keeps each subject, so that a call which was stopped goes on, to the same bits.
    """
    parts = slice_by_slice(
        {split: options.heads[split] for split in SPLITS},
        lambda split, subject, _: {"intensity": _subject(options, split, subject.start, finest)},
        size=1,
        kept=Slices(scratch, digest_of([options.digest, finest.to_dict()])),
        tell=tell,
    )
    return {
        split: SplitFields(
            values={"intensity": joined(made, "intensity")[:, None]},
            valid=None,
            times=None,
            clusters=np.repeat(np.arange(len(made)), options.slices_of(split)),
        )
        for split, made in parts.items()
    }


def _subject(options: Options, split: Split, subject: int, grid: Grid) -> np.ndarray:
    """The sections of one head, left to right, each at a random place of its own share of the head: (slice, *grid)."""
    rng = np.random.default_rng([options.seed, NUMBER_OF_SPLIT[split], subject])
    height, depth = grid.extent
    size = min(height, depth) / 256.0
    head = random_head(rng, folds=options.folds, details=options.details, texture=options.texture, size=size)
    shift = np.array([0.0, height / 2, depth / 2]) + size * rng.uniform(-6, 6, 3)
    head = replace(head, centre=head.centre + shift)
    n = options.slices_of(split)
    places = (np.arange(n) + rng.uniform(0, 1, n)) / n
    reach = REACH * HALF_WIDTH * size
    sections = [head.section(0, shift[0] + (2 * p - 1) * reach).on(grid, blur=options.blur) for p in places]
    return np.stack(sections).astype(np.float32)
