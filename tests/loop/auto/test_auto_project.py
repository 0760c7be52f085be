"""A file of rows is looked at, and the project that is written of it loads and reads that file."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from tidemill.core.errors import SourceMissing, SourceUnknown, UnknownName, UsageError
from tidemill.core.source_read import ReadRequest
from tidemill.loop.auto.auto_project import AutoRequest, mill_text, notes, source_url, write_auto_project
from tidemill.loop.auto.infer_schema import infer_schema, names_people
from tidemill.loop.project.project import load_mill
from tidemill.sources import open_source

PEOPLE = """customer id,Age,Charges,since,1st,left
a-1,30, 5.5 ,2024-01-01,true,no
a-2, ,7,2024-01-02,false,yes
a-3,41,8.25,2024-01-03,true,no
"""


def written(folder: Path, text: str = PEOPLE, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_each_column_has_the_kind_that_all_of_it_fits(tmp_path: Path) -> None:
    seen = infer_schema(written(tmp_path))
    assert [(column.name, column.kind, column.optional, column.unique) for column in seen.columns] == [
        ("customer_id", "str", False, True),
        ("Age", "int", True, False),
        ("Charges", "float", False, False),
        ("since", "time", False, False),
        ("c_1st", "bool", False, False),
        ("left", "str", False, False),
    ]
    assert names_people(seen.column("customer id")) and seen.column("since").last == date(2024, 1, 3)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_parquet_and_json_lines_say_their_kinds(tmp_path: Path, form: str) -> None:
    rows = pl.DataFrame({"a": [1, 2], "b": [0.5, None], "c": ["x", "y"], "d": [True, False]})
    path = tmp_path / f"rows.{form}"
    rows.write_parquet(path) if form == "parquet" else rows.write_ndjson(path)
    assert [(column.kind, column.optional) for column in infer_schema(path).columns] == [
        ("int", False), ("float", True), ("str", False), ("bool", False),
    ]  # fmt: skip


def test_what_is_written_loads_and_reads_the_file(tmp_path: Path) -> None:
    path = written(tmp_path)
    asked = AutoRequest(name="leaving", file=infer_schema(path), target="left", fairness=["Age"])
    folder = tmp_path / "leaving"
    assert write_auto_project(folder, asked) == [".gitignore", "mill.py", "tidemill.toml"]
    mill = load_mill(folder)
    model = mill.models["leaving"]
    assert model.inputs == ("Age", "Charges", "since", "c_1st") and model.target == "left"
    assert mill.streams["rows"].contract.role("subject") == ["customer_id"]
    source = open_source(source_url(asked, folder), mill.streams["rows"].contract, folder)
    read = source.read(ReadRequest(until=date(2024, 2, 1)))
    assert read.good["Age"].to_pylist() == [30, None, 41] and not read.refused.num_rows
    assert read.good["since"][0].as_py() == datetime(2024, 1, 1, tzinfo=UTC)
    assert len(notes(asked)) == 3  # whom a row names, which time counts, and how the file is read


def test_rows_without_a_name_are_each_an_event_of_their_own(tmp_path: Path) -> None:
    asked = AutoRequest(name="m", file=infer_schema(written(tmp_path, "x,y\n1,0\n1,0\n2,1\n", "m.csv")), target="y")
    assert 'key="_row"' in mill_text(asked) and "mill.snapshot(" in mill_text(asked)


def test_a_file_without_a_header_takes_the_names_that_are_given(tmp_path: Path) -> None:
    path = written(tmp_path, "1,0\n2,1\n", "bare.data")
    asked = AutoRequest(name="bare", file=infer_schema(path, ("x", "y")), target="y")
    assert source_url(asked, tmp_path / "bare").endswith("?header=false&columns=x,y")
    with pytest.raises(UnknownName, match="2 fields per line, but 1 names"):
        infer_schema(path, ("x",))


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no file"):
        infer_schema(tmp_path / "none.csv")
    with pytest.raises(SourceUnknown, match="is ORC"):
        infer_schema(written(tmp_path, "ORC\3\0\1", name="people.csv"))
    seen = infer_schema(written(tmp_path))
    with pytest.raises(UnknownName, match="did you mean `left`"):
        mill_text(AutoRequest(name="m", file=seen, target="lefd"))
    with pytest.raises(UsageError, match="not empty"):
        write_auto_project(tmp_path, AutoRequest(name="m", file=seen, target="left"))
