"""Streams that a server accepts events for: their contracts, and the models that they feed.

The server never imports mill.py. Each run that reads the project writes this file next to the pointers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from tidemill.core.contract.contract import Contract
from tidemill.core.errors import NotServed, nearest
from tidemill.core.identity.keys import Keys
from tidemill.core.record_format import Record, SignedRecord
from tidemill.serving.live.state_files import write_signed

FILE = "streams.json"


class ServedStream(Record, frozen=True):
    """A stream that events can be posted to."""

    contract: Contract = Contract()
    #: Models whose interactions come from it, directly or through tables: posted events are added to their histories.
    feeds: tuple[str, ...] = ()


class Streams(SignedRecord, frozen=True):
    """All streams of a project, signed by the ledger's key."""

    KIND: ClassVar[str] = "list of streams"
    REQUIRED: ClassVar[tuple[str, ...]] = ("streams",)

    streams: dict[str, ServedStream] = msgspec.field(default_factory=dict)

    def __getitem__(self, name: str) -> ServedStream:
        if name not in self.streams:
            raise NotServed(f"no stream {name!r} is served here", tip=nearest(name, self.streams))
        return self.streams[name]

    def feeding(self, model: str) -> list[str]:
        """The streams whose posted events are added to the user histories of `model`."""
        return sorted(name for name, stream in self.streams.items() if model in stream.feeds)

    def subject(self, model: str) -> str:
        """The subject column of the streams of `model`: the kind of its surrogates."""
        for name in self.feeding(model):
            subjects = self.streams[name].contract.role("subject")
            if subjects:
                return subjects[0]
        raise NotServed(f"no stream feeds the model {model!r}", tip="run `tidemill run`: it updates the streams")


def write_streams(serving_root: Path, streams: Mapping[str, ServedStream], keys: Keys) -> None:
    """Write the streams for the server; a running one loads them within a second."""
    write_signed(serving_root / FILE, Streams(streams=dict(streams)), keys)
