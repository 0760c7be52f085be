"""The command line as a person types it, in this process: one of its own would import everything again."""

from __future__ import annotations

import io
import json
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tidemill.cli.main import main

#: The command itself, for what needs a process.
TIDEMILL = Path(sys.executable).parent / "tidemill"


def tidemill(*words: str, at: Path) -> tuple[int, str, str]:
    """The status of a command typed in a folder, and what it prints to stdout and to stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with chdir(at), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(list(words))
    assert isinstance(ended.value.code, int)
    said, complained = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return ended.value.code, said, complained


def asked(*words: str, at: Path) -> Any:
    """The result of a command that succeeds."""
    status, out, err = tidemill(*words, "--json", at=at)
    assert status == 0, err
    return json.loads(out)
