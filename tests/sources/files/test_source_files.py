"""Files that grow, come late or twice, move, are replaced or still being written: each row is taken exactly once."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from source_reader import COLUMNS, Item, Reader, Review, earlier_state, files_of, lines, rows, taken

from tidemill.core.errors import SchemaChanged, SettingError, SourceDamaged, SourceMissing, SourceUnknown
from tidemill.core.row_ids import DECLARED_NUMBERS
from tidemill.core.source_read import ReadRequest, SourceRead
from tidemill.sources import FileSource
from tidemill.sources.files import scan
from tidemill.sources.files.file_state import FileSourceState, FileState, file_source_state

START = 1_500_000_000
DAY_0 = date(2017, 7, 14)
ALL = "file:in/*" + COLUMNS


def day(n: int) -> date:
    return DAY_0 + timedelta(days=n)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def put(path: Path, content: bytes) -> None:
    """Write, with a time of change that differs from any before."""
    path.write_bytes(content)
    put.clock += 1  # type: ignore[attr-defined]
    os.utime(path, ns=(put.clock * 10**9, put.clock * 10**9))  # type: ignore[attr-defined]


put.clock = 1_600_000_000  # type: ignore[attr-defined]


def items(read: SourceRead) -> list[str]:
    return [name for (name,) in rows(read, "item_id")]


def test_a_grown_file_keeps_its_number_and_gives_only_its_new_lines(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 0))
    assert len(items(reader(ALL, day(0)))) == 2
    put(inbox / "a.csv", lines(0, 0, 1, 0))  # a line of the next day, and a late one
    read = reader(ALL, day(1))
    assert rows(read, "item_id", "_row") == [("B000000002", (1 << 40) + 3), ("B000000003", (1 << 40) + 4)]
    assert taken(read) == {1: 4} and read.stats.lines == 2 and [file.number for file in files_of(read)] == [1]
    good, _ = read.of_day(day(1), first=True)
    assert good.num_rows == 2  # the late row belongs to the increment that brought it


def test_a_grown_compressed_file_is_the_same_file(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv.gz", gzip.compress(lines(0, 0)))
    reader(ALL, day(0))
    put(inbox / "a.csv.gz", gzip.compress(lines(0, 0, 1)))  # packed anew, so that no byte of it need be the same
    assert items(reader(ALL, day(1))) == ["B000000002"]


def test_known_lines_of_a_grown_file_are_not_taken_apart_again(
    inbox: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inbox / "a.csv", lines(0, 0))
    reader(ALL, day(0))
    put(inbox / "a.csv", lines(0, 0, 1))
    heights: list[int] = []
    convert = scan.convert_types
    monkeypatch.setattr(scan, "convert_types", lambda raw, *rest: (heights.append(raw.height), convert(raw, *rest))[1])
    assert len(items(reader(ALL, day(1)))) == 1
    assert heights == [1]


def test_an_unchanged_file_is_not_opened(inbox: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    put(inbox / "a.csv", lines(0, 1))
    reader(ALL, day(1))
    monkeypatch.setattr("tidemill.sources.files.file_reader.detect_layout", None)
    read = reader(ALL, day(2))
    assert (read.stats.files_skipped, read.stats.files_read, read.good.num_rows) == (1, 0, 0)


def test_a_rewritten_file_is_read_although_its_size_and_its_time_are_as_before(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 1))
    before = (inbox / "a.csv").stat()
    reader(ALL, day(1))
    (inbox / "a.csv").write_bytes(lines(0, 1).replace(b"B000000001", b"B000000009"))
    os.utime(inbox / "a.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (inbox / "a.csv").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert items(reader(ALL, day(2))) == ["B000000000", "B000000009"]


def test_the_state_of_an_earlier_version_has_no_change_time_and_nothing_is_read_for_it(
    inbox: Path, reader: Reader
) -> None:
    put(inbox / "a.csv", lines(0, 1))
    read = reader(ALL, day(1))
    old = [msgspec.structs.replace(file, ctime_ns=0) for file in files_of(read)]
    reader.state = file_source_state("files", old, taken(read))
    assert reader(ALL, day(2)).stats.files_skipped == 1


def test_the_rows_of_many_small_files_are_one_chunk(inbox: Path, reader: Reader) -> None:
    for n in range(50):
        put(inbox / f"{n:03d}.csv", lines(0, n).replace(b"B", b"%03d" % n))
    read = reader(ALL, day(60))
    assert read.good.num_rows == 100
    assert read.good["item_id"].num_chunks == 1


def test_rows_of_the_future_are_named(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 40_000))
    read = reader(ALL, day(1), now=datetime(2024, 1, 1, tzinfo=UTC))
    assert read.notes == ("in/a.csv has rows of the future, up to 2127-01-19: each is read once its day is over",)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r"])
def test_lines_may_end_with_carriage_returns_alone(inbox: Path, reader: Reader, end: bytes) -> None:
    put(inbox / "a.csv", lines(0, 1).replace(b"\n", b"\r").rstrip(b"\r") + end)
    assert items(reader(ALL, day(1))) == ["B000000000", "B000000001"]


def test_of_one_line_the_line_feed_may_still_come(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0).replace(b"\n", b"\r"))
    assert items(reader(ALL, day(1))) == ["B000000000"]


def test_rows_of_later_days_wait_and_come_when_they_are_due(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(2, 0, 1))
    first = reader(ALL, day(0))
    assert (items(first), first.stats.pending, taken(first)) == (["B000000001"], 2, {1: 3})
    second = reader(ALL, day(2))
    assert items(second) == ["B000000000", "B000000002"] and second.stats.lines == 0
    assert [second.of_day(day(n), first=n == 1)[0].num_rows for n in (1, 2)] == [1, 1]
    assert reader(ALL, day(3)).stats.files_skipped == 1


def test_a_file_read_once_fills_many_days(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(*range(50)))
    read = reader(ALL, day(49))
    assert read.stats.files_read == 1
    assert [read.of_day(day(n), first=False)[0].num_rows for n in range(50)] == [1] * 50


def test_a_file_that_arrives_twice_is_left_out_and_said(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 1))
    reader(ALL, day(0))
    put(inbox / "copy.csv.gz", gzip.compress(lines(0, 1)))  # told by its content, not by its bytes or name
    read = reader(ALL, day(1))
    assert items(read) == ["B000000001"]
    assert read.notes == ("in/copy.csv.gz has the same content as in/a.csv and was skipped",)
    assert reader(ALL, day(2)).stats.files_skipped == 2
    put(inbox / "copy.csv.gz", gzip.compress(lines(0, 1, 1)))  # it grows: only what it has of its own is taken
    assert rows(reader(ALL, day(3)), "item_id", "_row") == [("B000000002", (2 << 40) + 3)]


def test_two_new_files_of_one_content_are_one(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 1))
    put(inbox / "b.csv", lines(0, 1))
    assert reader(ALL, day(1)).good.num_rows == 2


def test_pending_rows_survive_when_the_original_goes_and_its_copy_stays(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 5))
    put(inbox / "b.csv", lines(0, 5))
    reader(ALL, day(0))
    (inbox / "a.csv").unlink()
    read = reader(ALL, day(5))
    assert rows(read, "item_id", "_row") == [("B000000001", (1 << 40) + 2)]


def test_a_rotated_file_is_the_same_file(inbox: Path, reader: Reader) -> None:
    put(inbox / "log.csv", lines(0, 1, 5))
    reader(ALL, day(1))
    (inbox / "log.csv").rename(inbox / "log.1.csv")
    put(inbox / "log.1.csv", lines(0, 1, 5, 2))  # what was written between the last run and the rotation
    put(inbox / "log.csv", lines(2, start=START + 1))
    read = reader(ALL, day(5))
    assert sorted(row for (row,) in rows(read, "_row")) == [(1 << 40) + 3, (1 << 40) + 4, (2 << 40) + 1]
    assert "log.1.csv is in/log.csv under a new name" in read.notes[1]
    assert reader(ALL, day(6)).stats.files_skipped == 2


def test_a_file_that_is_gone_with_rows_to_come_is_said(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 5))
    put(inbox / "b.csv", lines(0, start=START + 1))
    assert reader(ALL, day(0)).notes == ()
    (inbox / "a.csv").unlink()
    (inbox / "b.csv").unlink()
    assert reader(ALL, day(1)).notes == ("in/a.csv is missing or was overwritten; it had rows up to 2017-07-19",)
    assert reader("file:in/a.csv" + COLUMNS, day(9)).good.num_rows == 0


def test_a_folder_with_brackets_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "[mill]"
    folder.mkdir()
    put(folder / "a.csv", lines(0))
    assert Reader(folder, Review.contract)("file:*.csv" + COLUMNS, day(0)).good.num_rows == 1


def test_other_sources_of_the_stream_are_left_alone(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0))
    segment = FileState(
        number=1 << 20, path="posted", size=1, mtime_ns=1, lines=7, prefix_sha256="x", content_bytes=9, last_day=day(9)
    )
    reader.state = earlier_state([segment], {str(1 << 20): 7})
    read = reader(ALL, day(0))
    assert ([file.number for file in files_of(read)], taken(read), read.notes) == ([1], {1: 1}, ())
    reader.state, reader.after = earlier_state([*files_of(read), segment], {"1": 1, str(1 << 20): 7}), None
    assert taken(reader(ALL, day(0))) == {1: 1}


def test_a_replaced_file_gets_a_new_number(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 0, 0))
    reader(ALL, day(0))
    put(inbox / "a.csv", b"".join(reversed(lines(0, 0, 0, 1).splitlines(keepends=True))))
    read = reader(ALL, day(1))
    assert [row >> 40 for (row,) in rows(read, "_row")] == [2, 2, 2, 2]
    assert "read again as a new file" in read.notes[0]


def test_a_late_file_comes_in_with_the_next_increment(inbox: Path, reader: Reader) -> None:
    put(inbox / "2017-07-15.csv", lines(1))
    reader(ALL, day(1))
    put(inbox / "2017-07-14.csv", lines(0, start=START + 1))
    read = reader(ALL, day(2))
    assert read.of_day(day(2), first=True)[0].num_rows == 1
    assert rows(read, "_day", "_row") == [(day(0), (2 << 40) + 1)]


def test_files_are_numbered_by_name_and_never_anew(inbox: Path, reader: Reader) -> None:
    for name in "cab":
        put(inbox / f"{name}.csv", lines(0, start=START + ord(name)))
    assert [(file.path, file.number) for file in files_of(reader(ALL, day(0)))] == [
        ("in/a.csv", 1),
        ("in/b.csv", 2),
        ("in/c.csv", 3),
    ]
    (inbox / "c.csv").unlink()
    put(inbox / "0.csv", lines(0, start=START))
    assert [file.number for file in files_of(reader(ALL, day(1))) if file.path == "in/0.csv"] == [4]


def test_a_line_without_an_end_waits_until_the_file_rests(inbox: Path, reader: Reader) -> None:
    cut = lines(0, 0)[:-9]  # in the middle of a time that would read as another one
    put(inbox / "a.csv", cut)
    written = datetime.fromtimestamp((inbox / "a.csv").stat().st_mtime, UTC)
    read = reader(ALL, day(0), now=written + timedelta(seconds=1))
    assert (items(read), taken(read)) == (["B000000000"], {1: 1})
    assert "is incomplete" in read.notes[0]
    put(inbox / "a.csv", lines(0, 0))
    assert items(reader(ALL, day(1), now=written + timedelta(seconds=2))) == ["B000000001"]


def test_a_last_line_without_an_end_is_taken_once_the_file_rests(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 0)[:-1])
    written = datetime.fromtimestamp((inbox / "a.csv").stat().st_mtime, UTC)
    assert len(items(reader(ALL, day(0), now=written + timedelta(seconds=1)))) == 1
    assert items(reader(ALL, day(1), now=written + timedelta(hours=1))) == ["B000000001"]
    assert items(reader(ALL, day(2), now=written + timedelta(hours=1))) == []
    put(inbox / "a.csv", lines(0, 0, 2))  # its line end and another line follow
    assert rows(reader(ALL, day(3)), "_row") == [((1 << 40) + 3,)]


def test_a_taken_last_line_that_goes_on_later_makes_another_file(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(0, 0)[:-3])
    reader(ALL, day(0))
    put(inbox / "a.csv", lines(0, 0))
    assert [row >> 40 for (row,) in rows(reader(ALL, day(1)), "_row")] == [2, 2]


def test_a_damaged_file_stops_the_run_or_is_left_for_a_later_one(inbox: Path, reader: Reader) -> None:
    whole = gzip.compress(lines(1, start=START + 1))
    put(inbox / "a.csv", lines(0))
    put(inbox / "b.csv.gz", whole[:-4])
    with pytest.raises(SourceDamaged, match=r"b\.csv\.gz is truncated"):
        reader(ALL, day(0))
    read = reader(ALL, day(0), damaged="leave")
    assert len(items(read)) == 1 and "b.csv.gz" in str(read.damaged[0])
    put(inbox / "b.csv.gz", whole)
    assert len(items(reader(ALL, day(1)))) == 1


def test_hidden_and_unfinished_files_are_not_read(inbox: Path, reader: Reader) -> None:
    for name in (".a.csv", "_b.csv", "c.csv.part", "d.csv.tmp"):
        put(inbox / name, lines(0))
    put(inbox / "e.csv", lines(0))
    assert reader("file:in" + COLUMNS, day(0)).good.num_rows == 1


def test_a_missing_file_is_named_with_the_nearest(inbox: Path, reader: Reader) -> None:
    put(inbox / "reviews.csv", lines(0))
    with pytest.raises(SourceMissing, match=r"did you mean `reviews\.csv`"):
        reader("file:in/review.csv" + COLUMNS)
    with pytest.raises(SourceMissing, match="no file matches"):
        reader("file:in/*.json" + COLUMNS)
    with pytest.raises(FileNotFoundError, match="is empty or missing"):
        reader("file:out/x" + COLUMNS)


@pytest.mark.parametrize("link", ["file", "folder", "path"])
def test_a_file_outside_the_project_needs_a_declared_root(link: str, tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    for folder in (project / "in", other):
        folder.mkdir(parents=True)
    secret = other / "b.csv"
    put(project / "in" / "a.csv", lines(0))
    put(secret, lines(1))
    url = "file:in/*.csv" + COLUMNS
    if link == "file":
        (project / "in" / "b.csv").symlink_to(secret)
    elif link == "folder":
        (project / "in" / "more").symlink_to(other)
        url = "file:in/*/*.csv" + COLUMNS
    else:
        url = f"file:{other}/../other/b.csv" + COLUMNS

    def n_rows(*roots: Path) -> int:
        return Reader(project, Review.contract)(url, day(9), roots=tuple(map(str, roots))).good.num_rows

    for roots in ((), (project,), (tmp_path / "oth",)):
        with pytest.raises(SettingError, match="which is outside the project") as refused:
            n_rows(*roots)
        assert str(secret) in str(refused.value)
        assert f'source_roots = ["{other}"]' in refused.value.tip
    expected = 2 if link == "file" else 1
    assert n_rows(other) == n_rows(secret) == n_rows(Path("../other")) == expected


def test_a_link_inside_the_project_is_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    put(tmp_path / "kept" / "a.csv", lines(0))
    (tmp_path / "in").symlink_to(tmp_path / "kept")
    assert Reader(tmp_path, Review.contract)("file:in" + COLUMNS, day(9), roots=()).good.num_rows == 1


def test_known_files_survive_as_json() -> None:
    file = FileState(
        number=1, path="a", size=1, mtime_ns=2, lines=3, prefix_sha256="x", content_bytes=4, last_day=day(0)
    )
    assert msgspec.json.decode(file.json(), type=FileState) == file


# --- a snapshot without times


def snapshot(**stock: bool) -> bytes:
    return b"".join(json.dumps({"item_id": name, "in_stock": has}).encode() + b"\n" for name, has in stock.items())


def test_a_snapshot_without_times_arrives_with_its_run(inbox: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path, Item.contract)
    put(inbox / "items.jsonl", snapshot(a=True))
    with pytest.raises(SchemaChanged, match="updated_at"):
        reader("file:in", day(0))
    end = datetime(2017, 7, 15, tzinfo=UTC)  # the as-of of a run until 14 July is the first instant after it
    assert rows(reader("file:in", day(0), arrival=end), "updated_at", "_day") == [(end, day(0))]
    later = end + timedelta(days=1)
    assert reader("file:in", day(1), arrival=later).good.num_rows == 0
    put(inbox / "items.jsonl", snapshot(a=True, b=True))
    assert rows(reader("file:in", day(2), arrival=later), "item_id", "_day") == [("b", day(2))]


def test_a_snapshot_that_goes_back_to_an_older_state_is_news(inbox: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path, Item.contract)
    for n, has in enumerate([True, False, True, True]):
        put(inbox / f"{n}.jsonl", snapshot(a=has))
        read = reader("file:in", day(n), arrival=datetime(2017, 7, 15 + n, tzinfo=UTC))
        assert rows(read, "in_stock") == ([(has,)] if n < 3 else [])  # the last one repeats the newest


def test_a_snapshot_kept_aside_under_another_name_is_no_news(inbox: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path, Item.contract)
    put(inbox / "items.jsonl", snapshot(a=True))
    reader("file:in", day(0), arrival=datetime(2017, 7, 15, tzinfo=UTC))
    (inbox / "items.jsonl").rename(inbox / "items.old.jsonl")
    put(inbox / "items.jsonl", snapshot(a=False))
    assert rows(reader("file:in", day(1), arrival=datetime(2017, 7, 16, tzinfo=UTC)), "in_stock") == [(False,)]


def test_what_was_overwritten_and_comes_back_is_read_anew(inbox: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path, Item.contract)
    for n, has in enumerate([True, False, True]):
        put(inbox / "items.jsonl", snapshot(a=has))
        read = reader("file:in", day(n), arrival=datetime(2017, 7, 15 + n, tzinfo=UTC))
        assert rows(read, "in_stock", "_row") == [(has, (n + 1 << 40) + 1)]
    assert reader("file:in", day(3), arrival=datetime(2017, 7, 18, tzinfo=UTC)).stats.files_skipped == 1


# --- a changed schema


HEADER = b"item_id,user_id,rating,reviewed_at,text\n"


def with_header(header: bytes, n: int = 20, row: bytes = b"B1,U1,4,2017-07-14,hm") -> bytes:
    return header + (row + b"\n") * n


def test_columns_may_change_places_in_a_file_with_a_header(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", with_header(HEADER, 1) + b"B2,U2,5,2017-07-14,x\n")
    put(inbox / "b.csv", b"extra,reviewed_at,rating,user_id,item_id,text\n?,2017-07-14,3,U3,B3,y\n")
    assert rows(reader("file:in", day(0)), "item_id", "rating", "_row") == [
        ("B1", 4.0, (1 << 40) + 2),
        ("B2", 5.0, (1 << 40) + 3),
        ("B3", 3.0, (2 << 40) + 2),
    ]


@pytest.mark.parametrize(
    ("content", "query", "said"),
    [
        (with_header(b"item_id,user_id,ratings,reviewed_at,text\n"), "", "`rating` .did you mean `ratings`"),
        (
            with_header(b"item_id,user_id,reviewed_at,text\n"),
            "",
            "`rating` .known: item_id, reviewed_at, text",
        ),
        (with_header(b"item_id,user_id,stars,reviewed_at,text\n"), "?header=true", "`rating`"),
        (
            with_header(HEADER, row=b"B1,U1,good,2017-07-14,hm"),
            "",
            "20 of 20 new lines are not valid: `rating` is not a finite number",
        ),
        (with_header(HEADER, row=b"B1,U1,4,1500000000,hm"), "", "not valid: `reviewed_at` is not an ISO 8601"),
        (lines(*range(20)).replace(b"\n", b",more\n"), COLUMNS, "a line has 5 fields but 4 are declared"),
        (
            b'{"item_id":"a","user":"b","rating":4,"reviewed_at":"2017-07-14"}\n' * 9,
            "",
            "`user_id` .did you mean `user`",
        ),
        (
            b'{"item_id":"a","user_id":"b","rating":"4","reviewed_at":"2017-07-14"}\n' * 20,
            "",
            "not valid: `rating` is text",
        ),
    ],
)
def test_a_changed_schema_is_refused_by_the_column_s_name(
    inbox: Path, reader: Reader, content: bytes, query: str, said: str
) -> None:
    put(inbox / "a.csv", content)
    with pytest.raises(SchemaChanged, match=said) as caught:
        reader("file:in" + query)
    assert "no rows of it were ingested" in str(caught.value)


def test_a_few_bad_lines_are_no_changed_schema(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(*range(11)) + b"B,U,x,y\n" * 10)
    read = reader(ALL)
    assert (read.good.num_rows, read.refused.num_rows) == (11, 10)


def test_a_schema_that_changes_in_the_middle_of_a_grown_file_is_seen(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", lines(*[0] * 100))
    reader(ALL, day(0))
    put(inbox / "a.csv", lines(*[0] * 100) + b"B,U,four,1500000000\n" * 20)
    with pytest.raises(SchemaChanged, match=r"20 of 20 new lines are not valid: `rating`"):
        reader(ALL, day(1))


def test_a_later_file_that_lost_an_optional_column_is_refused(inbox: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path, Item.contract)
    put(inbox / "a.csv", b"item_id,updated_at,in_stock\nB1,2017-07-14,true\n")
    reader("file:in", day(0))
    put(inbox / "b.csv", b"item_id,updated_at,stock\nB1,2017-07-15,false\n")
    with pytest.raises(SchemaChanged, match="no `in_stock`, which earlier files had"):
        reader("file:in", day(1))


def test_a_file_that_nothing_describes_asks_for_its_columns(inbox: Path, reader: Reader) -> None:
    put(inbox / "a.csv", b"1,2,3\n4,5,6\n")
    with pytest.raises(SourceUnknown, match=r"\?columns=user_id,item_id,rating,reviewed_at"):
        reader("file:in")


# --- Parquet


def test_parquet_by_names_and_types(inbox: Path, reader: Reader) -> None:
    frame = pl.DataFrame({"thing": ["a", "b"], "who": ["u", None], "stars": [4, 5], "at": [datetime(2017, 7, 14)] * 2})
    frame.write_parquet(inbox / "a.parquet")
    query = "?columns=item_id=thing,user_id=who,rating=stars,reviewed_at=at"
    read = reader("file:in" + query, day(0))
    assert rows(read, "item_id", "rating", "_row") == [("a", 4.0, (1 << 40) + 1)]
    assert read.refused["reason"].to_pylist() == ["user_id is missing"]
    assert reader("file:in" + query, day(1)).stats.files_skipped == 1
    frame.write_parquet(inbox / "b.parquet")
    assert "was skipped" in reader("file:in" + query, day(2)).notes[0]
    frame.with_columns(pl.col("stars").cast(pl.String)).write_parquet(inbox / "c.parquet")
    with pytest.raises(SchemaChanged, match=r"`stars` as .*string.*`rating` is declared float"):
        reader("file:in" + query, day(3))
    (inbox / "c.parquet").write_bytes((inbox / "a.parquet").read_bytes()[:-10])
    with pytest.raises(SourceDamaged):
        reader("file:in" + query, day(3))


def test_a_whole_number_of_parquet_may_name_a_thing(inbox: Path, reader: Reader) -> None:
    pl.DataFrame(
        {"thing": [7, 12], "who": ["u", "v"], "stars": [4, 5], "at": [datetime(2017, 7, 14)] * 2}
    ).write_parquet(inbox / "a.parquet")
    read = reader("file:in?columns=item_id=thing,user_id=who,rating=stars,reviewed_at=at", day(0))
    assert rows(read, "item_id") == [("7",), ("12",)]


# --- the law


class World:
    """What a producer may do between two runs, on one day after the other."""

    def __init__(self, inbox: Path) -> None:
        self.inbox, self.contents, self.written = inbox, [b"", b""], 0

    def add(self, file: int, event_day: int) -> None:
        line = lines(event_day, start=START).replace(b"B000000000", f"B{self.written:09d}".encode())
        self.written += 1
        self.contents[file] += line
        put(self.inbox / f"{file}.csv", self.contents[file])


Plan = list[tuple[int, list[tuple[int, int]]]]
PLANS: st.SearchStrategy[Plan] = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), max_size=4)),
    min_size=1,
    max_size=5,
)


def play(folder: Path, plan: Plan, read: Callable[..., SourceRead]) -> tuple[list[str], int]:
    """All items that came in over a series of runs, and how many were due by the last day."""
    for old in folder.iterdir():
        old.unlink()
    world, reader, until, came = World(folder), Reader(folder.parent, Review.contract), -1, []
    due: list[int] = []
    for pause, events in [*plan, (9, [])]:
        for file, event_day in events:
            world.add(file, event_day)
            due.append(event_day)
        until += pause
        if until >= 0 and any(folder.iterdir()):
            came += items(read(reader, ALL, day(until)))
    return came, sum(event_day <= until for event_day in due)


def forgetful(reader: Reader, url: str, until: date) -> SourceRead:
    """The wrong variant: only new lines count, so rows whose day had not come are lost."""
    seen = FileSourceState.from_source_state(reader.state, DECLARED_NUMBERS).taken
    read = FileSource(url, reader.contract, reader.base).read(ReadRequest(until=until, state=reader.state))
    keep = [(row & 0xFFFF) > seen.get(row >> 40, 0) for (row,) in rows(read, "_row")]
    reader.state = read.state
    return SourceRead(good=read.good.filter(pa.array(keep, pa.bool_())), refused=read.refused, state=read.state)


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_every_due_row_comes_exactly_once_whatever_grows_and_whenever_we_look(tmp_path_factory, plan: Plan) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("law") / "in"
    folder.mkdir()
    came, due = play(folder, plan, Reader.__call__)
    assert len(came) == len(set(came)) == due


def test_the_law_catches_a_reader_that_forgets_pending_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()

    def breaks(plan: Plan) -> bool:
        came, due = play(tmp_path / "in", plan, forgetful)
        return len(came) != due

    assert find(PLANS, breaks, settings=settings(max_examples=200, deadline=None))
