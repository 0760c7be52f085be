"""Record format versions: older formats are read, unknown fields are ignored, and newer formats are rejected.

A new field needs no new format number: it has a default for records without it, and older readers ignore it. The
number increases only if an older reader would misunderstand the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, TypeVar

import msgspec

from tidemill.core.errors import FormatTooNew

#: The format of a record without a format number, written before format numbers existed.
FIRST = 1


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records."""

    def json(self) -> str:
        """The record as JSON text."""
        return msgspec.json.encode(self).decode()


class VersionedRecord(Record, frozen=True, kw_only=True):
    """Base of the records that are persisted for years, in their own file or as a detail of a ledger entry.

    Every field has a default. A class whose format has changed overrides `format` with the new number, and `upgrade`.
    """

    #: Name of the record type in messages and documentation; unique in the package.
    KIND: ClassVar[str] = ""
    #: Fields that a record of any format must have.
    REQUIRED: ClassVar[tuple[str, ...]] = ()

    format: int = FIRST

    @classmethod
    def upgrade(cls, fields: dict[str, Any], found: int) -> dict[str, Any]:
        """Convert the fields of a record of the older format `found` to the current format."""
        return fields


class SignedRecord(VersionedRecord, frozen=True, kw_only=True):
    """Base of the records that decide what is served; `core.identity.signed_record` signs and verifies them."""

    #: Ed25519 signature by the ledger's key, 128 hex digits; empty in files of older versions.
    signature: str = ""


Kind = TypeVar("Kind", bound=VersionedRecord)
Value = TypeVar("Value")


@cache
def format_of(kind: type[VersionedRecord]) -> int:
    """The format number that this version writes for a record type."""
    number: int = next(field.default for field in msgspec.structs.fields(kind) if field.name == "format")
    return number


def refuse_newer(found: int, known: int, what: str) -> None:
    """Raise `FormatTooNew` if `what` (a file, an entry) has a format above `known`.

    >>> refuse_newer(1, 1, "mill.json")
    """
    if found > known:
        raise FormatTooNew(
            f"{what} has format {found}, but this version of tidemill reads up to {known}",
            tip="install the version of tidemill that wrote it, or a later one",
        )


def decode_json(body: bytes | str, kind: type[Value]) -> Value:
    """Decode JSON as `kind`. Raises only `msgspec.DecodeError`, also for text that is not UTF-8 or nested too deeply.

    >>> decode_json(b'{"a": 1}', dict[str, int])
    {'a': 1}
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except UnicodeDecodeError as error:  # of a name or a text: one flipped bit is enough
        raise msgspec.DecodeError(f"the text is not UTF-8: {error}") from error
    except RecursionError as error:
        raise msgspec.DecodeError("the text is nested too deeply") from error


def decode_record(body: bytes | str, kind: type[Kind], where: str = "") -> Kind:
    """Decode a record from JSON, upgraded to the current format. Messages use `where` as its location.

    Raises `FormatTooNew`, and `msgspec.DecodeError` if the text is not a record of this type.
    """
    fields = decode_json(body, dict[str, msgspec.Raw])
    found = decode_json(bytes(fields["format"]), int) if "format" in fields else FIRST
    known = format_of(kind)
    refuse_newer(found, known, f"the {kind.KIND} in {where}" if where else f"a {kind.KIND}")
    if found < known:
        upgraded = kind.upgrade(decode_json(body, dict[str, Any]), found) | {"format": known}
        return decode_record(msgspec.json.encode(upgraded), kind, where)
    for name in kind.REQUIRED:
        if name not in fields:
            raise msgspec.ValidationError(f"Object missing required field `{name}`")
    return decode_json(body, kind)


def record_kinds() -> dict[str, type[VersionedRecord]]:
    """Name -> class of every persisted record type in the imported modules."""
    return {kind.KIND: kind for kind in _below(VersionedRecord) if kind.KIND}


def _below(kind: type[VersionedRecord]) -> Iterator[type[VersionedRecord]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)
