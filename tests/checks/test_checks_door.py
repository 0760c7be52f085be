"""The room's door and what it may load."""

from __future__ import annotations

import subprocess
import sys

import tidemill.checks


def test_the_door_shows_what_it_names() -> None:
    assert list(tidemill.checks.__all__) == sorted(tidemill.checks.__all__)
    assert all(getattr(tidemill.checks, name) for name in tidemill.checks.__all__)


def test_the_door_loads_nothing_heavy() -> None:
    code = "import sys, tidemill.checks; print({'numpy', 'pyarrow', 'polars', 'scipy'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
