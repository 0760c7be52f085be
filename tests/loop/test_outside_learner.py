"""An outsider's learner through a whole life: searched, trained, measured, released, served, reproduced; and missed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from outside_package import put_package

TIDEMILL = str(Path(sys.executable).parent / "tidemill")
SHOP = "customers=150&items=60&days=90"
UNTIL = "2026-03-20"
LEARNER = "jaccard(shrinkage=tm.grid(0.5, 20.0))"

pytestmark = pytest.mark.slow


def typed(project: Path, *words: str, outside: Path | None) -> subprocess.CompletedProcess[str]:
    """A command, with the outsider's package installed or without it."""
    return subprocess.run(
        [TIDEMILL, *words], cwd=project, env=_environment(outside), capture_output=True, text=True, timeout=300
    )


def asked(project: Path, *words: str, outside: Path | None) -> Any:
    done = typed(project, *words, "--json", outside=outside)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _environment(outside: Path | None) -> Mapping[str, str]:
    return dict(os.environ) | ({"PYTHONPATH": str(outside)} if outside else {})


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_package(tmp_path_factory.mktemp("site") / "outside")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, outside: Path) -> Path:
    """A project that searches one setting of the outsider's learner, trained and promoted."""
    base = tmp_path_factory.mktemp("outside_learner")
    subprocess.run([TIDEMILL, "init", "corner"], cwd=base, check=True, capture_output=True)
    project = base / "corner"
    mill = project / "mill.py"
    text = mill.read_text()
    assert "tm.cooccurrence()" in text
    mill.write_text(
        text.replace("import tidemill as tm\n", "from jaccard import jaccard\n\nimport tidemill as tm\n", 1).replace(
            "tm.cooccurrence()", LEARNER
        )
    )
    (project / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{base / "keys"}"\nsearch = "exact"\n[laptop.sources]\n'
        f'reviews = "shop:reviews?{SHOP}"\nitems = "shop:items?{SHOP}"\n'
    )
    asked(project, "run", "--backfill", "--until", UNTIL, outside=outside)
    asked(project, "train", "for_you", outside=outside)
    asked(project, "promote", "for_you@1", outside=outside)
    return project


def test_one_setting_was_searched_and_the_model_measured(shop: Path, outside: Path) -> None:
    learned = asked(shop, "train", "for_you", outside=outside)  # nothing has changed: the release that there is
    card = learned["card"]
    assert card["learner"] == "jaccard"
    assert card["parameters"]["shrinkage"] in (0.5, 20.0)
    assert {row["shrinkage"] for row in card["evaluation"]["validation"]} >= {0.5, 20.0}
    assert card["evaluation"]["slices"]
    assert typed(shop, "evaluate", "for_you@1", outside=outside).returncode == 0


def test_it_is_reproduced_with_its_package(shop: Path, outside: Path) -> None:
    done = typed(shop, "reproduce", "for_you@1", "--here", outside=outside)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bitwise" in done.stdout


@pytest.mark.parametrize(
    "words", [("reproduce", "for_you@1", "--here"), ("evaluate", "for_you@1"), ("train", "for_you")]
)
def test_without_its_package_it_is_refused_by_name(shop: Path, words: tuple[str, ...]) -> None:
    done = typed(shop, *words, outside=None)
    assert done.returncode != 0
    assert "No module named 'jaccard'" in done.stdout + done.stderr


def test_a_project_that_does_not_import_it_any_more_is_told_what_is_missing(shop: Path) -> None:
    mill = shop / "mill.py"
    text = mill.read_text()
    mill.write_text(
        text.replace("from jaccard import jaccard\n", "").replace("jaccard(shrinkage=tm.grid(0.5, 20.0))", "tm.ease()")
    )
    try:
        done = typed(shop, "evaluate", "for_you@1", outside=None)
    finally:
        mill.write_text(text)
    assert done.returncode != 0
    assert "no learner `jaccard` is installed" in done.stderr
    assert "tidemill.learners" in done.stderr


def test_a_worker_answers_from_its_release(shop: Path, outside: Path) -> None:
    state = shop / ".tidemill" / "serving" / "server.json"
    with (shop.parent / "server.txt").open("wb") as log:
        server = subprocess.Popen(
            [TIDEMILL, "serve", "--port", "0", "--no-console"],
            cwd=shop, env=_environment(outside), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        answer = recommended(_port(server, state))
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    assert answer["release"] == "for_you@1"
    assert len(answer["items"]) == 5


def _port(server: subprocess.Popen[bytes], state: Path) -> int:
    for _ in range(600):
        told = json.loads(state.read_bytes()) if state.exists() else {}
        if told.get("pid") == server.pid and told["state"] == "up":
            return int(told["port"])
        assert server.poll() is None
        time.sleep(0.1)
    raise AssertionError("the server did not come up")


def recommended(port: int) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/recommend/for_you",
        json.dumps({"user": "c0001", "n": 5}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())
