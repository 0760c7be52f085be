"""Importing costs next to nothing: the package, every door and the command line's help load nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from markdown_pages import ROOT

HEAVY = [
    "numpy",
    "scipy",
    "pyarrow",
    "polars",
    "deltalake",
    "narwhals",
    "lmdb",
    "httptools",
    "uvloop",
    "starlette",
    "faiss",
]
ROOMS = sorted(path.parent.name for path in (ROOT / "src" / "tidemill").glob("*/__init__.py"))

_DOORS = """
import json, sys
from importlib import import_module
heavy, rooms = json.loads(sys.argv[1]), json.loads(sys.argv[2])
found = {}
for name in ["tidemill", *("tidemill." + room for room in rooms)]:
    import_module(name)
    loaded = [module for module in heavy if module in sys.modules]
    if loaded:
        found[name] = loaded
        break
print(json.dumps(found))
"""
_HELP = """
import contextlib, io, json, sys
from tidemill.cli import main
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    main(["--help"])
assert "Commands:" in shown.getvalue()
print(json.dumps([module for module in json.loads(sys.argv[1]) if module in sys.modules]))
"""


def _run(code: str, *arguments: object) -> object:
    given = [json.dumps(argument) for argument in arguments]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_the_package_and_every_door_loads_nothing_heavy() -> None:
    assert _run(_DOORS, HEAVY, ROOMS) == {}


def test_help_loads_nothing_heavy() -> None:
    assert _run(_HELP, HEAVY) == []


@pytest.mark.parametrize("heavy", ["numpy", "pyarrow"])
def test_a_heavy_import_is_caught(heavy: str) -> None:
    assert _run(f"import {heavy}\n{_DOORS}", [heavy], []) == {"tidemill": [heavy]}


def test_a_server_never_loads_the_project_file_or_training() -> None:
    """What answers knows neither `mill.py` nor how models are learned, and opens bundles without their learners."""
    code = """
import json, pkgutil, sys
from importlib import import_module
import tidemill.serving, tidemill.models.recommender.recommender_file
unwanted = ("tidemill.loop.project.mill", "tidemill.training", "tidemill.models.learners")
for part in pkgutil.walk_packages(tidemill.serving.__path__, "tidemill.serving."):
    import_module(part.name)
print(json.dumps(sorted(name for name in sys.modules if name.startswith(unwanted))))
"""
    assert _run(code) == []
