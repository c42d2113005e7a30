"""Splits of one record in time: periods go round-robin to the splits, with a gap wherever the split changes.

No frame of one split is closer than the gap to a frame of another.  Each stretch between two gaps is a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from pydantic import Field, model_validator

from anchorbench.config import Frozen
from anchorbench.data.splits import SPLITS, Split
from anchorbench.errors import ConfigError

T = TypeVar("T")


class TimeBlocks(Frozen):
    """How a record is cut into sequences; all of it is in the ladder's digest."""

    frames: int = Field(24, ge=2, description="frames of one sequence")
    wet_share: float = Field(0.05, ge=0, le=1, description="least share of wet cells, mean over a sequence")
    wet_above: float = Field(0.0, ge=0, description="a cell is wet above this, mm in one step of time")
    period: float = Field(3.0, gt=0, description="hours that go to one split before the next split's turn")
    turns: tuple[Split, ...] = Field(("train", "train", "train", "test", "validation"), description="whose turn it is")
    gap: float = Field(1.0, ge=0, description="hours left out where the split changes")
    most: dict[Split, int] = Field(default_factory=dict, description="most sequences of a split, spread evenly")
    # Left out of dumps at its default: what was picked before there was a stride keeps its digest.
    stride: int | None = Field(
        default=None, ge=1, description="frames between two starts; null: no overlap", exclude_if=lambda n: n is None
    )

    @model_validator(mode="after")
    def _all_splits_have_a_turn(self) -> TimeBlocks:
        if set(self.turns) != {"train", "validation", "test"}:
            raise ValueError(f"turns name train, validation and test, each at least once: {self.turns}")
        if any(n < 1 for n in self.most.values()):
            raise ValueError(f"most is at least 1 for each split: {self.most}")
        return self


def stretches(times: np.ndarray, blocks: TimeBlocks) -> list[tuple[Split, int, int]]:
    """Cut a record into stretches (split, first frame, last frame + 1) that no two splits share.

    Period k, hours [k, k+1) · period after the first frame, goes to turns[k mod len(turns)].  A stretch joins periods
    of one split; it ends `gap` hours early where another split follows, and wherever frames are missing.
    """
    second = np.timedelta64(1, "s")
    seconds = (times - times[0]) / second
    period, gap = 3600 * blocks.period, 3600 * blocks.gap
    turn = (seconds // period).astype(int)
    owners = [blocks.turns[k % len(blocks.turns)] for k in range(turn[-1] + 1)]
    leaves_off = np.full(len(owners), np.inf)  # per period, when the next period of another split begins
    for k in range(len(owners) - 2, -1, -1):
        leaves_off[k] = leaves_off[k + 1] if owners[k] == owners[k + 1] else (k + 1) * period
    usable = np.flatnonzero(seconds < leaves_off[turn] - gap)
    owner = np.array(owners)[turn]
    step = np.min(np.diff(seconds))
    breaks = (np.diff(usable) > 1) | (np.diff(seconds[usable]) > 1.5 * step) | (owner[usable][1:] != owner[usable][:-1])
    parts = np.split(usable, np.flatnonzero(breaks) + 1)
    return [(owners[turn[part[0]]], int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


def sequences(
    times: np.ndarray, wet_share: np.ndarray, blocks: TimeBlocks
) -> dict[Split, tuple[np.ndarray, np.ndarray]]:
    """The sequences of each split: their frames (sequence, frame) in the record, and their clusters (sequence,).

    Each stretch is tiled, every `stride` frames; sequences that are dry on the mean are left out.  A stretch is one
    cluster, numbered from 0 in time.

    times, wet_share: (time,) of the record.  Raises ConfigError where a split is left without a sequence.
    """
    starts = candidates(stretches(times, blocks), wet_share, blocks)
    picked = {}
    for split in SPLITS:
        kept = spread(starts.get(split, []), split, blocks)
        index = np.array([start for start, _ in kept])[:, None] + np.arange(blocks.frames)
        picked[split] = index, np.array([cluster for _, cluster in kept])
    return picked


def candidates(
    parts: Sequence[tuple[Split, int, int]], wet_share: np.ndarray, blocks: TimeBlocks
) -> dict[Split, list[tuple[int, int]]]:
    """First frame and cluster (the stretch's number) of each wet enough sequence of the stretches, by split."""
    n = blocks.frames
    starts: dict[Split, list[tuple[int, int]]] = {}
    for cluster, (split, begin, end) in enumerate(parts):
        for start in range(begin, end - n + 1, blocks.stride or n):
            if wet_share[start : start + n].mean() >= blocks.wet_share:
                starts.setdefault(split, []).append((start, cluster))
    return starts


def spread(found: Sequence[T], split: Split, blocks: TimeBlocks) -> list[T]:
    """As many of a split's sequences as it may have, evenly spread.  Raises ConfigError where there is none."""
    if not found:
        raise ConfigError(
            f"no sequence of {blocks.frames} frames in the {split} split has {blocks.wet_share:.0%} of its cells wet",
            do="lower selection.wet_share or selection.frames",
        )
    most = min(blocks.most.get(split, len(found)), len(found))
    return [found[i] for i in np.linspace(0, len(found) - 1, most).round().astype(int)]
