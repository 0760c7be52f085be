"""A scan that could not find a planted leak would prove nothing, so each store gets one, in each form."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tidemill.governance import IdentifierLeak, scan_folder

FILLER = ["b00005N7P0 and other words", "nothing to see here", "1537315200000000"] * 50


def as_parquet(path: Path, text: str, **options: object) -> None:
    rows = pa.table({"day": list(range(151)), "text": [*FILLER, text]})
    pq.write_table(rows, path, **({"compression": "zstd"} | options))


def as_nested_parquet(path: Path, text: str) -> None:
    inner = pa.array([[{"a": "x"}], [{"a": text}]], pa.list_(pa.struct([("a", pa.large_string())])))
    pq.write_table(pa.table({"nested": inner}), path, compression="snappy", use_dictionary=False)


def as_binary_parquet(path: Path, text: str) -> None:
    """A column of compressed values: a container within a container."""
    values = pa.array([b"x", gzip.compress(text.encode())], pa.binary())
    pq.write_table(pa.table({"raw": values}), path, compression="gzip")


def as_dictionary_arrow(path: Path, text: str) -> None:
    table = pa.table({"text": pa.array([*FILLER, text]).dictionary_encode()})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=_zstd()) as writer:
        writer.write_table(table)


def as_view_arrow(path: Path, text: str) -> None:
    table = pa.table({"text": pa.array([*FILLER, text], pa.string_view())})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=_zstd()) as writer:
        writer.write_table(table)


def _zstd() -> pa.ipc.IpcWriteOptions:
    return pa.ipc.IpcWriteOptions(compression="zstd")


def as_sqlite(path: Path, text: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE "odd ""name" (number INTEGER, value TEXT)')
    # Across overflow pages, where the text does not lie in one piece.
    connection.executemany('INSERT INTO "odd ""name" VALUES (?, ?)', [(n, "x" * n + text) for n in range(4_040, 4_060)])
    connection.commit()
    connection.close()


def as_sqlite_log(path: Path, text: str) -> None:
    """Rows that are only in the write-ahead log, of a database that is open."""
    connection = sqlite3.connect(path)
    _OPEN.append(connection)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (value BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (gzip.compress(text.encode()),))
    connection.commit()


_OPEN: list[sqlite3.Connection] = []


def as_lmdb(path: Path, text: str) -> None:
    """Compressed values, small and on pages of their own, in an environment that this process has open."""
    environment = lmdb.open(str(path), subdir=False, max_dbs=2)
    _ENVIRONMENTS.append(environment)
    database = environment.open_db(b"named")
    with environment.begin(write=True, db=database) as transaction:
        for number in range(200):
            transaction.put(b"%05d" % number, b"value")
        transaction.put(b"large", gzip.compress(text.encode() + np.random.default_rng(1).bytes(9_000).hex().encode()))


_ENVIRONMENTS: list[lmdb.Environment] = []


def as_plain_lmdb(path: Path, text: str) -> None:
    environment = lmdb.open(str(path), subdir=False)
    with environment.begin(write=True) as transaction:
        transaction.put(text[:400].encode(), b"value")
    environment.close()


def as_npy(path: Path, text: str) -> None:
    with path.open("wb") as file:
        np.save(file, np.array(["x", text]))


def as_structured_npy(path: Path, text: str) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([(1, text)], dtype=[("n", "i8"), ("text", f"U{len(text)}")]))


def as_zip(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", text)


def as_members(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(b"first member") + gzip.compress(text.encode()))


def as_frames(path: Path, text: str) -> None:
    path.write_bytes(zstandard.compress(b"first frame") + zstandard.compress(text.encode()))


def as_parquet_in_gzip(path: Path, text: str) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": [text]}), buffer, compression="zstd")
    path.write_bytes(gzip.compress(buffer.getvalue()))


def as_sqlite_in_zstd(path: Path, text: str) -> None:
    as_sqlite(path.with_suffix(".plain"), text)
    path.write_bytes(zstandard.compress(path.with_suffix(".plain").read_bytes()))
    path.with_suffix(".plain").unlink()


STORES: dict[str, tuple[str, Callable[[Path, str], None]]] = {
    "plain": ("file", lambda path, text: path.write_bytes(b"\x00\xff" * 999 + text.encode() + b"\x00")),
    "json": ("file", lambda path, text: path.write_text(json.dumps({"user": text}))),
    "gzip": ("gzip", lambda path, text: path.write_bytes(gzip.compress(text.encode() * 3))),
    "gzip of two": ("gzip", as_members),
    "zstd": ("zstd", lambda path, text: path.write_bytes(zstandard.compress(text.encode() * 3))),
    "zstd of two": (
        "zstd",
        lambda path, text: path.write_bytes(zstandard.compress(b"x") + zstandard.compress(text.encode())),
    ),
    "zip": ("zip", as_zip),
    "parquet": ("parquet", as_parquet),
    "parquet nested": ("parquet", as_nested_parquet),
    "parquet of gzip": ("parquet/gzip", as_binary_parquet),
    "arrow": ("arrow", as_dictionary_arrow),
    "arrow views": ("arrow", as_view_arrow),
    "npy": ("npy", as_npy),
    "npy structured": ("npy", as_structured_npy),
    "sqlite": ("sqlite", as_sqlite),
    "sqlite log": ("sqlite/gzip", as_sqlite_log),
    "lmdb": ("lmdb/gzip", as_lmdb),
    "lmdb plain": ("lmdb", as_plain_lmdb),
    "parquet in gzip": ("gzip/parquet", as_parquet_in_gzip),
    "sqlite in zstd": ("zstd/sqlite", as_sqlite_in_zstd),
}

FORMS: dict[str, Callable[[str], str]] = {
    "raw": lambda person: person,
    "lower": str.lower,
    "base64": lambda person: base64.b64encode(b"z" + person.encode()).decode(),
    "hex": lambda person: person.encode().hex(),
    "sha256 hex": lambda person: hashlib.sha256(person.encode()).hexdigest(),
    "sha1 hex": lambda person: hashlib.sha1(person.encode()).hexdigest(),
    "md5 hex": lambda person: hashlib.md5(person.encode()).hexdigest(),
}


@pytest.fixture(autouse=True)
def _close():
    yield
    while _OPEN:
        _OPEN.pop().close()
    while _ENVIRONMENTS:
        _ENVIRONMENTS.pop().close()


@pytest.mark.parametrize("name", STORES)
def test_a_planted_leak_is_found_in_every_store_and_form(name: str, people: list[str], tmp_path: Path) -> None:
    store, write = STORES[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "clean", "nobody")
    assert scan_folder(folder, people) == []
    for number, (form, planted) in enumerate(FORMS.items()):
        path = folder / f"leak{number}"
        write(path, f"before {planted(people[17])} after")
        leaks = scan_folder(folder, people)
        assert IdentifierLeak(path=path.name, form=form, store=store) in leaks
        assert {(leak.path, leak.form) for leak in leaks} == {(path.name, form)}
        assert people[17] not in str(leaks)
        for found in folder.glob(path.name + "*"):
            found.unlink()


#: Stores that never hold a value in one piece; others, such as Snappy, may by chance.
SCATTERED = ["gzip", "gzip of two", "zip", "npy", "npy structured", "lmdb", "parquet of gzip", "parquet in gzip"]


@pytest.mark.parametrize("name", SCATTERED)
def test_a_scan_of_plain_bytes_alone_would_miss_it(name: str, people: list[str], tmp_path: Path) -> None:
    """The wrong variant: it looks at the file's bytes and opens no container."""
    STORES[name][1](tmp_path / "leak", f"before {people[3]} after")
    assert people[3].encode() not in (tmp_path / "leak").read_bytes()
    assert scan_folder(tmp_path, people)


