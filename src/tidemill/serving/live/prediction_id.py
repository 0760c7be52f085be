"""Prediction id: a hash of everything that a prediction depends on, so that a repeated request has the same id.

The id covers the release, the switch, the subject's state, the facts, the parameters and the validity slot. Equal ids
imply equal bytes of the response, which makes the id a strong ETag (`serving.http.etag`).
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def prediction_id(*parts: object) -> str:
    """128 bits in hex over the parts in order; a difference in any part, or in its type, gives another id.

    >>> prediction_id("for_you@3", "on", 1) == prediction_id("for_you@3", "on", 1)
    True
    >>> prediction_id("a", "bc") == prediction_id("ab", "c")
    False
    """
    return blake2b(_encode(parts), digest_size=16).hexdigest()
