"""What pages and tips tell people to type exists: commands, options, error codes, settings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from markdown_pages import PAGES, ROOT, commands_in, prose

from tidemill.cli.main import COMMANDS, cli
from tidemill.core.errors import TidemillError
from tidemill.core.settings import Profile, Serve

_SOURCES = sorted((ROOT / "src" / "tidemill").rglob("*.py"))
_IN_CODE = re.compile(r"[`\"' ]tidemill ([a-z]+)(?: (verify|[A-Z]\w*))?")
#: Words after `tidemill` in prose that are no command.
_PROSE = {"is", "reads", "writes", "can", "needs", "does", "to", "that", "itself", "help", "in", "and", "has"}


def wrong(call: str) -> str | None:
    """Why a call of `tidemill` could not be typed; `None` where it could."""
    words = shlex.split(call.replace("…", "x").partition(" | ")[0].partition(" &")[0])[1:]
    while words and words[0].startswith("-"):  # an option of tidemill itself
        if words[0] not in ("--version", "--help", "-h"):
            return f"{call}: tidemill takes no {words[0]}"
        words = words[1:]
    if not words:
        return None
    command: click.Command = cli
    with click.Context(cli, info_name="tidemill") as context:
        while words and isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            if found is None:
                return f"{call}: no command {words[0]!r}"
            command, words = found, words[1:]
        known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known | {"--help"}]
    return f"{call}: no option {unknown[0]}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_commands_and_options_that_exist(page: Path) -> None:
    assert [why for call in commands_in(page) if (why := wrong(call))] == []


def test_a_wrong_command_or_option_is_caught() -> None:
    assert wrong("tidemill erase PERSON")
    assert wrong("tidemill run --sideways")
    assert wrong("tidemill audit prove")
    assert wrong("tidemill run --until 2018-09-19 --backfill") is None
    assert wrong("tidemill verify --json") is None


def test_the_code_tells_people_to_type_commands_that_exist() -> None:
    told = {
        f"{path.relative_to(ROOT)}: tidemill {match[1]}"
        for path in _SOURCES
        if "templates" not in path.parts
        for match in _IN_CODE.finditer(path.read_text("utf-8"))
        if match[1] not in COMMANDS and match[1] not in _PROSE and f"`tidemill {match[1]}" in path.read_text("utf-8")
    }
    assert told == set()


def _codes() -> set[str]:
    found, todo = set(), [TidemillError]
    while todo:
        error = todo.pop()
        found.add(error.code)
        todo += error.__subclasses__()
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_error_codes_that_exist(page: Path) -> None:
    named = set(re.findall(r"\bTM\d{3}\b", page.read_text("utf-8")))
    assert named - _codes() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_settings_that_exist(page: Path) -> None:
    """Settings of the server are written `serve.drain_s`, variables `TIDEMILL_SERVE__PORT`."""
    known = {f"serve.{name}" for name in Serve.__struct_fields__}
    named = set(re.findall(r"`(serve\.\w+)", prose(page)))
    assert named - known == set()
    variables = {f"TIDEMILL_{name.upper()}" for name in Profile.__struct_fields__}
    variables |= {f"TIDEMILL_SERVE__{name.upper()}" for name in Serve.__struct_fields__}
    variables |= {"TIDEMILL_PROFILE", "TIDEMILL_TEST_DATA"}
    used = set(re.findall(r"\bTIDEMILL_[A-Z_]+[A-Z]\b", page.read_text("utf-8")))
    assert {name for name in used if not name.startswith("TIDEMILL_SOURCES__")} - variables == set()
