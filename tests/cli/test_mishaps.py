"""What a person sees when something goes wrong: a sentence, a code, a next step, the right status; never a trace."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from typed_command import TIDEMILL, tidemill

from tidemill.cli.main import _Lazy, main
from tidemill.core.identity.keys import Keys
from tidemill.core.settings import load
from tidemill.loop.project.stores import identity


def test_json_of_help_parses(tmp_path: Path) -> None:
    assert "run" in json.loads(tidemill("help", "--json", at=tmp_path)[1])["says"]
    assert json.loads(tidemill("help", "run", "--json", at=tmp_path)[1])["command"] == "run"
    assert json.loads(tidemill("help", "TM201", "--json", at=tmp_path)[1])["code"] == "TM201"


def test_an_unknown_word_is_answered_by_words_of_its_kind(tmp_path: Path) -> None:
    assert "TM302" not in tidemill("help", "rnu", at=tmp_path)[2]
    assert "audit" not in tidemill("help", "TM99999", at=tmp_path)[2]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(28, "No space left on device"), "TM005", "a file: No space left on device"),
        (PermissionError(13, "Permission denied", "/x/y"), "TM005", "/x/y: Permission denied"),
        (KeyError("person@example.org"), "TM000", "KeyError"),
    ],
)
def test_errors_of_others_are_told_in_our_words(
    error: Exception, code: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(_Lazy, "get_command", lambda *_: click.Command("plan", callback=fails))
    with pytest.raises(SystemExit) as ended:
        main(["plan"])
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert f"[{code}]" in told
    assert says in told
    assert "tip:" in told
    assert "Traceback" not in told
    assert "person@example.org" not in told  # it may quote data, and what people type ends in logs
    with pytest.raises(SystemExit):
        main(["--trace", "plan"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
@pytest.mark.parametrize(
    "command",
    ["run --until", "plan --until", "serve --at", "train for_you --test-from", "evaluate for_you --test-from"],
)
def test_a_day_at_the_ends_of_the_calendar_is_a_usage_error(
    command: str, day: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), day])
    assert ended.value.code == 2
    assert f"{day} is outside the years 100 to 9899" in capsys.readouterr().err


def test_a_reader_that_had_enough_ends_it_quietly(tmp_path: Path) -> None:
    running = subprocess.Popen([str(TIDEMILL), "doctor"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    told = running.stderr.read().decode()
    running.stderr.close()
    assert "Traceback" not in told
    assert "Error" not in told
    running.wait(60)


def test_init_refuses_a_file_and_quotes_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    status, _, err = tidemill("init", "taken", at=tmp_path)
    assert (status, "taken already exists and is not a folder; nothing was written" in err) == (1, True)
    assert "cd 'two words'" in tidemill("init", "two words", at=tmp_path)[1]
    status, _, err = tidemill("init", "/proc/nowhere", at=tmp_path)
    assert (status, "TM005" in err, "Traceback" in err) == (1, True, False)


def test_square_brackets_reach_the_reader(tmp_path: Path) -> None:
    """Settings, file names and reasons hold brackets, which a terminal library may take for its own."""
    tidemill("init", "corner", at=tmp_path)
    (tmp_path / "corner" / "tidemill.toml").unlink()
    assert "[laptop.sources]" in tidemill("plan", at=tmp_path / "corner")[1]


def test_the_switch_is_thrown_before_any_store_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidemill.cli import kill_switch
    from tidemill.cli.context import CommandContext
    from tidemill.serving import switch_state

    root = tmp_path / ".tidemill" / "serving"
    (root / "m").mkdir(parents=True)
    (tmp_path / "mill.py").write_text("not python at all")
    settings = load(tmp_path, overrides={"keys": str(tmp_path / "keys")})
    (tmp_path / "tidemill.toml").write_text(f'[laptop]\nkeys = "{tmp_path / "keys"}"\n')
    keys = Keys.open(settings.keys_folder(identity(tmp_path, "corner").id), create=True)
    seen: list[bool] = []

    def opening(ask: Any) -> None:
        seen.append(switch_state(root, "m", keys.public).off)

    monkeypatch.setattr(kill_switch, "_ledger", opening)
    kill_switch.set_switch(CommandContext(tmp_path, None, True), "m", off=True, why="")
    assert seen == [True]
    monkeypatch.undo()
    assert tidemill("on", "m", at=tmp_path)[0] == 0  # whatever mill.py says
    assert not switch_state(root, "m", keys.public).off
    shutil.move(keys.folder, tmp_path / "away")
    assert tidemill("off", "m", at=tmp_path)[0] == 0
    assert switch_state(root, "m", keys.public).off
    status, _, says = tidemill("on", "m", at=tmp_path)
    assert status == 1 and "TM804" in says and "m stays off" in says and "Traceback" not in says
    assert switch_state(root, "m", keys.public).off
