"""Metrics that all workers share: one memory-mapped file of counters per worker slot (`place`), summed by any worker.

An update costs one addition to mapped memory. The file belongs to the slot (0, 1, …), not to the process, so a worker
that replaces a crashed one continues its counts and no counter ever decreases.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

#: Upper bounds of the latency buckets, microseconds.
BUCKETS_US = (100, 200, 350, 500, 750, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
ROUTES = (
    "recommend", "recommend_token", "infer", "infer_version", "invocations", "events", "outcomes", "v2", "v2_live",
    "v2_ready", "model", "model_ready", "model_config", "model_stats", "model_version", "model_version_ready",
    "model_version_config", "model_version_stats", "all_stats", "repository_index", "livez", "readyz", "healthz",
    "ping", "health", "version", "metrics", "openapi", "none",
)  # fmt: skip
CLASSES = ("2xx", "3xx", "4xx", "5xx")
KINDS = ("computed", "repeat", "not_modified", "fallback", "off")
#: Counters without labels, and what they count.
COUNTS = {
    "not_logged": "Predictions that could not be logged",
    "events": "Accepted events",
    "outcomes": "Accepted outcomes",
    "swaps": "Changes of a live release",
    "swap_failures": "Releases that could not go live",
    "failures": "Requests that failed in the server",
    "sealed_without_person": "Persons sealed with the key of the vault",
    "unseen_rows": "Rows of tabular models with an input that is unlike the training rows",
}

_NAMES = (
    [f"requests:{route}:{kind}" for route in ROUTES for kind in CLASSES]
    + [f"predictions:{kind}" for kind in KINDS]
    + list(COUNTS)
    + [f"bucket:{bound}" for bound in (*BUCKETS_US, "+Inf")]
    + ["answer_us", "in_flight", "beat"]
)
_PLACE = {name: i for i, name in enumerate(_NAMES)}
_ANSWER_US = _PLACE["answer_us"]
_BUCKETS = [_PLACE[f"bucket:{bound}"] for bound in (*BUCKETS_US, "+Inf")]


class SharedCounters:
    """Numbers by name in a memory-mapped file, to which one process adds and which any process reads.

    Without a file they are in memory only.
    """

    def __init__(self, file: Path | None, names: Sequence[str]) -> None:
        self._place = {name: i for i, name in enumerate(names)}
        size = 8 * len(names)
        self._map = mmap.mmap(-1, size) if file is None else _mapped(file, size)
        self._cells = memoryview(self._map).cast("Q")

    def add(self, name: str, by: int = 1) -> None:
        """Count `by` more of `name`."""
        self._cells[self._place[name]] += by

    def set(self, name: str, value: int) -> None:
        """Set a gauge."""
        self._cells[self._place[name]] = value


class Counters(SharedCounters):
    """One worker's counters; a request only needs `add` and `set`."""

    def __init__(self, folder: Path, place: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / f"{place}.counters", _NAMES)
        self.set("in_flight", 0)

    def request(self, route: str, status: int) -> None:
        """Count one response."""
        self._cells[_PLACE[f"requests:{route}:{status // 100}xx"]] += 1

    def answered(self, kind: str, us: int | None) -> None:
        """Count one prediction and its latency in microseconds; `None` where another prediction counts the latency."""
        self._cells[_PLACE[f"predictions:{kind}"]] += 1
        if us is not None:
            self.took(us)

    def took(self, us: int) -> None:
        """Count the latency of a response, in microseconds."""
        self._cells[_ANSWER_US] += us
        self._cells[_BUCKETS[bisect_left(BUCKETS_US, us)]] += 1


def _mapped(file: Path, size: int) -> mmap.mmap:
    fd = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(fd).st_size != size:  # an older layout counts from zero
            os.ftruncate(fd, 0)
            os.posix_fallocate(fd, 0, size)  # mapped bytes without a block on a full disk would end the process
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


def totals(folder: Path) -> dict[str, int]:
    """Every counter, summed over the worker slots; for `beat` the oldest."""
    values_by_place = [read_counters(path, _NAMES) for path in sorted(folder.glob("*.counters"))]
    sums = {name: sum(values[name] for values in values_by_place) for name in _NAMES}
    sums["beat"] = min((values["beat"] for values in values_by_place), default=0)
    return sums


def last_heartbeat(folder: Path, place: int) -> int:
    """The time of the last heartbeat of a worker slot, microseconds; 0 without one."""
    path = folder / f"{place}.counters"
    return read_counters(path, _NAMES)["beat"] if path.is_file() else 0


def read_counters(file: Path, names: Sequence[str]) -> dict[str, int]:
    """The numbers of a file; zeros for one of another layout."""
    content = file.read_bytes()
    if len(content) != 8 * len(names):
        return dict.fromkeys(names, 0)
    return dict(zip(names, memoryview(content).cast("Q"), strict=True))


class _Sums(Collector):
    def __init__(self, folder: Path, live: dict[str, str]) -> None:
        self._folder = folder
        self._live = live

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        sums = totals(self._folder)
        requests = CounterMetricFamily(
            "tidemill_requests", "Requests by route and class of status", labels=["route", "status"]
        )
        for route in ROUTES:
            for kind in CLASSES:
                if value := sums[f"requests:{route}:{kind}"]:
                    requests.add_metric([route, kind], value)
        yield requests
        predictions = CounterMetricFamily(
            "tidemill_predictions", "Predictions, one for each recommendation or row", labels=["kind"]
        )
        for kind in KINDS:
            predictions.add_metric([kind], sums[f"predictions:{kind}"])
        yield predictions
        for name, counted in COUNTS.items():
            yield CounterMetricFamily(f"tidemill_{name}", counted, value=sums[name])
        yield GaugeMetricFamily("tidemill_requests_in_flight", "Requests in progress", value=sums["in_flight"])
        yield _histogram(sums)
        release = GaugeMetricFamily(
            "tidemill_release", "The release that this worker serves", labels=["model", "release"]
        )
        for model, name in self._live.items():
            release.add_metric([model, name], 1)
        yield release


def _histogram(sums: dict[str, int]) -> HistogramMetricFamily:
    buckets, total = [], 0
    for bound in BUCKETS_US:
        total += sums[f"bucket:{bound}"]
        buckets.append((str(bound / 1e6), total))
    total += sums["bucket:+Inf"]
    buckets.append(("+Inf", total))
    return HistogramMetricFamily(
        "tidemill_answer_seconds", "Time from request to response in the server", buckets, sums["answer_us"] / 1e6
    )


def exposition(folder: Path, live: dict[str, str]) -> bytes:
    """All counters in Prometheus' text format; `live` is model -> release of the responding worker."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Sums(folder, live))
    return generate_latest(registry)
