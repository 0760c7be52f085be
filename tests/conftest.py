"""Fixtures that every room's tests use."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A law is not a benchmark: on a busy machine an example may take long, and that is no failure.
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("house")

#: Spark's queries in the tests take milliseconds: Java's second compiler and parallel collector would take most of the
#: CPU time, 54 instead of 23 s for three files.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

_ROOT = Path(__file__).resolve().parent.parent


#: The files that take longest, longest first.
LONGEST = [
    f"tests/{name}.py" for name in (
        "cli/test_demo", "damage/test_damage", "loop/ops/test_magazine", "loop/ops/test_killed_learning",
        "loop/serve/test_taxi_life", "console/test_browser", "loop/examples/test_churn_life", "kills/test_kills",
        "loop/test_churn_notebook", "loop/test_notebook", "serving/test_load", "docs/test_pages_run",
        "backends/test_mlflow_mirror", "cli/test_auto", "release/test_export", "outside/test_outside_family",
        "training/recommender/test_tabular_auto", "loop/refresh/test_refresh_models", "console/test_tabular_browser",
        "loop/reproduce/test_reproduce_tabular", "serving/process/test_supervisor", "loop/test_outside_learner",
        "cli/test_train_search", "cli/test_reproduce_command", "outside/test_outside_back_ends",
    )
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: of two workers, none waits at the end for the other one's."""
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def test_data() -> Path:
    """Where real data lies: `$TIDEMILL_TEST_DATA`, else `../shared/data` beside the checkout."""
    return Path(os.environ.get("TIDEMILL_TEST_DATA") or _ROOT.parent / "shared" / "data")


test_data.__test__ = False  # type: ignore[attr-defined]


def free_port() -> int:
    """A port that nobody else is given: below those that the kernel hands out by itself."""
    while True:
        with socket.socket() as found:
            port = random.SystemRandom().randrange(20_000, 32_000)
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; a test that needs it skips aloud where it is not there."""
    folder = test_data()
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set TIDEMILL_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def magazine(data_dir: Path) -> Path:
    """The Magazine ratings, as they come."""
    file = data_dir / "amazon" / "Magazine_Subscriptions_ratings_2018.csv.gz"
    if not file.is_file():
        pytest.skip(f"{file} is not there: set TIDEMILL_TEST_DATA")
    return file


@pytest.fixture(scope="session")
def magazine_items(data_dir: Path) -> Path:
    """The Magazine metadata, as it comes."""
    file = data_dir / "amazon" / "meta_Magazine_Subscriptions_2018.json.gz"
    if not file.is_file():
        pytest.skip(f"{file} is not there: set TIDEMILL_TEST_DATA")
    return file


CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; a test that needs it skips aloud where it is not there."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not here: apt-get install chromium")
    playwright.expect.set_options(timeout=30_000)  # a busy machine draws late
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def spark() -> Any:
    """The engine on local Spark. Its session is that of the process: the next file goes on with it."""
    if shutil.which("java") is None:
        pytest.skip("local Spark needs Java 17, and no `java` is on the path")
    pytest.importorskip("pyspark", reason="no PySpark: Spark was not tried")
    from tidemill.backends.spark import SparkEngine

    engine = SparkEngine("local[2]")
    assert engine.session
    return engine
