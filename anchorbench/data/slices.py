"""What a long call has made so far, on disk, so that the next call goes on from there."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from anchorbench.data.splits import Split

#: Raised when readers keep other arrays: what a former one has kept is not taken for theirs.
VERSION = 2
#: Named arrays of one slice of a split.
Made = dict[str, np.ndarray]
#: Told of the share done, from 0 to 1.
Tell = Callable[[float], None]


class Slices:
    """Named groups of arrays in a folder, under the digest of whatever made them; without a folder none are kept.

    A slice that cannot be kept, or read, is one to be made again: nothing here stops the work.
    """

    def __init__(self, folder: Path | None, digest: str) -> None:
        self.folder, self.digest = folder, digest

    def load(self, name: str) -> Made | None:
        """The arrays, None where there are none or they are damaged."""
        if self.folder is None:
            return None
        try:
            with self._path(self.folder, name).open("rb") as file, np.load(file, allow_pickle=False) as made:
                return {key: made[key] for key in made.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        if self.folder is None:
            return
        path = self._path(self.folder, name)
        part = path.with_name(f".{path.name}.part")
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            part.replace(path)

    def made(self, name: str, make: Callable[[], Made]) -> Made:
        """The arrays of that name: kept ones, else made now, and kept."""
        found = self.load(name)
        if found is None:
            found = make()
            self.save(name, found)
        return found

    def _path(self, folder: Path, name: str) -> Path:
        return folder / f"{self.digest[:16]}-v{VERSION}-{name}.npz"


def slice_by_slice(
    counts: Mapping[Split, int],
    make: Callable[[Split, range, Tell], Made],
    *,
    size: int,
    kept: Slices,
    tell: Tell = lambda share: None,
) -> dict[Split, list[Made]]:
    """Members 0 ... n − 1 of each split, `size` at a time: make(split, members, tell), or what an earlier call kept.

    counts: n of each split.  tell: of the share of all members; a long `make` may tell of its own share in between.
    """
    done, total = 0, sum(counts.values())
    parts: dict[Split, list[Made]] = {}
    for split, n in counts.items():
        parts[split] = []
        for first in range(0, n, size):
            members = range(first, min(first + size, n))

            def show(share: float, before: int = done, many: int = len(members)) -> None:
                tell((before + share * many) / total)

            def now(split: Split = split, members: range = members, show: Tell = show) -> Made:
                return make(split, members, show)

            parts[split].append(kept.made(f"{split}-{first:06d}-{len(members)}", now))
            done += len(members)
            tell(done / total)
    return parts


def joined(parts: Sequence[Made], name: str) -> np.ndarray:
    """The arrays of that name one after another, from the slices that have it."""
    return np.concatenate([part[name] for part in parts if name in part])


def floor_of(parts: Sequence[Made], rungs: Sequence[int]) -> dict[int, float]:
    """The truth's error by band rung, which the first slice of the test split may bear as `floor-RUNG`."""
    return {rung: float(parts[0][f"floor-{rung}"]) for rung in rungs if f"floor-{rung}" in parts[0]}
