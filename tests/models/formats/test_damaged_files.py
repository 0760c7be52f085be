"""Files of arrays and tables with damaged bytes are refused, or are read within their bounds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import BundleCorrupt
from tidemill.models.formats.arrays import array_header, open_array
from tidemill.models.formats.arrow_tables import checked_table, read_arrow
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.user_vectors import Factors, Vectors

TABLE = pa.table({"id": ["a", "bb", None], "x": [[1.0], [], [2.0, 3.0]], "n": [1, None, 3], "f": [True, False, None]})


def arrow(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def npy(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=True)
    return sink.getvalue()


damage = st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8), st.booleans())


def damaged(whole: bytes, place: int, other: bytes, cut: bool) -> bytes:
    place %= len(whole)
    return whole[:place] + other + (b"" if cut else whole[place + len(other) :])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(4, 6),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3), np.int32),
        np.array(7),
        np.array([True, False]),
        np.zeros(2, "M8[us]"),
    ],
)
def test_an_array_is_read_as_it_was_written(tmp_path: Path, array: np.ndarray) -> None:
    (tmp_path / "a.npy").write_bytes(npy(array))
    found = open_array(tmp_path / "a.npy")
    assert found.dtype == array.dtype and np.array_equal(found, array) and not found.flags.writeable


@given(damage=damage)
def test_a_damaged_array_is_refused_or_has_the_size_of_its_file(damage: tuple[int, bytes, bool]) -> None:
    whole = damaged(npy(np.arange(24, dtype=np.float32).reshape(4, 6)), *damage)
    try:
        header = array_header(whole, len(whole))
    except ValueError:
        return
    assert header.offset + header.dtype.itemsize * int(np.prod(header.shape)) == len(whole)


@pytest.mark.parametrize("dtype", ["O", "f4,O", "V8", "S3", "U3", ">f8", "c16", "f4,i4"])
def test_arrays_of_other_types_are_refused(dtype: str) -> None:
    whole = npy(np.zeros(2, dtype))
    with pytest.raises(ValueError, match=r"plain numbers|Python objects"):
        array_header(whole, len(whole))


def test_a_table_is_read_as_it_was_written() -> None:
    for table in (TABLE, TABLE.slice(0, 0), pa.table({}), pa.concat_tables([TABLE, TABLE])):
        assert checked_table(pa.py_buffer(arrow(table))).equals(table)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_table_is_refused_whatever_its_size_in_memory(codec: str) -> None:
    with pytest.raises(ValueError, match="compressed"):
        checked_table(pa.py_buffer(arrow(pa.table({"x": np.zeros(10**6)}), compression=codec)))


def test_dictionaries_and_a_name_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="dictionary"):
        checked_table(pa.py_buffer(arrow(pa.table({"x": pa.array(["a"]).dictionary_encode()}))))
    with pytest.raises(ValueError, match="occurs twice"):
        checked_table(pa.py_buffer(arrow(pa.table([pa.array([1]), pa.array([2])], names=["x", "x"]))))


def test_a_message_of_another_kind_in_place_of_the_schema_is_refused() -> None:
    whole = arrow(TABLE)
    second = whole.index(b"\xff\xff\xff\xff", 12)
    with pytest.raises(ValueError, match="does not start with a schema"):
        checked_table(pa.py_buffer(whole[:8] + whole[second:]))


@given(damage=damage)
def test_a_damaged_table_is_refused_or_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, damage: tuple[int, bytes, bool]
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.arrow"
    file.write_bytes(damaged(arrow(TABLE), *damage))
    try:
        found = read_arrow(file)
    except BundleCorrupt:
        return
    assert len(found.to_pylist()) == found.num_rows


def _lists(folder: Path, **other: np.ndarray) -> Path:
    arrays = {
        "starts": np.array([0, 1, 2], np.int64), "items": np.array([1, 0], np.int32), "weights": np.ones(2, np.float32),
    }  # fmt: skip
    for name, array in (arrays | other).items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.mark.parametrize(
    "other",
    [
        {"items": np.array([1, 2], np.int32)},
        {"items": np.array([1, -1], np.int32)},
        {"items": np.array([1, 0], np.int64)},
        {"starts": np.array([0, 1, 3], np.int64)},
        {"starts": np.array([0, 3, 2], np.int64)},
        {"starts": np.array([1, 1, 2], np.int64)},
        {"starts": np.zeros(0, np.int64)},
        {"weights": np.ones(3, np.float32)},
        {"weights": np.ones((2, 1), np.float32)},
    ],
)
def test_lists_that_lead_out_of_their_arrays_are_refused(tmp_path: Path, other: dict[str, np.ndarray]) -> None:
    assert ItemLists.open(_lists(tmp_path)).n_items == 2
    with pytest.raises(BundleCorrupt):
        ItemLists.open(_lists(tmp_path, **other))


def test_vectors_that_do_not_match_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "encoder.npy", np.ones((3, 2), np.float32))
    np.save(tmp_path / "items.npy", np.ones((3, 4), np.float32))
    np.save(tmp_path / "confidence.npy", np.ones(1))
    with pytest.raises(BundleCorrupt, match="shape"):
        Vectors.open(tmp_path)
    for gram, why in ((np.eye(3), "shape"), (np.zeros((4, 4)), "no inverse"), (np.eye(4, dtype=np.float32), "type")):
        np.save(tmp_path / "gram.npy", gram)
        with pytest.raises(BundleCorrupt, match=why):
            Factors.open(tmp_path)
