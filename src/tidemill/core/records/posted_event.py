"""Posted event as stored in the event log: validated, pseudonymised, and encrypted under the keys of its people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tidemill.core.errors import FormatTooNew

Plain = str | int | float | bool | None


#: Format 2: the row and the identifiers are encrypted in `sealed`.
FORMAT = 2


class SealedSubject(msgspec.Struct, frozen=True, array_like=True):
    """A person in an event: the surrogate, and in format 1 the identifier encrypted under the vault's key."""

    surrogate: str
    sealed: bytes = b""


class PostedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of `POST /v1/events/{stream}`, one frame of a segment in `events/<stream>/`."""

    #: When the server received it, microseconds.
    received_at: int = 0
    #: Column -> value of every column that is not a subject; times are microseconds. Empty if `sealed` is set.
    row: dict[str, Plain] = {}
    #: Column -> person.
    people: dict[str, SealedSubject] = {}
    #: The row and a map of column -> identifier, in MessagePack, encrypted under the keys of all its people.
    sealed: bytes = b""
    #: Not increased for a new field with a default; increased when a meaning changes.
    format: int = FORMAT


class _FormatNumber(msgspec.Struct):
    format: int = FORMAT


class NamedPerson(msgspec.Struct, frozen=True):
    """A person in an event that is not logged yet."""

    surrogate: str
    identifier: str


class CheckedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that passed its stream's contract. It contains raw identifiers, so it exists only in memory."""

    received_at: int
    row: dict[str, Plain]
    people: dict[str, NamedPerson]


#: Encrypts a value under the keys of the people with these surrogates.
SealValue = Callable[[bytes, Sequence[str]], bytes]

_contents = msgspec.msgpack.Decoder(tuple[dict[str, Plain], dict[str, str]])
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PostedEvent)
_format_decoder = msgspec.msgpack.Decoder(_FormatNumber)


def encode_event(event: PostedEvent) -> bytes:
    """Encode an event as the payload of a frame."""
    return _encoder.encode(event)


def decode_event(payload: bytes) -> PostedEvent:
    """Decode a frame's payload. Raises `msgspec.DecodeError` if it is not an event, and `FormatTooNew`."""
    try:
        event = _decoder.decode(payload)
    except msgspec.ValidationError:  # a newer format may have other types
        _refuse_newer(_format_decoder.decode(payload).format)
        raise
    _refuse_newer(event.format)
    return event


def _refuse_newer(found: int) -> None:
    if found > FORMAT:
        raise FormatTooNew(f"a posted event has format {found}, but this version of tidemill reads up to {FORMAT}")


def sealed_event(event: CheckedEvent, seal: SealValue) -> PostedEvent:
    """The event in the form in which it is logged: encrypted, unless it has no people."""
    if not event.people:
        return PostedEvent(received_at=event.received_at, row=event.row, people={})
    identifiers = {column: person.identifier for column, person in event.people.items()}
    return PostedEvent(
        received_at=event.received_at,
        people={column: SealedSubject(person.surrogate) for column, person in event.people.items()},
        sealed=seal(_encoder.encode((event.row, identifiers)), [person.surrogate for person in event.people.values()]),
    )


def opened_event(event: PostedEvent, unseal: Callable[[bytes], bytes]) -> tuple[dict[str, Plain], dict[str, str]]:
    """Decrypt an event into its row and a map of column -> identifier. Raises `msgspec.DecodeError` if malformed."""
    if event.sealed:
        return _contents.decode(unseal(event.sealed))
    return event.row, {column: unseal(person.sealed).decode() for column, person in event.people.items()}
