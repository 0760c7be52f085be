"""The demo, from start to stop, on the simulated shop and on the Magazine reviews; no raw id in any byte it wrote."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill.governance import scan_folder

pytestmark = pytest.mark.slow

TIDEMILL = Path(sys.executable).parent / "tidemill"
#: Whatever tidemill wrote of a project: all but the vault and the source files.
NOT_OURS = ["data", ".tidemill/vault.sqlite*"]


def tidemill(*words: str, at: Path, home: Path | None = None) -> tuple[int, Any]:
    done = subprocess.run(
        [str(TIDEMILL), *words, "--json"],
        cwd=at,
        env={**os.environ, "HOME": str(home or at)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    print(done.stderr[-3000:])
    return done.returncode, json.loads(done.stdout)


def holds(played: Any) -> None:
    """What a demo must have lived through."""
    tally = played["tally"]
    assert tally["failures"] == 0
    assert tally["answers"] > 100
    assert played["predictions"] >= tally["answers"]
    assert len(played["held"]) == 1
    assert len(played["releases"]) == 2
    assert set(tally["by_release"]) == set(played["releases"])
    assert played["outcomes"] > 0


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    base = tmp_path_factory.mktemp("simulated")
    status, result = tidemill("demo", "--dir", "shop", at=base)
    assert status == 0
    return base, result


def test_the_simulated_shop_lives_and_the_truth_is_beside_the_estimate(simulated: tuple[Path, Any]) -> None:
    _, played = simulated
    holds(played)
    by_model, by_popularity, best = played["truth"]
    assert by_popularity < by_model < best


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, magazine: Path, magazine_items: Path) -> tuple[Path, Any]:
    base = tmp_path_factory.mktemp("reviews")
    status, result = tidemill(
        "demo", "--dir", "shop", "--reviews", str(magazine), "--items", str(magazine_items), at=base
    )
    assert status == 0
    return base / "shop", result


def test_real_reviews_live_as_they_come(played: tuple[Path, Any]) -> None:
    project, result = played
    holds(result)
    assert tidemill("audit", "verify", at=project, home=project.parent)[1]["problems"] == []
    assert tidemill("lake", "verify", at=project, home=project.parent)[1]["problems"] == []
    warm = next(part for part in result["evaluation"]["slices"] if part["users"] == "warm")
    assert warm["difference"]["hit_rate@10"]["low"] > 0


@pytest.fixture(scope="module")
def people(magazine: Path) -> list[str]:
    import gzip

    with gzip.open(magazine, "rt") as lines:
        return sorted({line.split(",")[1] for line in lines})


def test_no_raw_id_is_in_any_byte_that_was_written(played: tuple[Path, Any], people: list[str]) -> None:
    project, _ = played
    assert len(people) == 72_098
    assert scan_folder(project, people, exclude=NOT_OURS) == []


def test_the_scan_of_that_project_fails_on_a_planted_leak(played: tuple[Path, Any], people: list[str]) -> None:
    project, _ = played
    planted = project / ".tidemill" / "lake" / "ratings" / "planted.parquet"
    pq.write_table(pa.table({"note": [f"by {people[7].lower()}"]}), planted, compression="zstd")
    try:
        found = scan_folder(project, people, exclude=NOT_OURS)
        assert [(leak.path, leak.store) for leak in found] == [(str(planted.relative_to(project)), "parquet")]
    finally:
        planted.unlink()


def test_at_a_terminal_it_stays_up_until_ctrl_c_and_leaves_no_process(simulated: tuple[Path, Any]) -> None:
    base, _ = simulated  # an earlier demo gives way to the next
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["HOME"] = str(base)
        words = ["demo", "--dir", str(base / "shop"), "--port", "0", "--console-port", "0"]
        os.execv(str(TIDEMILL), ["tidemill", *words])
    shown = _read_until(terminal, b"Ctrl-C", seconds=180)
    server = json.loads((base / "shop" / ".tidemill" / "serving" / "server.json").read_bytes())
    with urllib.request.urlopen(f"http://127.0.0.1:{server['port']}/readyz", timeout=5) as answer:
        assert answer.status == 200
    os.write(terminal, b"\x03")
    shown += _read_until(terminal, b"stopped", seconds=60)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"Summary" in shown
    with pytest.raises(ProcessLookupError):
        os.kill(server["pid"], 0)


def _read_until(terminal: int, words: bytes, *, seconds: float) -> bytes:
    """What a terminal shows up to some words."""
    shown, end = b"", time.monotonic() + seconds
    while words not in shown:
        assert time.monotonic() < end, f"{words!r} was not shown: {shown[-2000:].decode(errors='replace')}"
        if select.select([terminal], [], [], 1)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
    return shown
