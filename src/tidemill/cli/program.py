"""The program as it was started, so that a printed command can be typed as it stands."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

#: The name of the installed script.
NAME = "tidemill"
_COMMAND = re.compile(rf"(?<![\w./-]){NAME} (?=[a-z])")


def program() -> str:
    """`tidemill` if the shell finds this program by that name, else the path by which it was started."""
    started = Path(sys.argv[0])
    found = shutil.which(NAME)
    if started.name != NAME or (found and os.path.realpath(found) == os.path.realpath(started)):
        return NAME
    return str(Path.cwd() / started)


def with_program(text: str) -> str:
    """A text whose commands start with `program()`.

    >>> with_program("Next: tidemill train for_you")
    'Next: tidemill train for_you'
    """
    return _COMMAND.sub(lambda _: f"{program()} ", text) if NAME in text else text