def test_names_of_files_and_links_are_looked_at(people: list[str], tmp_path: Path) -> None:
    (tmp_path / people[0]).mkdir()
    (tmp_path / people[0] / "file").write_text("x")
    (tmp_path / "link").symlink_to(f"/nowhere/{people[1]}")
    (tmp_path / "folder link").symlink_to("/", target_is_directory=True)  # and not followed
    assert [(leak.path, leak.store) for leak in scan_folder(tmp_path, people)] == [
        (f"{people[0]}/file", "name"),
        ("link", "name"),
    ]


def test_excluded_paths_are_left_out(people: list[str], tmp_path: Path) -> None:
    for name in ("vault.sqlite", "vault.sqlite-wal", "data/reviews.csv", "lake/part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(people[0])
    assert [leak.path for leak in scan_folder(tmp_path, people, ["vault.sqlite*", "data"])] == ["lake/part"]
    assert len(scan_folder(tmp_path, people, ["vault.sqlite", Path("data/reviews.csv")])) == 2
    assert scan_folder(tmp_path, [], []) == []


@pytest.mark.parametrize("name", ["gzip", "zstd", "parquet", "arrow", "npy", "sqlite", "lmdb", "zip"])
def test_a_damaged_container_is_not_called_clean(name: str, people: list[str], tmp_path: Path) -> None:
    STORES[name][1](tmp_path / "torn", "nobody, at some length " * 40)
    whole = (tmp_path / "torn").read_bytes()
    kept = 60 if name == "lmdb" else len(whole) * 2 // 3
    damaged = whole[:40] + b"\xee\xee\xee\xee" + whole[44:kept] if name == "lmdb" else whole[:kept]
    (tmp_path / "torn").write_bytes(damaged)
    leaks = scan_folder(tmp_path, people, ["torn-lock"])
    assert [(leak.path, leak.form) for leak in leaks] == [("torn", "undecoded")]


@pytest.mark.parametrize(("field", "value"), [(0, 1), (2, 99)], ids=["encrypted", "unknown method"])
def test_a_zip_that_cannot_be_read_is_not_called_clean(
    field: int, value: int, people: list[str], tmp_path: Path
) -> None:
    """Flags and method follow the signature after 2 bytes in the local header, and after 4 in the central one."""
    as_zip(tmp_path / "archive", "nobody, at some length " * 40)
    content = bytearray((tmp_path / "archive").read_bytes())
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + place + field] = value
    (tmp_path / "archive").write_bytes(content)
    assert [(leak.path, leak.form) for leak in scan_folder(tmp_path, people)] == [("archive", "undecoded")]


