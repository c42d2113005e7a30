"""What a long call has made so far, on disk, so that the next call goes on from there."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np


class Slices:
    """Named groups of arrays in a folder, under the digest of whatever made them.

    A slice that cannot be kept, or read, is one to be made again: nothing here stops the work.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder, self.digest = folder, digest

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays, None where there are none or they are damaged."""
        try:
            with self._path(name).open("rb") as file, np.load(file, allow_pickle=False) as made:
                return {key: made[key] for key in made.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        path = self._path(name)
        part = path.with_name(f".{path.name}.part")
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            part.replace(path)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.digest[:16]}-{name}.npz"
