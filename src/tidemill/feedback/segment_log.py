"""Segment log: a worker's side of the prediction log, one frame in its own segment before each response is sent.

Predictions survive a killed process (no fsync on the request path). Outcomes are acknowledged, so they also survive a
power failure. The log writer moves both into the lake's tables later.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidemill.core.clock import Clock
from tidemill.core.records.prediction import Outcome, Prediction
from tidemill.core.storage.group_commit import GroupCommit
from tidemill.core.storage.segments import SegmentWriter

PREDICTIONS, OUTCOMES = "predictions", "outcomes"


class SegmentLog:
    """Implements serving's `PredictionLog`; `folder` is the project's `log/`."""

    def __init__(self, folder: Path, clock: Clock, *, segment_bytes: int = 16 << 20) -> None:
        self._predictions = SegmentWriter(folder / PREDICTIONS, clock, limit_bytes=segment_bytes, durable=False)
        self._outcomes_writer = SegmentWriter(folder / OUTCOMES, clock, limit_bytes=segment_bytes)
        self._outcomes = GroupCommit(self._outcomes_writer)
        self._encode = msgspec.msgpack.Encoder().encode

    def write(self, prediction: Prediction) -> bool:
        """Write one frame with one `write()`; `False` where it was not written completely (for example, disk full)."""
        return self.write_all([self._encode(prediction)])

    def encoded(self, prediction: Prediction) -> bytes:
        """One record, encoded for `write_all`; may be called in another thread."""
        return self._encode(prediction)

    def write_all(self, encoded: Sequence[bytes]) -> bool:
        """Write a frame for each record with one `write()`, all or none; `False` for none."""
        try:
            self._predictions.append(*encoded)
        except OSError:
            return False
        return True

    async def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Write one frame for each outcome, on disk before this returns."""
        await self._outcomes.append(*[self._encode(outcome) for outcome in outcomes])

    def close(self) -> None:
        """Flush and close; the log writer then processes the segments."""
        self._predictions.close()
        self._outcomes_writer.close()
