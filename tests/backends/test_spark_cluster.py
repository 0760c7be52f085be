"""Spark elsewhere than in this process: a standalone master with a worker, and Spark Connect."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import venv
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from spark_servers import connect_server, standalone

from tidemill.backends.spark import SparkEngine
from tidemill.core.backend import BackendContext
from tidemill.core.errors import SettingError
from tidemill.core.ports import Engine
from tidemill.testing.engine import EngineSuite

pytestmark = [
    pytest.mark.spark,
    # Py4J and PySpark leave sockets and files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CONTEXT = BackendContext(project=Path())


@pytest.fixture(scope="module")
def on_connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    pyspark = pytest.importorskip("pyspark.sql")
    if (running := pyspark.SparkSession.getActiveSession()) is not None:  # of an earlier test in this process
        running.stop()
    before = dict(os.environ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # as they were first imported, they may have taken a warning about pandas for its absence
        for name in ("pyspark.testing.utils", "pyspark.testing.connectutils"):
            if name in sys.modules:
                importlib.reload(sys.modules[name])
    with connect_server(tmp_path_factory.mktemp("connect")) as url:
        engine = SparkEngine.from_url(f"{url}?spark.sql.shuffle.partitions=3", CONTEXT)
        yield engine
        engine.session.stop()
    for name in os.environ.keys() - before.keys():  # PySpark's mark that this process uses Spark Connect
        del os.environ[name]


class TestSparkConnect(EngineSuite):
    @pytest.fixture
    def engine(self, on_connect: SparkEngine) -> Engine:
        return on_connect


def test_a_session_of_another_master_is_not_used_instead(on_connect: SparkEngine) -> None:
    on_connect.frame(pa.table({"a": [1]}))
    with pytest.raises(SettingError, match="a Spark session of Spark Connect runs in this process"):
        SparkEngine("spark://127.0.0.1:7077").frame(pa.table({"a": [1]}))


def test_properties_of_the_url_reach_the_session(on_connect: SparkEngine) -> None:
    on_connect.frame(pa.table({"a": [1]}))
    assert on_connect.session.conf.get("spark.sql.shuffle.partitions") == "3"
    assert on_connect.session.conf.get("spark.sql.session.timeZone") == "UTC"


#: In a process of its own, because a process has one Spark session.
TRIED = """
import sys
from pathlib import Path
from tidemill.core.settings import load
from tidemill.loop.ops.doctor import doctor

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = doctor(folder, load(folder, environ={}), None)
    print(*[f"{one.state}: {one.says}" for one in found if one.what == "engine"], sep="\\n")
"""


def tried(folder: Path, engine: str, python: str = sys.executable) -> str:
    (folder / ".tidemill" / "lake").mkdir(parents=True, exist_ok=True)
    (folder / "tidemill.toml").write_text(f'[laptop]\nengine = "{engine}"\nlake = ".tidemill/lake"\n')
    (folder / "tried.py").write_text(TRIED)
    words = [sys.executable, str(folder / "tried.py"), str(folder)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    env["PYSPARK_PYTHON"] = python
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


#: A job whose tasks beat for two minutes. Once the engine has told of its stages, the process is told to stop.
INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
import pyarrow as pa
from tidemill.backends.spark import SparkEngine
from tidemill.core.backend import BackendContext

BEAT = sys.argv[2]

class Slow:
    def __init__(self, beat):
        self.beat = beat
    def stage(self, rows):
        for _ in range(600):
            with open(self.beat, "a") as file:
                file.write(".")
            time.sleep(0.2)
        return []

def told(stages):
    print(stages, flush=True)
    if stages and Path(BEAT).exists():
        os.kill(os.getpid(), signal.SIGINT)

engine = SparkEngine.from_url(sys.argv[1], BackendContext(project=Path()))
engine.watch(told)
try:
    engine.stage(engine.frame(pa.table({"a": [1, 2]})), Slow(BEAT))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    time.sleep(8)  # the process lives on: it is not its end that ends the tasks
    print(Path(BEAT).stat().st_size)
    time.sleep(3)
    print(Path(BEAT).stat().st_size, flush=True)
"""


@pytest.mark.parametrize("server", [standalone, connect_server])
def test_ctrl_c_ends_the_tasks_and_progress_is_told(tmp_path: Path, server: Any) -> None:
    (tmp_path / "job.py").write_text(INTERRUPTED)
    with server(tmp_path) as url:
        words = [sys.executable, str(tmp_path / "job.py"), url, str(tmp_path / "beat")]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
        env["PYSPARK_PYTHON"] = sys.executable
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=100, check=False)
    told, _, after = done.stdout.partition("interrupted\n")
    assert "EngineStage(number=" in told, done.stderr[-3_000:]
    assert after, done.stderr[-3_000:]
    earlier, later = after.split()
    assert earlier == later


def test_the_doctor_tries_the_engine(tmp_path: Path) -> None:
    with standalone(tmp_path) as url:
        said = tried(tmp_path, f"{url}?spark.executor.memory=512m&spark.cores.max=1")
        assert said.startswith("well: spark reads rows in memory and a file in "), said
        bare = tmp_path / "bare"
        venv.create(bare, symlinks=True)
        said = tried(tmp_path, f"{url}?spark.executor.memory=512m&spark.cores.max=1", str(bare / "bin" / "python"))
        assert "wrong: " in said and "the Python of its workers has no " in said, said
        said = tried(tmp_path, f"{url}?spark.sql.session.timeZone=Asia/Tokyo")
        assert said.startswith("wrong: ") and "needs spark.sql.session.timeZone=UTC" in said
    assert not list((tmp_path / ".tidemill" / "lake").iterdir())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("spark:local[2]?memory=4g", "'memory' is not a property of Spark"),
        ("spark:local[2]?spark.sql.ansi.enabled=false", "needs spark.sql.ansi.enabled=true"),
        ("spark:local[2]?spark.executor.memory", "NAME=VALUE"),
    ],
)
def test_options_that_cannot_be_are_refused(url: str, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        SparkEngine.from_url(url, CONTEXT)


def test_every_form_of_the_setting_names_a_master() -> None:
    forms = {
        "spark": "local[2]", "spark:local[4]": "local[4]", "spark://a:7077": "spark://a:7077", "sc://a:15002": "sc://a:15002",
        "spark:k8s://https://a:6443": "k8s://https://a:6443", "spark?spark.ui.enabled=true": "local[2]",
    }  # fmt: skip
    assert {form: SparkEngine.from_url(form, CONTEXT).url for form in forms} == forms
    assert SparkEngine.from_url("spark?spark.ui.enabled=true", CONTEXT).conf == {"spark.ui.enabled": "true"}
