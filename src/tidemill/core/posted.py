"""An event as it lies in the event log: checked, with surrogates in place of people, their identities sealed."""

from __future__ import annotations

import msgspec

Plain = str | int | float | bool | None


class Person(msgspec.Struct, frozen=True, array_like=True):
    """A person in an event: the surrogate, and the identifier sealed under the vault's key."""

    surrogate: str
    sealed: bytes


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """One event of `POST /v1/events/{stream}`, one frame of a segment in `events/<stream>/`."""

    #: When the server took it, microseconds.
    received_at: int
    #: Column -> value for every column that names nobody; times are microseconds.
    row: dict[str, Plain]
    #: Column -> person.
    people: dict[str, Person]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Posted)


def encode(event: Posted) -> bytes:
    """The event as the payload of a frame."""
    return _encoder.encode(event)


def decode(payload: bytes) -> Posted:
    """The event in a frame's payload; `msgspec.DecodeError` where it is none."""
    return _decoder.decode(payload)
