"""Contract suite of `Tables` back-ends. Override `make`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill.core.errors import CorruptFile, SchemaChanged, StaleWriter
from tidemill.core.ports import Tables

SCHEMA = pa.schema(
    [
        ("who", pa.string()),
        ("stars", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
        ("_row", pa.int64()),
        ("tags", pa.list_(pa.string())),
    ]
)


def some_rows(*numbers: int) -> pa.Table:
    """One row per number, with values derived from it."""
    return pa.table(
        {
            "who": [f"person {number}" for number in numbers],
            "stars": [float(number) for number in numbers],
            "at": [datetime(2020, 1, 1, 0, 0, number, 7, UTC) for number in numbers],
            "_row": list(numbers),
            "tags": [["a", str(number)] for number in numbers],
        },
        schema=SCHEMA,
    )


class TablesSuite:
    """One test per guarantee of the port. If files are not local, also override `content` and `damage`."""

    def make(self, root: Path) -> Tables:
        """Tables under `root`."""
        raise NotImplementedError

    @pytest.fixture
    def tables(self, tmp_path: Path) -> Tables:
        return self.make(tmp_path / "lake")

    def content(self, tables: Tables, file: str) -> bytes:
        """The content of a file of the table `t`, read without the back-end."""
        return Path(tables.locate("t", file)).read_bytes()

    def damage(self, tables: Tables, file: str, content: bytes | None) -> None:
        """Overwrite a file of the table `t` without the back-end, or delete it if `content` is `None`."""
        path = Path(tables.locate("t", file))
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    def numbers(self, tables: Tables, version: int) -> list[int]:
        """The `_row` of every row of a version, read from its files, sorted."""
        files = tables.files("t", version)
        return sorted(row for file in files for row in tables.read("t", file, ["_row"])["_row"].to_pylist())

    def test_there_is_no_table_at_first(self, tables: Tables) -> None:
        assert tables.schema("t") is None
        assert list(tables.history("t")) == []
        assert tables.discard("t", 1) == 0

    def test_a_made_table_is_empty_and_keeps_its_columns(self, tables: Tables, tmp_path: Path) -> None:
        version = tables.create("t", SCHEMA, ["who"])
        for opened in (tables, self.make(tmp_path / "lake")):
            found = opened.schema("t")
            assert found is not None and found.equals(SCHEMA)
        assert tables.create("t", SCHEMA, ["who"]) == version
        assert tables.files("t", version) == []
        assert [(commit.version, commit.number) for commit in tables.history("t")] == [(version, 0)]

    def test_an_unused_table_is_made_anew_and_a_used_one_keeps_its_columns(self, tables: Tables) -> None:
        tables.create("t", pa.schema([("other", pa.int64())]), [])
        version = tables.create("t", SCHEMA, [])
        tables.commit("t", 1, version, tables.stage("t", 1, some_rows(1)), [], {})
        with pytest.raises(SchemaChanged, match="other"):
            tables.create("t", pa.schema([("other", pa.int64())]), [])

    def test_staged_files_are_unseen_and_described(self, tables: Tables) -> None:
        version = tables.create("t", SCHEMA, ["stars"])
        (staged,) = tables.stage("t", 1, some_rows(1, 2, 3))
        assert tables.files("t", version) == []
        content = self.content(tables, staged.entry.path)
        assert (staged.entry.rows, staged.entry.size_bytes) == (3, len(content))
        assert staged.entry.sha256 == hashlib.sha256(content).hexdigest()
        second = 1_000_000
        first = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * second + 7
        assert staged.ranges == {"_row": (1, 3), "at": (first + second, first + 3 * second)}

    def test_text_and_personal_columns_are_in_no_statistics(self, tables: Tables) -> None:
        tables.create("t", SCHEMA, ["stars"])
        (staged,) = tables.stage("t", 1, some_rows(1))
        assert not {"who", "stars", "tags"} & {*staged.ranges, *staged.nulls}
        metadata = pq.read_metadata(io.BytesIO(self.content(tables, staged.entry.path))).row_group(0)
        kept = {metadata.column(i).path_in_schema for i in range(metadata.num_columns) if metadata.column(i).statistics}
        assert kept == {"_row", "at"}

    def test_a_pickled_stager_writes_files_that_a_commit_names_or_removes(self, tables: Tables) -> None:
        version = tables.create("t", SCHEMA, ["who"])
        stager = pickle.loads(pickle.dumps(tables.stager("t", 1)))
        (first,), (again,) = stager.stage(some_rows(1, 2)), stager.stage(some_rows(1, 2))
        (other,) = stager.stage(some_rows(3).append_column("_origin", pa.array(["a.parquet"])))
        assert len({first.entry.path, again.entry.path, other.entry.path}) == 3
        assert first.entry.sha256 == hashlib.sha256(self.content(tables, first.entry.path)).hexdigest()
        assert first.ranges["_row"] == (1, 2)
        assert "who" not in first.ranges
        assert tables.read("t", other.entry.path, ["_origin"])["_origin"].to_pylist() == ["a.parquet"]
        version = tables.commit("t", 1, version, [first], [], {})
        assert tables.files("t", version) == [first.entry.path]
        for file in (again, other):
            with pytest.raises(CorruptFile):
                tables.stamp("t", file.entry.path)

    def test_a_file_is_read_whole_or_by_column_or_counted(self, tables: Tables, tmp_path: Path) -> None:
        tables.create("t", SCHEMA, ["who"])
        (staged,) = tables.stage("t", 1, some_rows(3, 1, 2))
        for opened in (tables, self.make(tmp_path / "lake")):
            assert opened.read("t", staged.entry.path).equals(some_rows(3, 1, 2))
            assert opened.read("t", staged.entry.path, ["_row", "who"]).to_pydict() == {
                "_row": [3, 1, 2],
                "who": ["person 3", "person 1", "person 2"],
            }
            counted = opened.read("t", staged.entry.path, [])
            assert (counted.num_rows, counted.column_names) == (3, [])

    def test_the_files_of_its_log_are_those_of_one_version(self, tables: Tables) -> None:
        tables.create("t", SCHEMA, [])
        for number in range(1, 13):
            tables.commit("t", number, number - 1, tables.stage("t", number, some_rows(number)), [], {})
        written = [tables.log_files("t", version) for version in range(13)]
        paths = [file.path for files in written for file in files]
        assert len(set(paths)) == len(paths)
        assert all(tables.digest("t", one.path) == (one.sha256, one.size_bytes) for files in written for one in files)
        assert tables.log_files("t", 13) == []

    def test_a_digest_is_of_what_a_file_holds_now(self, tables: Tables, tmp_path: Path) -> None:
        tables.create("t", SCHEMA, [])
        (staged,) = tables.stage("t", 1, some_rows(1, 2))
        path, entry = staged.entry.path, staged.entry
        assert tables.digest("t", path) == (entry.sha256, entry.size_bytes)
        changed = bytes([self.content(tables, path)[0] ^ 1]) + self.content(tables, path)[1:]
        self.damage(tables, path, changed)
        for opened in (tables, self.make(tmp_path / "lake")):
            assert opened.digest("t", path) == (hashlib.sha256(changed).hexdigest(), entry.size_bytes)

    def test_a_stamp_stays_until_the_file_changes(self, tables: Tables, tmp_path: Path) -> None:
        tables.create("t", SCHEMA, [])
        one, other = (tables.stage("t", number, some_rows(1, 2))[0].entry for number in (1, 2))
        stamp = tables.stamp("t", one.path)
        assert stamp.size_bytes == one.size_bytes
        content = self.content(tables, one.path)
        time.sleep(0.05)  # the resolution of a file system's times may be some milliseconds
        self.damage(tables, other.path, content)
        assert self.make(tmp_path / "lake").stamp("t", one.path) == tables.stamp("t", one.path) == stamp
        for changed in (bytes([content[0] ^ 1]) + content[1:], content[:-1], content + b"\0"):
            self.damage(tables, one.path, changed)
            assert tables.stamp("t", one.path) != stamp
            assert tables.stamp("t", one.path).size_bytes == len(changed)

    def test_a_missing_and_a_damaged_file_are_named(self, tables: Tables) -> None:
        tables.create("t", SCHEMA, [])
        (staged,) = tables.stage("t", 1, some_rows(1, 2))
        path = staged.entry.path
        self.damage(tables, path, self.content(tables, path)[:-1])
        with pytest.raises(CorruptFile, match=path):
            tables.read("t", path)
        self.damage(tables, path, None)
        for act in (tables.read, tables.digest, tables.stamp):
            with pytest.raises(CorruptFile, match=f"{path} is missing"):
                act("t", path)

    def test_a_commit_names_and_drops_files(self, tables: Tables) -> None:
        base = tables.create("t", SCHEMA, [])
        first = tables.commit("t", 1, base, tables.stage("t", 1, some_rows(1, 2)), [], {"why": "one"})
        old = tables.files("t", first)
        second = tables.commit("t", 5, first, tables.stage("t", 5, some_rows(3)), old, {"why": "two"})
        assert (first, second) == (base + 1, base + 2)
        assert self.numbers(tables, first) == [1, 2]
        assert self.numbers(tables, second) == [3]
        newest, before = list(tables.history("t"))[:2]
        assert (newest.version, newest.number, newest.note) == (second, 5, {"why": "two"})
        assert (list(newest.added), list(newest.removed)) == (tables.files("t", second), old)
        assert (before.version, before.number, before.note) == (first, 1, {"why": "one"})

    def test_a_number_is_taken_once(self, tables: Tables, tmp_path: Path) -> None:
        base = tables.create("t", SCHEMA, [])
        staged = tables.stage("t", 1, some_rows(1))
        first = tables.commit("t", 1, base, staged, [], {})
        second = tables.commit("t", 2, first, tables.stage("t", 2, some_rows(2)), [], {})
        for opened in (tables, self.make(tmp_path / "lake")):
            assert opened.commit("t", 1, base, staged, [], {}) == first
            assert opened.commit("t", 2, first, [], [], {}) == second
            assert self.numbers(opened, second) == [1, 2]
            assert len(list(opened.history("t"))) == 3

    def test_a_number_that_was_passed_over_is_refused(self, tables: Tables) -> None:
        base = tables.create("t", SCHEMA, [])
        first = tables.commit("t", 7, base, [], [], {})
        with pytest.raises(StaleWriter):
            tables.commit("t", 6, first, [], [], {})

    def test_whoever_commits_on_an_old_version_is_refused(self, tables: Tables, tmp_path: Path) -> None:
        base = tables.create("t", SCHEMA, [])
        other = self.make(tmp_path / "lake")
        staged = other.stage("t", 2, some_rows(2))
        tables.commit("t", 1, base, tables.stage("t", 1, some_rows(1)), [], {})
        with pytest.raises(StaleWriter):
            other.commit("t", 2, base, staged, [], {})
        assert self.numbers(tables, base + 1) == [1]
        assert other.commit("t", 2, base + 1, staged, [], {}) == base + 2

    def test_only_files_that_no_version_names_are_discarded(self, tables: Tables) -> None:
        base = tables.create("t", SCHEMA, [])
        first = tables.commit("t", 1, base, tables.stage("t", 1, some_rows(1)), [], {})
        tables.stage("t", 2, some_rows(2))
        tables.stage("t", 3, some_rows(3))
        assert tables.discard("t", 3) == 1
        assert tables.discard("t", 1) == 1
        assert tables.discard("t", 1) == 0
        assert self.numbers(tables, first) == [1]

    def test_files_of_a_commit_that_it_does_not_name_are_removed(self, tables: Tables, tmp_path: Path) -> None:
        base = tables.create("t", SCHEMA, [])
        first = tables.stage("t", 1, some_rows(1))
        unnamed = tables.stage("t", 1, some_rows(2))
        later = tables.stage("t", 2, some_rows(3))
        version = tables.commit("t", 1, base, first, [], {})
        with pytest.raises(CorruptFile, match="missing"):
            tables.stamp("t", unnamed[0].entry.path)
        second = tables.commit("t", 2, version, later, tables.files("t", version), {})
        assert self.numbers(tables, second) == [3]
        assert self.numbers(tables, version) == [1]
        late = [tables.stage("t", number, some_rows(number))[0].entry.path for number in (1, 2, 3)]
        assert self.make(tmp_path / "lake").commit("t", 1, base, first, [], {}) == version
        for path, there in zip(late, (False, True, True), strict=True):
            if there:
                assert tables.stamp("t", path).size_bytes
            else:
                with pytest.raises(CorruptFile, match="missing"):
                    tables.stamp("t", path)
        assert self.make(tmp_path / "lake").discard("t", 1) == 2
        assert tables.discard("t", 1) == 0
        assert (self.numbers(tables, version), self.numbers(tables, second)) == ([1], [3])

    def test_old_versions_stay_as_they_were(self, tables: Tables) -> None:
        version = tables.create("t", SCHEMA, [])
        for number in range(1, 26):
            drop = tables.files("t", version)[:1] if number % 3 == 0 else []
            version = tables.commit("t", number, version, tables.stage("t", number, some_rows(number)), drop, {})
        files: set[str] = set()
        for commit in reversed(list(tables.history("t"))):
            files = files - set(commit.removed) | set(commit.added)
            assert tables.files("t", commit.version) == sorted(files)

    def test_expired_versions_leave_the_later_ones_whole(self, tables: Tables, tmp_path: Path) -> None:
        """Every third commit merges the files before it, so that older versions have files of their own."""
        base = tables.create("t", SCHEMA, ["who"])
        rows: dict[int, list[int]] = {base: []}

        def commit(number: int, base: int) -> int:
            merged = rows[base] if number % 3 == 0 else []
            removed = tables.files("t", base) if merged else []
            staged = tables.stage("t", number, some_rows(*merged, number))
            version = tables.commit("t", number, base, staged, removed, {"n": str(number)})
            rows[version] = [*rows[base], number]
            return version

        for number in range(1, 45):
            base = commit(number, base)
        stored = self.stored(tables)
        last = base
        for oldest in (last - 12, last - 12, last - 4):
            tables.expire("t", oldest)
            for opened in (tables, self.make(tmp_path / "lake")):
                for version in range(oldest, last + 1):
                    assert self.numbers(opened, version) == rows[version]
                kept = [commit for commit in opened.history("t") if commit.number]
                assert [one.version for one in kept] == list(range(last, kept[-1].version - 1, -1))
                assert 0 < kept[-1].version <= oldest
        assert not stored & self.stored(tables) - set(tables.files("t", last - 4)) - self.added(tables, last - 4)
        newest = next(tables.history("t")).version
        rows[newest] = rows[last]
        assert self.numbers(tables, newest) == rows[last]
        assert self.numbers(tables, commit(45, newest)) == [*rows[last], 45]

    def added(self, tables: Tables, version: int) -> set[str]:
        """The files that the versions after `version` added."""
        return {file for commit in tables.history("t") if commit.version > version for file in commit.added}

    def stored(self, tables: Tables) -> set[str]:
        """The data files that exist, of all that the versions in the log added or removed."""
        found: set[str] = set()
        for commit in tables.history("t"):
            for file in (*commit.added, *commit.removed):
                with contextlib.suppress(CorruptFile):
                    tables.stamp("t", file)
                    found.add(file)
        return found
