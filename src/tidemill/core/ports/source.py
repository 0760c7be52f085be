"""Sources: where the rows of a stream come from, found by the scheme of their URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from tidemill.core.source_read import ReadRequest, SourceRead, SplitReader


class Source(Protocol):
    """Input connector of a stream. Constructed with `(url, contract, base)`; nothing is read before `read`.

    `base` is the project's folder; paths in the URL are relative to it.
    """

    #: Name of the source's state, for example `files` or `shop`. Two kinds of sources of one stream have two states.
    kind: str

    def read(self, request: ReadRequest) -> SourceRead:
        """The rows that are due and not yet ingested, each with its permanent row id, and the state after this read.

        Given its last state, a source returns no row twice. A row that is read again, because the state was not stored,
        has the same row id. Raises `FormatTooNew` for a state of a later format, and `SourceError`.
        """
        ...


@runtime_checkable
class SplitSource(Source, Protocol):
    """A source that an engine's workers can read in splits."""

    def read_splits(self, request: ReadRequest, workers: SplitReader) -> SourceRead:
        """The result of `Source.read`, whose rows may be left with the workers: see `SourceRead.splits`."""
        ...
