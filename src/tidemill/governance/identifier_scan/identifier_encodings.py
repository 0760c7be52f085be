"""Encodings of an identifier that a scan looks for: unchanged, in another case, encoded, or hashed without a key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

#: Encodings of fewer bytes than this would match by chance; the identifier itself is searched for at any length.
SHORTEST_ENCODED = 6


def identifier_encodings(identifier: str) -> Iterator[tuple[str, bytes]]:
    """`(form, bytes)` of every encoding to search for; may contain duplicates.

    >>> dict(identifier_encodings("A1/b"))["url"]
    b'A1%2Fb'
    """
    raw = identifier.encode()
    yield "raw", raw
    yield "lower", identifier.lower().encode()
    yield "upper", identifier.upper().encode()
    for form, encoded in _encoded(identifier, raw):
        if len(encoded) >= SHORTEST_ENCODED and encoded != raw:
            yield form, encoded
    for name in ("sha256", "sha1", "md5"):
        digest = hashlib.new(name, raw, usedforsecurity=False).digest()
        yield name, digest
        yield f"{name} hex", digest.hex().encode()
        yield f"{name} hex", digest.hex().upper().encode()


def _encoded(identifier: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    if not identifier.isalnum() or not identifier.isascii():
        yield "url", quote(identifier, safe="").encode()
        yield "url", quote_plus(identifier, safe="").encode()
        yield "json", json.dumps(identifier)[1:-1].encode()
    yield "utf-16", identifier.encode("utf-16-le")
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    for shift in range(3):
        encoded = _base64(raw, shift)
        yield "base64", encoded
        if b"+" in encoded or b"/" in encoded:
            yield "base64", encoded.translate(bytes.maketrans(b"+/", b"-_"))


def _base64(raw: bytes, shift: int) -> bytes:
    """The base64 characters that depend only on `raw` when it starts `shift` bytes after a multiple of three.

    A last character that also depends on the following byte is omitted, so similar identifiers may share an encoding.
    """
    first, last = (shift * 8 + 5) // 6, (shift + len(raw)) * 8 // 6
    return base64.b64encode(bytes(shift) + raw)[first:last]
