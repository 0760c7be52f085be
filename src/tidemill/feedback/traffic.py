"""Traffic of a served model from its prediction log: requests over time by kind of answer, and quantiles of latency.

The rows of one request have the same time, latency and trace id, and count as one. Refused requests are not in the log.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.record_format import Record

#: The columns that it reads.
COLUMNS = ("model", "kind", "served_at", "latency_us", "trace_id", "unseen")
#: The quantiles, and the smallest number of requests of which each is given.
QUANTILES = {0.5: 10, 0.9: 50, 0.99: 500}


class TrafficPeriod(Record, frozen=True):
    """The answered requests in an interval, UTC microseconds."""

    start: int
    end: int
    requests: int
    #: Kind of the answer -> number of requests.
    kinds: dict[str, int]
    #: Median, 90% and 99% quantile of the latency in microseconds; `None` of too few requests.
    latency_us: tuple[float | None, ...]


class Traffic(Record, frozen=True):
    """The requests of a model in equal intervals, and over all of them; `rows` are predictions."""

    total: TrafficPeriod
    rows: int
    periods: tuple[TrafficPeriod, ...]
    #: Input -> predictions in which it was unlike the training rows; and the predictions that were checked for it.
    unseen: dict[str, int]
    checked: int


def traffic(predictions: pa.Table, starts: list[int], length: int) -> Traffic:
    """The traffic in the intervals of `length` microseconds that begin at `starts`, rising, without gaps, at least one.

    `predictions` has `COLUMNS`, of an older log without `unseen`; rows outside the intervals do not count.
    """
    served = predictions["served_at"].cast(pa.int64())
    inside = pc.and_(pc.greater_equal(served, starts[0]), pc.less(served, starts[-1] + length))
    rows = predictions.filter(inside)
    at = rows["served_at"].cast(pa.int64()).to_numpy()
    latency = rows["latency_us"].to_numpy()
    trace = _codes(rows["trace_id"])[0]
    kind, names = _codes(rows["kind"])
    order = np.lexsort((trace, latency, at))
    at, latency, trace, kind = at[order], latency[order], trace[order], kind[order]
    first = np.ones(len(at), bool)  # of each request
    first[1:] = (np.diff(at) != 0) | (np.diff(latency) != 0) | (np.diff(trace) != 0)
    at, latency, kind = at[first], latency[first], kind[first]
    ends = np.searchsorted(at, [*starts, starts[-1] + length])
    periods = tuple(
        _period(start, start + length, latency[low:high], kind[low:high], names)
        for start, low, high in zip(starts, ends[:-1], ends[1:], strict=True)
    )
    checked = pa.chunked_array([], pa.list_(pa.string()))
    if "unseen" in rows.column_names:
        checked = rows["unseen"].drop_null()
    inputs = pc.value_counts(pc.list_flatten(checked)).to_pylist()
    return Traffic(
        total=_period(starts[0], starts[-1] + length, latency, kind, names),
        rows=rows.num_rows,
        periods=periods,
        unseen={one["values"]: one["counts"] for one in inputs},
        checked=len(checked),
    )


def _codes(values: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    encoded = pc.fill_null(values, "").combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _period(start: int, end: int, latency: np.ndarray, kind: np.ndarray, names: list[str]) -> TrafficPeriod:
    n = len(latency)
    counts = np.bincount(kind, minlength=len(names))
    found = np.quantile(latency, list(QUANTILES)) if n else [0.0] * len(QUANTILES)
    return TrafficPeriod(
        start=start,
        end=end,
        requests=n,
        kinds={name: int(count) for name, count in zip(names, counts, strict=True) if count},
        latency_us=tuple(
            float(value) if n >= fewest else None for value, fewest in zip(found, QUANTILES.values(), strict=True)
        ),
    )
