"""State machine test of `Latest` back-ends: operations in any order, compared with a dict after each.

Example: `TestMineInAnyOrder = latest_machine(lambda root: MyLatest(f"mine://{root}")).TestCase`
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tidemill.core.ports import LatestWriter
from tidemill.testing.latest import rows

Row = dict[str, Any]

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

_KEYS = st.sampled_from(["a", "b", "c", "d"])
_AT = st.integers(0, 20)
_ROW = st.fixed_dictionaries(
    {"n": st.none() | st.integers(-5, 5), "s": st.none() | st.text(max_size=3), "l": st.none() | st.just([1, 2])}
)


def latest_machine(make: Callable[[Path], LatestWriter]) -> type[RuleBasedStateMachine]:
    """A Hypothesis state machine: runs operations in any order and compares the store with a dict after each.

    Its stores are in memory (tmpfs) if available, since power cuts are not tested here. In addition, a follower keeps
    its own copy by reading only the keys that `changed` returns, which must always equal the dict.
    """

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = tempfile.TemporaryDirectory(dir=_MEMORY)
            self.writer, self.reader = make(Path(self.folder.name)), make(Path(self.folder.name))
            self.snapshot: dict[str, Row] = {}
            self.fresh: dict[str, tuple[int, Row]] = {}
            self.version: str | None = None
            self.mark, self.copy = -1, dict[str, Row]()
            self.seen: tuple[int, dict[str, Row]] = (-1, {})

        def teardown(self) -> None:
            self.folder.cleanup()

        @initialize(some=st.dictionaries(_KEYS, _ROW))
        def begin(self, some: dict[str, Row]) -> None:
            self.write(some, None)

        @rule(some=st.dictionaries(_KEYS, _ROW), covers=st.none() | _AT)
        def write(self, some: dict[str, Row], covers: int | None) -> None:
            self.version = f"{self.version}+"
            table = rows(*((key, row["n"], row["s"], row["l"]) for key, row in some.items()))
            self.writer.write("v", "k", table, self.version, covers)
            self.snapshot = dict(some)
            self._drop(-1 if covers is None else covers)

        @rule(key=_KEYS, row=_ROW, at=_AT)
        def put(self, key: str, row: Row, at: int) -> None:
            self.writer.put("v", key, row, at)
            self._lay(key, row, at)

        @rule(key=_KEYS, at=_AT)
        def change(self, key: str, at: int) -> None:
            def by(row: Row | None) -> Row:
                assert row == self._now().get(key)
                return {"n": 7, "s": None, "l": [len(row or {})]}

            self._lay(key, self.writer.change("v", {key: by}, at)[key], at)

        @rule(covers=_AT)
        def drop_covered(self, covers: int) -> None:
            assert self.writer.drop_covered("v", covers) == self._drop(covers)

        @rule(keys=st.sets(_KEYS, min_size=1, max_size=2))
        def forget(self, keys: set[str]) -> None:
            assert self.writer.forget(sorted(keys)) == len(keys & set(self._now()))
            for key in keys:
                self.snapshot.pop(key, None)
                self.fresh.pop(key, None)

        @rule()
        def follow(self) -> None:
            self.mark, keys = self.reader.changed("v", self.mark)
            if keys is None:
                self.copy, keys = {}, self.reader.keys("v")
            for key in keys:
                row = self.reader.get("v", key)
                if row is None:
                    self.copy.pop(key, None)
                else:
                    self.copy[key] = row
            assert self.copy == self._now()

        @invariant()
        def reads_are_right(self) -> None:
            now = self._now()
            keys = ["d", "none", "a", "b", "c"]
            found, present = self.reader.take("v", keys, ["n", "s", "l"])
            assert self.reader.keys("v") == sorted(now)
            assert [self.reader.get("v", key) for key in keys] == [now.get(key) for key in keys]
            assert self.reader.get_many([("v", key) for key in keys]) == [now.get(key) for key in keys]
            mark = self.reader.marks(["v"])[0]
            assert mark == self.reader.changed("v", self.mark)[0]
            assert mark > self.seen[0] or (mark, now) == self.seen  # every change increases the mark
            self.seen = mark, now
            assert present.tolist() == [key in now for key in keys]
            assert [row for row, there in zip(found.to_pylist(), present, strict=True) if there] == [
                now[key] for key in keys if key in now
            ]
            assert self.reader.version("v") == self.version

        def _now(self) -> dict[str, Row]:
            return self.snapshot | {key: row for key, (_, row) in self.fresh.items()}

        def _lay(self, key: str, row: Row, at: int) -> None:
            self.fresh[key] = (max(at, self.fresh.get(key, (at, {}))[0]), row)

        def _drop(self, covers: int) -> int:
            gone = [key for key, (at, _) in self.fresh.items() if at < covers]
            for key in gone:
                del self.fresh[key]
            return len(gone)

    return Machine
