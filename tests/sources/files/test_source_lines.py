"""CSV and JSON lines: good ones flow, bad ones are refused with their place, and no value stands in a reason."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from source_reader import COLUMNS, Item, Review, lines, refusals, rows, taken

from tidemill.core.contract.contract import Event, event_time, item
from tidemill.core.errors import SchemaChanged, SettingError, SourceDamaged, SourceUnknown
from tidemill.core.source_read import SourceRead
from tidemill.sources import FileSource
from tidemill.sources.files.blocks import LINE_LIMIT, Cut, LineBlock, LineReader, after_line, after_record
from tidemill.sources.files.csv_lines import CsvLines
from tidemill.sources.files.file_url import parse_columns
from tidemill.sources.files.mapping import by_position

Read = Callable[..., SourceRead]
AT = datetime(2017, 7, 14, 2, 40, tzinfo=UTC)
GOOD = b"B1,U1,5.0,1500000000\n"


class Note(Event):
    """A contract with every type."""

    thing: str = item()
    at: datetime = event_time(zone="UTC")
    count: int = 0
    weight: float | None = None
    sure: bool = False
    text: str | None = None


NOTE = "?columns=thing,at:unix_s,count,weight,sure,text"


def json_line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def test_lines_become_typed_rows_with_their_file_and_line(read_once: Read) -> None:
    read = read_once(GOOD + b"B2,U2,3,1500086400\n", query=COLUMNS)
    assert rows(read, "user_id", "item_id", "rating", "reviewed_at", "_row") == [
        ("U1", "B1", 5.0, AT, (1 << 40) + 1),
        ("U2", "B2", 3.0, AT.replace(day=15), (1 << 40) + 2),
    ]
    assert [str(kind) for kind in read.good.schema.types] == [
        "string", "string", "double", "timestamp[us, tz=UTC]", "int64", "date32[day]",
    ]  # fmt: skip


def test_blanks_stand_for_nothing(read_once: Read) -> None:
    read = read_once(b"a,1500000000,1, ,true, \nb,1500000000, ,2,true,x\n", Note.contract, query=NOTE)
    assert rows(read, "thing", "count", "weight", "text") == [("a", 1, None, None), ("b", 0, 2.0, "x")]


def test_a_blank_is_missing_where_a_number_is_required(read_once: Read) -> None:
    assert [reason for *_, reason in refusals(read_once(b"B9,U9, ,1500000000\n", query=COLUMNS))] == [
        "rating is missing"
    ]


@pytest.mark.parametrize(
    ("bad", "column", "reason"),
    [
        (b"B9,U9,5.0", None, "has 3 fields but 4 are declared"),
        (b"B9,U9,5.0,1500000000,7", None, "has 5 fields but 4 are declared"),
        (b"B9,U9,five,1500000000", "rating", "rating is not a finite number"),
        (b"B9,U9,nan,1500000000", "rating", "rating is missing"),
        (b"B9,U9,inf,1500000000", "rating", "rating is not a finite number"),
        (b"B9,U9,1e999,1500000000", "rating", "rating is not a finite number"),
        (b"B9,,5.0,1500000000", "user_id", "user_id is missing"),
        (b"B9,U9,5.0,yesterday", "reviewed_at", "reviewed_at is not a number of seconds"),
        (b"B9,U9,5.0,15000000000000", "reviewed_at",
         "reviewed_at is outside the years 100 to 9899 when read as seconds; has its unit changed?"),
        (b"B9,\xff,5.0,1500000000", None, "is not valid UTF-8"),
        (b'B9,"U9,5.0,1500000000', None, "has an unclosed quote"),
        (b'B9,"U9"x,5.0,1500000000', None, "has text after a closing quote"),
        (b"B9,U9,x,y", "rating", "rating is not a finite number; reviewed_at is not a number of seconds"),
    ],
)  # fmt: skip
def test_one_bad_line_is_refused_and_the_others_flow(read_once: Read, bad: bytes, column: str, reason: str) -> None:
    read = read_once(GOOD + bad + b"\r\n" + GOOD * 3, query=COLUMNS)
    assert [row for (row,) in rows(read, "_row")] == [(1 << 40) + line for line in (1, 3, 4, 5)]
    assert refusals(read) == [(2, column, reason)]
    assert read.refused["raw"].to_pylist() == [bad]
    assert read.refused["file"].to_pylist() == ["input"]


def test_a_refused_line_keeps_its_day_where_its_time_can_be_read(read_once: Read) -> None:
    read = read_once(GOOD + b"B9,U9,five,1500000000\nB9,U9,5.0\n" + GOOD, query=COLUMNS)
    assert read.refused["_day"].to_pylist() == [AT.date(), None]


def test_no_value_of_a_bad_line_stands_in_a_reason_or_an_error(read_once: Read) -> None:
    secret = b"AHIDDEN12345"
    read = read_once(GOOD * 20 + b"x,y," + secret + b"," + secret + b"\n", query=COLUMNS)
    assert secret.decode() not in str(read.refused["reason"].to_pylist())
    with pytest.raises(SchemaChanged) as caught:
        read_once((b"x,y," + secret + b"," + secret + b"\n") * 20, query=COLUMNS)
    assert secret.decode() not in str(caught.value)
    with pytest.raises(SchemaChanged) as caught:
        read_once((b"x," + secret + b",4,1500000000\n") * 20, query="?header=true")
    assert secret.decode() not in str(caught.value)
    with pytest.raises(SchemaChanged) as caught:
        read_once(json_line(asin="B1", reviewerID="U1", overall=secret.decode(), unixReviewTime=1_500_000_000) * 20)
    assert secret.decode() not in str(caught.value)


def test_quotes_blank_lines_and_line_ends_inside_fields(read_once: Read) -> None:
    content = b'T1,1500000000,1,0.5,true,"a, ""b""\nand c"\n\nT2,1500000000,2,,no,5" tall\r\nT3,1500000000,,,,\n'
    read = read_once(content, Note.contract, NOTE)
    assert rows(read, "thing", "count", "weight", "sure", "text", "_row") == [
        ("T1", 1, 0.5, True, 'a, "b"\nand c', (1 << 40) + 1),
        ("T2", 2, None, False, '5" tall', (1 << 40) + 4),
        ("T3", 0, None, False, None, (1 << 40) + 5),
    ]
    assert read.refused.num_rows == 0
    assert taken(read) == {1: 5}


def test_a_refused_record_of_many_lines_is_kept_whole(read_once: Read) -> None:
    record = b'T2,1500000000,x,,no,"one\ntwo"'
    read = read_once(b"T1,1500000000,1,,no,a\n" + record + b"\nT3,1500000000,1,,no,a\n", Note.contract, NOTE)
    assert refusals(read) == [(2, "count", "count is not an integer")]
    assert read.refused["raw"].to_pylist() == [record] and rows(read, "_row")[1] == ((1 << 40) + 4,)


FIELDS = st.sampled_from(["T1", "", "x,y", 'say "so"', "two\nlines", "é", "1500000000", "7", "0.25", "true", " 3 "])


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if any(letter in value for letter in ',"\n') else value


@given(st.lists(st.lists(FIELDS, min_size=5, max_size=7), min_size=1, max_size=8), st.booleans())
def test_the_three_ways_of_reading_csv_agree(table: list[list[str]], with_end: bool) -> None:
    """The fast way may give up, and so may the one by structure; where one answers, it answers like the patient one."""
    text = "\n".join(",".join(map(quoted, row)) for row in table) + ("\n" if with_end else "")
    block = LineBlock(text.encode(), 1, text.count("\n") + (not text.endswith("\n")))
    decoder = CsvLines(by_position(Note.contract, parse_columns(NOTE[9:]), "here", timeless=False))
    patient = decoder._patient(block)
    for way in (decoder._fast, decoder._by_structure):
        answer = way(block)
        if answer is None:
            continue
        order = patient.raw.columns
        texts = answer.raw.select(order).cast(patient.raw.schema)
        assert texts["thing"].to_list() == patient.raw["thing"].to_list()
        assert texts["_line"].to_list() == patient.raw["_line"].to_list()
        assert [(bad.line, bad.reason) for bad in answer.refused] == [(bad.line, bad.reason) for bad in patient.refused]


def test_the_fast_way_is_taken_for_clean_lines(monkeypatch: pytest.MonkeyPatch, read_once: Read) -> None:
    """A law that both slower ways also keep could hide that the fast one never answers."""
    monkeypatch.setattr(CsvLines, "_patient", None)
    monkeypatch.setattr(CsvLines, "_by_structure", None)
    assert read_once(lines(*range(50)), query=COLUMNS).good.num_rows == 50
    monkeypatch.undo()
    monkeypatch.setattr(CsvLines, "_patient", None)
    assert read_once(lines(*range(50)) + b"\nshort,line\n", query=COLUMNS).good.num_rows == 50


def assert_whole(content: bytes, size: int, tail: bool, cut: Cut) -> None:
    """Blocks of whole lines, numbered through, that together are the content."""
    pieces = LineReader([content[start : start + size] for start in range(0, len(content), size)], cut, take_tail=tail)
    blocks = list(pieces)
    kept = content if tail else content[: content.rfind(b"\n") + 1]
    assert b"".join(block.data for block in blocks) == kept
    assert all(block.data.endswith(b"\n") for block in blocks[:-1])
    assert (pieces.bytes, pieces.waiting) == (len(kept), len(kept) < len(content))
    assert pieces.lines == kept.count(b"\n") + (not kept.endswith(b"\n") if kept else 0)
    before = 1
    for block in blocks:
        assert block.first == before
        before += block.data.count(b"\n")


CONTENT = st.lists(st.binary(max_size=30), max_size=20).map(b"\n".join)


@given(CONTENT, st.integers(1, 7), st.booleans())
def test_blocks_lose_and_double_nothing(content: bytes, size: int, tail: bool) -> None:
    assert_whole(content, size, tail, after_record)


def test_the_law_of_blocks_catches_a_cut_inside_a_line() -> None:
    with pytest.raises(AssertionError):
        assert_whole(b"one line\nanother\n", 3, True, len)  # the wrong variant: as much as there is


def test_a_block_never_ends_between_quotes() -> None:
    content = b'a,"x\ny"\nb,c\n'
    assert [block.data for block in LineReader([content[:5], content[5:]], after_record)] == [content]
    assert len(list(LineReader([content[:5], content[5:]], after_line))) == 2  # the wrong variant


def test_a_line_too_long_for_memory_is_refused_and_the_next_one_read() -> None:
    pieces = [b"a\n" + b"x" * 9_000_000, b"x" * 9_000_000, b"x" * 9_000_000 + b"\nb\n"]
    blocks = list(LineReader(pieces, after_record))
    assert [block[1:] for block in blocks] == [
        (1, 1, False),
        (2, 1, True),
        (3, 1, False),
    ]
    assert blocks[2].data == b"b\n"


def test_a_line_just_over_the_limit_is_refused_wherever_it_ends() -> None:
    long = b"x" * (LINE_LIMIT + 1)
    for content in (b"a\n" + long + b"\nb\n", b"a\nb\n" + long, long + b"\na\nb\n"):
        pieces = [content[at : at + 8 * 2**20] for at in range(0, len(content), 8 * 2**20)]
        blocks = list(LineReader(pieces, after_record))
        assert [len(block.data) < 2**17 for block in blocks] == [True] * len(blocks)
        assert [block.first for block in blocks if block.too_long] == [content[: content.find(long)].count(b"\n") + 1]
        assert b"".join(block.data for block in blocks if not block.too_long) == b"a\nb\n"
        assert sum(block.lines for block in blocks) == 3


REVIEW = {"asin": "B1", "reviewerID": "U1", "overall": 5.0, "unixReviewTime": 1_500_000_000}


@pytest.mark.parametrize(
    ("bad", "column", "reason"),
    [
        (b"{not json}", None, "is not valid JSON"),
        (b'{"asin": "B1"', None, "is not valid JSON"),
        (b"[1, 2]", None, "is not a JSON object"),
        (json_line(**{**REVIEW, "overall": "5"}).strip(), "rating", "rating is text, but a number was expected"),
        (json_line(**{**REVIEW, "reviewerID": 7}).strip(), "user_id", "user_id is a number, but text was expected"),
        (json_line(**{**REVIEW, "reviewerID": ""}).strip(), "user_id", "user_id is empty"),
        (json_line(asin="B1", overall=1, unixReviewTime=1).strip(), "user_id", "user_id is missing"),
        (json_line(**{**REVIEW, "unixReviewTime": 10**30}).strip(), "reviewed_at",
         "reviewed_at is a number out of range, but a number was expected"),
        (b'{"asin": "B\xff"}', None, "is not valid JSON"),
        (b'{"other": ' + b"[" * 3000 + b"]" * 3000 + b"}", None, "is nested too deeply"),
        (b'{"other": ' + b'{"a":' * 3000 + b"1" + b"}" * 3001, None, "is nested too deeply"),
        (json_line(**{**REVIEW, "reviewerID": "U\x001"}).strip(), "user_id", "user_id has a NUL character"),
    ],
)  # fmt: skip
def test_one_bad_json_line_is_refused(read_once: Read, bad: bytes, column: str | None, reason: str) -> None:
    read = read_once(json_line(**REVIEW) + bad + b"\n\n" + json_line(**REVIEW))
    assert [row & 0xFF for (row,) in rows(read, "_row")] == [1, 4]
    assert refusals(read) == [(2, column, reason)]
    assert read.refused["raw"].to_pylist() == [bad]


def test_json_fields_are_mapped_by_name_and_by_path(read_once: Read) -> None:
    content = json_line(who={"id": "U1"}, **{"item.no": "B1"}, stars=4, when="2017-07-14T02:40:00Z") * 2
    query = "?columns=user_id=who.id,item_id=item.no,rating=stars,reviewed_at=when:iso"
    assert (
        rows(read_once(content, query=query), "user_id", "item_id", "rating", "reviewed_at")
        == [("U1", "B1", 4.0, AT)] * 2
    )


def test_the_last_of_a_list(read_once: Read) -> None:
    content = json_line(item_id="B1", updated_at="2017-07-14", tags=["a", "b &amp; c"]) + json_line(
        item_id="B2", updated_at="2017-07-14", tags=[]
    )
    plain = read_once(content, Item.contract, "?columns=category=tags:last")
    assert rows(plain, "category", "in_stock") == [("b &amp; c", True), (None, True)]
    assert rows(read_once(content, Item.contract, "?columns=category=tags:last_html"), "category") == [
        ("b & c",),
        (None,),
    ]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress, lambda data: data])
def test_compression_is_recognised_by_its_bytes(read_once: Read, pack: Callable[[bytes], bytes]) -> None:
    content = lines(*range(100))
    read = read_once(pack(content[:2000]) + pack(content[2000:]), query=COLUMNS)  # two members, as appending makes them
    assert read.good.num_rows == 100


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_cut_or_flipped_file_is_refused_as_a_whole(read_once: Read, pack: Callable[[bytes], bytes]) -> None:
    whole = pack(lines(*range(100)))
    with pytest.raises(SourceDamaged, match="no rows of it were ingested"):
        read_once(whole[:-5], query=COLUMNS)
    with pytest.raises(SourceDamaged):
        read_once(whole + b"rubbish!", query=COLUMNS)
    flipped = bytearray(gzip.compress(lines(*range(100))))
    flipped[-6] ^= 1
    with pytest.raises(SourceDamaged, match="checksum"):
        read_once(bytes(flipped), query=COLUMNS)


@pytest.mark.parametrize("content", [b"PK\x03\x04....", b"[1]", b"\xff\xfeB\x00", bz2.compress(b"x")])
def test_what_is_not_read_is_named(read_once: Read, content: bytes) -> None:
    with pytest.raises(SourceUnknown):
        read_once(content, query=COLUMNS)


def test_a_byte_order_mark_is_no_part_of_the_first_field(read_once: Read) -> None:
    assert rows(read_once(b"\xef\xbb\xbf" + GOOD, query=COLUMNS), "item_id") == [("B1",)]


def test_unknown_options_columns_and_units_are_refused_with_the_nearest(tmp_path: Path) -> None:
    for query, said in [
        ("?colums=a", "did you mean `columns`"),
        ("?columns=item_id,user_ids", "did you mean `user_id`"),
        ("?columns=reviewed_at:unix", "did you mean `unix_"),
        ("?columns=rating:unix_s", "declares it float"),
        ("?columns=item_id,item_id", "twice"),
        ("?delimiter=tap", "did you mean `tab`"),
        ("?header=yes", "neither true nor false"),
    ]:
        with pytest.raises(SettingError, match=said.replace("?", r"\?")):
            FileSource(f"file:x{query}", Review.contract, tmp_path)


def test_a_file_of_many_blocks_is_numbered_through(read_once: Read) -> None:
    many = lines(*range(1000)) * 300  # 300,000 lines, 12 MB: more than one block
    read = read_once(many, query=COLUMNS)
    assert read.good.num_rows == 300_000
    assert read.good["_row"][-1].as_py() == (1 << 40) + 300_000
