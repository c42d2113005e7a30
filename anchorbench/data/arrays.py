"""The array cache that training reads: one `.npy` per split, rung and variable, memory-mapped.

Made once from the NetCDF ladder (a window of a `.npy` map costs a memcpy, of NetCDF 2 to 20 times that).  Its name
carries the digest of the file it came from; a truncated or stale one is made again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import netCDF4
import numpy as np

from anchorbench.errors import LadderError

VERSION = 1


def cached_array(folder: Path, file: str, group: str, variable: str, *, digest: str) -> np.ndarray:
    """(sample, time, *grid) float32, C order, read-only; missing values are 0.

    Raises LadderError where the ladder's file cannot be read.
    """
    stem = f"{Path(file).stem}-{group}-{variable}-{digest[:12]}-v{VERSION}"
    path = folder / "arrays" / f"{stem}.npy"
    if (mapped := _open_whole(path)) is not None:
        return mapped
    values = read_variable(folder / file, group, variable)
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f".{stem}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            np.save(out, values)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise LadderError(
            f"the array cache {path} could not be written: {error.strerror}", do="free some space, then try again"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    mapped = _open_whole(path)
    if mapped is None:
        raise LadderError(f"the array cache {path} does not read back", do="check the disk, then try again")
    return mapped


def read_variable(path: Path, group: str, variable: str) -> np.ndarray:
    """One variable of one rung as float32, missing values 0.  Raises LadderError where it cannot be read."""
    try:
        with netCDF4.Dataset(path) as nc:
            nc.set_auto_mask(False)
            values = cast(np.ndarray, nc[group][variable][:])
    except (OSError, RuntimeError, IndexError, KeyError) as error:
        raise LadderError(
            f"{path} cannot be read at {group}/{variable}: {error}", do="anchorbench fetch --force makes it again"
        ) from None
    return np.nan_to_num(np.ascontiguousarray(values, dtype=np.float32), copy=False)


def _open_whole(path: Path) -> np.ndarray | None:
    """The memory map, or None where the file is missing or not whole."""
    try:
        mapped = cast(np.ndarray, np.load(path, mmap_mode="r"))
        offset = mapped.offset if isinstance(mapped, np.memmap) else 0
    except (OSError, ValueError, EOFError):
        return None
    return mapped if offset + mapped.nbytes == path.stat().st_size else None
