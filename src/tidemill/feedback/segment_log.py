"""Segment log: a worker's side of the prediction log, one frame in its own segment before each response is sent.

Predictions survive a killed process (no fsync on the request's path). Outcomes are acknowledged, so they also survive a
power cut. The log writer moves both into the lake's tables later.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidemill.core.clock import Clock
from tidemill.core.records.serving import Outcome, Prediction
from tidemill.core.storage.group_commit import GroupCommit
from tidemill.core.storage.segments import SegmentWriter

PREDICTIONS, OUTCOMES = "predictions", "outcomes"


class SegmentLog:
    """Fills serving's `PredictionLog`; `folder` is the project's `log/`."""

    def __init__(self, folder: Path, clock: Clock, *, segment_bytes: int = 16 << 20) -> None:
        self._predictions = SegmentWriter(folder / PREDICTIONS, clock, limit_bytes=segment_bytes, durable=False)
        self._outcomes_writer = SegmentWriter(folder / OUTCOMES, clock, limit_bytes=segment_bytes)
        self._outcomes = GroupCommit(self._outcomes_writer)
        self._encode = msgspec.msgpack.Encoder().encode

    def write(self, prediction: Prediction) -> bool:
        """One frame by one `write()`; `False` where it was not taken whole (a full disk, for one)."""
        return self.write_all([self._encode(prediction)])

    def encoded(self, prediction: Prediction) -> bytes:
        """One record as `write_all` takes it; may be made in another thread."""
        return self._encode(prediction)

    def write_all(self, encoded: Sequence[bytes]) -> bool:
        """A frame for each record, by one `write()`; `False` where they were not taken whole, and none is there."""
        try:
            self._predictions.append(*encoded)
        except OSError:
            return False
        return True

    async def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """One frame each, on disk before this returns."""
        await self._outcomes.append(*[self._encode(outcome) for outcome in outcomes])

    def close(self) -> None:
        """Flush and close; the segments are then the log writer's."""
        self._predictions.close()
        self._outcomes_writer.close()
