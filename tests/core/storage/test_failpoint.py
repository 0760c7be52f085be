from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tidemill
from tidemill.core.storage.failpoint import FAILPOINTS, arm, failpoint

PROGRAM = """
import sys
from tidemill.core.storage.failpoint import arm, failpoint
arm(sys.argv[1])
for name in ("publish.staged", "publish.commit", "publish.commit"):
    print(name, flush=True)
    failpoint(name)
print("end", flush=True)
"""


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        ("publish.staged", 1),
        ("4", 1),
        ("publish.commit", 2),
        ("publish.commit:2", 3),
        ("7:2", 3),
        ("7:3", None),
        ("", None),
    ],
)
def test_the_process_dies_the_kth_time_that_it_passes(spec: str, passed: int | None) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, spec], capture_output=True, text=True, check=False)
    assert done.returncode == (0 if passed is None else -9)
    assert len(done.stdout.split()) == (passed or 4)


def test_an_unknown_point_is_refused() -> None:
    with pytest.raises((ValueError, KeyError)):
        arm("publish.nowhere")
    with pytest.raises((ValueError, KeyError)):
        arm("99")
    arm(None)
    failpoint("publish.staged")


def test_only_numbered_points_are_passed() -> None:
    """A misspelt name in the package would never fire, so a crash between two steps would never be tried."""
    package = Path(tidemill.__file__).parent
    called = {
        name
        for file in package.rglob("*.py")
        for name in re.findall(r'(?<!def )\bfailpoint\("([^"]+)"\)', file.read_text())
    }
    assert called <= set(FAILPOINTS.values()), called - set(FAILPOINTS.values())
    assert len(set(FAILPOINTS.values())) == len(FAILPOINTS)
