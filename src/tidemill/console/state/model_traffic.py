"""Traffic of a model in a time range, from the prediction log; cached until the log grows or the range moves on."""

from __future__ import annotations

import threading

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.time_bins import bin_length, bin_start, bin_starts
from tidemill.core.clock import to_micros
from tidemill.core.record_format import Record
from tidemill.feedback import PREDICTIONS
from tidemill.feedback.traffic import COLUMNS, Traffic, traffic
from tidemill.lake import LogWindow
from tidemill.loop.state.ledger_projection import ProjectedState
from tidemill.serving.live.server_clock import replayed

_HOUR_US = 3_600_000_000
#: Name of a range -> its length, microseconds; `all` is the whole log.
RANGES = {"hour": _HOUR_US, "day": 24 * _HOUR_US, "week": 168 * _HOUR_US, "month": 720 * _HOUR_US, "all": 0}
#: Maximum number of logged predictions that are read, and number of cached ranges.
MOST_ROWS, _CACHED = 1_000_000, 64


class ModelTraffic(Record, frozen=True):
    """The traffic of a model in a range that ends now, or, for the whole log, with the newest answer."""

    range: str
    #: Length of an interval, microseconds.
    length: int
    found: Traffic
    #: Whether the log has older answers in the range than the `MOST_ROWS` that were read.
    cut: bool


class TrafficStore:
    """The cached traffic of one console."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[object, ModelTraffic | None]] = {}
        self._lock = threading.Lock()

    def traffic(
        self, stores: ConsoleStores, projected: ProjectedState, model: str, asked: str | None = None
    ) -> ModelTraffic | None:
        """The traffic in one of the `RANGES`, by default of the last day, or of the whole log if that is empty; `None`
        without any logged answer in the range.
        """
        if asked is not None:
            return self._range(stores, projected, model, asked)
        return self._range(stores, projected, model, "day") or self._range(stores, projected, model, "all")

    def _range(self, stores: ConsoleStores, projected: ProjectedState, model: str, name: str) -> ModelTraffic | None:
        logged = projected.kept.get(PREDICTIONS)
        if logged is None:
            return None
        now = to_micros(replayed(stores.serving_root) or stores.clock.now())
        mark = (logged.rows, logged.at, now // 60_000_000 if RANGES[name] else None)
        with self._lock:
            known = self._known.get((model, name))
            if known is None or known[0] != mark:
                while len(self._known) >= _CACHED:
                    del self._known[next(iter(self._known))]
                known = (mark, _read(stores, model, name, now))
                self._known[model, name] = known
            return known[1]


def _read(stores: ConsoleStores, model: str, name: str, now: int) -> ModelTraffic | None:
    since = now - RANGES[name] + 1 if RANGES[name] else 0
    rows = stores.table(PREDICTIONS, LogWindow(COLUMNS, "served_at", since, MOST_ROWS))
    if rows is None:
        return None
    cut = rows.num_rows >= MOST_ROWS
    mine = rows.filter(pc.equal(rows["model"], model))
    served = mine["served_at"].cast(pa.int64())
    mine = mine.filter(pc.greater_equal(served, since))
    if not mine.num_rows:
        return None
    ends = pc.min_max(mine["served_at"].cast(pa.int64())).as_py()
    first = ends["min"] if cut or not since else since
    last = max(now, ends["max"]) if since else ends["max"]
    length = bin_length(first, last)
    starts = list(bin_starts(first, last, length))
    if since and not cut and bin_start(since, length) < since:
        starts = starts[1:] or starts  # no interval begins before the range
    return ModelTraffic(range=name, length=length, found=traffic(mine, starts, length), cut=cut)
