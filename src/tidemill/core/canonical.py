"""Canonical JSON: exactly one byte string per value. Sorted keys; integers, strings, booleans and null; no floats.

Everything that is hashed or signed is encoded here, so that its bytes are the same in all stores and engines.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")


def canonical(value: Any) -> bytes:
    """The canonical JSON bytes of `value`. Raises `TypeError` with the path of a value of an unsupported type.

    >>> canonical({"b": 1, "a": ["x", None]})
    b'{"a":["x",null],"b":1}'
    """
    _refuse(value, "value")
    return _encoder.encode(value)


def fingerprint(value: Any) -> str:
    """The SHA-256 of the canonical bytes, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _refuse(value: Any, where: str) -> None:
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}, which is not a string")
            _refuse(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _refuse(item, f"{where}[{i}]")
    else:
        raise TypeError(f"{where} is a {type(value).__name__}; write it as an integer or a string")
