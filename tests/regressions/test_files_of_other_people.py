"""Files as other people write them: each is read as its author meant it, and the URL says how."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tidemill as tm
from tidemill.core.errors import SourceDamaged, SourceUnknown
from tidemill.core.source_read import ReadRequest
from tidemill.loop.auto.auto_project import AutoRequest, source_url, write_auto_project
from tidemill.loop.auto.infer_schema import infer_schema
from tidemill.loop.project.project import load_mill
from tidemill.sources import open_source
from tidemill.sources.files.table_file import TableFile, read_table

Kinds = dict[str, tuple[str, str | None]]


def found(folder: Path, content: str | bytes, name: str = "rows.csv", options: str = "") -> TableFile:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return infer_schema(folder / name, options=options)


def kinds(table: TableFile) -> Kinds:
    return {column.name: (column.kind, column.unit) for column in table.columns}


def run_reads(folder: Path, table: TableFile, target: str = "y") -> pa.Table:
    """The rows that a run of the generated project reads."""
    asked = AutoRequest(name="m", file=table, target=target)
    write_auto_project(folder / "m", asked)
    contract = load_mill(folder / "m").streams["rows"].contract
    source = open_source(source_url(asked, folder / "m"), contract, folder / "m")
    now = datetime(2030, 1, 1, tzinfo=UTC)
    read = source.read(ReadRequest(until=date(2030, 1, 1), arrival=now, now=now))
    assert not read.refused.num_rows, read.refused.to_pylist()
    return read.good


@pytest.mark.parametrize("blank", ["end", "middle", "start"])
def test_a_blank_line_changes_nothing(tmp_path: Path, blank: str) -> None:
    lines = ["row_id,when,a,y", *(f"{n},2025-01-{n + 1:02d},{n / 7:.3f},{'yes' if n % 2 else 'no'}" for n in range(20))]
    plain = found(tmp_path, "\n".join(lines) + "\n", "plain.csv")
    lines.insert({"end": len(lines), "middle": 9, "start": 0}[blank], "")
    table = found(tmp_path, "\n".join(lines) + "\n", "blank.csv")
    assert (table.columns, table.n_rows) == (plain.columns, plain.n_rows)
    assert run_reads(tmp_path, table).num_rows == 20


def test_numbers_with_a_leading_zero_are_text(tmp_path: Path) -> None:
    table = found(tmp_path, "code,price,y\n00501,0.5,1\n501,12,0\n")
    assert kinds(table) == {"code": ("str", None), "price": ("float", None), "y": ("int", None)}
    assert run_reads(tmp_path, table)["code"].to_pylist() == ["00501", "501"]
    assert "leading zeros" in table.notes[0]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_numbers_that_floats_cannot_hold_are_text(tmp_path: Path, form: str) -> None:
    big = [2**53 + 1, 2**53 + 3, 7]
    if form == "csv":
        table = found(tmp_path, "id,y\n" + "".join(f"{one},{n}\n" for n, one in enumerate(big)))
    else:
        pq.write_table(pa.table({"id": big, "y": [0, 1, 2]}), tmp_path / "rows.parquet")
        table = infer_schema(tmp_path / "rows.parquet")
    assert kinds(table)["id"] == ("str", None) and "2^53" in table.notes[0]
    assert run_reads(tmp_path, table)["id"].to_pylist() == [str(one) for one in big]


def test_nan_is_missing_and_marks_are_where_the_rest_are_numbers(tmp_path: Path) -> None:
    table = found(tmp_path, "a,b,word,y\nNaN,?,NA,1\n0.5,3,b,0\nnan,N/A,?,1\n-1.5,-,c,0\n")
    assert kinds(table) == {"a": ("float", None), "b": ("int", None), "word": ("str", None), "y": ("int", None)}
    assert table.options() == "header=true&missing=-,?,N/A"
    assert [note for note in table.notes if note.startswith("b:")] == ["b: `-`, `?`, `N/A` means missing"]
    rows = run_reads(tmp_path, table)
    assert rows["a"].to_pylist() == [None, 0.5, None, -1.5] and rows["b"].to_pylist() == [None, 3, None, None]
    assert rows["word"].to_pylist() == ["NA", "b", "?", "c"]


@pytest.mark.parametrize(
    ("head", "form"), [("ORCID", "csv"), ("PAR1", "csv"), ("BZh9", "csv"), ("ARROW1", "csv"), ("Obj", "csv")]
)
def test_text_that_begins_like_another_format_is_text(tmp_path: Path, head: str, form: str) -> None:
    table = found(tmp_path, f"{head},a,y\nx,1,0\ny,2,1\n")
    assert table.form == form and run_reads(tmp_path, table).num_rows == 2


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["data[1]", "what? 100%25", "a*b", "x;y=1&z"])
def test_the_name_of_a_file_is_no_pattern(tmp_path: Path, name: str, form: str) -> None:
    for there, value in {name: 1, "data1": 2, "what? 100%": 2, "ab": 2}.items():
        frame = pl.DataFrame({"a": [value] * 3, "y": [0, 1, 0]})
        file = tmp_path / f"{there}.{form}"
        frame.write_csv(file) if form == "csv" else frame.write_parquet(file)
    rows = run_reads(tmp_path, infer_schema(tmp_path / f"{name}.{form}"))
    assert rows["a"].to_pylist() == [1, 1, 1]


DIALECTS: dict[str, tuple[str, str, str]] = {
    "semicolon": ("a;b;y\n-0,256;3;yes\n0,511;4;no\n", "utf-8", "header=true&delimiter=semicolon&decimal=comma"),
    "tab": ("a\tb\ty\n-0.256\t3\tyes\n0.511\t4\tno\n", "utf-8", "header=true&delimiter=tab"),
    "space": ("a b y\n-0.256 3 yes\n0.511 4 no\n", "utf-8", "header=true&delimiter=space"),
    "words": ("a,b,the y\n-0.256,3,p q\n0.511,4,r s\n", "utf-8", "header=true&columns=the_y=the y"),
    "quoted comma": ('a,b,y\n"-0,256",3,yes\n"0,511",4,no\n', "utf-8", "header=true&decimal=comma"),
    "Windows": ("a;b;größe\n-0,256;3;ja\n0,511;4;nö\n", "cp1252",
                "header=true&delimiter=semicolon&encoding=cp1252&decimal=comma"),
    "Poland": ("a;b;imię\n-0,256;3;Łódź\n0,511;4;Żory\n", "cp1250",
               "header=true&delimiter=semicolon&encoding=cp1250&decimal=comma"),
    "UTF-16": ("a\tb\ty\n-0.256\t3\tö\n0.511\t4\tx\n", "utf-16", "header=true&delimiter=tab&encoding=utf-16"),
    "a byte order mark": ("a,b,y\n-0.256,3,ö\n0.511,4,x\n", "utf-8-sig", "header=true"),
    "text with other marks": ("a,b,y\n-0.256,3,p;q\n0.511,4,r;s\n", "utf-8", "header=true"),
}  # fmt: skip

#: The values of the last column where they are not yes and no.
LAST = {
    "Windows": ["ja", "nö"], "Poland": ["Łódź", "Żory"], "UTF-16": ["ö", "x"], "a byte order mark": ["ö", "x"],
    "text with other marks": ["p;q", "r;s"], "words": ["p q", "r s"],
}  # fmt: skip


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_dialect_is_found_and_said(tmp_path: Path, dialect: str, pack: Callable[[bytes], bytes]) -> None:
    text, encoding, options = DIALECTS[dialect]
    table = found(tmp_path, pack(text.encode(encoding)))
    assert table.options() == options
    target = table.columns[2].name
    rows = run_reads(tmp_path, table, target)
    assert rows["a"].to_pylist() == [-0.256, 0.511] and rows["b"].to_pylist() == [3, 4]
    assert rows[target].to_pylist() == LAST.get(dialect, ["yes", "no"])
    given = read_table(tmp_path / "rows.csv")
    assert given["a"].to_pylist() == [-0.256, 0.511]


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    table = found(tmp_path, 'price,share,people,code,y\n"$1,234.50",12%,"1,200,300",1-2,0\n$3,5.5 %,7,3-4,1\n')
    assert kinds(table) == {
        "price": ("float", "number"), "share": ("float", "number"), "people": ("int", "number"),
        "code": ("str", None), "y": ("int", None),
    }  # fmt: skip
    rows = run_reads(tmp_path, table)
    assert [rows[name].to_pylist() for name in ("price", "share", "people")] == [
        [1234.5, 3.0], [12.0, 5.5], [1_200_300, 7],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "unit", "days"),
    [
        (["31.12.2023", "1.2.2024"], "dmy", [(2023, 12, 31), (2024, 2, 1)]),
        (["12/31/2023", "2/1/2024"], "mdy", [(2023, 12, 31), (2024, 2, 1)]),
        (["2023/12/31", "2024/2/1"], "ymd", [(2023, 12, 31), (2024, 2, 1)]),
        (["01/02/2024", "01/03/2024", "01/04/2024"], "dmy", [(2024, 2, 1), (2024, 3, 1), (2024, 4, 1)]),
        (["01/02/2024", "01/03/2024", "02/01/2024"], "mdy", [(2024, 1, 2), (2024, 1, 3), (2024, 2, 1)]),
        (["5-Mar-2020", "6 Mar 20"], "dmy", [(2020, 3, 5), (2020, 3, 6)]),
        (["July 4, 1976", "Aug 1 1976"], "mdy", [(1976, 7, 4), (1976, 8, 1)]),
        (["Jan 1956", "Feb 1956"], "dmy", [(1956, 1, 1), (1956, 2, 1)]),
        (["1956-01", "1956-02"], "ymd", [(1956, 1, 1), (1956, 2, 1)]),
    ],
)
def test_dates_of_other_countries_are_times(
    tmp_path: Path, texts: list[str], unit: str, days: list[tuple[int, int, int]]
) -> None:
    table = found(tmp_path, "when,y\n" + "".join(f'"{text}",{n}\n' for n, text in enumerate(texts)))
    assert kinds(table)["when"] == ("time", unit)
    assert table.column("when").last == date(*max(days))
    rows = run_reads(tmp_path, table)
    assert [time.date() for time in rows["when"].to_pylist()] == [date(*day) for day in days]


@pytest.mark.parametrize("texts", [["1/2", "3/4"], ["1.2.3", "1.2.4"], ["12-34-56", "12-35-57"], ["31.31.2024", "x"]])
def test_what_only_resembles_a_date_is_text(tmp_path: Path, texts: list[str]) -> None:
    table = found(tmp_path, "when,y\n" + "".join(f"{text},{n}\n" for n, text in enumerate(texts)))
    assert kinds(table)["when"] == ("str", None)


def test_blanks_at_the_ends_are_no_part_of_a_value(tmp_path: Path) -> None:
    table = found(tmp_path, "sex, age, y\n Male, 3, <=50K\nMale , 4, >50K\n")
    assert "sex: blanks at the ends of 2 values are removed" in table.notes
    rows = run_reads(tmp_path, table)
    assert rows["sex"].to_pylist() == ["Male", "Male"] and rows["y"].to_pylist() == ["<=50K", ">50K"]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_text_of_a_typed_format_stays_text(tmp_path: Path, form: str) -> None:
    frame = pl.DataFrame({"digits": ["1", "2"], "flag": ["true", "false"], "y": [0, 1]})
    file = tmp_path / f"rows.{form}"
    frame.write_parquet(file) if form == "parquet" else frame.write_ndjson(file)
    table = infer_schema(file)
    assert kinds(table) == {"digits": ("str", None), "flag": ("str", None), "y": ("int", None)}
    assert run_reads(tmp_path, table)["digits"].to_pylist() == ["1", "2"]


def test_values_that_no_model_reads_are_left_out_by_name(tmp_path: Path) -> None:
    rows = {
        "tags": [["a"], ["b"]], "about": [{"k": 1}, {"k": 2}], "raw": [b"x", b"y"],
        "took": pa.array([1, 2], pa.duration("s")), "kind": pa.array(["u", "v"]).dictionary_encode(),
        "y": [0, 1],
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    table = infer_schema(tmp_path / "rows.parquet")
    assert kinds(table) == {"kind": ("str", None), "y": ("int", None)}
    assert [note.partition(":")[0] for note in table.notes] == ["tags", "about", "raw", "took"]
    assert run_reads(tmp_path, table).num_rows == 2
    (tmp_path / "rows.jsonl").write_text('{"tags": ["a"], "y": 1}\n{"tags": [], "y": 0}\n')
    assert kinds(infer_schema(tmp_path / "rows.jsonl")) == {"y": ("int", None)}


def test_an_unequal_line_is_refused_and_counted(tmp_path: Path) -> None:
    table = found(tmp_path, "a,y\n1,0\n2,1\n3,4,5\n")
    assert table.n_rows == 2 and "1 lines are refused" in table.notes[0]


def test_options_say_what_looking_cannot_find(tmp_path: Path) -> None:
    text = "when;a;y\n01/02/2024;1.234;0\n03/04/2024;2.345;1\n"
    assert found(tmp_path, text).column("when").unit == "dmy"
    table = found(tmp_path, text, options="decimal=comma&columns=when:mdy")
    assert table.column("when").unit == "mdy" and table.column("a").kind == "int"
    assert run_reads(tmp_path, table)["a"].to_pylist() == [1234, 2345]


def test_an_excel_file_is_read(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "People"
    for row in [
        ["code", "when", "a", "b", "y"],
        ["007", datetime(2024, 1, 2), 1.5, 3, "yes"],
        [],
        ["12", datetime(2024, 1, 3), "NA", 4, "no"],
    ]:
        sheet.append(row)
    book.create_sheet("Other").append(["x"])
    book.save(tmp_path / "rows.xlsx")
    table = infer_schema(tmp_path / "rows.xlsx")
    assert table.notes[0] == "the first sheet, People, is read; `sheet=` names another one: Other"
    assert kinds(table) == {
        "code": ("str", None), "when": ("time", None), "a": ("float", None), "b": ("int", None), "y": ("str", None),
    }  # fmt: skip
    rows = run_reads(tmp_path, table)
    assert rows["a"].to_pylist() == [1.5, None] and rows["code"].to_pylist() == ["007", "12"]
    with pytest.raises(SourceUnknown, match="did you mean `People`"):
        infer_schema(tmp_path / "rows.xlsx", options="sheet=Peeple")
    whole = (tmp_path / "rows.xlsx").read_bytes()
    for damaged in (whole[:-600], whole[:2000] + bytes(900) + whole[2900:]):
        (tmp_path / "rows.xlsx").write_bytes(damaged)
        with pytest.raises((SourceDamaged, SourceUnknown)):
            infer_schema(tmp_path / "rows.xlsx")


def test_given_rows_may_be_a_list_of_objects(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([{"id": "007", "a": 1}, {"id": "8", "a": None}]))
    assert read_table(tmp_path / "rows.json").to_pylist() == [{"id": "007", "a": 1}, {"id": "8", "a": None}]
    (tmp_path / "rows.csv").write_text("User;score\n7;1,5\n8;2,5\n")
    assert read_table(tmp_path / "rows.csv", text=["user"]).to_pylist() == [
        {"User": "7", "score": 1.5}, {"User": "8", "score": 2.5},
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\r", "\n", ""])
def test_lines_may_end_with_carriage_returns_alone(tmp_path: Path, end: str) -> None:
    lines = ["a,y", *(f"{n / 7:.3f},{n}" for n in range(20))]
    table = found(tmp_path, "\r".join(lines) + end)
    assert (table.n_rows, kinds(table)) == (20, {"a": ("float", None), "y": ("int", None)})
    assert run_reads(tmp_path, table).num_rows == 20


@pytest.mark.parametrize("form", ["csv", "xlsx", "parquet"])
def test_of_several_times_without_a_zone_none_hides_the_rows(tmp_path: Path, form: str) -> None:
    times = [datetime(2013, 1, 1 + n, 22, 33) for n in range(20)]
    frame = pl.DataFrame({"begun": times, "ended": times, "a": [n / 7 for n in range(20)], "y": list(range(20))})
    if form == "csv":
        text = frame.with_columns(pl.col("begun", "ended").dt.strftime("%m/%d/%y %H:%M")).write_csv()
        table = found(tmp_path, text)
        assert kinds(table)["begun"] == ("time", "mdy")
    elif form == "xlsx":
        book = pytest.importorskip("openpyxl").Workbook()
        for row in (frame.columns, *frame.rows()):
            book.active.append(row)
        book.save(tmp_path / "rows.xlsx")
        table = infer_schema(tmp_path / "rows.xlsx")
    else:
        frame.write_parquet(tmp_path / "rows.parquet")
        table = infer_schema(tmp_path / "rows.parquet")
    read = run_reads(tmp_path, table)
    assert read.num_rows == 20 and {"a", "y"} <= set(read.column_names)
    if form != "parquet":
        assert read["begun"].to_pylist()[0] == {"csv": "01/01/13 22:33", "xlsx": "2013-01-01T22:33:00"}[form]


def test_a_text_column_takes_what_an_excel_file_has(tmp_path: Path) -> None:
    class Row(tm.Event):
        when: str
        share: str
        yes: str
        n: int
        at: datetime = tm.event_time(zone="UTC")

    at = datetime(2013, 1, 2, 3, 4)
    frame = pl.DataFrame({"when": [at, at], "share": [0.5, 12.25], "yes": [True, False], "n": [1, 2], "at": [at, at]})
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (frame.columns, *frame.rows()):
        book.active.append(row)
    book.save(tmp_path / "rows.xlsx")
    now = datetime(2030, 1, 1, tzinfo=UTC)
    source = open_source(f"file:{tmp_path}/rows.xlsx", Row.contract, tmp_path)
    read = source.read(ReadRequest(until=date(2030, 1, 1), arrival=now, now=now)).good
    assert read.select(["when", "share", "yes"]).to_pylist() == [
        {"when": "2013-01-02T03:04:00", "share": "0.5", "yes": "true"},
        {"when": "2013-01-02T03:04:00", "share": "12.25", "yes": "false"},
    ]