def test_what_a_torn_file_still_says_is_found(people: list[str], tmp_path: Path) -> None:
    whole = gzip.compress(people[5].encode() + np.random.default_rng(2).bytes(5_000))
    (tmp_path / "torn.gz").write_bytes(whole[:3_000])
    assert {leak.form for leak in scan_folder(tmp_path, people)} == {"raw", "undecoded"}


def test_identifiers_that_are_numbers_are_found_in_columns_of_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user": pa.array([31_337_001, 5], pa.int64())}), tmp_path / "a", compression="zstd")
    with (tmp_path / "b").open("wb") as file:
        np.save(file, np.array([31_337_001]))
    connection = sqlite3.connect(tmp_path / "c")
    connection.execute("CREATE TABLE t (user INTEGER)")
    connection.execute("INSERT INTO t VALUES (31337001)")
    connection.commit()
    connection.close()
    assert [leak.path for leak in scan_folder(tmp_path, ["31337001"])] == ["a", "b", "c"]
    assert scan_folder(tmp_path, ["31337002"]) == []


def test_short_identifiers_count_as_whole_words(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"user": "u17"}')
    (tmp_path / "b").write_text("xu17 u170 qu17z")
    assert [leak.path for leak in scan_folder(tmp_path, ["u17"])] == ["a"]


def test_the_real_ratings_are_full_of_their_users(magazine: Path, tmp_path: Path) -> None:
    lines = gzip.decompress(magazine.read_bytes()).decode().splitlines()
    users = sorted({line.split(",")[1] for line in lines})
    few = users[::2_000]
    (tmp_path / "copy.csv.gz").write_bytes(magazine.read_bytes())
    assert [(leak.form, leak.store) for leak in scan_folder(tmp_path, few)] == [("raw", "gzip")]
    others = [user[:-1] + ("A" if user[-1] != "A" else "B") for user in few]
    assert scan_folder(tmp_path, sorted(set(others) - set(users))) == []
