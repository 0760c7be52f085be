"""Record format numbers: older forms are read, unknown fields are ignored, and a form that is too new is rejected.

A new field needs no new number: it has a default for records without it, and older readers ignore it. The number
rises only if an older reader would misunderstand the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, TypeVar

import msgspec

from tidemill.core.errors import FormatTooNew

#: The form of a record without a number: it was written before there were any.
FIRST = 1


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records."""

    def json(self) -> str:
        """The record as JSON text."""
        return msgspec.json.encode(self).decode()


class VersionedRecord(Record, frozen=True, kw_only=True):
    """Base of the records that are kept for years: in a file of its own, or as a detail of a ledger line.

    Every field has a default. A class whose form has changed overrides `format` with its new number and `upgrade`.
    """

    #: What messages and the documentation call such a record; unique in the package.
    KIND: ClassVar[str] = ""
    #: Fields without which bytes are no such record, whatever its number.
    REQUIRED: ClassVar[tuple[str, ...]] = ()

    format: int = FIRST

    @classmethod
    def upgrade(cls, fields: dict[str, Any], found: int) -> dict[str, Any]:
        """The fields of a record of the older format `found`, as the present format has them."""
        return fields


Kind = TypeVar("Kind", bound=VersionedRecord)


@cache
def format_of(kind: type[VersionedRecord]) -> int:
    """The format that this version writes of a kind of record."""
    number: int = next(field.default for field in msgspec.structs.fields(kind) if field.name == "format")
    return number


def refuse_newer(found: int, known: int, what: str) -> None:
    """Raise `FormatTooNew` if `what` (a file, a line) has a format above the one that is known here.

    >>> refuse_newer(1, 1, "mill.json")
    """
    if found > known:
        raise FormatTooNew(
            f"{what} has format {found}, but this version of tidemill reads up to {known}",
            tip="install the version of tidemill that wrote it, or a later one",
        )


def decode_record(body: bytes | str, kind: type[Kind], where: str = "") -> Kind:
    """The record in a JSON text, in the present form. `where` says in messages where it lies.

    Raises `FormatTooNew`, and `msgspec.DecodeError` where the text is no such record.
    """
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    found = msgspec.json.decode(fields["format"], type=int) if "format" in fields else FIRST
    known = format_of(kind)
    refuse_newer(found, known, f"the {kind.KIND} in {where}" if where else f"a {kind.KIND}")
    if found < known:
        upgraded = kind.upgrade(msgspec.json.decode(body, type=dict[str, Any]), found) | {"format": known}
        return decode_record(msgspec.json.encode(upgraded), kind, where)
    for name in kind.REQUIRED:
        if name not in fields:
            raise msgspec.ValidationError(f"Object missing required field `{name}`")
    return msgspec.json.decode(body, type=kind)


def record_kinds() -> dict[str, type[VersionedRecord]]:
    """Name -> class of every kind of kept record, of the modules that are imported."""
    return {kind.KIND: kind for kind in _below(VersionedRecord) if kind.KIND}


def _below(kind: type[VersionedRecord]) -> Iterator[type[VersionedRecord]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)
