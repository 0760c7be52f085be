"""A store that speaks S3, in a process of its own: the server of moto."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from spark_servers import free_port

BUCKET = "tidemill-lake"
KEY, SECRET = "AKIATESTTESTTESTTEST", "the-secret-of-the-store"


@dataclass
class S3Server:
    """A running store with the bucket `BUCKET`; all is in its memory."""

    endpoint: str
    process: subprocess.Popen[bytes]

    def url(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}?endpoint={self.endpoint}&region=eu-central-1"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A store, of which the environment has the endpoint and the credentials."""
    pytest.importorskip("moto")
    port = free_port()
    words = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = S3Server(f"http://127.0.0.1:{port}", process)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            patch.setenv("AWS_ACCESS_KEY_ID", KEY)
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
            _create_bucket(server)
            yield server
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


@contextmanager
def workers_with_credentials(engine: Any) -> Iterator[None]:
    """Give the credentials to the workers of a Spark session that runs already: they have those of its start."""
    given = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    environment = engine.session.sparkContext.environment
    environment.update(given)
    try:
        yield
    finally:
        for name in given:
            del environment[name]


def _create_bucket(server: S3Server) -> None:
    end = time.monotonic() + 60
    while True:
        asked = urllib.request.Request(f"{server.endpoint}/{BUCKET}", method="PUT", data=b"")
        try:
            with urllib.request.urlopen(asked, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < end and server.process.poll() is None, "moto's server did not start"
            time.sleep(0.05)
