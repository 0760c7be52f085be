"""Snapshots in memory-mapped files: every key is found, no other one is, however their hashes fall."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.backends.lmdb import mapped_rows
from tidemill.backends.lmdb.mapped_rows import MappedRows, build
from tidemill.core.errors import CorruptFile, FormatTooNew, TypeMismatch, UnknownName


def _built(folder: Path, rows: pa.Table) -> MappedRows:
    folder.mkdir(parents=True, exist_ok=True)
    return MappedRows(folder, build(folder, "k", rows, "one"))


@settings(deadline=None, max_examples=50)
@given(st.sets(st.text(max_size=6), max_size=60), st.sets(st.text(max_size=6), max_size=20))
def test_every_key_is_found_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], others: set[str]
) -> None:
    order = sorted(keys)
    rows = pa.table({"k": pa.array(order, pa.string()), "n": pa.array(range(len(order)), pa.int64())})
    mapped = _built(tmp_path_factory.mktemp("rows"), rows)
    assert [mapped.get(key) for key in order] == [{"n": number} for number in range(len(order))]
    assert [mapped.get(key) for key in others - keys] == [None] * len(others - keys)


@pytest.mark.parametrize("hashes", [lambda _: 0, lambda key: len(key) % 2, lambda key: 0xFFFFFFFF])
def test_keys_with_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashes: Any) -> None:
    """All in one slot, at the first or past the last: the probing runs on and stops at an empty slot."""

    class _Zlib:
        """Hashes of keys as we want them, checks of records as they are."""

        @staticmethod
        def crc32(data: Any) -> int:
            return int(hashes(data)) if isinstance(data, bytes) and data.startswith(b"key") else zlib.crc32(data)

    monkeypatch.setattr(mapped_rows, "zlib", _Zlib)
    keys = [f"key{number}" for number in range(40)]
    mapped = _built(tmp_path, pa.table({"k": keys, "n": list(range(40))}))
    assert [mapped.get(key) for key in keys] == [{"n": number} for number in range(40)]
    assert mapped.get("key40") is None


def test_counted_names_do_not_cluster(tmp_path: Path) -> None:
    """A million names with a counter must stay near their homes; CRC-32 taken as it is would heap them up."""
    keys = [f"B{number:08d}" for number in range(60_000)]
    mapped = _built(tmp_path, pa.table({"k": keys}))
    taken = np.frombuffer(mapped._slots, np.uint64) != 0
    edges = np.flatnonzero(np.diff(np.r_[0, taken.astype(np.int8), 0]))
    longest = int((edges[1::2] - edges[::2]).max())
    assert longest < 200


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False),
            st.none() | st.booleans(),
            st.none() | st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=3),
            st.none() | st.text(max_size=4),
        ),
        max_size=10,
    )
)
def test_values_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, values: list[tuple[Any, ...]]) -> None:
    kinds = [pa.float64(), pa.bool_(), pa.list_(pa.int64()), pa.string()]
    columns = list(zip(*values, strict=True)) if values else [()] * 4
    made = {
        f"c{number}": pa.array(column, kind) for number, (column, kind) in enumerate(zip(columns, kinds, strict=True))
    }
    rows = pa.table({"k": pa.array([str(number) for number in range(len(values))], pa.string()), **made})
    mapped = _built(tmp_path_factory.mktemp("rows"), rows)
    keys = [*rows["k"].to_pylist(), "none"]
    alone = [mapped.get(key) for key in keys]
    assert alone == [*rows.drop_columns(["k"]).to_pylist(), None]
    few, present = mapped.take(keys, list(made))
    many, there = mapped.take(keys * 40, list(made))
    assert few.to_pylist() == [*alone[:-1], dict.fromkeys(made)]
    assert many.to_pylist() == few.to_pylist() * 40
    assert there.tolist() == present.tolist() * 40 == [*[True] * len(values), False] * 40


def test_other_spellings_of_a_type_are_made_plain(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "k": pa.array(["a"], pa.large_string()),
            "view": pa.array(["x"], pa.string_view()),
            "coded": pa.array(["y"]).dictionary_encode(),
            "ms": pa.array([5], pa.timestamp("ms", "Europe/Berlin")),
            "day": pa.array([3], pa.date32()),
            "many": pa.array([["z"]], pa.large_list(pa.large_string())),
        }
    )
    assert _built(tmp_path, rows).get("a") == {"view": "x", "coded": "y", "ms": 5_000, "day": 3, "many": ["z"]}


@pytest.mark.parametrize("bad", [pa.array([{"a": 1}]), pa.array([b"x"]), pa.array([None])])
def test_types_that_are_no_features_are_refused(tmp_path: Path, bad: pa.Array) -> None:
    with pytest.raises(TypeMismatch, match="'bad'"):
        build(tmp_path, "k", pa.table({"k": ["a"], "bad": bad}), "one")


def test_the_key_must_be_a_text_and_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        build(tmp_path, "key", pa.table({"k": ["a"]}), "one")
    with pytest.raises(TypeMismatch):
        build(tmp_path, "k", pa.table({"k": [1]}), "one")


def test_a_newer_format_and_a_foreign_folder_are_refused(tmp_path: Path) -> None:
    check = build(tmp_path, "k", pa.table({"k": ["a"]}), "one")
    with pytest.raises(CorruptFile):
        MappedRows(tmp_path, check + 1)
    about = (tmp_path / "about.json").read_bytes()
    newer = about.replace(b'"format":1', b'"format":2')
    assert newer != about
    (tmp_path / "about.json").write_bytes(newer)
    with pytest.raises(FormatTooNew):
        MappedRows(tmp_path, zlib.crc32(newer))


def test_records_of_zeros_are_damaged_and_not_empty(tmp_path: Path) -> None:
    """The checksum of nothing is 0: a zeroed record had matched it, and its key was not found."""
    check = build(tmp_path, "k", pa.table({"k": ["a"], "n": [1]}), "one")
    file = tmp_path / "records.bin"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(CorruptFile, match=r"records\.bin"):
        MappedRows(tmp_path, check).get("a")
