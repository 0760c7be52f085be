"""A package outside the project fills three ports: one module, three entry points, three lines of tidemill.toml."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily, new_project
from tests.conftest import free_port

from tidemill.core.backend import BackendContext, split_scheme
from tidemill.core.errors import BackendMissing, LedgerMissing
from tidemill.core.ports import Blobs, EventLog, LatestWriter
from tidemill.core.settings import load
from tidemill.loop.project.open_port import PortOpener, open_port
from tidemill.testing import BlobsSuite, EventLogSuite, LatestSuite

PACKAGE = Path(__file__).parent / "toy_stores"
TIDEMILL = str(Path(sys.executable).with_name("tidemill"))


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))


class TestToyLatest(LatestSuite):
    def make(self, root: Path) -> LatestWriter:
        return open_port("latest", f"toy:{root}", root)


class TestToyBlobs(BlobsSuite):
    def make(self, root: Path) -> Blobs:
        return open_port("blobs", f"toy:{root}", root)


class TestToyEvents(EventLogSuite):
    def make(self, root: Path) -> EventLog:
        sys.path[:0] = [] if str(PACKAGE) in sys.path else [str(PACKAGE)]  # the suite calls it in other processes
        return open_port("events", f"toy:{root}", root)


def toy_project(tmp_path: Path) -> Project:
    project = new_project(tmp_path)
    file = project.path / "tidemill.toml"
    file.write_text(
        file.read_text().replace(
            "[laptop]\n", '[laptop]\nlatest = "toy:rows"\nblobs = "toy:./shelf"\nevents = "toy:posted"\n', 1
        )
    )
    project.write("reviews.csv", daily(20))
    return project


def test_a_run_and_its_releases_use_what_the_url_names(tmp_path: Path) -> None:
    project = toy_project(tmp_path)
    project.run(FIRST + timedelta(days=19))
    stores, _ = project.open()
    assert (project.path / "rows" / "views.pickle").is_file()
    assert stores.latest.keys("for_you.items")
    assert not (stores.state / "latest").exists()
    assert not (stores.state / "blobs").exists()


def command(project: Project, *arguments: str) -> Any:
    environ = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    told = subprocess.run(
        [TIDEMILL, *arguments, "--json", "--project", str(project.path)],
        capture_output=True, text=True, env=environ, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@contextlib.contextmanager
def served(project: Project) -> Iterator[tuple[str, str]]:
    """The URLs of API and console of `tidemill serve`, once it is ready."""
    api, console = free_port(), free_port()
    environ = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE),
        "TIDEMILL_SERVE__PORT": str(api),
        "TIDEMILL_SERVE__CONSOLE_PORT": str(console),
    }
    process = subprocess.Popen([TIDEMILL, "serve", "--project", str(project.path)], env=environ)
    try:
        urls = f"http://127.0.0.1:{api}", f"http://127.0.0.1:{console}"
        _wait(f"{urls[0]}/readyz")
        _wait(urls[1])
        yield urls
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def _post(url: str, body: dict[str, Any]) -> Any:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


def _wait(url: str, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@pytest.mark.slow
def test_command_line_server_and_console_use_what_the_urls_name(tmp_path: Path) -> None:
    project = toy_project(tmp_path)
    command(project, "run", "--until", str(FIRST + timedelta(days=19)))
    release = command(project, "train", "for_you")["release"]
    command(project, "promote", release)
    with served(project) as (api, console):
        told = _post(f"{api}/v1/recommend/for_you", {"user": "u7", "n": 3})
        assert (told["release"], len(told["items"])) == (release, 3)
        item = told["items"][0]["item"]
        taken = {"user_id": "u7", "item_id": item, "rating": 5, "reviewed_at": "2024-01-21T10:00:00Z"}
        assert _post(f"{api}/v1/events/reviews", taken)["heeded"]
        with urllib.request.urlopen(f"{console}/features", timeout=30) as page:
            assert page.status == 200
    report = command(project, "run", "--until", str(FIRST + timedelta(days=20)))
    assert (report["arrived"], report["merged"]) == (1, 1)  # the posted event
    assert command(project, "run", "--until", str(FIRST + timedelta(days=21)))["arrived"] == 0
    assert not (project.path / ".tidemill" / "events").exists()
    assert (project.path / "rows" / "views.pickle").is_file()
    assert list((project.path / "shelf").glob("bundle*.tar"))
    assert not (project.path / ".tidemill" / "blobs").exists()
    assert not (project.path / ".tidemill" / "latest").exists()


def test_an_unknown_scheme_names_the_nearest_and_what_is_installed(tmp_path: Path) -> None:
    with pytest.raises(BackendMissing, match=r"'toi' for `latest`: did you mean `toy`\? installed: lmdb, toy"):
        open_port("latest", "toi:rows", tmp_path)


@pytest.mark.parametrize("url", ["postgres://mill:hunter2@db/x", "nosuch://me:hunter2@host?password=hunter2"])
@pytest.mark.parametrize("port", ["ledger", "vault", "blobs", "latest", "tables", "engine", "search", "leases"])
def test_no_message_shows_a_password(tmp_path: Path, url: str, port: str) -> None:
    with pytest.raises(BackendMissing) as caught:
        open_port(port, url, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_an_extra_that_installs_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendMissing, match=r"pip install 'tidemill\[mlflow\]'"):
        open_port("blobs", "mlflow:there", tmp_path)
    with pytest.raises(BackendMissing, match=r"an entry point 'nosuch' in the group `tidemill.blobs`"):
        open_port("blobs", "nosuch:there", tmp_path)


def test_an_entry_point_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendMissing, match="toy_stores:NotThere"):
        open_port("vault", "broken:x", tmp_path)
    with pytest.raises(BackendMissing, match="from_url"):
        open_port("vault", "bare:x", tmp_path)


def test_a_ledger_that_is_away_is_asked_for_by_its_port(tmp_path: Path) -> None:
    settings = load(tmp_path, overrides={"ledger": "sqlite:books/ledger"}, environ={})
    ports = PortOpener(settings)
    assert not ports.ledger_exists()
    with pytest.raises(LedgerMissing):
        ports.ledger(create=False)
    assert not (tmp_path / "books").exists()
    ports.ledger(create=True)
    assert ports.ledger_exists()
    assert (tmp_path / "books" / "ledger").is_file()


@pytest.mark.parametrize(
    ("url", "scheme", "path"),
    [
        ("./.tidemill/lake", "", "/shop/.tidemill/lake"),
        ("/srv/lake", "", "/srv/lake"),
        ("lmdb:rows", "lmdb", "/shop/rows"),
        ("lmdb:///srv/rows", "lmdb", "/srv/rows"),
        ("./a:b", "", "/shop/a:b"),
        ("~/lake", "", str(Path.home() / "lake")),
    ],
)
def test_a_setting_is_a_path_or_a_scheme_and_a_rest(url: str, scheme: str, path: str) -> None:
    assert split_scheme(url)[0] == scheme
    assert BackendContext(project=Path("/shop")).path(url) == Path(path)
