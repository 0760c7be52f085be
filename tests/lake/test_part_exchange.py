"""An exchange in parts, on the engine, gives the rows and the changes of an exchange in memory."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop_lake import PASS, Shop, increment

from tidemill.core.errors import KeyAbsent
from tidemill.core.ports import Engine
from tidemill.core.storage import failpoint
from tidemill.lake import StagedChange, part_exchange

SCHEMA = pa.schema([("k", pa.string()), ("n", pa.int64()), ("x", pa.float64()), ("tags", pa.list_(pa.string()))])
rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, 0.5, math.nan]),
        st.sampled_from([None, [], ["t"]]),
    ),
    max_size=8,
)
#: The rows of a day, and the touched keys; `None`: the whole table is made again.
Day: TypeAlias = tuple[list[tuple[Any, ...]], frozenset[str] | None]
days = st.lists(st.tuples(rows, st.none() | st.frozensets(st.sampled_from("abcde"))), min_size=1, max_size=4)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is exchanged in memory, and a part has about three rows."""
    monkeypatch.setattr(part_exchange, "MEMORY_ROWS", -1)
    monkeypatch.setattr(part_exchange, "PART_ROWS", 3)


def table(found: list[tuple[Any, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in found], SCHEMA)


def multiset(found: pa.Table) -> Counter[str]:
    return Counter(repr(row) for row in found.select(SCHEMA.names).to_pylist())


def as_it_was(today: list[tuple[Any, ...]], day: list[tuple[Any, ...]], keys: frozenset[str] | None) -> pa.Table:
    """The table by the rule alone."""
    return table([row for row in today if keys is not None and row[0] not in keys] + day)


def play(shop: Shop, days: list[Day], done: int = 0) -> None:
    """Publish the days after the first `done`, and compare each with the rule."""
    today: list[tuple[Any, ...]] = []
    for number, (day, keys) in enumerate(days, 1):
        if keys is not None:
            day = [row for row in day if row[0] in keys]
        expected = as_it_was(today, day, keys)
        if number <= done:
            today = [tuple(row.values()) for row in expected.to_pylist()]
            continue
        touched = None if keys is None else shop.engine.frame(pa.table({"k": pa.array(sorted(keys), pa.string())}))
        with shop.lease() as lease, shop.lake.draft(lease) as draft:
            draft.declare("t", SCHEMA)
            with shop.engine.persist(shop.engine.frame(table(day)), SCHEMA) as new:
                change = draft.exchange("t", new, SCHEMA, by=["k"], touched=touched)
                is_staged = isinstance(change, StagedChange)
                changed = multiset(shop.engine.collect(change.changed) if is_staged else change.changed)
                found = multiset(shop.engine.collect(draft.scan("t")))
            draft.publish(increment(number), PASS)
        before, after = multiset(table(today)), multiset(expected)
        assert found == after
        assert changed == (after - before) + (before - after)
        assert change.n_changed == sum(changed.values())
        view = shop.lake.view()
        assert multiset(view.arrow("t")) == after
        assert {path.name for path in (shop.root / "lake" / "t").glob("*.parquet")} >= set(view.files("t"))
        today = [tuple(row.values()) for row in expected.to_pylist()]
    assert shop.lake.verify() == []
    named = {name for version in shop.tables.history("t") for name in version.added}
    assert {path.name for path in (shop.root / "lake" / "t").glob("*.parquet")} == named


@pytest.mark.usefixtures("in_parts")
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(days)
def test_any_days_give_the_rows_and_changes_that_the_rule_says(
    days: list[Day],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        play(Shop(Path(folder)), days)


#: Repeats, keys that come, change and go, files of which some rows go, and all.
DAYS: list[Day] = [
    ([("a", 1, 0.5, ["t"]), ("a", 1, 0.5, ["t"]), ("b", None, math.nan, None), ("c", 2, None, [])], None),
    ([("a", 1, 0.5, ["t"]), ("d", 2, 0.5, None)], frozenset("ad")),
    ([], frozenset("bc")),
    ([("d", 2, 0.5, None), ("a", 2, 0.5, ["t"])], None),
    ([], None),
]


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("in_parts")
def test_the_workers_of_spark_give_them_too(tmp_path: Path, spark: Engine) -> None:
    play(Shop(tmp_path, spark), DAYS)


def test_few_rows_are_exchanged_in_memory(tmp_path: Path) -> None:
    play(Shop(tmp_path), DAYS)


@pytest.mark.usefixtures("in_parts")
def test_files_without_removed_rows_stay(shop: Shop) -> None:
    for number, keys in enumerate(["a", "b", "c"], 1):
        with shop.lease() as lease, shop.lake.draft(lease) as draft:
            draft.append("t", table([(key, 1, 0.5, None) for key in keys * 3]))
            draft.publish(increment(number), PASS)
    before = shop.lake.view().files("t")
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        touched = shop.engine.frame(pa.table({"k": ["b"]}))
        with shop.engine.persist(shop.engine.frame(table([("b", 1, 0.5, None)])), SCHEMA) as new:
            draft.exchange("t", new, SCHEMA, by=["k"], touched=touched)
        draft.publish(increment(4), PASS)
    after = shop.lake.view().files("t")
    assert (set(before) & set(after), len(after)) == ({before[0], before[2]}, 3)


@pytest.mark.usefixtures("in_parts")
def test_columns_can_change(shop: Shop) -> None:
    play(shop, DAYS[:1])
    schema = SCHEMA.remove(3).append(pa.field("more", pa.string()))
    with shop.lease() as lease, shop.lake.draft(lease) as draft:
        frame = draft.scan("t").with_columns(more=nw.col("k"))
        with shop.engine.persist(frame, schema) as new:
            assert draft.exchange("t", new, schema).n_changed == 4
        draft.publish(increment(2), PASS)
    assert shop.lake.view().schema("t").equals(schema)
    assert shop.lake.view().rows("t") == 4
    assert shop.lake.verify() == []


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("is_frame", [True, False])
def test_a_touched_key_without_a_value_is_refused(shop: Shop, is_frame: bool) -> None:
    play(shop, DAYS[:1])
    touched = pa.table({"k": pa.array(["a", None])})
    touched = shop.engine.frame(touched) if is_frame else touched
    none = shop.engine.persist(shop.engine.frame(table([])), SCHEMA)
    refused = pytest.raises(KeyAbsent, match="no `k`")
    with shop.lease() as lease, shop.lake.draft(lease) as draft, none as new, refused:
        draft.exchange("t", new, SCHEMA, by=["k"], touched=touched)


class Killed(BaseException):
    """Stands for SIGKILL in this process."""


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize(
    "point", ["publish.staged", "publish.checked", "publish.intent", "publish.commit", "publish.done"]
)
def test_killed_at_any_point_a_rerun_ends_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(failpoint.os, "kill", die)
    for passes in range(1, 20):
        root = tmp_path / str(passes)
        root.mkdir()
        failpoint.arm(f"{point}:{passes}")
        try:
            play(Shop(root), DAYS)
        except Killed:
            failpoint.arm(None)
            rerun(Shop(root))
        else:
            failpoint.arm(None)
            break
    assert passes > len(DAYS)


def rerun(shop: Shop) -> None:
    with shop.lease() as lease:
        shop.lake.recover(lease)
    last = shop.ledger.last("publish")
    play(shop, DAYS, done=shop.lake.view().publication if last else 0)


#: Plays the days on Spark, in a process of its own.
ON_SPARK = """
import sys
from pathlib import Path

if __name__ == "__main__":
    from shop_lake import Shop
    from test_part_exchange import DAYS, play
    from tidemill.backends.spark import SparkEngine
    from tidemill.core.storage import failpoint
    from tidemill.lake import part_exchange

    part_exchange.MEMORY_ROWS, part_exchange.PART_ROWS = -1, 3
    failpoint.arm("publish.staged:4")
    play(Shop(Path(sys.argv[1]), SparkEngine("local[2]")), DAYS)
"""


@pytest.mark.spark
@pytest.mark.usefixtures("in_parts")
def test_a_killed_driver_of_spark_leaves_what_another_engine_completes(tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("local Spark needs Java 17, and no `java` is on the path")
    script, root = tmp_path / "on_spark.py", tmp_path / "shop"
    script.write_text(ON_SPARK)
    root.mkdir()
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, script, root]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2_000:]
    rerun(Shop(root))
