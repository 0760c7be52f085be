"""What the pages show runs as it stands: Python in one namespace per page, files as they are written, shell sessions.

A block whose first line names a file (`# mill.py`) is that file. A `console` block of a page in `SESSIONS` is typed
into one shell, and what is shown under a command is what it printed, where `…` stands for anything. Other shell
blocks are held against the commands and options that exist, in `test_commands_named.py`.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_pages import PAGES, ROOT, Block, blocks
from tests.conftest import free_port

#: Pages that are typed into a shell from top to bottom.
SESSIONS = [ROOT / "README.md", ROOT / "docs" / "tutorial.md"]
_BY_HAND = [page for page in PAGES if page not in SESSIONS and "reference" not in page.parts]
WITH_PYTHON = [page for page in _BY_HAND if any(block.language == "python" for block in blocks(page))]
_PER_COMMAND_S = 180


def put_file(block: Block, folder: Path) -> bool:
    """Write a block that is a file; whether it was one."""
    if block.file is None:
        return False
    place = folder / block.file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(block.text, "utf-8")
    return True


def run_python(page: Path, folder: Path) -> None:
    """Run the Python of a page in order, in one namespace, with its files beside it."""
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        if put_file(block, folder) or block.language != "python":
            continue
        code = "\n" * (block.line - 1) + block.text  # so that a traceback names the line of the page
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    try:
        run_python(page, tmp_path)
    finally:
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith(str(tmp_path)):
                del sys.modules[name]


def test_python_that_fails_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", "utf-8")
    with pytest.raises(AssertionError):
        run_python(page, tmp_path)


class Shell:
    """One bash session, as a reader has it: commands one after the other, background jobs, one folder."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self._folder, self._ports = folder, ports
        home = folder / "home"
        home.mkdir()
        self._errors = folder / "stderr"
        about = {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TIDEMILL_SERVE__PORT": str(ports[0]),
            "TIDEMILL_SERVE__CONSOLE_PORT": str(ports[1]),
            "COLUMNS": "200",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
        with self._errors.open("wb") as errors:
            self._bash = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=folder,
                env=kept | about,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def type(self, command: str) -> tuple[str, int]:
        """Type one command; its output and its status."""
        assert self._bash.stdin is not None and self._bash.stdout is not None
        self._bash.stdin.write(f"{self._here(command)}\nprintf '\\n=done=%s\\n' $?\n")
        self._bash.stdin.flush()
        watch = threading.Timer(_PER_COMMAND_S, os.killpg, (self._bash.pid, signal.SIGKILL))
        watch.start()
        shown = ""
        try:
            for line in self._bash.stdout:
                if line.startswith("=done="):
                    if command.rstrip().endswith("&"):
                        self._wait_until_up()
                    return self._there(shown.removesuffix("\n")), int(line[len("=done=") :])
                shown += line
        finally:
            watch.cancel()
        raise AssertionError(f"the shell ended within {_PER_COMMAND_S} s at {command!r}:\n{self.errors()}")

    def errors(self) -> str:
        """What went to stderr, the end of it."""
        return self._errors.read_text("utf-8", "replace")[-2_000:]

    def close(self) -> None:
        """End the session and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGTERM)
        try:
            self._bash.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.wait()
        for stream in (self._bash.stdin, self._bash.stdout):
            if stream is not None:
                stream.close()

    def _here(self, text: str) -> str:
        return text.replace("8400", str(self._ports[0])).replace("8401", str(self._ports[1]))

    def _there(self, text: str) -> str:
        return text.replace(str(self._ports[0]), "8400").replace(str(self._ports[1]), "8401")

    def _wait_until_up(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[0]}/readyz", timeout=2) as answer:
                    answer.read()
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError(f"the server does not come up:\n{self.errors()}")


def fits(shown: str, printed: str) -> bool:
    """Whether what a page shows is what was printed; `…` on a line is any text, alone on a line any lines."""
    pattern = ""
    for line in shown.strip("\n").split("\n"):
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            spaced = r"\s+".join(re.escape(word).replace("…", ".*?") for word in line.split())
            pattern += rf"\s*{spaced}\s*?\n"
    return re.fullmatch(pattern, printed.strip("\n") + "\n") is not None


def test_what_is_shown_is_held_against_what_was_printed() -> None:
    assert fits("a  b\n…\nd … f", "a b\nx\ny\nd e f")
    assert fits("…\nlast", "first\nlast")
    assert not fits("a\nb", "a\nc")
    assert not fits("a\n…\nb", "a\nb\nc")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path, (free_port(), free_port()))
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: page.name)
def test_a_page_can_be_typed_from_top_to_bottom(page: Path, shell: Shell, tmp_path: Path) -> None:
    typed = 0
    for block in blocks(page):
        where = Path(shell.type("pwd")[0].strip())
        if put_file(block, where) or block.language != "console":
            continue
        expected = {command: shown for command, shown in block.commands if command == "echo $?"}
        for command, shown in block.commands:
            if command == "echo $?":
                continue
            printed, status = shell.type(command)
            typed += 1
            about = f"{page.name}, line {block.line}: {command}\n{printed}\n{shell.errors()}"
            assert str(status) == expected.get("echo $?", "0").strip(), about  # a block may show one other status
            assert not shown.strip() or fits(shown, printed), about
    assert typed > 3
