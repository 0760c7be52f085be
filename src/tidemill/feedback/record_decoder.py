"""Record decoder: predictions and outcomes from segment frames, of this format, of older ones, and of newer writers.

A field that is missing takes its default, and a field that is not known is left out: so one version reads what the one
before and the one after wrote. A record whose format number is higher has a field whose meaning changed; it is refused
by `FormatTooNew` and stays where it is until a version that knows it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from tidemill.core.errors import FormatTooNew
from tidemill.core.records.serving import LOG_FORMAT, Outcome, Prediction

LogRecord = TypeVar("LogRecord", Prediction, Outcome)
#: What `policy` said in format 1: the state of the switch.
SWITCH_STATES = ("on", "off")


class _LogFormatNumber(msgspec.Struct):
    format: int = 1


class RecordDecoder(Generic[LogRecord]):
    """Decodes the payloads of one log.

    >>> old = msgspec.msgpack.encode({"prediction_id": "a", "policy": "off"})
    >>> (RecordDecoder(Prediction)(old).switch, RecordDecoder(Prediction)(old).policy)
    ('off', 'single')
    """

    def __init__(self, kind: type[LogRecord]) -> None:
        self._decode: Callable[[bytes], LogRecord] = msgspec.msgpack.Decoder(kind).decode
        self._format = msgspec.msgpack.Decoder(_LogFormatNumber).decode

    def __call__(self, payload: bytes) -> LogRecord:
        """The record; raises `FormatTooNew`, and `msgspec.DecodeError` where the payload holds none."""
        try:
            found = self._decode(payload)
        except msgspec.ValidationError:  # a newer format may have other types
            self._refuse_newer(self._format(payload).format)
            raise
        self._refuse_newer(found.format)
        return _upgraded(found)

    def _refuse_newer(self, found: int) -> None:
        if found > LOG_FORMAT:
            raise FormatTooNew(f"a record has format {found}; this tidemill reads up to {LOG_FORMAT}")


def _upgraded(found: LogRecord) -> LogRecord:
    if isinstance(found, Prediction) and found.policy in SWITCH_STATES:
        return msgspec.structs.replace(found, switch=found.policy, policy="single")
    return found
