"""Contract suite of `Latest` back-ends, one test per guarantee; `latest_machine` tests any order of operations.

For example:
    class TestMine(LatestSuite):
        def make(self, root):
            return MyLatest(f"mine://{root}")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tidemill.core.errors import GraphError, TypeMismatch, UnknownName
from tidemill.core.ports import LatestWriter

Row = dict[str, Any]

_SCHEMA = pa.schema([("k", pa.string()), ("n", pa.int64()), ("s", pa.string()), ("l", pa.list_(pa.int64()))])


def rows(*found: tuple[str, int | None, str | None, list[int] | None]) -> pa.Table:
    """Rows of a small view with a key, an integer, a text and a list."""
    columns = list(zip(*found, strict=True)) if found else [()] * 4
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)], schema=_SCHEMA
    )


class LatestSuite:
    """One test per guarantee of the port. Override `make`; two calls with the same root must open the same store."""

    def make(self, root: Path) -> LatestWriter:
        """A store under `root`."""
        raise NotImplementedError

    def test_nothing_is_there_at_first(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        assert (latest.version("v"), latest.get("v", "a"), latest.keys("v")) == (None, None, [])

    def test_a_written_row_is_read_back_whole(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", rows(("a", 1, "ü", [3, 4]), ("b", None, None, None)), "one")
        assert latest.get("v", "a") == {"n": 1, "s": "ü", "l": [3, 4]}
        assert latest.get("v", "b") == {"n": None, "s": None, "l": None}
        assert latest.get("v", "c") is None
        assert latest.version("v") == "one"

    def test_a_snapshot_replaces_all_of_the_one_before(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", rows(("a", 1, "x", []), ("b", 1, "x", [])), "one")
        latest.write("v", "k", rows(("b", 2, "y", []), ("c", 2, "y", [])), "two")
        assert latest.keys("v") == ["b", "c"]
        assert latest.get("v", "a") is None

    def test_rows_may_come_in_batches(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        n = 300_000
        some = [rows(*((f"k{i}", i, None, [i]) for i in range(start, start + 1_000))) for start in range(0, n, 1_000)]

        def reader(batches: Iterable[pa.Table]) -> pa.RecordBatchReader:
            return pa.RecordBatchReader.from_batches(_SCHEMA, (one for part in batches for one in part.to_batches()))

        latest.write("v", "k", reader(some), "one")
        assert len(latest.keys("v")) == n
        assert [latest.get("v", f"k{i}") for i in (0, n - 1)] == [{"n": i, "s": None, "l": [i]} for i in (0, n - 1)]
        assert latest.take("v", [f"k{i}" for i in range(0, n, 3)], ["n"])[0]["n"].to_pylist() == [*range(0, n, 3)]

        def failing() -> Iterator[pa.Table]:
            yield some[0]
            raise OSError("the engine is gone")

        with pytest.raises(OSError, match="the engine is gone"):
            latest.write("v", "k", reader(failing()), "two")
        with pytest.raises(GraphError):
            latest.write("v", "k", reader([*some, some[7].slice(3, 1)]), "two")
        assert (latest.version("v"), len(latest.keys("v"))) == ("one", n)
        latest.write("v", "k", reader([]), "two")
        assert (latest.version("v"), latest.keys("v")) == ("two", [])

    def test_a_view_without_rows_is_a_view(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", rows(), "none")
        found, present = latest.take("v", ["a"], ["n"])
        assert (latest.version("v"), latest.keys("v"), present.tolist()) == ("none", [], [False])
        assert found["n"].to_pylist() == [None]

    def test_a_view_of_keys_alone_is_a_view(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", pa.table({"k": ["a", "b"]}), "one")
        assert (latest.keys("v"), latest.get("v", "a"), latest.get("v", "c")) == (["a", "b"], {}, None)
        assert latest.take("v", ["a", "c"], [])[1].tolist() == [True, False]

    def test_views_do_not_mix(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        for view in ("v", "v.w", "vw"):
            latest.write(view, "k", rows((view, 1, "x", [])), view)
            latest.put(view, f"fresh of {view}", {"n": 2}, at=1)
        assert [latest.keys(view) for view in ("v", "v.w", "vw")] == [
            sorted([view, f"fresh of {view}"]) for view in ("v", "v.w", "vw")
        ]

    def test_a_fresh_row_lies_on_top_and_other_openers_see_it(self, tmp_path: Path) -> None:
        writer, reader = self.make(tmp_path), self.make(tmp_path)
        writer.write("v", "k", rows(("a", 1, "x", [])), "one")
        assert reader.get("v", "a") == {"n": 1, "s": "x", "l": []}
        writer.put("v", "a", {"n": 2, "s": "y", "l": [1]}, at=5)
        assert reader.get("v", "a") == {"n": 2, "s": "y", "l": [1]}

    def test_other_openers_see_a_new_snapshot(self, tmp_path: Path) -> None:
        writer, reader = self.make(tmp_path), self.make(tmp_path)
        for number in range(4):
            writer.write("v", "k", rows(("a", number, "x", [])), str(number))
            assert (reader.get("v", "a") or {})["n"] == number
            assert reader.version("v") == str(number)

    def test_a_snapshot_drops_the_fresh_rows_that_it_covers_and_no_later_one(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", rows(("a", 1, "old", []), ("b", 1, "old", [])), "one")
        latest.put("v", "a", {"n": 2, "s": "fresh", "l": []}, at=9)
        latest.put("v", "b", {"n": 2, "s": "fresh", "l": []}, at=10)
        latest.write("v", "k", rows(("a", 3, "new", []), ("b", 3, "new", [])), "two", covers=10)
        assert (latest.get("v", "a") or {})["s"] == "new"
        assert (latest.get("v", "b") or {})["s"] == "fresh"

    def test_a_snapshot_that_covers_nothing_leaves_fresh_rows_on_top(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.put("v", "a", {"n": 2, "s": "fresh", "l": []}, at=9)
        latest.write("v", "k", rows(("a", 3, "new", [])), "one")
        assert (latest.get("v", "a") or {})["s"] == "fresh"

    def test_what_was_put_before_an_instant_is_dropped(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        for at in range(5):
            latest.put("v", f"k{at}", {"n": at}, at=at)
        assert latest.drop_covered("v", 3) == 3
        assert latest.keys("v") == ["k3", "k4"]
        assert latest.drop_covered("v", 3) == 0

    def test_a_clock_that_went_back_does_not_let_a_row_go_early(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.put("v", "a", {"n": 1}, at=100)
        latest.put("v", "a", {"n": 2}, at=50)  # includes what was known at 100
        latest.drop_covered("v", 80)
        assert latest.get("v", "a") == {"n": 2}

    def test_change_sees_the_present_row(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", rows(("a", 1, "x", [])), "one")

        def one_more(row: Row | None) -> Row:
            return {"n": (row or {"n": 0})["n"] + 1, "s": None, "l": None}

        assert [latest.change("v", {key: one_more}, at=1)[key]["n"] for key in ("a", "a", "b")] == [2, 3, 1]
        both = latest.change("v", {"a": one_more, "c": one_more}, at=1)
        assert {key: row["n"] for key, row in both.items()} == {"a": 4, "c": 1}
        assert set(latest.changed("v", latest.changed("v", 0)[0] - 2)[1] or ()) == {"a", "c"}

    def test_a_change_that_fails_changes_nothing(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.put("v", "a", {"n": 1}, at=1)
        mark, _ = latest.changed("v", 0)

        def fails(row: Row | None) -> Row:
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            latest.change("v", {"b": lambda _: {"n": 3}, "a": fails}, at=2)
        assert latest.get("v", "b") is None
        assert latest.get("v", "a") == {"n": 1}
        assert latest.changed("v", mark) == (mark, [])

    def test_take_keeps_the_order_and_says_what_is_there(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        keys = [f"k{number:03d}" for number in range(300)]
        latest.write("v", "k", rows(*((key, number, key, [number]) for number, key in enumerate(keys))), "one")
        latest.put("v", "k005", {"n": -5, "s": "fresh", "l": []}, at=1)
        latest.put("v", "new", {"n": -1}, at=1)
        for requested in (["k200", "none", "k005", "new", "k200"], [*reversed(keys), "none", "new"]):
            found, present = latest.take("v", requested, ["n", "s"])
            alone = [latest.get("v", key) for key in requested]
            assert found["n"].to_pylist() == [row and row["n"] for row in alone]
            assert found["s"].to_pylist() == [row and row.get("s") for row in alone]
            assert present.tolist() == [row is not None for row in alone]

    def test_many_rows_of_many_views_come_in_the_order_asked(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", rows(("a", 1, "x", []), ("b", 2, "y", [3])), "one")
        latest.write("w", "k", rows(("a", 3, "z", [])), "one")
        latest.put("v", "b", {"n": 4}, at=1)
        latest.put("fresh", "a", {"n": 5}, at=1)
        pairs = [("w", "a"), ("v", "a"), ("v", "b"), ("none", "a"), ("fresh", "a"), ("w", "b"), ("v", "a")]
        found = latest.get_many(pairs)
        assert found == [latest.get(view, key) for view, key in pairs]
        assert [row and row["n"] for row in found] == [3, 1, 4, None, 5, None, 1]
        assert latest.get_many([]) == []

    def test_many_rows_are_of_one_instant(self, tmp_path: Path) -> None:
        """While a row moves from the fresh rows to the snapshot that covers it, every read finds it."""
        writer, reader = self.make(tmp_path), self.make(tmp_path)
        writer.write("v", "k", rows(), "0")
        writer.put("w", "a", {"n": 0}, at=0)
        done = threading.Event()

        def move() -> None:
            for turn in range(1, 40):
                writer.write("v", "k", rows(("a", turn, "", [])), str(turn))
                writer.drop_covered("w", turn)
                writer.put("w", "a", {"n": turn}, at=turn)
                writer.write("v", "k", rows(), f"{turn} without")
            done.set()

        moving = threading.Thread(target=move)
        moving.start()
        try:
            while not done.is_set():
                assert any(reader.get_many([("v", "a"), ("w", "a")]))
        finally:
            moving.join()

    def test_marks_rise_with_every_change_and_with_nothing_else(self, tmp_path: Path) -> None:
        writer, reader = self.make(tmp_path), self.make(tmp_path)
        views = ["v", "w", "none"]
        assert reader.marks([]) == ()
        before = reader.marks(views)
        acts: list[Callable[[], object]] = [
            lambda: writer.write("v", "k", rows(("a", 1, "x", [])), "one"),
            lambda: writer.put("v", "a", {"n": 2}, at=1),
            lambda: writer.put("v", "a", {"n": 2}, at=2),
            lambda: writer.change("v", {"b": lambda _: {"n": 1}}, at=2),
            lambda: writer.drop_covered("v", 3),
            lambda: writer.write("v", "k", rows(("a", 1, "x", [])), "one"),
            lambda: writer.forget(["a"]),
        ]
        for act in acts:
            act()
            after = reader.marks(views)
            assert after[0] > before[0] and after[1:] == before[1:]
            assert after == tuple(reader.changed(view, -1)[0] for view in views)
            before = after
        for nothing in (lambda: writer.drop_covered("v", 0), lambda: reader.get("v", "a"), lambda: writer.forget([])):
            nothing()
            assert reader.marks(views) == before

    def test_changes_at_once_lose_nothing(self, tmp_path: Path) -> None:
        latest, other = self.make(tmp_path), self.make(tmp_path)

        def one_more(row: Row | None) -> Row:
            return {"n": (row or {"n": 0})["n"] + 1}

        def many(store: LatestWriter) -> None:
            for _ in range(50):
                store.change("v", {"a": one_more, "b": one_more}, at=1)

        threads = [threading.Thread(target=many, args=(store,)) for store in (latest, other, latest)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert latest.get_many([("v", "a"), ("v", "b")]) == [{"n": 150}, {"n": 150}]

    def test_unknown_columns_and_values_that_do_not_fit_are_refused(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", rows(("a", 1, "x", [])), "one")
        with pytest.raises(UnknownName):
            latest.take("v", ["a"], ["m"])
        with pytest.raises(UnknownName):
            latest.put("v", "a", {"m": 1}, at=1)
        with pytest.raises(TypeMismatch) as refused:
            latest.put("v", "a", {"n": "secret"}, at=1)
        assert "secret" not in str(refused.value)
        assert latest.get("v", "a") == {"n": 1, "s": "x", "l": []}

    def test_two_rows_for_one_key_are_refused_and_the_old_snapshot_stays(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        latest.write("v", "k", rows(("a", 1, "x", [])), "one")
        for bad in (rows(("b", 1, "x", []), ("b", 2, "x", [])), rows(("b", 1, "x", [])).set_column(0, "k", [[None]])):
            with pytest.raises((GraphError, TypeMismatch)):
                latest.write("v", "k", bad, "two")
        assert (latest.version("v"), latest.keys("v")) == ("one", ["a"])

    def test_times_come_back_as_microseconds(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        times = pa.array([1_000_000], pa.timestamp("us", "UTC"))
        latest.write(
            "v", "k", pa.table({"k": ["a"], "at": times, "many": pa.array([[1_000_000]], pa.list_(times.type))}), "one"
        )
        assert latest.get("v", "a") == {"at": 1_000_000, "many": [1_000_000]}
        assert latest.take("v", ["a"], ["at"])[0]["at"].to_pylist() == [1_000_000]

    def test_long_and_odd_keys_are_keys(self, tmp_path: Path) -> None:
        latest = self.make(tmp_path)
        odd = ["", " ", "a\0b", "ü" * 400, "x" * 5000, "x" * 5001]
        latest.write("v", "k", rows(*((key, number, "", []) for number, key in enumerate(odd))), "one")
        assert [(latest.get("v", key) or {})["n"] for key in odd] == list(range(len(odd)))
        for number, key in enumerate(odd):
            latest.put("v", key, {"n": -number, "s": None, "l": None}, at=1)
        assert [(latest.get("v", key) or {})["n"] for key in odd] == [-number for number in range(len(odd))]
        assert latest.keys("v") == sorted(odd)

    def test_forgotten_keys_are_gone_from_every_view_and_other_openers_see_it_at_once(self, tmp_path: Path) -> None:
        writer, reader = self.make(tmp_path), self.make(tmp_path)
        writer.write("v", "k", rows(("a", 1, "x", []), ("b", 1, "y", [])), "one")
        writer.write("w", "k", rows(("a", 2, "x", [])), "one")
        writer.put("v", "a", {"n": 3}, at=1)
        writer.put("v", "c", {"n": 3}, at=1)
        writer.put("x", "a", {"n": 4}, at=1)
        marks = {view: reader.changed(view, -1)[0] for view in ("v", "w", "x")}
        assert writer.forget(["a", "nobody"]) == 3
        for latest in (writer, reader, self.make(tmp_path)):
            assert [latest.get(view, "a") for view in ("v", "w", "x")] == [None] * 3
            assert [latest.keys(view) for view in ("v", "w", "x")] == [["b", "c"], [], []]
            assert (latest.version("v"), latest.version("w")) == ("one", "one")
            assert (latest.get("v", "b"), latest.get("v", "c")) == ({"n": 1, "s": "y", "l": []}, {"n": 3})
        for view, mark in marks.items():  # readers that follow a view are notified
            _, keys = reader.changed(view, mark)
            assert keys is None or "a" in keys
        assert writer.forget(["a"]) == 0
        assert writer.forget([]) == 0

    def test_no_file_holds_a_byte_of_what_was_forgotten(self, tmp_path: Path) -> None:
        latest, other = self.make(tmp_path), self.make(tmp_path)
        gone, stays = "GONEGONEGONE", "STAYSSTAYSSTAYS"
        marked = [(f"{key}{number}", number, f"row of {key}", [7]) for key in (gone, stays) for number in range(200)]
        for turn in range(3):  # older snapshots and older fresh rows leave bytes, too
            latest.write("v", "k", rows(*marked), str(turn))
            for key, number, text, _ in marked:
                latest.put("v", key, {"n": number, "s": f"fresh {text}"}, at=turn)
                latest.put("w", key, {"n": number, "s": f"fresh {text}"}, at=turn)
            latest.drop_covered("w", turn + 1)
        assert other.get("v", f"{gone}1")
        assert _files_with(tmp_path, gone) or not _files_with(tmp_path, stays)  # the store is outside of this folder
        assert latest.forget([f"{gone}{number}" for number in range(200)]) == 200
        assert not _files_with(tmp_path, gone)
        assert other.get("v", f"{gone}1") is None
        assert other.get("v", f"{stays}1") == {"n": 1, "s": f"fresh row of {stays}"}
        other.put("v", f"{stays}1", {"n": 5}, at=9)
        assert latest.get("v", f"{stays}1") == {"n": 5}
        assert not _files_with(tmp_path, gone)


def _files_with(root: Path, text: str) -> list[str]:
    """Files below `root` that contain the bytes of a text."""
    return [str(file) for file in root.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]
