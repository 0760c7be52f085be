from __future__ import annotations

import subprocess
import sys

#: The rows of a source are Arrow tables; ports name these records for the type checker only.
ARROW = "tidemill.core.source_read"
HEAVY = {"numpy", "pyarrow", "polars", "deltalake", "scipy", "narwhals"}


def test_no_module_of_the_core_loads_anything_heavy() -> None:
    program = (
        "import importlib, pkgutil, sys; from tidemill import core, governance\n"
        "for found in pkgutil.walk_packages(core.__path__, 'tidemill.core.'):\n"
        f"    if found.name != {ARROW!r}: importlib.import_module(found.name)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "cryptography" in loaded  # the program did look
    assert not loaded & HEAVY
