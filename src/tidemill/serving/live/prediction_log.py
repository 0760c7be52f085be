"""Prediction log: the port through which serving writes predictions and outcomes; `feedback` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tidemill.core.records.serving import Outcome, Prediction


class PredictionLog(Protocol):
    """Where answers are written before they leave."""

    def write(self, prediction: Prediction) -> bool:
        """Keep one record against a killed process, without fsync; `False` where it could not be written."""
        ...

    def encoded(self, prediction: Prediction) -> bytes:
        """One record as `write_all` takes it; may be made in another thread."""
        ...

    def write_all(self, encoded: Sequence[bytes]) -> bool:
        """Keep records by one call like `write`, all or none; `False` for none."""
        ...

    async def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes against a power cut before this returns; raises `OSError` where they could not be."""
        ...
