"""Does this back-end keep its port's promises, and does this project's graph run? Suites and checks for others' tests.

A contract suite is a class with tests and one method to override that makes the back-end; a third party's back-end runs
the same suite as our own. Upstream is every room; nothing imports this one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.testing.blobs import BlobsSuite
    from tidemill.testing.engine import EngineSuite
    from tidemill.testing.latest import LatestSuite
    from tidemill.testing.line_store import LineStoreSuite
    from tidemill.testing.project import check_project
    from tidemill.testing.tables import TablesSuite
    from tidemill.testing.vault_store import VaultStoreSuite

__all__ = [
    "BlobsSuite",
    "EngineSuite",
    "LatestSuite",
    "LineStoreSuite",
    "TablesSuite",
    "VaultStoreSuite",
    "check_project",
]

_HOME = {
    "BlobsSuite": "blobs",
    "EngineSuite": "engine",
    "LatestSuite": "latest",
    "LineStoreSuite": "line_store",
    "TablesSuite": "tables",
    "VaultStoreSuite": "vault_store",
    "check_project": "project",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
