"""Memory of the machine: how much a process may have, and the refusal of work that needs more."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from tidemill.core.errors import MemoryTooSmall

_CGROUP = Path("/sys/fs/cgroup/memory.max")


def machine_memory_bytes() -> int:
    """Bytes of memory that this process may have: of the machine, its control group, or its address space."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    if _CGROUP.is_file() and (text := _CGROUP.read_text().strip()).isdigit():
        limits.append(int(text))
    return min(limits)


def require_memory(need_bytes: int, work: str, tip: str) -> None:
    """Raise `MemoryTooSmall` if `work`, for example "for_you", needs more than the machine has."""
    limit = machine_memory_bytes()
    if need_bytes > limit:
        raise MemoryTooSmall(
            f"{work} needs about {gigabytes(need_bytes)} in one process, and there are {gigabytes(limit)}", tip=tip
        )


def share_that_fits(need_bytes: int, share: float) -> float:
    """The share of the data with which a work that needs so much for `share` of it takes half the machine's memory."""
    return max(share * machine_memory_bytes() / max(need_bytes, 1) / 2, 1e-6)


def gigabytes(size_bytes: int) -> str:
    """A size in words.

    >>> gigabytes(123_000_000), gigabytes(45_200_000_000)
    ('0.1 GB', '45.2 GB')
    """
    return f"{size_bytes / 1e9:,.1f} GB"
