"""The commitment to rows: the same text and hashes with every chunking, order and version."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tidemill.lake import commitment as module
from tidemill.lake.commitment import commitment

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
KEY, NAME = b"k" * 32, "mill/reviews/1"
ROWS = pa.table(
    {
        "who": pa.array(["ann", None, "bob\x1f", ""]),
        "stars": pa.array([1.0, 2.5, None, float("nan")]),
        "at": pa.array([FIRST, LAST, None, datetime(1969, 7, 20, 3, 0, 0, 1, UTC)], pa.timestamp("us", "UTC")),
        "local": pa.array([datetime(2020, 1, 1, 12), None, None, None], pa.timestamp("us")),
        "_row": pa.array([1, 2, 3, 4]),
    }
)


def by_rule(rows: pa.Table) -> str:
    """The commitment of rows in order, one row at a time."""
    salt = hmac.digest(KEY, NAME.encode(), "sha256")
    outer = hashlib.sha256(salt)
    texts = {name: pc.cast(rows[name], pa.string()).to_pylist() for name in sorted(rows.column_names)}
    for i in range(rows.num_rows):
        line = "\x1f".join("\x00" if column[i] is None else column[i] for column in texts.values())
        outer.update(hashlib.sha256(salt + line.encode()).digest())
    return outer.hexdigest()


def test_it_is_the_one_that_earlier_versions_wrote() -> None:
    assert commitment(ROWS, KEY, NAME) == by_rule(ROWS)
    assert commitment(ROWS.slice(0, 0), KEY, NAME) == by_rule(ROWS.slice(0, 0))


def test_chunks_order_and_columns_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = commitment(ROWS, KEY, NAME)
    chunked = pa.concat_tables([ROWS.slice(2), ROWS.slice(0, 2)]).select(sorted(ROWS.column_names, reverse=True))
    assert commitment(chunked, KEY, NAME) == expected
    monkeypatch.setattr(module, "_BATCH_ROWS", 1)
    assert commitment(chunked, KEY, NAME) == expected


def test_a_changed_value_another_key_or_name_changes_it() -> None:
    one = ROWS.set_column(1, "stars", pa.array([1.0, 2.5, 0.0, float("nan")]))
    found = {commitment(ROWS, KEY, NAME), commitment(one, KEY, NAME), commitment(ROWS, b"x" * 32, NAME)}
    assert len(found | {commitment(ROWS, KEY, "mill/reviews/2")}) == 4
