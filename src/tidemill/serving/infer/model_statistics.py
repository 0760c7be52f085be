"""Inference statistics of tabular releases since the server's start, summed over all workers (Triton's extension)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidemill.core.records.release import Release
from tidemill.serving.http.metrics import SharedCounters, read_counters

_NAMES = (
    "success", "success_ns", "fail", "fail_ns", "queue_ns", "input_ns", "infer_ns", "output_ns", "rows", "last_ms",
)  # fmt: skip
#: Files of the counters in the folder of the workers; a supervisor removes them at its start.
PATTERN = "*.stats"


class StatisticDuration(msgspec.Struct, frozen=True):
    """A number of requests, and their time in nanoseconds."""

    count: int
    ns: int


class InferenceStats(msgspec.Struct, frozen=True):
    """Requests that succeeded and failed, and the parts of the time of those that succeeded."""

    success: StatisticDuration
    fail: StatisticDuration
    #: Waiting for another large request.
    queue: StatisticDuration
    #: Reading, look-ups and on-demand functions; the model; logging and writing the response.
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration
    #: There is no response cache.
    cache_hit: StatisticDuration = StatisticDuration(0, 0)
    cache_miss: StatisticDuration = StatisticDuration(0, 0)


class ModelStat(msgspec.Struct, frozen=True):
    """One release: requests, rows, and the time of the last one in milliseconds since 1970 (0: none)."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStats
    #: Empty: requests are not counted by their number of rows.
    batch_stats: list[str] = []


class ModelStats(msgspec.Struct, frozen=True):
    """The releases that are live."""

    model_stats: list[ModelStat]


class InferTimes(msgspec.Struct):
    """Times of one request, by `perf_counter_ns`, and the time that it waited."""

    started: int
    waited: int = 0
    prepared: int = 0
    predicted: int = 0


class ModelStatistics:
    """The counters of one worker; `read` sums those of all."""

    def __init__(self, folder: Path, place: int) -> None:
        self._folder, self._place = folder, place
        self._counters: dict[str, SharedCounters] = {}

    def succeeded(self, release: Release, rows: int, times: InferTimes, ended: int, last_ms: int) -> None:
        """Count a request that was answered."""
        add = self._of(release).add
        add("success")
        add("success_ns", ended - times.started)
        add("queue_ns", times.waited)
        add("input_ns", times.prepared - times.started - times.waited)
        add("infer_ns", times.predicted - times.prepared)
        add("output_ns", ended - times.predicted)
        add("rows", rows)
        self._of(release).set("last_ms", last_ms)

    def failed(self, release: Release, ns: int) -> None:
        """Count a request that was refused or failed."""
        self._of(release).add("fail")
        self._of(release).add("fail_ns", ns)

    def _of(self, release: Release) -> SharedCounters:
        found = self._counters.get(release.name)
        if found is None:
            file = self._folder / f"{self._place}.{release.name}.stats"
            try:
                found = SharedCounters(file, _NAMES)
            except OSError:  # a full disk: this worker's requests are missing in the sum, and are answered
                found = SharedCounters(None, _NAMES)
            self._counters[release.name] = found
        return found

    def read(self, release: Release) -> ModelStat:
        """The statistics of a release."""
        files = self._folder.glob(PATTERN)
        each = [read_counters(file, _NAMES) for file in files if file.stem.partition(".")[2] == release.name]
        n = {name: sum(one[name] for one in each) for name in _NAMES}
        success = n["success"]
        return ModelStat(
            name=release.model,
            version=str(release.number),
            last_inference=max((one["last_ms"] for one in each), default=0),
            inference_count=n["rows"],
            execution_count=success,
            inference_stats=InferenceStats(
                StatisticDuration(success, n["success_ns"]),
                StatisticDuration(n["fail"], n["fail_ns"]),
                *(StatisticDuration(success, n[f"{part}_ns"]) for part in ("queue", "input", "infer", "output")),
            ),
        )
