"""Whether it goes live: bundles that are what they were, releases that pin all they are made of, one champion.

Upstream: `models` and `training`, which leave a folder, and the run, which says what it was made of. Downstream:
`serving` reads the pointer that a promotion moves, and opens the bundle that `verify` has passed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.release.bundle import Manifest, seal, verify
    from tidemill.release.export import Exported, export_tabular
    from tidemill.release.pointer import Pointer, model_folder, module_sources, read_pointer
    from tidemill.release.store import Promotion, Releases

__all__ = [
    "Exported",
    "Manifest",
    "Pointer",
    "Promotion",
    "Releases",
    "export_tabular",
    "model_folder",
    "module_sources",
    "read_pointer",
    "seal",
    "verify",
]

_HOMES = {
    "Exported": "export",
    "Manifest": "bundle",
    "Pointer": "pointer",
    "Promotion": "store",
    "Releases": "store",
    "export_tabular": "export",
    "model_folder": "pointer",
    "module_sources": "pointer",
    "read_pointer": "pointer",
    "seal": "bundle",
    "verify": "bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
