"""The demo, from start to stop, on the simulated shop and on the Magazine reviews; no raw id in any byte it wrote."""

from __future__ import annotations

import json
import os
import pty
import re
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

from tidemill.cli.commands.init_command import write_project
from tidemill.governance import scan_folder
from tidemill.loop.demo.demo import MARK

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
    tally = result["tally"]
    assert tally["failures"] == 0
    assert tally["answers"] > 100
    assert result["predictions"] >= tally["answers"]
    assert len(result["held"]) == 1
    assert len(result["releases"]) == 2
    assert set(tally["by_release"]) == set(result["releases"])
    assert result["outcomes"] > 0
    stores = tidemill("verify", at=project, home=project.parent)[1]["stores"]
    assert [problem for one in stores for problem in one["problems"]] == []
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


def test_at_a_terminal_the_simulated_shop_lives_until_ctrl_c_and_leaves_no_process(tmp_path: Path) -> None:
    write_project(tmp_path / "shop", "shop")
    (tmp_path / "shop" / MARK).touch()  # an earlier demo gives way to the next
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["HOME"] = str(tmp_path)
        words = ["demo", "--dir", str(tmp_path / "shop"), "--port", "0", "--console-port", "0"]
        os.execv(str(TIDEMILL), ["tidemill", *words])
    shown = _read_until(terminal, b"Ctrl-C", seconds=400)
    server = json.loads((tmp_path / "shop" / ".tidemill" / "serving" / "server.json").read_bytes())
    with urllib.request.urlopen(f"http://127.0.0.1:{server['port']}/readyz", timeout=30) as answer:
        assert answer.status == 200
    os.write(terminal, b"\x03")
    shown += _read_until(terminal, b"stopped", seconds=60)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(server["pid"], 0)
    said = " ".join(shown.decode().split())
    best, answers, logged, outcomes = (
        float(one.replace(",", "")) for words in (
            r"best possible list ([\d.]+) ", r"serving ([\d,]+) responses.* 0 failures", r"log ([\d,]+) predictions",
            r" and ([\d,]+) outcomes are in the lake",
        ) for one in re.findall(words, said)
    )  # fmt: skip
    assert answers > 100 and logged >= answers and outcomes > 0
    ((by_model, by_popularity),) = re.findall(r"from the simulation: ([\d.]+); popularity ([\d.]+);", said)
    assert float(by_popularity) < float(by_model) < best
    assert re.search(r"releases for_you@1, for_you@2; responses by release: for_you@1 [\d,]+, for_you@2 [\d,]+ ", said)
    assert said.count("tidemill check reviews --accept ") == 1


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
