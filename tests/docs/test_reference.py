"""The reference says what the code says, and leaves nothing out."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from markdown_pages import ROOT

import tidemill
from tidemill.cli.main import COMMANDS
from tidemill.core import ports
from tidemill.core.errors import TidemillError
from tidemill.core.settings import Profile, Serve

FOLDER = ROOT / "docs" / "reference"
MAKE = "run `.venv/bin/python docs/make_reference.py`"


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_up_to_date(made: ModuleType) -> None:
    assert made.stale() == [], MAKE


def test_a_page_that_was_changed_by_hand_is_caught(made: ModuleType, tmp_path: Path) -> None:
    for name, text in made.pages().items():
        (tmp_path / name).write_text(text, "utf-8")
    made.FOLDER, folder = tmp_path, made.FOLDER
    try:
        assert made.stale() == []
        (tmp_path / "errors.md").write_text("# Errors\n", "utf-8")
        (tmp_path / "more.md").write_text("# More\n", "utf-8")
        assert made.stale() == ["errors.md", "more.md"]
    finally:
        made.FOLDER = folder


def test_every_command_is_documented() -> None:
    page = (FOLDER / "commands.md").read_text("utf-8")
    files = (ROOT / "src" / "tidemill" / "cli" / "commands").glob("*_command.py")
    commands = {file.name.removesuffix("_command.py") for file in files}
    assert commands == set(COMMANDS)
    assert [name for name in sorted(commands) if f"\n## tidemill {name}\n" not in page] == []


def test_every_option_says_what_it_does() -> None:
    page = (FOLDER / "commands.md").read_text("utf-8")
    options = re.findall(r"^\| `(--[^`]*)` \| (.*) \|$", page, re.MULTILINE)
    assert options
    assert [option for option, says in options if len(says.strip()) < 4] == []


def test_every_setting_is_documented() -> None:
    page = (FOLDER / "settings.md").read_text("utf-8")
    settings = [name for name in Profile.__struct_fields__ if name != "serve"]
    settings += [f"serve.{name}" for name in Serve.__struct_fields__]
    said = dict(re.findall(r"^\| `([\w.]+)` \|.*\| (.*) \|$", page, re.MULTILINE))
    assert set(said) == set(settings)
    assert [name for name, says in said.items() if len(says) < 10] == []


def _errors() -> list[type[TidemillError]]:
    found, todo = [], [TidemillError]
    while todo:
        error = todo.pop()
        found.append(error)
        todo += error.__subclasses__()
    return found


def test_every_error_has_a_code_of_its_own_and_is_documented() -> None:
    page = (FOLDER / "errors.md").read_text("utf-8")
    errors = _errors()
    codes = [error.code for error in errors]
    assert sorted({code for code in codes if codes.count(code) > 1}) == []
    assert [error.code for error in errors if f" {error.code} {error.__name__}\n" not in page] == []
    assert [error.code for error in errors if not (error.__doc__ or "").strip()] == []


def test_every_port_is_documented() -> None:
    page = (FOLDER / "ports.md").read_text("utf-8")
    names = [name for name in ports.__all__ if getattr(getattr(ports, name), "_is_protocol", False)]
    assert len(names) > 6
    assert [name for name in names if f"\n## {name}\n" not in page] == []


def test_every_public_name_is_documented() -> None:
    page = (FOLDER / "api.md").read_text("utf-8")
    assert [name for name in tidemill.__all__ if f"\n### tm.{name}\n" not in page] == []
