"""Spark keeps the engine's promises, in UTC wherever it runs."""

from __future__ import annotations

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


class TestSpark(EngineSuite):
    @pytest.fixture
    def engine(self, spark: SparkEngine) -> Engine:
        return spark


def test_a_running_session_elsewhere_than_in_utc_is_refused(spark: SparkEngine) -> None:
    spark.session.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        with pytest.raises(SettingError, match="New_York"):
            SparkEngine().frame(pa.table({"a": [1]}))
    finally:
        spark.session.conf.set("spark.sql.session.timeZone", "UTC")


def test_a_session_in_new_york_would_move_days(spark: SparkEngine) -> None:
    """What the refusal is for: the suite's test of days is shown to fail there."""
    spark.session.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        with pytest.raises(AssertionError):
            EngineSuite().test_days_are_days_of_utc(spark)
    finally:
        spark.session.conf.set("spark.sql.session.timeZone", "UTC")


def test_without_java_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark.shutil, "which", lambda _: None)
    with pytest.raises(BackendMissing, match="Java"):
        SparkEngine().frame(pa.table({"a": [1]}))
