"""Cryptographic commitment to an increment's rows.

It is salted, so that it reveals nothing of a row without the salt, and the rows are sorted, so that the same rows have
the same commitment on every engine.
"""

from __future__ import annotations

import hashlib
import hmac

import pyarrow as pa
import pyarrow.compute as pc


def commitment(rows: pa.Table, key: bytes, name: str) -> str:
    """sha256 in hex over the salted hash of each row, in `_row` order; `name` (stream and number) decides the salt.

    Hash-then-hash lets one row be proven, or erased with its hash left behind, without the others.
    """
    salt = hmac.digest(key, name.encode(), "sha256")
    outer = hashlib.sha256(salt)
    if rows.num_rows:
        ordered = rows.sort_by("_row") if "_row" in rows.column_names else rows
        texts = [pc.cast(ordered[column], pa.string()).fill_null("\x00") for column in sorted(rows.column_names)]
        lines = pc.binary_join_element_wise(*texts, "\x1f")
        sha = hashlib.sha256
        for line in lines.to_pylist():
            outer.update(sha(salt + line.encode()).digest())
    return outer.hexdigest()
