"""Prediction log: the port through which serving writes predictions and outcomes; `feedback` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tidemill.core.records.prediction import Outcome, Prediction


class PredictionLog(Protocol):
    """A log to which predictions are written before they are sent."""

    def write(self, prediction: Prediction) -> bool:
        """Write one record that survives a killed process (no fsync); `False` where it could not be written."""
        ...

    def encoded(self, prediction: Prediction) -> bytes:
        """One record, encoded for `write_all`; may be called in another thread."""
        ...

    def write_all(self, encoded: Sequence[bytes]) -> bool:
        """Write records in one call like `write`, all or none; `False` for none."""
        ...

    async def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes that survive a power failure once this returns; raises `OSError` where that fails."""
        ...
