"""Spark keeps the engine's promises, in UTC wherever it runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pyarrow as pa
import pytest

from tidemill.backends import spark
from tidemill.backends.spark import SparkEngine
from tidemill.core.errors import BackendMissing, SettingError
from tidemill.core.ports import Engine
from tidemill.testing.engine import EngineSuite

pytestmark = [
    pytest.mark.spark,
    # Py4J and PySpark leave sockets and files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def running() -> Iterator[SparkEngine]:
    if shutil.which("java") is None:
        pytest.skip("local Spark needs Java 17, and no `java` is on the path")
    engine = SparkEngine("local[2]")
    yield engine
    engine.session.stop()


class TestSpark(EngineSuite):
    @pytest.fixture
    def engine(self, running: SparkEngine) -> Engine:
        return running


def test_a_running_session_elsewhere_than_in_utc_is_refused(running: SparkEngine) -> None:
    running.session.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        with pytest.raises(SettingError, match="New_York"):
            SparkEngine().frame(pa.table({"a": [1]}))
    finally:
        running.session.conf.set("spark.sql.session.timeZone", "UTC")


def test_a_session_in_new_york_would_move_days(running: SparkEngine) -> None:
    """What the refusal is for: the suite's test of days is shown to fail there."""
    running.session.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        with pytest.raises(AssertionError):
            EngineSuite().test_days_are_days_of_utc(running)
    finally:
        running.session.conf.set("spark.sql.session.timeZone", "UTC")


def test_without_java_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark.shutil, "which", lambda _: None)
    with pytest.raises(BackendMissing, match="Java"):
        SparkEngine().frame(pa.table({"a": [1]}))
