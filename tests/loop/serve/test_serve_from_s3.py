"""A server whose lake and bundles lie on S3: it answers, logs into the lake, and starts while the store is away."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from conftest_loop import FIRST, Project, daily
from s3_server import KEY, SECRET, s3_server

from tidemill.core.settings import load
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.loop.training.train import train
from tidemill.serving.process.server_handle import ServerHandle, start

pytestmark = pytest.mark.slow


@contextmanager
def serving(project: Project) -> Iterator[ServerHandle]:
    overrides = {"serve.port": 0, "serve.workers": 2}
    with start(serve_plan(load(project.path, overrides=overrides, environ={}), overrides=overrides)) as server:
        server.wait_ready()
        yield server


def answered(server: ServerHandle) -> tuple[str, int]:
    """The release that answers, and the number of its items."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v1/recommend/for_you",
        json.dumps({"user": "u1", "n": 3}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        found = json.load(answer)
    return found["release"], len(found["items"])


def logged(project: Project) -> int:
    stores, _ = project.open()
    log = stores.lake.log("predictions")
    return 0 if log is None else log.num_rows


def test_a_server_of_a_lake_on_s3(project: Project) -> None:
    project.write("reviews.csv", daily(10))
    settings = project.path / "tidemill.toml"
    with s3_server() as store:
        settings.write_text(settings.read_text().replace("[laptop]\n", f'[laptop]\nlake = "{store.url("shop")}"\n', 1))
        project.run(FIRST + timedelta(days=9), backfill=True)
        stores, graph = project.open()
        stores.releases.promote(train(stores, graph, "for_you").release.name)
        with serving(project) as server:
            assert answered(server) == ("for_you@1", 3)
            end = time.monotonic() + 60
            while not logged(project):
                assert time.monotonic() < end, "the log did not come"
                time.sleep(0.3)
        shutil.rmtree(project.path / ".tidemill" / "cache")  # as on another machine
        with serving(project) as server:
            assert answered(server) == ("for_you@1", 3)
        store.process.kill()
        store.process.wait()
        with serving(project) as server:
            assert answered(server) == ("for_you@1", 3)
    kept = [file for file in project.path.rglob("*") if file.is_file()]
    assert [file for file in kept if any(secret.encode() in file.read_bytes() for secret in (KEY, SECRET))] == []
