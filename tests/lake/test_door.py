"""The room's door: what it offers is there, and opening it loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tidemill.lake


def test_everything_on_the_door_is_behind_it() -> None:
    assert tidemill.lake.__all__ == sorted(tidemill.lake.__all__) == dir(tidemill.lake)
    for name in tidemill.lake.__all__:
        assert getattr(tidemill.lake, name).__name__ == name
    with pytest.raises(AttributeError):
        tidemill.lake.Pond  # noqa: B018


def test_the_door_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pyarrow', 'polars', 'deltalake', 'narwhals'}"
    script = f"import sys, tidemill.lake; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
