"""Fact publication: the number of the publication from which the online store was built.

A run writes this file next to the deployments once every view is at its publication. The ledger has the versions of all
tables of a publication, so a logged prediction can be traced to its data years later. While a run updates the views,
predictions still record the previous publication.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidemill.serving.live.state_files import WatchedFile, read_state, write_state

FILE = "publication.json"


class FactPublication(msgspec.Struct, frozen=True):
    """The publication of the facts, and its as-of in microseconds."""

    number: int = 0
    as_of: int = 0
    format: int = 1


class WatchedPublication:
    """The publication number, polled by a worker; 0 before the first run."""

    def __init__(self, serving_root: Path) -> None:
        self._file = WatchedFile(serving_root / FILE, FactPublication)
        self.number = 0
        self.poll()

    def poll(self) -> None:
        """Load a new publication; costs one `stat`."""
        if self._file.poll():
            self.number = self._file.content.number if self._file.content else 0


def write_fact_publication(serving_root: Path, number: int, as_of: int) -> None:
    """Record the publication that every view is at."""
    publication = FactPublication(number, as_of)
    if read_state(serving_root / FILE, FactPublication) != publication:
        write_state(serving_root / FILE, publication)
