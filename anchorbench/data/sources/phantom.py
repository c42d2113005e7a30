"""mri, generated: sagittal sections of random heads made of ellipsoids, exact on every rung (`solvers.phantom`).

A subject is one head; its sections are not independent of each other and are one cluster.  No subject is in two splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from anchorbench.config import digest_of
from anchorbench.data.slices import Slices
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.sources.t1w import SPLITS, Split, Subjects
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
    splits = generate(ask.options, ask.finest, progress=ask.tell("drawing"), scratch=ask.scratch)
    return Loaded(splits, attrs={"generator": ask.options.model_dump_json()})


def generate(
    options: Options, finest: Grid, *, progress: Callable[[float], None] | None = None, scratch: Path | None = None
) -> dict[str, SplitFields]:
    """`intensity` (sample, 1, *finest.shape) of every split, subject by subject.

    scratch: a folder that keeps each subject, so that a call which was stopped goes on, to the same bits.
    """
    kept = None if scratch is None else Slices(scratch, digest_of([options.digest, finest.to_dict()]))
    total, done = sum(options.heads.values()), 0
    splits: dict[str, SplitFields] = {}
    for split in SPLITS:
        n = options.heads[split]
        parts = []
        for subject in range(n):
            name = f"{split}-{subject:05d}"
            found = None if kept is None else kept.load(name)
            if found is None:
                found = {"intensity": _subject(options, split, subject, finest)}
                if kept is not None:
                    kept.save(name, found)
            parts.append(found["intensity"])
            done += 1
            if progress is not None:
                progress(done / total)
        splits[split] = SplitFields(
            values={"intensity": np.concatenate(parts)[:, None]},
            valid=None,
            times=None,
            clusters=np.repeat(np.arange(n), options.slices_of(split)),
        )
    return splits


def _subject(options: Options, split: Split, subject: int, grid: Grid) -> np.ndarray:
    """The sections of one head, left to right, each at a random place of its own share of the head: (slice, *grid)."""
    rng = np.random.default_rng([options.seed, SPLITS.index(split), subject])
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
