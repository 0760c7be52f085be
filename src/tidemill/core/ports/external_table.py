"""The port `external`: tables of other systems, read where they are and never written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.core.records.external_pin import ExternalPin

if TYPE_CHECKING:
    import narwhals as nw

    from tidemill.core.ports.engine import Engine


class ExternalTable(Protocol):
    """A table that another system writes. A run pins one version of it and reads only that one."""

    def pin(self, engine: Engine, columns: Sequence[str] = ()) -> ExternalPin:
        """The current version with all its columns, or only `columns` in this order. Reads no rows.

        Raises `ExternalMissing` if there is no such table, and `ExternalRefused` for a column or a feature that is not
        supported, or an engine that cannot read it.
        """
        ...

    def check(self, engine: Engine, pin: ExternalPin) -> None:
        """Raise `ExternalVersionGone` unless the pinned version can still be read. Reads no rows."""
        ...

    def frame(self, engine: Engine, pin: ExternalPin) -> nw.LazyFrame[Any]:
        """The rows of the pinned version as a lazy frame of the engine, in the types of `ExternalPin.schema`.

        Raises `ExternalVersionGone` if they can no longer be read.
        """
        ...
