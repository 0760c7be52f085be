"""Record decoder: predictions and outcomes from segment frames of the current, older and compatible newer formats.

A missing field takes its default, and an unknown field is ignored: so a version reads records of the previous and the
next version. A record with a higher format number has a field whose meaning changed; it raises `FormatTooNew` and stays
in place until a version that knows the format reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from tidemill.core.errors import FormatTooNew
from tidemill.core.records.prediction import LOG_FORMAT, Outcome, Prediction

LogRecord = TypeVar("LogRecord", Prediction, Outcome)
#: The values of `policy` in format 1: the state of the switch.
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
        """The record; raises `FormatTooNew`, and `msgspec.DecodeError` for an invalid payload."""
        try:
            record = self._decode(payload)
        except msgspec.ValidationError:  # a newer format may have other types
            self._refuse_newer(self._format(payload).format)
            raise
        self._refuse_newer(record.format)
        return _upgraded(record)

    def _refuse_newer(self, version: int) -> None:
        if version > LOG_FORMAT:
            raise FormatTooNew(f"the record has format {version}, and this tidemill reads up to {LOG_FORMAT}")


def _upgraded(record: LogRecord) -> LogRecord:
    if isinstance(record, Prediction) and record.policy in SWITCH_STATES:
        return msgspec.structs.replace(record, switch=record.policy, policy="single")
    return record
