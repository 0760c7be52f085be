"""A search as a person types it: killed, typed again, with a deadline that comes too early."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

TIDEMILL = str(Path(sys.executable).parent / "tidemill")
TRAIN = [TIDEMILL, "train", "for_you", "--trials", "16", "--processes", "2"]
LEARNER = (
    'tm.cooccurrence(half_life=tm.search("7 days", "365 days"), damping=tm.search(0.0, 0.6), gap="100 days", '
    'factors=0, backward=1.0, recency="30 days", spectral_share=0.0, popularity_half_life="30 days")'
)


def typed(at: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TIDEMILL, *words], cwd=at, capture_output=True, text=True, timeout=180)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project with ranges in mill.py, and 90 simulated days published."""
    assert typed(tmp_path, "init", "corner").returncode == 0
    project = tmp_path / "corner"
    mill = project / "mill.py"
    text = mill.read_text()
    assert "tm.cooccurrence()" in text
    mill.write_text(text.replace("tm.cooccurrence()", LEARNER))
    (project / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{tmp_path / "keys"}"\nsearch = "exact"\n[laptop.sources]\n'
        'reviews = "shop:reviews?customers=150&items=60&days=90"\n'
        'items = "shop:items?customers=150&items=60&days=90"\n'
    )
    done = typed(project, "run", "--backfill", "--until", "2026-03-20")
    assert done.returncode == 0, done.stderr
    return project


def learned(at: Path) -> dict[str, Any]:
    done = subprocess.run([*TRAIN, "--json"], cwd=at, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_killed_twice_and_typed_again_it_ends_as_if_nothing_had_happened(shop: Path) -> None:
    twin = shop.parent / "twin"
    shutil.copytree(shop, twin)
    for _ in range(2):
        train = subprocess.Popen(TRAIN, cwd=shop, stderr=subprocess.PIPE, text=True)
        assert train.stderr is not None
        tried = 0
        for line in train.stderr:
            tried += line.startswith("choose")
            if tried == 3:
                break
        train.send_signal(signal.SIGKILL)
        assert train.wait(60) == -signal.SIGKILL
        train.stderr.close()
    runs = json.loads(typed(shop, "compare", "--json").stdout)
    again, whole = learned(shop), learned(twin)
    assert len(runs["runs"] if isinstance(runs, dict) else runs) == 2
    for one in (again, whole):
        for row in one["card"]["evaluation"]["validation"]:
            row["score"] = round(row["score"], 9)
    assert again["card"]["parameters"] == whole["card"]["parameters"]
    assert again["card"]["evaluation"] == whole["card"]["evaluation"]
    assert len(whole["card"]["evaluation"]["validation"]) >= 8


@pytest.mark.slow
def test_a_deadline_before_the_first_figure_is_an_error_that_says_what_to_type(shop: Path) -> None:
    done = typed(shop, "train", "for_you", "--minutes", "0.001")
    assert done.returncode != 0
    assert "TM513" in done.stderr
    assert "deadline" in done.stderr
    assert "more minutes" in done.stderr
    assert "Traceback" not in done.stderr
    assert learned(shop)["release"] == "for_you@1"
