"""A run on S3 that dies, or whose store stops answering, is finished by the next."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from play import play, told
from s3_server import BUCKET, S3Server, s3_server
from shop_lake import Shop
from test_crash import POINTS, Killed

from tidemill.backends.delta.delta_tables import DeltaTables
from tidemill.backends.s3.s3_objects import S3Objects
from tidemill.backends.spark import SparkEngine
from tidemill.core.backend import BackendContext
from tidemill.core.errors import TidemillError
from tidemill.core.ports import Engine
from tidemill.core.storage import failpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    shop = Shop(tmp_path_factory.mktemp("unharmed"))
    play(shop)
    return told(shop)


def on_s3(root: Path, engine: Engine | None = None) -> Shop:
    """A shop whose lake is on S3, under the path of its folder."""
    url, context = f"s3://{BUCKET}{root}/lake", BackendContext(project=root)
    return Shop(root, engine, S3Objects.from_url(url, context), DeltaTables.from_url(url, context))


def sound(shop: Shop) -> None:
    """The ledger and the lake verify against each other, and no object is left that nothing names."""
    assert shop.ledger.verify(shop.lake.heads()) == []
    assert shop.lake.verify() == []
    assert shop.objects.list("_tidemill/intents/") == []
    tables = {name.partition("/")[0] for name in shop.objects.list("")} - {"_tidemill"}
    named = {f"{table}/{path}" for table in tables for one in shop.tables.history(table) for path in one.added}
    assert {name for name in shop.objects.list("") if name.endswith(".parquet") and name[0] != "_"} == {
        *named,
        *(name for name in shop.objects.list("") if "_delta_log" in name and name.endswith(".parquet")),
    }


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_dies_is_finished_by_the_next(
    point: str, tmp_path: Path, unharmed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(failpoint.os, "kill", die)
    failpoint.arm(f"{point}:{POINTS[point]}")
    with pytest.raises(Killed):
        play(on_s3(tmp_path))
    failpoint.arm(None)
    shop = on_s3(tmp_path)
    play(shop)
    assert told(shop) == unharmed
    sound(shop)


@pytest.mark.parametrize(
    ("engine", "point"),
    [
        ("polars", "publish.commit:2"),
        *(pytest.param("spark", point, marks=pytest.mark.spark) for point in ("publish.staged:2", "publish.commit:2")),
    ],
)
def test_a_killed_process_is_finished_by_the_next(
    tmp_path: Path, unharmed: dict[str, Any], engine: str, point: str
) -> None:
    if engine == "spark" and shutil.which("java") is None:
        pytest.skip("no Java: Spark was not tried")
    words = [sys.executable, __file__, str(tmp_path), point, engine]
    path = os.pathsep.join(str(Path(__file__).parents[1] / folder) for folder in ("lake", "backends"))
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL
    shop = on_s3(tmp_path)
    play(shop)
    assert told(shop) == unharmed
    sound(shop)


@pytest.mark.parametrize(("stopped_at", "for_s"), [("publish.staged", 10), ("publish.commit", 60)])
def test_a_store_that_stops_for_a_minute_loses_nothing(
    tmp_path: Path,
    server: S3Server,
    unharmed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    stopped_at: str,
    for_s: int,
) -> None:
    again = threading.Timer(for_s, server.process.send_signal, [signal.SIGCONT])
    passed: list[str] = []

    def stop(point: str) -> None:
        passed.append(point)
        if point == stopped_at and passed.count(point) == 2:
            server.process.send_signal(signal.SIGSTOP)
            again.start()

    for module in ("table_draft", "commit_intent"):
        monkeypatch.setattr(f"tidemill.lake.{module}.failpoint", stop)
    try:
        play(on_s3(tmp_path))
    except TidemillError:
        again.join()
    assert passed.count(stopped_at) >= 2
    again.join()
    shop = on_s3(tmp_path)
    play(shop)
    assert told(shop) == unharmed
    sound(shop)


if __name__ == "__main__":
    failpoint.arm(sys.argv[2])
    play(on_s3(Path(sys.argv[1]), SparkEngine() if sys.argv[3] == "spark" else None))
