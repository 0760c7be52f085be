"""An event as it lies in the event log: checked, with surrogates in place of people, their identities sealed."""

from __future__ import annotations

import msgspec

from tidemill.core.errors import FormatTooNew

Plain = str | int | float | bool | None


FORMAT = 1


class Person(msgspec.Struct, frozen=True, array_like=True):
    """A person in an event: the surrogate, and the identifier sealed under the vault's key."""

    surrogate: str
    sealed: bytes


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """One event of `POST /v1/events/{stream}`, one frame of a segment in `events/<stream>/`."""

    #: When the server took it, microseconds.
    received_at: int = 0
    #: Column -> value for every column that names nobody; times are microseconds.
    row: dict[str, Plain] = {}
    #: Column -> person.
    people: dict[str, Person] = {}
    #: A new field with a default does not raise it; a changed meaning does.
    format: int = FORMAT


class _FormatNumber(msgspec.Struct):
    format: int = FORMAT


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Posted)
_format_decoder = msgspec.msgpack.Decoder(_FormatNumber)


def encode(event: Posted) -> bytes:
    """The event as the payload of a frame."""
    return _encoder.encode(event)


def decode(payload: bytes) -> Posted:
    """The event in a frame's payload; `msgspec.DecodeError` where it is none, `FormatTooNew` where it is not for us."""
    try:
        event = _decoder.decode(payload)
    except msgspec.ValidationError:  # a newer format may have other types
        _refuse_newer(_format_decoder.decode(payload).format)
        raise
    _refuse_newer(event.format)
    return event


def _refuse_newer(found: int) -> None:
    if found > FORMAT:
        raise FormatTooNew(f"a posted event has format {found}; this tidemill reads up to {FORMAT}")
