"""The command line as a person types it: a project's life from `init` to `rollback`, and what errors look like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from typed_command import TIDEMILL, asked, tidemill

from tidemill.cli.main import COMMANDS, cli


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project made by `init`, over a simulated shop, with its keys in the same temporary place."""
    base = tmp_path_factory.mktemp("cli")
    status, out, _ = tidemill("init", "corner", at=base)
    assert status == 0
    assert "mill.py" in out
    project = base / "corner"
    (project / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{base / "keys"}"\nsearch = "exact"\n[laptop.sources]\n'
        'reviews = "shop:reviews?customers=150&items=60&days=90"\n'
        'items = "shop:items?customers=150&items=60&days=90"\n'
    )
    return project


def test_a_project_lives(shop: Path) -> None:
    steps = asked("plan", at=shop)
    assert {step["what"] for step in steps} == {"reviews", "items", "ratings", "taste", "facts", "for_you"}
    assert not (shop / ".tidemill").exists()  # a plan makes nothing

    report = asked("run", "--backfill", "--until", "2026-03-20", at=shop)
    assert report["merged"] > 1000
    again = asked("run", "--until", "2026-03-20", at=shop)
    assert (again["increments"], again["publications"]) == (0, 0)
    asked("run", "--until", "2026-03-22", at=shop)

    assert [one["table"] for one in asked("table", at=shop)] == ["items", "ratings", "reviews"]
    profile = asked("table", "ratings", "--column", "user_id", "--column", "rating", at=shop)
    assert (profile["personal"], [one["name"] for one in profile["columns"]]) == (["user_id"], ["user_id", "rating"])
    assert len(profile["preview"]) == 10
    assert {cell[0]["state"] for cell in profile["preview"]} == {"hidden"}
    _, text, _ = tidemill("table", "ratings", at=shop)
    assert "identifies people: not shown" in text

    assert any("has not been trained" in need["what"] for need in asked("status", at=shop)["action_items"])
    first = asked("train", "for_you", at=shop)
    assert (first["release"], first["anew"]) == ("for_you@1", True)
    assert asked("train", "for_you", at=shop) == {**first, "anew": False}

    mill = shop / "mill.py"
    mill.write_text(mill.read_text().replace("tm.trending(days=7)", "tm.trending(days=14)"))
    rules = asked("train", "for_you", "--rules-only", at=shop)
    assert (rules["release"], rules["anew"]) == ("for_you@2", False)

    assert asked("promote", "for_you@1", at=shop)["release"] == "for_you@1"
    assert asked("promote", "for_you@2", at=shop)["release"] == "for_you@2"
    whole = mill.read_text()
    mill.write_text("import a_package_that_was_removed\n")  # a rollback does not wait until it is mended
    assert asked("rollback", "for_you", at=shop)["release"] == "for_you@1"
    mill.write_text(whole)
    assert asked("off", "for_you", "--why", "to try", at=shop)["ledger"] is True
    assert asked("status", at=shop)["models"][0]["off"] is True
    assert asked("on", "for_you", at=shop)["off"] is False
    assert asked("status", at=shop)["action_items"] == []

    assert asked("check", "reviews", at=shop)[0]["state"] == "published"
    assert not any(one["problems"] for one in asked("verify", at=shop)["stores"])
    assert any(setting[0] == "serve.port" for setting in asked("status", "--settings", at=shop))
    assert all(found["state"] != "wrong" for found in asked("doctor", at=shop))


def test_the_switch_works_while_the_ledger_is_gone(shop: Path) -> None:
    ledger = shop / ".tidemill" / "ledger.sqlite"
    away = ledger.with_name("away")
    ledger.rename(away)
    ledger.mkdir()  # worse than gone: something else stands in its place
    try:
        told = asked("off", "for_you", at=shop)
        assert told == {"model": "for_you", "off": True, "ledger": False}
    finally:
        ledger.rmdir()
        away.rename(ledger)
    assert asked("on", "for_you", at=shop)["ledger"] is True


def test_a_changed_byte_of_the_lake_is_named(shop: Path) -> None:
    file = max((shop / ".tidemill" / "lake" / "ratings").glob("*.parquet"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    whole = file.read_bytes()
    file.write_bytes(content)
    try:
        status, out, _ = tidemill("verify", at=shop)
        assert status == 1
        assert file.name in out
    finally:
        file.write_bytes(whole)


def test_errors_name_the_next_step_and_a_code(shop: Path, tmp_path: Path) -> None:
    status, _, err = tidemill("run", at=tmp_path)
    assert status == 1
    assert "TM003" in err
    assert "tidemill init" in err
    assert "Traceback" not in err
    status, out, err = tidemill("train", "for_yu", "--json", at=shop)
    assert status == 1
    assert json.loads(out)["error"]["code"] == "TM101"
    assert "did you mean `for_you`" in err
    assert tidemill("run", "--until", "tomorrow", at=shop)[0] == 2
    status, out, _ = tidemill("help", "tm302", at=tmp_path)
    assert status == 0
    assert "tidemill verify" in out


def test_every_command_explains_itself(tmp_path: Path) -> None:
    done = subprocess.run([TIDEMILL, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    for name in COMMANDS:
        assert name in done.stdout
        explained = CliRunner().invoke(cli, ["help", name])
        assert explained.exit_code == 0
        assert "Usage" in explained.output


def test_the_project_that_init_writes_passes_its_own_tests(tmp_path: Path) -> None:
    assert tidemill("init", "corner", at=tmp_path)[0] == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "corner",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "corner")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_init_never_writes_over_anything(tmp_path: Path) -> None:
    (tmp_path / "corner").mkdir()
    (tmp_path / "corner" / "precious").write_text("mine")
    status, _, err = tidemill("init", "corner", at=tmp_path)
    assert status == 1
    assert "corner already exists and is not empty; nothing was written" in err
    assert [path.name for path in (tmp_path / "corner").iterdir()] == ["precious"]
