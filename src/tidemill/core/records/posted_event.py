"""Posted event, as stored in the event log: validated, with surrogates for people, and sealed under their keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tidemill.core.errors import FormatTooNew

Plain = str | int | float | bool | None


#: 2: row and identifiers lie sealed in `sealed`.
FORMAT = 2


class SealedSubject(msgspec.Struct, frozen=True, array_like=True):
    """A person in an event: the surrogate, and in format 1 the identifier sealed under the vault's key."""

    surrogate: str
    sealed: bytes = b""


class PostedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of `POST /v1/events/{stream}`, one frame of a segment in `events/<stream>/`."""

    #: When the server took it, microseconds.
    received_at: int = 0
    #: Column -> value for every column that names nobody; times are microseconds. Empty where `sealed` is not.
    row: dict[str, Plain] = {}
    #: Column -> person.
    people: dict[str, SealedSubject] = {}
    #: The row, and column -> identifier, in MessagePack, sealed under the keys of all its people.
    sealed: bytes = b""
    #: A new field with a default does not raise it; a changed meaning does.
    format: int = FORMAT


class _FormatNumber(msgspec.Struct):
    format: int = FORMAT


class NamedPerson(msgspec.Struct, frozen=True):
    """A person in an event that no log holds yet."""

    surrogate: str
    identifier: str


class CheckedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that fits its stream's contract, in memory only: the identifiers in it are not sealed."""

    received_at: int
    row: dict[str, Plain]
    people: dict[str, NamedPerson]


#: Seals a value under the keys of the people that it names.
SealValue = Callable[[bytes, Sequence[str]], bytes]

_contents = msgspec.msgpack.Decoder(tuple[dict[str, Plain], dict[str, str]])
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PostedEvent)
_format_decoder = msgspec.msgpack.Decoder(_FormatNumber)


def encode_event(event: PostedEvent) -> bytes:
    """The event as the payload of a frame."""
    return _encoder.encode(event)


def decode_event(payload: bytes) -> PostedEvent:
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
        raise FormatTooNew(f"a posted event has format {found}, but this version of tidemill reads up to {FORMAT}")


def sealed_event(event: CheckedEvent, seal: SealValue) -> PostedEvent:
    """The event as it may lie in a log; one that names nobody needs no seal."""
    if not event.people:
        return PostedEvent(received_at=event.received_at, row=event.row, people={})
    identifiers = {column: person.identifier for column, person in event.people.items()}
    return PostedEvent(
        received_at=event.received_at,
        people={column: SealedSubject(person.surrogate) for column, person in event.people.items()},
        sealed=seal(_encoder.encode((event.row, identifiers)), [person.surrogate for person in event.people.values()]),
    )


def opened_event(event: PostedEvent, unseal: Callable[[bytes], bytes]) -> tuple[dict[str, Plain], dict[str, str]]:
    """The row, and column -> identifier; `msgspec.DecodeError` where what was sealed is neither."""
    if event.sealed:
        return _contents.decode(unseal(event.sealed))
    return event.row, {column: unseal(person.sealed).decode() for column, person in event.people.items()}
