"""Cryptographic commitment to an increment's rows.

It is salted, so it reveals nothing about a row without the salt. The rows are sorted, so the same rows have the same
commitment with every engine.
"""

from __future__ import annotations

import hashlib
import hmac

import pyarrow as pa
import pyarrow.compute as pc


def commitment(rows: pa.Table, key: bytes, name: str) -> str:
    """SHA-256 (hex) over the salted hash of each row, in `_row` order; `name` (stream and number) determines the salt.

    Because each row is hashed first, one row can be proven without the others, or erased with only its hash kept.
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
