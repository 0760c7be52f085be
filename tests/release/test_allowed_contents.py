from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tidemill.release.allowed_contents import refusal_reason


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


#: One tree of two splits over two features, as LightGBM writes it.
TREES = b"""tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=lambdarank
feature_names=a b
feature_infos=[0:1] [0:1]
tree_sizes=300

Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
split_gain=1 1
threshold=0.5 0.25
decision_type=2 2
left_child=1 -1
right_child=-2 -3
leaf_value=0.1 0.2 -0.1
leaf_weight=1 1 1
leaf_count=5 5 5
internal_value=0 0
internal_weight=0 0
internal_count=15 10
is_linear=0
shrinkage=1


end of trees

feature_importances:
a=1

parameters:
end of parameters

pandas_categorical:null
"""


def header(text: str) -> bytes:
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def look(tmp_path: Path, name: str, data: bytes, holds: str = "bundle") -> str | None:
    path = tmp_path / "file"
    path.write_bytes(data)
    return refusal_reason(path, name, holds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.npy", npy(np.zeros((3, 2), np.float32))),
        ("a.npy", npy(np.zeros((0, 4), np.int64))),
        ("a.npy", npy(np.asfortranarray(np.ones((5, 5))))),
        ("a.json", b'{"a": [1, 2.5, null, "\xc3\xa9"]}'),
        ("a.arrow", arrow(pa.table({"id": ["a"], "x": [[1, 2]]}))),
        ("a.faiss", b"IwFl" + bytes(100)),
        ("a.txt", TREES),
    ],
)
def test_what_may_be_in_a_bundle(tmp_path: Path, name: str, data: bytes) -> None:
    assert look(tmp_path, name, data) is None


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.npy", npy(np.array([object(), {}], dtype=object)[:0]), "Python objects"),
        ("a.npy", npy(np.array([None, None])), "Python objects"),
        ("a.npy", npy(np.zeros(2, np.dtype([("x", "f4"), ("y", "O")]))), "Python objects"),
        ("a.npy", npy(np.array(["x", "yy"])), "of plain numbers"),
        ("a.npy", npy(np.zeros(4))[:-1], "its size does not match its header"),
        ("a.npy", npy(np.zeros(4)) + b"cposix\nsystem\n.", "its size does not match its header"),
        (
            "a.npy",
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }"),
            "its size does not match its header",
        ),
        ("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"), "not a valid NumPy header"),
        ("a.npy", header("{'descr': '<f8', 'shape': (1,), 'fortran_order': False}"), "not a valid NumPy header"),
        ("a.npy", header("{'descr': ('<f8', (2,)), 'fortran_order': False, 'shape': (1,), }"), "not a valid NumPy"),
        ("a.npy", header("__import__('os').system('true')"), "not a valid NumPy header"),
        ("a.npy", header("(" * 9000), "not a valid NumPy header"),
        ("a.npy", header("{'descr': 'nonsense', 'shape': ()}"), "not a valid NumPy header"),
        ("a.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31), "its header has"),
        ("a.npy", b"\x93NUMPY\x09\x00" + bytes(90), "unknown format version"),
        ("a.npy", b"PK\x03\x04", "not a NumPy array"),
        ("a.npy", b"", "not a NumPy array"),
        ("a.json", b"cos\nsystem\n(S'true'\ntR.", "not valid JSON"),
        ("a.json", b"{} trailing", "not valid JSON"),
        ("a.json", b"\xff\xfe{}", "not valid JSON"),
        ("a.json", b"", "not valid JSON"),
        ("a.json", b"[" * 200_000, "not valid JSON"),
        ("a.arrow", b"ARROW1\0\0" + bytes(50), "not a valid Arrow file"),
        ("a.arrow", b"PAR1", "not an Arrow file"),
        ("a.faiss", b"NOPE" + bytes(10), "not a known FAISS index"),
        ("a.txt", b"import os", "does not start like a LightGBM model"),
        ("a.txt", b"", "does not start like a LightGBM model"),
        ("a.txt", b"tree\nversion=v4\n", "its trees cannot be read"),
        ("a.txt", TREES[: TREES.index(b"\n\nTree=")], "its number of trees does not match"),
        ("a.txt", TREES[: TREES.index(b"end of trees")], "it is truncated"),
        ("a.txt", TREES.replace(b"shrinkage=1\n", b"shrinkage=1\n\xff"), "it is not text"),
        ("a.txt", TREES.replace(b"num_cat=0", b"num_cat=1"), "categories"),
        ("a.txt", TREES.replace(b"is_linear=0", b"is_linear=1"), "linear leaves"),
        ("a.txt", TREES.replace(b"decision_type=2 2", b"decision_type=2 3"), "splits by categories"),
        ("a.txt", TREES.replace(b"split_feature=0 1", b"split_feature=0 2"), "uses an unknown feature"),
        ("a.txt", TREES.replace(b"split_feature=0 1", b"split_feature=0 -1"), "uses an unknown feature"),
        ("a.txt", TREES.replace(b"split_feature=0 1", b"split_feature=0"), "its number of splits is wrong"),
        ("a.txt", TREES.replace(b"left_child=1 -1", b"left_child=0 -1"), "a child index is out of bounds"),
        ("a.txt", TREES.replace(b"left_child=1 -1", b"left_child=2 -1"), "a child index is out of bounds"),
        ("a.txt", TREES.replace(b"right_child=-2 -3", b"right_child=-2 -4"), "a child index is out of bounds"),
        ("a.txt", TREES.replace(b"num_leaves=3", b"num_leaves=300000"), "its number of leaves is wrong"),
        ("a.txt", TREES.replace(b"num_leaves=3", b"num_leaves=3\nnum_leaves=2"), "occurs twice"),
        ("a.txt", TREES.replace(b"max_feature_idx=1", b"max_feature_idx=7"), "does not match its feature names"),
        ("a.py", b"x = 1", "files are allowed"),
        ("a.pkl", b"I1\n.", "files are allowed"),
        ("a", b"{}", "files are allowed"),
        ("a.NPY", npy(np.zeros(1)), "files are allowed"),
    ],
)
def test_what_may_not(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    found = look(tmp_path, name, data)
    assert found is not None
    assert why in found


@pytest.mark.parametrize("around", [None, "struct", "dictionary"])
def test_an_arrow_extension_type_is_refused_as_it_may_unpickle(tmp_path: Path, around: str | None) -> None:
    field = pa.field("x", pa.binary(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})
    if around is not None:
        outer = pa.struct([field])
        field = pa.field("outer", outer if around == "struct" else pa.dictionary(pa.int32(), outer))
    empty = pa.Table.from_batches([], pa.schema([field]))
    found = look(tmp_path, "a.arrow", arrow(empty))
    assert found is not None
    assert "extension type" in found


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"def rule(c):\n    return c\n", None),
        (b"def (", "not valid Python source"),
        (b"\xff\xfe", "not valid Python source"),
        (b"(" * 100_000, "not valid Python source"),
    ],
)
def test_rule_modules_are_python_source_and_nothing_else(tmp_path: Path, data: bytes, why: str | None) -> None:
    found = look(tmp_path, "rules/mine.py", data, "modules")
    assert found == why if why is None else why in str(found)
    assert look(tmp_path, "a.npy", npy(np.zeros(1)), "modules") is not None
