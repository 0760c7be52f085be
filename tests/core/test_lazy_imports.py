"""Public names are loaded when first used, are sorted, and an unknown one is an AttributeError."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tidemill.core.lazy_imports import lazy_exports


def test_names_are_sorted_as_the_linter_sorts_them_and_resolve() -> None:
    public, resolve, listed = lazy_exports("email", {"mime.text": "MIMEText", "utils": "parseaddr", "charset": "QP"})
    assert public == listed() == ["QP", "MIMEText", "parseaddr"]
    assert resolve("parseaddr")("A <a@b.c>") == ("A", "a@b.c")
    with pytest.raises(AttributeError, match=r"module 'email' has no attribute 'nothing'"):
        resolve("nothing")


def test_importing_the_package_loads_no_room_and_no_library() -> None:
    script = (
        "import json, sys, time; began = time.process_time(); import tidemill, tidemill.loop, tidemill.serving;"
        "print(json.dumps([time.process_time() - began, sorted(sys.modules)]))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    cpu_s, loaded = json.loads(told.stdout)
    assert not {"numpy", "pyarrow", "polars", "deltalake", "msgspec"} & set(loaded)
    assert {name for name in loaded if name.startswith("tidemill.")} == {
        "tidemill.core", "tidemill.core.lazy_imports", "tidemill.loop", "tidemill.serving"
    }  # fmt: skip
    assert cpu_s < 0.3
