"""Contract suite of `Engine` back-ends: the same function returns the same rows on each. Override `engine`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tidemill.core.ports import Engine, StagedFile
from tidemill.core.records.ingest import FileEntry

SCHEMA = pa.schema(
    [
        ("who", pa.string()),
        ("stars", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
        ("_row", pa.int64()),
        ("fresh", pa.bool_()),
        ("on", pa.date32()),
        ("tags", pa.list_(pa.string())),
    ]
)


def at(second: int) -> datetime:
    """A time with microseconds, just after midnight UTC, so that it is another day in other time zones."""
    return datetime(2020, 1, 1, 0, 0, second, 123_457, UTC)


def ratings() -> pa.Table:
    """Five ratings of two people, with a tie in time and a missing value."""
    return pa.Table.from_pylist(
        [
            {"who": "ann", "stars": 1.0, "at": at(1), "_row": 1, "fresh": True, "on": date(2020, 1, 1), "tags": ["a"]},
            {"who": "ann", "stars": 2.0, "at": at(3), "_row": 2, "fresh": None, "on": None, "tags": []},
            {
                "who": "bob",
                "stars": None,
                "at": at(2),
                "_row": 3,
                "fresh": False,
                "on": date(1969, 12, 31),
                "tags": None,
            },
            {"who": "ann", "stars": 4.0, "at": at(3), "_row": 4, "fresh": True, "on": date(2020, 1, 2), "tags": ["b"]},
            {"who": None, "stars": 5.0, "at": at(0), "_row": 5, "fresh": True, "on": date(2020, 1, 2), "tags": ["ü"]},
        ],
        schema=SCHEMA,
    )


@dataclass(frozen=True)
class PartFiles:
    """A stager of Parquet files in a folder."""

    folder: Path

    def stage(self, rows: pa.Table) -> list[StagedFile]:
        name = f"{secrets.token_hex(4)}.parquet"
        pq.write_table(rows, self.folder / name)
        return [StagedFile(entry=FileEntry(path=name, rows=rows.num_rows))]


def part_as_json(left: pa.Table, right: pa.Table) -> bytes:
    """The rows of a part and their types."""
    types = [str(field.type) for rows in (left, right) for field in rows.schema]
    return msgspec.json.encode({"left": left.to_pydict(), "right": right.to_pydict(), "types": types})


TOTAL = pa.schema([("k", pa.string()), ("n", pa.int64()), ("half", pa.float64()), ("list", pa.list_(pa.int64()))])


def total_of_part(rows: pa.Table) -> pa.Table:
    """The sum of `n` of each key of a part."""
    found = rows.group_by("k").aggregate([("n", "sum")])
    lists = pa.array([[n] for n in found["n_sum"].to_pylist()], pa.list_(pa.int32()))
    half = pc.divide(found["n_sum"].cast(pa.float64()), 2.0)
    return pa.table({"list": lists, "half": half, "n": found["n_sum"], "k": found["k"]})


SUMS = pa.schema([("k", pa.string()), ("n", pa.int64()), ("m", pa.int64())])


def sums_of_parts(left: pa.Table, right: pa.Table) -> pa.Table:
    """The sums of `n` on the left and `m` on the right of each key of a part."""
    one, two = (rows.group_by("k").aggregate([(name, "sum")]) for rows, name in ((left, "n"), (right, "m")))
    found: dict[str | None, dict[str, int]] = {}
    for rows, name in ((one, "n"), (two, "m")):
        for row in rows.to_pylist():
            found.setdefault(row["k"], {})[name] = row[f"{name}_sum"]
    return pa.Table.from_pylist([{"k": key, **sums} for key, sums in found.items()], schema=SUMS)


NUMBERS = pa.schema([("n", pa.int64()), ("name", pa.string()), ("at", pa.timestamp("us", "UTC"))])


def numbers_below(limit: int) -> Iterator[pa.Table]:
    """The numbers below a limit, in tables of one row."""
    for number in range(limit):
        yield pa.table({"at": [number], "n": [number], "name": [f"n{number}"]}).select(NUMBERS.names).cast(NUMBERS)


def odd_squares(rows: pa.Table) -> pa.Table:
    """The squares of the odd numbers `n`."""
    odd = rows.filter(pc.equal(pc.bit_wise_and(rows["n"], 1), 1))
    return pa.table({"types": [str(rows.schema.types)] * len(odd), "square": pc.power(odd["n"], 2)})


def refuse_part(left: pa.Table, right: pa.Table) -> bytes:
    """Raise an error, as a part may."""
    raise ValueError(f"no such part: {left.num_rows} and {right.num_rows} rows")


class EngineSuite:
    """One test per guarantee of the port, and per expression on which engines have differed."""

    @pytest.fixture
    def engine(self) -> Engine:
        """The engine under test."""
        raise NotImplementedError

    def rows(self, engine: Engine, frame: nw.LazyFrame[Any], by: str = "_row") -> list[dict[str, Any]]:
        """The rows sorted by `by`, because engines return them in different orders."""
        found: list[dict[str, Any]] = engine.collect(frame).sort_by(by).to_pylist()
        return found

    def test_rows_in_memory_come_back_as_they_went_in(self, engine: Engine) -> None:
        found = engine.collect(engine.frame(ratings()))
        assert found.schema.equals(SCHEMA)
        assert found.sort_by("_row").to_pylist() == ratings().to_pylist()

    def test_files_are_read_and_say_where_each_row_lies(self, engine: Engine, tmp_path: Path) -> None:
        files = [str(tmp_path / "a [1]" / name) for name in ("one.parquet", "two.parquet")]
        (tmp_path / "a [1]").mkdir()
        pq.write_table(ratings().slice(0, 2), files[0])
        pq.write_table(ratings().slice(2), files[1])
        assert self.rows(engine, engine.scan(files, SCHEMA)) == ratings().to_pylist()
        found = engine.collect(engine.scan(files, SCHEMA, origin="_file")).sort_by("_row")
        names = [path.rpartition("/")[2] for path in found["_file"].to_pylist()]
        assert names == ["one.parquet"] * 2 + ["two.parquet"] * 3

    def test_evolved_files_are_read_in_one_schema(self, engine: Engine, tmp_path: Path) -> None:
        """Files of other writers: columns that came later, narrower numbers, times in another unit or zone."""
        instant = datetime(2020, 1, 1, 0, 0, 1, 123_000)
        old = {"n": pa.array([1], pa.int32()), "x": pa.array([0.5], pa.float32()), "on": [date(2020, 1, 1)]}
        old |= {"at": pa.array([instant], pa.timestamp("ms")), "unknown": ["-"], "text": ["ü"]}
        new = {"text": ["b"], "n": pa.array([2], pa.int64()), "x": [1.5], "later": [True]}
        new |= {"at": pa.array([instant.replace(tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin")), "on": [None]}
        files = [tmp_path / "k=a b" / "old+%20é.parquet", tmp_path / "new[1].parquet"]
        files[0].parent.mkdir()
        for file, rows in zip(files, (old, new), strict=True):
            pq.write_table(pa.table(rows), file, use_deprecated_int96_timestamps=file is files[1])
        kinds = {"n": pa.int64(), "x": pa.float64(), "at": pa.timestamp("us", "UTC"), "on": pa.date32()}
        schema = pa.schema({**kinds, "text": pa.string(), "later": pa.bool_()})
        found = engine.collect(engine.scan([str(file) for file in files], schema, "file", evolved=True).sort("n"))
        assert found.drop_columns(["file"]).schema.equals(schema)
        assert found["file"].to_pylist() == [str(file) for file in files]
        assert found.drop_columns(["file", "at"]).to_pylist() == [
            {"n": 1, "x": 0.5, "on": date(2020, 1, 1), "text": "ü", "later": None},
            {"n": 2, "x": 1.5, "on": None, "text": "b", "later": True},
        ]
        assert found["at"].to_pylist() == [instant.replace(tzinfo=UTC)] * 2

    def test_no_files_are_an_empty_table(self, engine: Engine) -> None:
        assert engine.collect(engine.scan([], SCHEMA)).equals(SCHEMA.empty_table())
        assert engine.collect(engine.scan([], SCHEMA, origin="_file")).schema.names == [*SCHEMA.names, "_file"]

    def test_other_widths_become_the_one_form(self, engine: Engine) -> None:
        wide = pa.table(
            {
                "text": pa.array(["a", None], pa.large_string()),
                "code": pa.array(["x", "y"]).dictionary_encode(),
                "small": pa.array([1, 2], pa.int8()),
                "half": pa.array([0.5, None], pa.float32()),
                "at": pa.array([at(1), None], pa.timestamp("us", "Europe/Vienna")),
            }
        )
        found = engine.collect(engine.frame(wide))
        assert [str(kind) for kind in found.schema.types] == [
            "string",
            "string",
            "int64",
            "double",
            "timestamp[us, tz=UTC]",
        ]
        assert found.to_pylist()[0] == {"text": "a", "code": "x", "small": 1, "half": 0.5, "at": at(1)}

    def test_the_newest_row_of_each_key_is_decided_by_a_total_order(self, engine: Engine) -> None:
        frame = engine.frame(ratings()).unique(["who"], keep="last", order_by=["at", "_row"])
        assert [row["_row"] for row in self.rows(engine, frame)] == [3, 4, 5]

    def test_counts_are_whole_numbers_of_one_width(self, engine: Engine) -> None:
        frame = engine.frame(ratings()).group_by("who").agg(n=nw.len(), mean=nw.col("stars").mean())
        found = engine.collect(frame)
        assert (str(found.schema.field("n").type), str(found.schema.field("mean").type)) == ("int64", "double")
        by_person = {row["who"]: (row["n"], row["mean"]) for row in found.to_pylist()}
        assert by_person == {"ann": (3, pytest.approx(7 / 3)), "bob": (1, None), None: (1, 5.0)}

    def test_joins_on_keys_keep_and_drop(self, engine: Engine) -> None:
        keys = engine.frame(pa.table({"who": ["ann", "eve"]}))
        frame = engine.frame(ratings())
        assert [row["_row"] for row in self.rows(engine, frame.join(keys, on=["who"], how="semi"))] == [1, 2, 4]
        assert [row["_row"] for row in self.rows(engine, frame.join(keys, on=["who"], how="anti"))] == [3, 5]

    def test_a_query_sees_the_frames_by_their_names(self, engine: Engine) -> None:
        query = """
            WITH rated AS (SELECT * FROM ratings WHERE stars IS NOT NULL) -- those with stars
            SELECT rated.who, count(*) AS n, sum(_row) AS total, avg(stars) AS mean, max("at") AS newest, 1.5 AS half,
                   sum(_row) * 2 / 4 AS quarter, any_value(people.team) AS team
            FROM rated JOIN people ON people.who = rated.who
            GROUP BY rated.who -- the end"""
        people = engine.frame(pa.table({"who": ["ann", "bob", "eve"], "team": ["red", "red", None]}))
        found = engine.collect(engine.sql(query, {"ratings": engine.frame(ratings()), "people": people}))
        assert [str(kind) for kind in found.schema.types] == [
            "string", "int64", "int64", "double", "timestamp[us, tz=UTC]", "double", "double", "string",
        ]  # fmt: skip
        assert found.to_pylist() == [
            {
                "who": "ann", "n": 3, "total": 7, "mean": pytest.approx(7 / 3), "newest": at(3), "half": 1.5,
                "quarter": 3.5, "team": "red",
            }
        ]  # fmt: skip

    def test_a_query_orders_nulls_and_takes_days_of_utc(self, engine: Engine) -> None:
        query = """
            SELECT _row, CAST("at" AS date) AS "day",
                   row_number() OVER (ORDER BY who, stars DESC, _row) AS place,
                   lag(_row) OVER (ORDER BY who, stars DESC, _row) AS before,
                   CASE WHEN fresh THEN 'new' ELSE 'old' END AS age
            FROM ratings"""
        found = self.rows(engine, engine.sql(query, {"ratings": engine.frame(ratings())}))
        assert [(row["_row"], row["place"], row["before"]) for row in found] == [
            (1, 4, 2), (2, 3, 4), (3, 5, 1), (4, 2, 5), (5, 1, None),
        ]  # fmt: skip
        assert {row["day"] for row in found} == {date(2020, 1, 1)}
        assert [row["age"] for row in found] == ["new", "old", "old", "new", "new"]

    def test_a_query_over_no_rows_has_columns(self, engine: Engine) -> None:
        query = "SELECT who, max(stars) AS best FROM ratings GROUP BY who"
        found = engine.collect(engine.sql(query, {"ratings": engine.frame(SCHEMA.empty_table())}))
        assert (found.num_rows, found.schema.names) == (0, ["who", "best"])

    def test_frames_of_two_queries_with_one_name_are_their_own(self, engine: Engine) -> None:
        query = "SELECT max(_row) AS last FROM ratings"
        both = [engine.sql(query, {"ratings": engine.frame(ratings().slice(0, n))}) for n in (2, 4)]
        assert [engine.collect(frame).to_pylist() for frame in both] == [[{"last": 2}], [{"last": 4}]]

    def test_days_are_days_of_utc(self, engine: Engine) -> None:
        frame = engine.frame(ratings()).select("_row", day=nw.col("at").dt.date())
        assert {row["day"] for row in self.rows(engine, frame)} == {date(2020, 1, 1)}

    def test_a_persisted_frame_is_evaluated_once_and_has_the_types_of_a_schema(self, engine: Engine) -> None:
        frame = engine.frame(ratings()).with_columns(n=nw.col("_row").cast(nw.Int32)).filter(nw.col("_row") > 2)
        with engine.persist(frame, SCHEMA.remove(1).append(pa.field("n", pa.int64()))) as kept:
            assert kept.rows == 3
            found = self.rows(engine, kept.frame)
            assert self.rows(engine, kept.frame.filter(nw.col("n") > 4)) == found[2:]
        assert [(row["n"], row["tags"]) for row in found] == [(3, None), (4, ["b"]), (5, ["ü"])]

    def test_tasks_are_read_by_the_workers(self, engine: Engine) -> None:
        with engine.read([3, 0, 2], numbers_below, NUMBERS) as kept:
            assert kept.rows == 5
            found = self.rows(engine, kept.frame, by="n")
        assert [row["n"] for row in found] == [0, 0, 1, 1, 2] and found[-1]["name"] == "n2"
        assert found[-1]["at"] == datetime.fromtimestamp(0, UTC) + timedelta(microseconds=2)
        for tasks in ([], [0]):
            with engine.read(tasks, numbers_below, NUMBERS) as kept:
                assert kept.rows == 0 and engine.collect(kept.frame).schema.types == NUMBERS.types

    def test_batches_of_rows_become_other_rows(self, engine: Engine) -> None:
        frame = engine.frame(pa.table({"n": pa.array(range(10), pa.int32()), "x": ["a"] * 10}))
        schema = pa.schema([("square", pa.int64()), ("types", pa.string())])
        made = engine.map_rows(frame.filter(nw.col("n") < 8), odd_squares, schema)
        found = self.rows(engine, made.filter(nw.col("square") > 1), by="square")
        assert [row["square"] for row in found] == [9, 25, 49]
        assert {row["types"] for row in found} == {"[DataType(int64), DataType(string)]"}
        assert engine.collect(engine.map_rows(frame.filter(nw.col("n") > 10), odd_squares, schema)).num_rows == 0

    def test_a_frame_is_written_as_data_files(self, engine: Engine, tmp_path: Path) -> None:
        frame = engine.frame(ratings()).with_columns(twice=nw.col("stars") * 2)
        files = engine.stage(frame, PartFiles(tmp_path))
        assert sum(file.entry.rows for file in files) == 5
        schema = SCHEMA.append(pa.field("twice", pa.float64()))
        found = self.rows(engine, engine.scan([str(tmp_path / file.entry.path) for file in files], schema))
        assert found == [row | {"twice": row["stars"] and row["stars"] * 2} for row in ratings().to_pylist()]
        assert engine.stage(frame.filter(nw.col("_row") < 0), PartFiles(tmp_path)) == []

    def test_parts_of_two_frames_have_all_rows_of_their_keys(self, engine: Engine) -> None:
        one = pa.table({"k": ["a", "b", None, "a"], "n": [1, 2, 3, 4], "x": [1.0, None, 3.0, 4.0]})
        two = pa.table({"k": [None, "c", "b"], "n": [5, 6, 7]})
        found = engine.cogroup(engine.frame(one), engine.frame(two), ["k"], 3, part_as_json)
        parts = [msgspec.json.decode(part) for part in found]
        assert sorted(n for part in parts for n in part["left"]["n"]) == [1, 2, 3, 4]
        assert sorted(n for part in parts for n in part["right"]["n"]) == [5, 6, 7]
        for key in ("a", "b", "c", None):
            assert sum(key in part["left"]["k"] + part["right"]["k"] for part in parts) == 1
        assert all(part["types"] == ["string", "int64", "double", "string", "int64"] for part in parts)
        none = engine.frame(one).filter(nw.col("n") < 0)
        assert engine.cogroup(none, none, ["k", "n"], 2, part_as_json) == []

    @pytest.mark.parametrize("parts", [1, 3])
    def test_a_frame_is_made_from_the_rows_of_each_part(self, engine: Engine, parts: int) -> None:
        rows = pa.table({"k": ["a", "b", None, "a", "c", "b"], "n": [1, 2, 3, 4, 5, 6]})
        for frame in (engine.frame(rows), engine.frame(rows).filter(nw.col("n") < 0)):
            made = engine.map_parts([frame], ["k"], parts, total_of_part, TOTAL)
            found = engine.collect(made.filter(nw.col("n") > 0))
            assert found.schema.types == TOTAL.types
            by_key: dict[str | None, list[tuple[int, float]]] = {}
            assert all(row["list"] == [row["n"]] for row in found.to_pylist())
            for row in found.to_pylist():
                by_key.setdefault(row["k"], []).append((row["n"], row["half"]))
            assert len(by_key) in (0, 4)  # each key in one part only
            assert by_key in ({}, {"a": [(5, 2.5)], "b": [(8, 4.0)], None: [(3, 1.5)], "c": [(5, 2.5)]})
            assert engine.collect(made.select("n").head(1)).num_rows == min(len(by_key), 1)

    @pytest.mark.parametrize("parts", [1, 3])
    def test_a_frame_is_made_from_the_rows_of_two(self, engine: Engine, parts: int) -> None:
        one = pa.table({"k": ["a", "b", None, "a"], "n": [1, 2, 3, 4]})
        two = pa.table({"k": ["b", None, "c", "b"], "m": [5, 6, 7, 8]})
        made = engine.map_parts([engine.frame(one), engine.frame(two)], ["k"], parts, sums_of_parts, SUMS)
        # evaluated in parts within another evaluation in parts
        again = engine.map_parts([made, made.filter(nw.col("m") > 0)], ["k"], parts, sums_of_parts, SUMS)
        for frame, sums in ((made, {"a": (5, None), "b": (2, 13), None: (3, 6), "c": (None, 7)}),
                            (again, {"a": (5, None), "b": (2, 13), None: (3, 6), "c": (None, 7)})):  # fmt: skip
            with engine.persist(frame, SUMS) as kept:
                assert {row["k"]: (row["n"], row["m"]) for row in engine.collect(kept.frame).to_pylist()} == sums
                assert kept.rows == 4

    def test_batches_are_all_rows_in_the_types_of_a_collected_frame(self, engine: Engine) -> None:
        some = list(engine.batches(engine.frame(ratings()).filter(nw.col("_row") > 1)))
        assert all(rows.schema.equals(SCHEMA) for rows in some)
        assert pa.concat_tables(some).sort_by("_row").to_pylist() == ratings().to_pylist()[1:]
        n = 300_000
        many = list(engine.batches(engine.frame(pa.table({"n": range(n)}))))
        assert sum(rows.num_rows for rows in many) == n
        assert all(0 < rows.num_rows <= 131_072 for rows in many)
        assert pc.sum(pa.concat_tables(many)["n"]).as_py() == n * (n - 1) // 2
        assert list(engine.batches(engine.frame(ratings()).filter(nw.col("_row") < 0))) == []

    def test_a_failure_in_a_part_reaches_the_caller(self, engine: Engine) -> None:
        frame = engine.frame(ratings())
        with pytest.raises(Exception, match="no such part"):
            engine.cogroup(frame, frame, ["_row"], 2, refuse_part)
