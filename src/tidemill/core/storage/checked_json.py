"""JSON objects with a checksum as their last field, so that a changed byte shows."""

from __future__ import annotations

import re
from typing import Any
from zlib import crc32

import msgspec

#: The last field: the CRC-32 of the same object without this field.
_CHECK = re.compile(rb',"check":"([0-9a-f]{8})"\}\s*\Z')


def checked_json(content: Any) -> bytes:
    """`content` as a JSON object with a checksum."""
    body = msgspec.json.encode(content)
    return body[:-1] + b',"check":"%08x"}' % crc32(body)


def refuse_changed(body: bytes, *, required: bool = False) -> None:
    """Raise `msgspec.DecodeError` if a JSON object does not match its checksum. One of an older version has none,
    unless it is `required`.
    """
    check = _CHECK.search(body)
    if required and check is None:
        raise msgspec.DecodeError("it has no checksum")
    if check is not None and crc32(body[: check.start()] + b"}") != int(check[1], 16):
        raise msgspec.DecodeError("it does not match its checksum")
