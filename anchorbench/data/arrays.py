"""The array cache that training reads: one `.npy` per split, rung and variable, memory-mapped.

Made once from the NetCDF ladder (a window of a `.npy` map costs a memcpy, of NetCDF 2 to 20 times that).  Its name
carries the digest of the file it came from; a truncated or stale one is made again.
"""

from __future__ import annotations

import os
from contextlib import suppress
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
    part = path.with_name(f".{stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        with part.open("wb") as out:
            np.save(out, values)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise LadderError(
            f"the array cache {path} could not be written: {error.strerror or error}",
            do="free some space, then try again",
        ) from None
    finally:
        with suppress(OSError):
            part.unlink()
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
    values = np.require(values, np.float32, ["C", "W"])
    values[np.isnan(values)] = 0.0
    return values


def _open_whole(path: Path) -> np.ndarray | None:
    """The memory map, or None where the file is missing or not whole."""
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except Exception:  # a damaged header reaches numpy as Python source: tokenizer, parser and sort each have their own
        return None
    whole = mapped.dtype == np.float32 and mapped.offset + mapped.nbytes == path.stat().st_size
    return mapped if whole and mapped.flags.c_contiguous else None
