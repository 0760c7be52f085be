"""The resource meter of a run: wall time, CPU time with child processes, peak memory."""

from __future__ import annotations

import contextlib
import re
import resource
import time
import weakref
from pathlib import Path

from tidemill.core.records.runs import Cost

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
#: Written to `clear_refs`, it resets the kernel's peak.
_RESET_PEAK = "5"


class ResourceMeter:
    """The resources used since its creation. Child processes count after they have ended and were waited for."""

    def __init__(self) -> None:
        self._peak = 0
        # The kernel keeps one peak per process: a meter that resets it first updates the other running meters.
        for other in list(_running):
            other._peak = max(other._peak, _peak_bytes())
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK)
        self._started = time.perf_counter()
        self._cpu = _cpu_s()
        self._children = _children_peak_bytes()
        _running.add(self)

    def read(self) -> Cost:
        """The cost so far. Peak memory is that of the largest process."""
        children = _children_peak_bytes()  # the largest ever: it belongs to this run only if it rose
        return Cost(
            wall_s=round(time.perf_counter() - self._started, 6),
            cpu_s=round(max(_cpu_s() - self._cpu, 0.0), 6),
            peak_bytes=max(self._peak, _peak_bytes(), children if children > self._children else 0),
        )


_running: weakref.WeakSet[ResourceMeter] = weakref.WeakSet()


def _cpu_s() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _children_peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _peak_bytes() -> int:
    try:
        found = _PEAK.search(_STATUS.read_text())
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
