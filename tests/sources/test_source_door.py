"""The door of sources: sorted, whole, and light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tidemill.sources


def test_every_name_of_the_door_is_there_and_sorted() -> None:
    names = tidemill.sources.__all__
    assert list(names) == sorted(names)
    assert all(getattr(tidemill.sources, name) is not None for name in names)
    with pytest.raises(AttributeError, match="no attribute 'FileSauce'"):
        _ = tidemill.sources.FileSauce


def test_importing_the_door_loads_nothing_heavy() -> None:
    heavy = ("numpy", "polars", "pyarrow", "isal")
    code = f"import sys, tidemill.sources; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
