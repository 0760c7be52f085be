"""A standalone Spark master with a worker, and a Spark Connect server, as processes of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def standalone(folder: Path) -> Iterator[str]:
    """The URL of a master whose only worker has two cores and a gigabyte."""
    port, log = free_port(), folder / "master.log"
    master = ("org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
    url = f"spark://127.0.0.1:{port}"
    worker = ("org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", "2", "--memory", "1g")
    works = (*worker, "--webui-port", "0", "--work-dir", str(folder / "work"), url)
    with _java(log, *master), _reached(port, log), _java(folder / "worker.log", *works):
        _wait(lambda: "Registering worker" in log.read_text(), log)
        yield url


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """The URL of a Spark Connect server, which runs on local Spark."""
    port, log = free_port(), folder / "connect.log"
    server = (
        "org.apache.spark.deploy.SparkSubmit", "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
        "--master", "local[2]", "--conf", f"spark.connect.grpc.binding.port={port}",
        "--conf", "spark.sql.shuffle.partitions=2", "--conf", "spark.ui.enabled=false",
        "--conf", f"spark.sql.warehouse.dir={folder / 'warehouse'}", "spark-internal",
    )  # fmt: skip
    with _java(log, *server), _reached(port, log):
        yield f"sc://127.0.0.1:{port}"


@contextmanager
def _java(log: Path, *words: str) -> Iterator[None]:
    if shutil.which("java") is None:
        pytest.skip("Spark's servers need Java 17, and no `java` is on the path")
    home = Path(pytest.importorskip("pyspark").__file__).parent
    env = os.environ | {"SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.13", "SPARK_LOCAL_IP": "127.0.0.1"}
    env["PYSPARK_PYTHON"] = sys.executable  # where `tidemill` is
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(home / "bin" / "spark-class"), *words],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=log.parent, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)


@contextmanager
def _reached(port: int, log: Path) -> Iterator[None]:
    def open_now() -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", port)) == 0

    _wait(open_now, log)
    yield


def _wait(until: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + 90
    while not until():
        assert time.monotonic() < end, log.read_text()[-3_000:]
        time.sleep(0.1)
